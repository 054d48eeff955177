"""The fast searches against direct differences in float64 and against all codes."""

import itertools
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from semantic_ids.quantizers import beam, residual, screening
from semantic_ids.quantizers.residual import ResidualCodebooks, least, least_but
from semantic_ids.quantizers.rounding import norm_bounds
from semantic_ids.quantizers.screening import BFloat16, Float32, Rounded, bfloat16_pays

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=4).map(tuple)


def random_books(rng, sizes, width):
    """Codebooks that get finer level by level, as fitted ones do."""
    return [
        (rng.normal(size=(size, width)) * 0.5**level).astype(np.float32)
        for level, size in enumerate(sizes)
    ]


def all_codes(sizes):
    return np.array(list(itertools.product(*map(range, sizes))))


def direct_errors(books, x, codes):
    """Squared distances (n, m) in float64 of rows to the sums of entries."""
    sums = sum(book.astype(np.float64)[codes[..., level]] for level, book in enumerate(books))
    return ((x.astype(np.float64)[:, None] - sums) ** 2).sum(axis=-1)


# --- the greedy search


def rounded(books):
    return Rounded(books, Float32(books).half_norms)


SCREENINGS = {
    "float32": lambda books: lambda rows: Float32(books),
    "bfloat16": lambda books: lambda rows: BFloat16(rounded(books), rows),
}


@pytest.fixture(params=[*SCREENINGS, "device"], scope="module")
def greedy(request):
    """The greedy codes of rows, found by way of products in either precision, or on a device."""

    def codes(books, x):
        if request.param == "device":
            return ResidualCodebooks(books)._codes_on(torch.device("cpu"), x)
        return ResidualCodebooks(books).greedy_codes(x, SCREENINGS[request.param](books))

    return codes


@given(
    seed=SEEDS,
    n=st.integers(1, 40),
    width=st.integers(1, 40),
    sizes=SIZES,
    exponent=st.integers(-24, 15),
    offset=st.sampled_from([0, 1, 1000]),
)
def test_codes_are_nearest_level_by_level(
    brute_force, greedy, seed, n, width, sizes, exponent, offset
):
    rng = np.random.default_rng(seed)
    scale = np.float32(10.0**exponent)
    books = [book * scale for book in random_books(rng, sizes, width)]
    books[0] += scale * np.float32(offset)
    x = (offset + rng.normal(size=(n, width)).astype(np.float32)) * scale
    codes = greedy(books, x)
    assert codes.dtype == np.int32
    assert np.array_equal(codes, brute_force(books, x))


@given(seed=SEEDS, n=st.integers(1, 40), width=st.integers(1, 4), sizes=SIZES)
def test_of_equally_near_entries_the_first_is_chosen(brute_force, greedy, seed, n, width, sizes):
    # On a small grid all arithmetic is exact, and ties and repeated entries are everywhere.
    rng = np.random.default_rng(seed)
    books = [rng.integers(-2, 3, size=(size, width)).astype(np.float32) for size in sizes]
    x = rng.integers(-4, 5, size=(n, width)).astype(np.float32) / 2
    assert np.array_equal(greedy(books, x), brute_force(books, x))


@given(seed=SEEDS, width=st.integers(1, 64), ulps=st.integers(1, 3))
def test_entries_a_rounding_apart_are_told_apart(brute_force, greedy, seed, width, ulps):
    rng = np.random.default_rng(seed)
    books = []
    for book in random_books(rng, (6, 6, 6), width):
        near = book.copy()
        for _ in range(ulps):
            near = np.nextafter(near, rng.choice([-9, 9], size=near.shape).astype(np.float32))
        books.append(np.concatenate([near, book, near[::-1]])[rng.permutation(18)])
    x = rng.normal(size=(60, width)).astype(np.float32)
    assert np.array_equal(greedy(books, x), brute_force(books, x))


