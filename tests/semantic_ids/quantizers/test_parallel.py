"""Parallel codebooks against direct differences in float64, all codes, and faiss."""

import itertools
import math

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from semantic_ids.quantizers import parallel as module
from semantic_ids.quantizers.parallel import ParallelCodebooks

SEEDS = st.integers(0, 2**32 - 1)
#: Entries and columns of each slot.
SHAPES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), min_size=1, max_size=4)
FEW_CODES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=4)


def random_books(rng, shapes):
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def whole(books, mean=None):
    width = sum(book.shape[1] for book in books)
    return ParallelCodebooks(books, np.zeros(width, np.float32) if mean is None else mean)


def slot_distances(books, row):
    """Squared distances of a row's columns to each entry of each slot, one number at a time."""
    found, start = [], 0
    for book in books:
        part = [float(value) for value in row[start : start + book.shape[1]]]
        found.append(
            [sum((x - float(e)) ** 2 for x, e in zip(part, entry, strict=True)) for entry in book]
        )
        start += book.shape[1]
    return found


def nearest(books, rows):
    return np.array([[np.argmin(slot) for slot in slot_distances(books, row)] for row in rows])


def best(books, row, m):
    """The m best of all codes, by (error, code), by going through all of them."""
    distances = slot_distances(books, row)
    every = itertools.product(*(range(len(book)) for book in books))
    scored = sorted((sum(distances[s][c] for s, c in enumerate(code)), code) for code in every)
    return [code for _, code in scored[:m]], [error for error, _ in scored[:m]]


# --- the nearest entries


@given(
    seed=SEEDS,
    shapes=SHAPES,
    n=st.integers(1, 30),
    exponent=st.integers(-18, 15),
    offset=st.sampled_from([0, 1, 1000]),
)
def test_codes_are_nearest_slot_by_slot(seed, shapes, n, exponent, offset):
    rng = np.random.default_rng(seed)
    scale = np.float32(10.0**exponent)
    books = [(book + np.float32(offset)) * scale for book in random_books(rng, shapes)]
    width = sum(book.shape[1] for book in books)
    x = (offset + rng.normal(size=(n, width)).astype(np.float32)) * scale
    codes = whole(books).nearest_codes(x)
    assert codes.dtype == np.int32
    assert np.array_equal(codes, nearest(books, x))


@given(seed=SEEDS, shapes=SHAPES, n=st.integers(1, 30))
def test_of_equally_near_entries_the_first_is_chosen(seed, shapes, n):
    # On a small grid all arithmetic is exact, and ties and repeated entries are everywhere.
    rng = np.random.default_rng(seed)
    books = [rng.integers(-2, 3, size=shape).astype(np.float32) for shape in shapes]
    x = rng.integers(-4, 5, size=(n, sum(w for _, w in shapes))).astype(np.float32) / 2
    assert np.array_equal(whole(books).nearest_codes(x), nearest(books, x))


@given(seed=SEEDS, width=st.integers(1, 40), ulps=st.integers(1, 3))
def test_entries_a_rounding_apart_are_told_apart(seed, width, ulps):
    rng = np.random.default_rng(seed)
    books = []
    for book in random_books(rng, [(6, width)] * 2):
        near = book.copy()
        for _ in range(ulps):
            near = np.nextafter(near, rng.choice([-9, 9], size=near.shape).astype(np.float32))
        books.append(np.concatenate([near, book, near[::-1]])[rng.permutation(18)])
    x = rng.normal(size=(30, 2 * width)).astype(np.float32)
    assert np.array_equal(whole(books).nearest_codes(x), nearest(books, x))


@given(seed=SEEDS, shapes=SHAPES, n=st.integers(2, 40), m=st.integers(1, 9))
def test_a_row_has_its_codes_in_any_company(seed, shapes, n, m):
    rng = np.random.default_rng(seed)
    search = whole(random_books(rng, shapes))
    x = rng.normal(size=(n, search.width)).astype(np.float32)
    x[n // 2 :] = x[: n - n // 2] + rng.choice([0, 1e-7], size=(n - n // 2, 1)).astype(np.float32)
    codes, (many, errors) = search.nearest_codes(x), search.best_codes(x, m)
    order = rng.permutation(n)
    assert np.array_equal(search.nearest_codes(x[order]), codes[order])
    for row in range(n):
        assert np.array_equal(search.nearest_codes(x[row : row + 1])[0], codes[row])
        one, its_errors = search.best_codes(x[row : row + 1], m)
        assert np.array_equal(one[0], many[row])
        assert np.array_equal(its_errors[0], errors[row])


def test_blocks_threads_and_memory_order_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    search = whole(random_books(rng, [(40, 12)] * 8))
    x = rng.normal(size=(500, 96)).astype(np.float32)
    before = x.copy()
    codes, best_codes = search.nearest_codes(x), search.best_codes(x, 20)
    errors = search.errors(x, codes)
    monkeypatch.setattr(module, "_CACHED_VALUES", 3000)
    monkeypatch.setattr(module, "_BLOCK_VALUES", 3000)
    with threadpool_limits(2):
        assert np.array_equal(search.nearest_codes(np.asfortranarray(x)), codes)
        assert np.array_equal(search.errors(x, codes), errors)
        for mine, theirs in zip(search.best_codes(x, 20), best_codes, strict=True):
            assert np.array_equal(mine, theirs)
    assert np.array_equal(x, before)


def test_codes_are_those_of_faiss():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 48)).astype(np.float32)
    quantizer = faiss.ProductQuantizer(48, 8, 6)
    quantizer.train(x)
    books = faiss.vector_to_array(quantizer.centroids).reshape(8, 64, 6)
    theirs = faiss.unpack_bitstrings(quantizer.compute_codes(x), 8, 6)
    ours = whole(list(books)).nearest_codes(x)
    assert (ours == theirs).mean() > 0.9999


