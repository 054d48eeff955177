"""Coordinate passes and joint codebooks against direct sums in float64 and exact solutions."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids import RQKMeans
from semantic_ids.quantizers import beam as module
from semantic_ids.quantizers.beam import BeamSearch
from semantic_ids.quantizers.joint import least_squares, refine_codebooks

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def random_books(rng, sizes, width):
    return [rng.normal(size=(size, width)).astype(np.float32) for size in sizes]


def grid_books(rng, sizes, width):
    """On a small grid all arithmetic is exact, and ties and repeated entries are everywhere."""
    return [rng.integers(-2, 3, size=(size, width)).astype(np.float32) for size in sizes]


SEARCHES = {
    "seed": SEEDS,
    "sizes": SIZES,
    "width": st.integers(1, 8),
    "m": st.integers(1, 12),
    "books_of": st.sampled_from([random_books, grid_books]),
}


def error_of(books, row, code):
    total = sum(book[entry].astype(np.float64) for book, entry in zip(books, code, strict=True))
    return ((row.astype(np.float64) - total) ** 2).sum()


def naive_beam(books, row, m):
    """Extend the m best prefixes by all entries, level by level; the first of equal ones."""
    kept = [()]
    for level, book in enumerate(books):
        longer = [(*prefix, entry) for prefix in kept for entry in range(len(book))]
        kept = sorted(longer, key=lambda code: error_of(books[: level + 1], row, code))[:m]
    return kept


def naive_passes(books, row, kept, passes):
    """Of all codes that differ from a kept one in one level keep the best, level by level."""
    for _ in range(passes):
        best = kept[0]
        for level, book in enumerate(books):
            found, seen = [], set()
            for code in kept:
                rest = code[:level] + code[level + 1 :]
                if rest not in seen:
                    seen.add(rest)
                    found += [(*code[:level], e, *code[level + 1 :]) for e in range(len(book))]
            kept = sorted(found, key=lambda code: error_of(books, row, code))[: len(kept)]
        if kept[0] == best:
            break
    return kept


@settings(max_examples=60)
@given(**SEARCHES, passes=st.integers(1, 3))
def test_passes_keep_the_best_of_all_changes_of_one_level(seed, sizes, width, m, passes, books_of):
    rng = np.random.default_rng(seed)
    books = books_of(rng, sizes, width)
    scale = 1 if books_of is random_books else 2
    x = np.round(rng.normal(size=(4, width)) * 8) / 2 / scale
    x = x.astype(np.float32) if books_of is grid_books else rng.normal(size=(4, width)).astype("f4")
    codes, errors = BeamSearch(books).best(x, m, passes=passes)
    for row, found, error in zip(x, codes, errors, strict=True):
        kept = naive_passes(books, row, naive_beam(books, row, m), passes)
        kept = sorted(kept, key=lambda code: (error_of(books, row, code), code))
        assert [tuple(code) for code in found.tolist()] == kept
        expected = [error_of(books, row, code) for code in kept]
        assert np.allclose(error, expected, rtol=1e-12, atol=1e-12)


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 8), m=st.integers(1, 6))
def test_more_passes_never_raise_the_error(seed, sizes, width, m):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    x = rng.normal(size=(20, width)).astype(np.float32)
    best = [BeamSearch(books).best(x, m, passes=passes)[1][:, 0] for passes in range(4)]
    # Codes are compared after rounding to some 20 bits.
    assert all((after <= before + 1e-5).all() for before, after in itertools.pairwise(best))


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 8))
def test_after_enough_passes_no_single_entry_can_be_bettered(seed, sizes, width):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    x = rng.normal(size=(5, width)).astype(np.float32)
    start = np.stack([rng.integers(size, size=5) for size in sizes], axis=1).astype(np.int32)
    codes = BeamSearch(books).improve(x, start, passes=100)
    for row, code in zip(x, codes.tolist(), strict=True):
        for level, book in enumerate(books):
            changed = [[*code[:level], entry, *code[level + 1 :]] for entry in range(len(book))]
            assert (
                error_of(books, row, code)
                <= min(error_of(books, row, other) for other in changed) + 1e-5
            )


@given(seed=SEEDS, sizes=SIZES, m=st.integers(1, 9), n=st.integers(2, 30))
def test_a_row_has_its_code_in_any_company(seed, sizes, m, n):
    rng = np.random.default_rng(seed)
    search = BeamSearch(random_books(rng, sizes, 24))
    x = rng.normal(size=(n, 24)).astype(np.float32)
    x[n // 2 :] = x[: n - n // 2]
    codes, errors = search.best(x, m, passes=3)
    order = rng.permutation(n)
    again = search.best(x[order], m, passes=3)
    assert np.array_equal(again[0], codes[order])
    assert np.array_equal(again[1], errors[order])
    alone = [search.best(row[None], m, passes=3)[0] for row in x]
    assert np.array_equal(np.concatenate(alone), codes)


@settings(max_examples=60)
@given(**SEARCHES, passes=st.integers(0, 2), exponent=st.integers(-60, 60))
def test_the_first_code_alone_is_the_best_of_all(seed, sizes, width, m, passes, books_of, exponent):
    rng = np.random.default_rng(seed)
    scale = np.float32(2.0**exponent)
    books = [scale * book for book in books_of(rng, sizes, width)]
    x = scale * books_of(rng, (30,), width)[0]
    search = BeamSearch(books)
    best = search.best(x, m, passes=passes)[0][:, 0]
    assert np.array_equal(search.first(x, m, passes=passes), best)


def test_of_codes_closer_than_rounding_the_first_is_the_one_of_least_error():
    """Scores are of some 20 bits: entries that differ in the last ones look alike to them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 16)).astype(np.float32)
    one = rng.normal(size=(4, 16)).astype(np.float32)
    books = [np.concatenate([one * np.float32(1 + k * 2.0**-23) for k in range(6)])]
    found = BeamSearch(books).first(x, 24)[:, 0]
    errors = ((x[:, None].astype(np.float64) - books[0]) ** 2).sum(axis=2)
    assert np.array_equal(found, errors.argmin(axis=1))
    narrow = BeamSearch(books)
    scores = narrow._half_norms - x @ narrow._rounded.T
    assert (scores.argmin(axis=1) != found).mean() > 0.05  # scores alone would not do


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 40), exponent=st.integers(-30, 30))
def test_scores_are_within_their_bounds_of_errors(seed, sizes, width, exponent):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    x = (2.0**exponent * rng.normal(size=(20, width))).astype(np.float32)
    codes = np.stack([rng.integers(size, size=20) for size in sizes], axis=1).astype(np.int32)
    check_bounds(books, x, codes)