def test_levels_of_very_different_length(brute_force, greedy):
    rng = np.random.default_rng(0)
    # Spread as far as float64 can tell a distance with an entry from one without.
    books = [rng.normal(size=(16, 8)) * 10.0**e for e in (6, -1, 3, -2)]
    books = [book.astype(np.float32) for book in books]
    x = (rng.normal(size=(300, 8)) * 1e6).astype(np.float32)
    assert np.array_equal(greedy(books, x), brute_force(books, x))


def test_a_repeated_entry_is_never_the_later_one(greedy):
    book = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    codes = greedy([np.tile(book, (4, 1))], book)
    assert codes[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_codebook_of_one_vector_repeated(greedy):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    codes = greedy([np.full((7, 3), 0.1, dtype=np.float32)], x)
    assert (codes == 0).all()


def test_what_bfloat16_rounds_most_is_decided_rightly(brute_force, greedy):
    """All numbers lie halfway between two of bfloat16, which so mistakes the nearest entry."""
    rng = np.random.default_rng(0)

    def halfway(*shape):
        signs, steps = rng.choice([-1, 1], shape), 2 * rng.integers(0, 128, shape) + 1
        return (signs * (1 + steps / 256)).astype(np.float32)

    book = halfway(32, 16)
    twins = book.copy()  # each another's, but for one number, by what bfloat16 takes for a step
    twins[:, 0] += rng.choice([-1, 1], 32).astype(np.float32) / 128
    books, x = [np.concatenate([book, twins]), halfway(64, 16) / 4], halfway(2000, 16)
    expected = brute_force(books, x)
    assert np.array_equal(greedy(books, x), expected)
    rounded = [torch.from_numpy(part).bfloat16().float().numpy() for part in (x, books[0])]
    assert (brute_force([rounded[1]], rounded[0])[:, 0] != expected[:, 0]).sum() > 100


def check_bounds(book, x):
    """What is written and allowed for is on the right side of the score, by numbers in float64."""
    search, screen = ResidualCodebooks([book]), BFloat16(rounded([book]), len(x))
    written = np.empty((len(x), len(book)), dtype=np.float32)
    screen.score(0, x, written)
    best = written.argmin(axis=1)
    limits = screen.limits(0, written.min(axis=1), best, search._rounding_bounds(x)[:, 0])
    wide = book.astype(np.float64)
    true = (wide**2).sum(axis=1) / 2 - x.astype(np.float64) @ wide.T
    assert (true[np.arange(len(x)), best] <= limits).all()
    surely_worse = written > limits[:, None]
    assert (true[surely_worse] > true.min(axis=1)[surely_worse.nonzero()[0]]).all()


@given(seed=SEEDS, width=st.integers(1, 40), exponent=st.integers(-12, 12))
def test_bfloat16_is_not_off_by_more_than_its_bounds(seed, width, exponent):
    rng = np.random.default_rng(seed)
    scale = np.float32(10.0**exponent)
    check_bounds(*(scale * rng.normal(size=(30, width)).astype(np.float32) for _ in range(2)))


@given(seed=SEEDS, width=st.sampled_from([256, 384, 768]), exponent=st.integers(-12, 12))
def test_errors_of_bfloat16_that_all_add_up_are_within_its_bounds(seed, width, exponent):
    """All numbers are rounded down by nearly a unit, rows point the way that entries do."""
    rng = np.random.default_rng(seed)
    down = np.float32(1 + 2.0**-8 - 2.0**-20)
    signs = rng.choice([-1, 1], width).astype(np.float32)

    def flipped(count, most):
        rows = np.tile(signs, (count, 1))
        for row in rows:
            row[rng.integers(width, size=rng.integers(most + 1))] *= -1
        return rows

    scale = np.float32(2.0**exponent)
    # Of some entries nothing is lost; scores are near zero, so that they are rounded little.
    entries = np.concatenate([down * flipped(20, 3), flipped(20, 3)])
    different = np.unique(scale * entries, axis=0)  # a repeated one is written as infinite
    check_bounds(different, scale * down / 2 * flipped(20, 2))


@given(st.lists(st.floats(-(2.0**50), 2.0**50, width=32), min_size=1, max_size=20))
def test_a_float32_is_the_sum_of_its_pieces(values):
    # What underflows in a piece is in the bounds.
    values = [value for value in values if abs(value) > 1e-25] or [0.0]
    whole = np.array([*values, np.inf], dtype=np.float32)
    pieces = screening._pieces(torch.from_numpy(whole)).double().numpy()
    assert pieces.sum(axis=0).tolist() == whole.tolist()


@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=20))
def test_bounds_are_rounded_up_and_hardly_above(values):
    bounds = np.array(values)
    raised = screening._raised(bounds).double().numpy()
    assert (raised >= bounds).all()
    assert (raised <= 1.02 * bounds).all()