# --- decoding and errors


@given(seed=SEEDS, shapes=SHAPES, n=st.integers(1, 10))
def test_slots_that_are_not_given_decode_to_the_mean(seed, shapes, n):
    rng = np.random.default_rng(seed)
    books = random_books(rng, shapes)
    mean = rng.normal(size=sum(w for _, w in shapes)).astype(np.float32)
    codes = np.stack([rng.integers(size, size=n) for size, _ in shapes], axis=1)
    for slots in range(1, len(shapes) + 1):
        decoded = whole(books, mean).decode(codes[:, :slots])
        expected = [
            np.concatenate(
                [book[c] for book, c in zip(books, code[:slots], strict=False)]
                + [mean[sum(w for _, w in shapes[:slots]) :]]
            )
            for code in codes
        ]
        assert np.array_equal(decoded, np.array(expected, dtype=np.float32))


@given(seed=SEEDS, shapes=SHAPES, n=st.integers(1, 10))
def test_errors_are_squared_distances_to_what_prefixes_decode_to(seed, shapes, n):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=sum(w for _, w in shapes)).astype(np.float32)
    search = whole(random_books(rng, shapes), mean)
    x = rng.normal(size=(n, search.width)).astype(np.float32)
    codes = np.stack([rng.integers(size, size=n) for size, _ in shapes], axis=1)
    errors = search.errors(x, codes.astype(np.int32))
    for slot in range(len(shapes)):
        gaps = x.astype(np.float64) - search.decode(codes[:, : slot + 1])
        assert np.allclose(errors[:, slot], (gaps**2).sum(axis=1), rtol=1e-12, atol=1e-12)


def test_codes_that_are_out_of_range_or_too_long_are_not_decoded():
    search = whole(random_books(np.random.default_rng(0), [(4, 2), (3, 2)]))
    with pytest.raises(ValueError, match="row 1 has 3 at level 1, whose codes are 0 to 2"):
        search.decode([[0, 0], [0, 3]])
    with pytest.raises(ValueError, match=r"expected integers of shape \(n, 2\)"):
        search.decode([[0, 0, 0]])


# --- the best codes


@given(seed=SEEDS, shapes=FEW_CODES, m=st.integers(1, 40))
def test_candidates_are_the_exact_best_of_all_codes(seed, shapes, m):
    rng = np.random.default_rng(seed)
    books = random_books(rng, shapes)
    search = whole(books)
    x = rng.normal(size=(4, search.width)).astype(np.float32)
    codes, errors = search.best_codes(x, m)
    assert codes.dtype == np.int32
    assert codes.shape == (4, min(m, math.prod(k for k, _ in shapes)), len(shapes))
    for row in range(4):
        expected, their_errors = best(books, x[row], m)
        assert codes[row].tolist() == [list(code) for code in expected]
        assert np.allclose(errors[row], their_errors, rtol=1e-12, atol=1e-14)


@given(seed=SEEDS, shapes=FEW_CODES, m=st.integers(1, 700))
def test_equal_errors_are_sorted_by_code(seed, shapes, m):
    # On a small grid all arithmetic is exact, repeated entries and equal sums are everywhere.
    rng = np.random.default_rng(seed)
    books = [rng.integers(-1, 2, size=shape).astype(np.float32) for shape in shapes]
    search = whole(books)
    x = rng.integers(-2, 3, size=(3, search.width)).astype(np.float32)
    codes, errors = search.best_codes(x, m)
    for row in range(3):
        expected, their_errors = best(books, x[row], m)
        assert codes[row].tolist() == [list(code) for code in expected]
        assert errors[row].tolist() == their_errors


@settings(max_examples=10)
@given(seed=SEEDS, m=st.sampled_from([1, 2, 31, 300]))
def test_the_first_candidate_is_the_code_and_errors_agree_bit_for_bit(seed, m):
    rng = np.random.default_rng(seed)
    search = whole(random_books(rng, [(30, 3)] * 16))
    x = rng.normal(size=(5, 48)).astype(np.float32)
    codes, errors = search.best_codes(x, m)
    assert np.array_equal(codes[:, 0], search.nearest_codes(x))
    for place in range(m):
        assert np.array_equal(search.errors(x, codes[:, place])[:, -1], errors[:, place])
    assert all(len(np.unique(row, axis=0)) == m for row in codes)


def test_the_best_of_many_slots_are_those_that_a_heap_finds():
    # Best first over the slots' sorted lists: another algorithm, for more codes than can be listed.
    import heapq

    rng = np.random.default_rng(3)
    books = random_books(rng, [(8, 2)] * 32)
    x = rng.normal(size=(64,)).astype(np.float32)
    distances = slot_distances(books, x)
    lists = [sorted((d, entry) for entry, d in enumerate(slot)) for slot in distances]
    start = (0,) * 32
    heap, seen, found = [(sum(one[0][0] for one in lists), start)], {start}, []
    while len(found) < 60:
        _, places = heapq.heappop(heap)
        found.append([lists[slot][place][1] for slot, place in enumerate(places)])
        for slot in range(32):
            after = (*places[:slot], places[slot] + 1, *places[slot + 1 :])
            if after[slot] < 8 and after not in seen:
                seen.add(after)
                heapq.heappush(heap, (sum(one[p][0] for one, p in zip(lists, after)), after))  # noqa: B905
    assert whole(books).best_codes(x[None], 60)[0][0].tolist() == found