@pytest.mark.parametrize("width", [1, 2, 64])
@pytest.mark.parametrize("levels", [1, 4, 32])
def test_scores_are_within_their_bounds_where_all_is_rounded_the_same_way(width, levels):
    """All numbers lie just above or below half a step, so that what is lost adds up."""
    bits = (53 - (width - 1).bit_length()) // 2
    half, little = 2.0 ** -(bits + 1), 2.0**-41
    up, down = 0.5 + half - little, 0.5 - half + little
    books = [np.full((2, width), [[up], [down]]) for _ in range(levels)]
    x = np.float32([[up], [down], [-up], [-down]]) * np.ones(width, np.float32)
    for entry in (0, 1):
        worst = check_bounds(books, x, np.full((4, levels), entry, dtype=np.int32))
        assert worst > 0.05  # as bounds of these the bounds are not idle


def check_bounds(books, x, codes):
    """Assert that scores are within their bounds of exact errors; return the largest share."""
    search = BeamSearch(books)
    ((_, wide, scores),) = search._scored(x, 1)
    total = search._partial_scores(scores, codes[:, None], list(range(len(books))))[:, 0]
    shares = []
    for row, code, found, bound in zip(x, codes, total, search._bounds(wide), strict=True):
        exact = [Fraction(float(v)) for v in row]
        square = sum(v * v for v in exact)
        for book, entry in zip(books, code, strict=True):
            exact = [v - Fraction(float(c)) for v, c in zip(exact, book[entry], strict=True)]
        wanted = (sum(v * v for v in exact) - square) / 2
        shares.append(float(abs(Fraction(float(found)) - wanted) / Fraction(float(bound))))
    assert max(shares) <= 1
    return max(shares)