def test_a_long_entry_does_not_make_all_others_look_alike(brute_force, greedy, monkeypatch):
    rng = np.random.default_rng(0)
    book = rng.normal(size=(64, 20)).astype(np.float32)
    book[7] *= 3e4
    x = np.concatenate([rng.normal(size=(500, 20)), book[7:8] + rng.normal(size=(3, 20))])
    decided = []
    decide = ResidualCodebooks._decide
    monkeypatch.setattr(
        ResidualCodebooks,
        "_decide",
        lambda self, *args: decided.append(np.count_nonzero(args[3])) or decide(self, *args),
    )
    x = x.astype(np.float32)
    search = ResidualCodebooks([book])
    np.testing.assert_array_equal(search.greedy_codes(x), brute_force([book], x))
    assert sum(decided) < 2 * len(x)  # of 64 pairs a row
    np.testing.assert_array_equal(greedy([book], x), brute_force([book], x))


def test_what_overflows_is_not_taken_for_sure(brute_force, greedy):
    """All numbers are in range, but squares of residuals leave float32."""
    c = np.float32(4.5e18)
    books = [np.array([[-c, 0], [-c, 0], [-c, 1e18]], dtype=np.float32)] * 9
    x = np.array([[c, 0]], dtype=np.float32)
    assert np.array_equal(greedy(books, x), brute_force(books, x))


def test_entries_that_are_much_alike_are_screened_in_float32(brute_force, monkeypatch):
    """Far from the origin a coarse product tells hardly any entry from another."""
    rng = np.random.default_rng(0)
    books = [100 + rng.normal(size=(32, 8)).astype(np.float32)]
    x = 100 + rng.normal(size=(3000, 8)).astype(np.float32)
    monkeypatch.setattr(residual, "_CACHED_VALUES", 10_000)
    taken = []
    real = BFloat16.score
    monkeypatch.setattr(BFloat16, "score", lambda *args: (taken.append(1), real(*args))[1])
    search = ResidualCodebooks(books)
    assert np.array_equal(
        search.greedy_codes(x, SCREENINGS["bfloat16"](books)), brute_force(books, x)
    )
    assert len(taken) == 1


def test_rows_may_be_read_only_and_in_any_order(greedy):
    rng = np.random.default_rng(0)
    books, x = random_books(rng, (8, 8), 6), rng.normal(size=(40, 6)).astype(np.float32)
    codes = greedy(books, x)
    x.setflags(write=False)
    assert np.array_equal(greedy(books, x), codes)
    assert np.array_equal(greedy(books, x[::-1]), codes[::-1])


def test_bfloat16_is_for_much_work_alone(monkeypatch):
    monkeypatch.setattr(screening, "has_bfloat16", lambda: True)
    assert bfloat16_pays(5000, 256, 0.0)
    assert not bfloat16_pays(50, 256, 1e15)
    assert not bfloat16_pays(5000, 16, 1e15)
    # Torch is imported for much work alone.
    monkeypatch.setattr(screening, "sys", SimpleNamespace(modules={}))
    assert not bfloat16_pays(5000, 256, 1e9)
    assert bfloat16_pays(5000, 256, 1e12)
    monkeypatch.setattr(screening, "has_bfloat16", lambda: False)
    assert not bfloat16_pays(5000, 256, 1e12)