def test_the_size_of_the_work_blocks_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    search = BeamSearch(random_books(rng, (16, 16, 16), 12))
    x = rng.normal(size=(200, 12)).astype(np.float32)
    codes = search.best(x, 5, passes=2)[0]
    monkeypatch.setattr(module, "_BLOCK_VALUES", 300)
    monkeypatch.setattr(module, "_CACHED_VALUES", 300)
    assert np.array_equal(search.best(x, 5, passes=2)[0], codes)


# --- joint codebooks


def squared_error(books, x, codes):
    return ((x - sum(book[codes[:, i]] for i, book in enumerate(books))) ** 2).sum()


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 4))
def test_repeated_solving_reaches_the_least_squares_solution(seed, sizes, width):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, width))
    codes = np.stack([rng.permutation(60) % size for size in sizes], axis=1).astype(np.int32)
    books = [np.zeros((size, width)) for size in sizes]
    for _ in range(60):
        books = least_squares(x, books, codes)
    design = np.concatenate(
        [np.eye(size)[codes[:, level]] for level, size in enumerate(sizes)], axis=1
    )
    exact = np.linalg.lstsq(design, x, rcond=None)[0]
    assert np.isclose(squared_error(books, x, codes), ((x - design @ exact) ** 2).sum())


@given(seed=SEEDS, sizes=SIZES)
def test_solving_never_raises_the_error_and_leaves_its_input(seed, sizes):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 3))
    books = random_books(rng, sizes, 3)
    before = [book.copy() for book in books]
    codes = np.stack([rng.integers(size, size=30) for size in sizes], axis=1).astype(np.int32)
    solved = least_squares(x, books, codes)
    assert squared_error(solved, x, codes) <= squared_error(books, x, codes) + 1e-9
    assert all(np.array_equal(a, b) for a, b in zip(books, before, strict=True))


def test_entries_without_rows_take_the_worst_rows():
    x = np.array([[0.0], [0.0], [0.1], [7.0], [-5.0]])
    codes = np.zeros((5, 2), dtype=np.int32)
    books = least_squares(x, [np.zeros((2, 1)), np.zeros((2, 1))], codes)
    sums = [(books[0][1] + books[1][0]).item(), (books[0][0] + books[1][1]).item()]
    assert np.allclose(sums, [7, -5])


def clustered(n=600, width=12, seed=0):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(10, width)) * 0.7**level for level in range(3)]
    x = sum(part[rng.integers(10, size=n)] for part in parts)
    return (x + 0.2 * rng.normal(size=(n, width))).astype(np.float32)


def test_joint_codebooks_have_a_much_smaller_error():
    x = clustered()
    plain = RQKMeans(levels=3, codebook_size=16).fit(x)
    fine = RQKMeans.fine(levels=3, codebook_size=16).fit(x)
    beam = RQKMeans(levels=3, codebook_size=16, beam=8).fit(x)
    errors = [f.errors(x, f.encode(x))[:, -1].sum() for f in (plain, beam, fine)]
    assert errors[1] < errors[0]
    assert errors[2] < 0.85 * errors[0]


def test_a_fine_code_is_the_first_candidate():
    x = clustered()
    fine = RQKMeans.fine(levels=3, codebook_size=16, refine=4).fit(x)
    codes = fine.encode(x)
    for m in (1, 3, 8):
        assert np.array_equal(fine.candidates(x, m)[0][:, 0], codes)


def test_refining_repeats_and_its_noise_has_a_seed():
    x = clustered(200)
    start = RQKMeans(levels=2, codebook_size=8).fit(x).codebooks
    first, again, other = (
        refine_codebooks(x, start, rounds=6, beam=2, passes=2, seed=seed, progress=False)
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "goal"), [("amazon18_scientific", 0.290), ("amazon14_beauty", 0.315)]
)
def test_the_fine_preset_reaches_its_goals_on_real_vectors(data_folder, name, goal):
    from semantic_ids import Concat, Features

    features = Features(np.load(data_folder / name / "text_emb.npy"))
    x = Concat().fit(features).transform(features).matrix
    gaps = x - x.mean(axis=0, dtype=np.float64)
    for seed in range(3):
        fitted = RQKMeans.fine(seed=seed).fit(x, progress=False)
        assert fitted.errors(x, fitted.encode(x))[:, -1].sum() / (gaps**2).sum() <= goal