def test_many_rows_get_the_same_codes_by_default(brute_force):
    """Piece by piece and at once, whichever screening is taken here."""
    rng = np.random.default_rng(0)
    books, x = random_books(rng, (16, 16), 256), rng.normal(size=(1500, 256)).astype(np.float32)
    search, expected = ResidualCodebooks(books), brute_force(books, x)
    assert np.array_equal(search.greedy_codes(x), expected)
    assert np.array_equal(search.greedy_codes(x[:100]), expected[:100])
    assert np.array_equal(search.greedy_codes(x), expected)


@given(seed=SEEDS, sizes=SIZES, n=st.integers(2, 60))
def test_a_row_has_its_code_in_any_company(seed, sizes, n):
    rng = np.random.default_rng(seed)
    search = ResidualCodebooks(random_books(rng, sizes, 24))
    x = rng.normal(size=(n, 24)).astype(np.float32)
    x[n // 2 :] = x[: n - n // 2] + rng.choice([0, 1e-7], size=(n - n // 2, 1)).astype(np.float32)
    codes = search.greedy_codes(x)
    order = rng.permutation(n)
    assert np.array_equal(search.greedy_codes(x[order]), codes[order])
    assert np.array_equal(np.concatenate([search.greedy_codes(row[None]) for row in x]), codes)


def test_the_size_of_the_work_blocks_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    search = ResidualCodebooks(random_books(rng, (16, 16), 12))
    x = rng.normal(size=(200, 12)).astype(np.float32)
    codes, (best, errors) = search.greedy_codes(x), search.beam_codes(x, 10)
    monkeypatch.setattr(residual, "_CACHED_VALUES", 300)
    monkeypatch.setattr(residual, "_LEAST_ROWS", 1)
    monkeypatch.setattr(beam, "_BLOCK_VALUES", 300)
    assert np.array_equal(search.greedy_codes(x), codes)
    assert np.array_equal(search.beam_codes(x, 10)[0], best)
    assert np.array_equal(search.beam_codes(x, 10)[1], errors)


def test_the_rows_are_left_as_they_were():
    rng = np.random.default_rng(0)
    search = ResidualCodebooks(random_books(rng, (8, 8), 4))
    x = rng.normal(size=(30, 4)).astype(np.float32)
    before = x.copy()
    search.greedy_codes(x)
    search.beam_codes(x, 5)
    search.errors(x, search.greedy_codes(x))
    assert np.array_equal(x, before)


@given(seed=SEEDS, n=st.integers(1, 20), width=st.integers(1, 40), few=st.booleans())
def test_the_two_least_are_those_of_sorting(seed, n, width, few):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4 if few else 10**6, size=(n, width)).astype(np.float32)
    before = scores.copy()
    best = least(scores)
    others = least_but(scores, best)
    order = np.argsort(before, axis=1, kind="stable")
    ordered = np.append(np.sort(before, axis=1), np.full((n, 1), np.inf), axis=1)
    assert np.array_equal(best, order[:, 0] + np.arange(n) * width)
    assert np.array_equal(others, ordered[:, 1])
    assert np.array_equal(scores, before)


@given(seed=SEEDS, width=st.integers(1, 5000), exponent=st.integers(-30, 15))
def test_norms_are_bounded_and_closely(seed, width, exponent):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(5, width)) * 10.0**exponent).astype(np.float32)
    norms = np.linalg.norm(x.astype(np.float64), axis=1)
    bounds = norm_bounds(x)
    assert (bounds >= norms).all()
    # What underflows in float32 may be missing from the sum, and is added back in full.
    assert (bounds <= 1.001 * norms + 1.001 * np.sqrt(width * 2.0**-126)).all()


# --- decoding and errors


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 8), n=st.integers(1, 20))
def test_decoding_sums_the_entries(seed, sizes, width, n):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    codes = np.stack([rng.integers(size, size=n) for size in sizes], axis=1)
    for levels in range(1, len(sizes) + 1):
        decoded = ResidualCodebooks(books).decode(codes[:, :levels])
        expected = sum(
            book.astype(np.float64)[codes[:, i]] for i, book in enumerate(books[:levels])
        )
        assert decoded.dtype == np.float32
        assert np.array_equal(decoded, expected.astype(np.float32))


def test_codes_out_of_range_are_not_decoded():
    search = ResidualCodebooks(random_books(np.random.default_rng(0), (4, 3), 2))
    with pytest.raises(ValueError, match="row 1 has 3 at level 1, whose codes are 0 to 2"):
        search.decode([[0, 0], [0, 3]])


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 30), n=st.integers(1, 20))
def test_errors_are_squared_distances_after_each_level(seed, sizes, width, n):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    x = rng.normal(size=(n, width)).astype(np.float32)
    codes = np.stack([rng.integers(size, size=n) for size in sizes], axis=1)
    errors = ResidualCodebooks(books).errors(x, codes)
    for level in range(len(sizes)):
        expected = direct_errors(books[: level + 1], x, codes[:, None, : level + 1])[:, 0]
        assert np.allclose(errors[:, level], expected, rtol=1e-12, atol=1e-12)


# --- the beam


@given(
    seed=SEEDS,
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    width=st.integers(1, 12),
    n=st.integers(1, 10),
    more=st.integers(0, 3),
)
def test_a_beam_as_wide_as_all_codes_sorts_them_all(seed, sizes, width, n, more):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    x = rng.normal(size=(n, width)).astype(np.float32)
    every = all_codes(sizes)
    codes, errors = ResidualCodebooks(books).beam_codes(x, len(every) + more)
    expected = direct_errors(books, x, np.broadcast_to(every, (n, *every.shape)))
    order = np.argsort(expected, axis=1, kind="stable")
    assert codes.dtype == np.int32
    assert np.array_equal(codes, every[order])
    assert np.allclose(errors, np.take_along_axis(expected, order, axis=1), rtol=1e-12, atol=1e-14)


@given(seed=SEEDS, sizes=st.sampled_from([(3,), (4, 3), (2, 3, 4)]), width=st.integers(1, 3))
def test_equal_errors_are_sorted_by_code(seed, sizes, width):
    # A grid of few points: exact arithmetic, repeated entries, many codes with one error.
    rng = np.random.default_rng(seed)
    books = [rng.integers(-1, 2, size=(size, width)).astype(np.float32) for size in sizes]
    x = rng.integers(-2, 3, size=(6, width)).astype(np.float32)
    every = all_codes(sizes)
    codes, errors = ResidualCodebooks(books).beam_codes(x, len(every))
    expected = direct_errors(books, x, np.broadcast_to(every, (6, *every.shape)))
    order = np.argsort(expected, axis=1, kind="stable")
    assert np.array_equal(codes, every[order])
    assert np.array_equal(errors, np.take_along_axis(expected, order, axis=1))


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 16), m=st.integers(1, 40))
def test_candidates_are_distinct_sorted_and_carry_their_errors(seed, sizes, width, m):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    x = rng.normal(size=(8, width)).astype(np.float32)
    codes, errors = ResidualCodebooks(books).beam_codes(x, m)
    assert codes.shape == (8, min(m, int(np.prod(sizes))), len(sizes))
    assert all(len(np.unique(row, axis=0)) == len(row) for row in codes)
    assert (np.diff(errors, axis=1) >= 0).all()
    assert np.allclose(errors, direct_errors(books, x, codes), rtol=1e-12, atol=1e-14)


def naive_beam(books, x, m):
    """Extend the m best prefixes of each row by all entries, level by level."""
    found = []
    for row in x:
        prefixes = np.zeros((1, 0), dtype=np.int64)
        for level, book in enumerate(books):
            entries = np.tile(np.arange(len(book)), len(prefixes))
            longer = np.column_stack([np.repeat(prefixes, len(book), axis=0), entries])
            errors = direct_errors(books[: level + 1], row[None], longer[None])[0]
            prefixes = longer[np.argsort(errors, kind="stable")[:m]]
        found.append(prefixes)
    return np.array(found)


@settings(max_examples=25)
@given(
    seed=SEEDS,
    sizes=st.sampled_from([(100,), (64, 64), (300, 20), (20, 30, 20), (5, 200, 5)]),
    m=st.sampled_from([1, 2, 7, 16, 33, 90]),
)
def test_a_beam_keeps_the_best_of_all_continuations(seed, sizes, m):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, 8)
    x = rng.normal(size=(5, 8)).astype(np.float32)
    codes = ResidualCodebooks(books).beam_codes(x, m)[0]
    assert np.array_equal(codes, naive_beam(books, x, m))


@given(seed=SEEDS, sizes=SIZES, width=st.integers(4, 24))
def test_a_beam_of_one_is_the_greedy_search(seed, sizes, width):
    rng = np.random.default_rng(seed)
    search = ResidualCodebooks(random_books(rng, sizes, width))
    x = rng.normal(size=(50, width)).astype(np.float32)
    assert np.array_equal(search.beam_codes(x, 1)[0][:, 0], search.greedy_codes(x))


@given(seed=SEEDS, sizes=SIZES, m=st.integers(1, 20), n=st.integers(2, 30))
def test_a_row_has_its_candidates_in_any_company(seed, sizes, m, n):
    rng = np.random.default_rng(seed)
    search = ResidualCodebooks(random_books(rng, sizes, 24))
    x = rng.normal(size=(n, 24)).astype(np.float32)
    codes, errors = search.beam_codes(x, m)
    order = rng.permutation(n)[: rng.integers(1, n + 1)]
    some_codes, some_errors = search.beam_codes(x[order], m)
    assert np.array_equal(some_codes, codes[order])
    assert np.array_equal(some_errors, errors[order])


@given(seed=SEEDS, width=st.integers(30, 300), m=st.integers(1, 12))
def test_a_row_has_its_candidates_in_any_company_where_codes_tie(seed, width, m):
    # With one codebook for all levels the codes (i, j) and (j, i) have one sum: which of them
    # the beam keeps must not hang on how a matrix product of many or of few rows is added up.
    rng = np.random.default_rng(seed)
    search = ResidualCodebooks(random_books(rng, (9,), width) * 3)
    x = rng.normal(size=(17, width)).astype(np.float32)
    codes = search.beam_codes(x, m)[0]
    assert np.array_equal(np.concatenate([search.beam_codes(row[None], m)[0] for row in x]), codes)


def test_candidates_do_not_depend_on_threads():
    rng = np.random.default_rng(0)
    search = ResidualCodebooks(random_books(rng, (64, 64, 64), 200))
    x = rng.normal(size=(300, 200)).astype(np.float32)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(search.beam_codes(x, 16))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def test_more_candidates_begin_as_good_as_fewer():
    rng = np.random.default_rng(0)
    search = ResidualCodebooks(random_books(rng, (16, 16, 16), 6))
    x = rng.normal(size=(100, 6)).astype(np.float32)
    greedy = search.errors(x, search.greedy_codes(x))[:, -1]
    narrow, wide = (search.beam_codes(x, m)[1] for m in (8, 512))
    assert narrow[:, 0].sum() <= greedy.sum()
    assert wide[:, :8].sum() <= narrow.sum()


def test_tables_are_kept_where_they_are_small_and_never_pickled(monkeypatch):
    rng = np.random.default_rng(0)
    search = ResidualCodebooks(random_books(rng, (20, 20), 300))
    x = rng.normal(size=(2000, 300)).astype(np.float32)
    before = len(pickle.dumps(search))
    codes = search.beam_first(x, 4)
    search.greedy_codes(x)
    assert search._beam_search() is search._beam_search()
    assert len(pickle.dumps(search)) == before
    again = pickle.loads(pickle.dumps(search))
    assert np.array_equal(again.beam_first(x, 4), codes)
    monkeypatch.setattr(residual, "_KEPT_VALUES", 100)
    assert search._beam_search() is not search._beam_search()
    assert np.array_equal(search.beam_first(x, 4), codes)
