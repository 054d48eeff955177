"""Ranked lists against sorting everything."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.quantizers import ranked as module
from semantic_ids.quantizers.ranked import Ranked

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(0, 12)


def random_list(rng, n, count, levels):
    """Distinct codes with errors on a small grid, so that many are equal, and sums are exact."""
    every = np.array(list(itertools.product(range(4), repeat=levels)), dtype=np.int32)
    codes = np.stack([every[rng.permutation(len(every))[:count]] for _ in range(n)])
    return Ranked.of(codes, rng.integers(0, 5, size=(n, count)) / 4, count)


def naive(rows, m):
    """The first m of (error, code) pairs, row by row."""
    return [sorted(row)[:m] for row in rows]


def pairs(ranked):
    return [
        [(error, tuple(code)) for error, code in zip(errors, codes, strict=True)]
        for errors, codes in zip(ranked.errors.tolist(), ranked.codes.tolist(), strict=True)
    ]


@given(seed=SEEDS, n=st.integers(1, 5), first=COUNTS, second=COUNTS, m=st.integers(1, 160))
def test_the_best_sums_are_the_best_of_all_sums(seed, n, first, second, m):
    rng = np.random.default_rng(seed)
    left, right = random_list(rng, n, first, 2), random_list(rng, n, second, 2)
    expected = [
        [(a + b, c + d) for (a, c), (b, d) in itertools.product(x, y)]
        for x, y in zip(pairs(left), pairs(right), strict=True)
    ]
    found = left.beside(right, m)
    assert found.codes.dtype == np.int32
    assert found.count == min(m, first * second)
    assert pairs(found) == naive(expected, m)


@given(seed=SEEDS, n=st.integers(1, 5), first=COUNTS, second=COUNTS, m=st.integers(1, 30))
def test_two_lists_are_merged_by_error_and_code(seed, n, first, second, m):
    rng = np.random.default_rng(seed)
    whole = random_list(rng, n, first + second, 3)
    some = rng.permutation(first + second)
    left, right = (
        Ranked.of(whole.codes[:, part], whole.errors[:, part], 99)
        for part in (some[:first], some[first:])
    )
    assert pairs(left.merged(right, m)) == naive(pairs(whole), m)
    assert pairs(left.followed_by(right)) == [
        a + b for a, b in zip(pairs(left), pairs(right), strict=True)
    ]


def test_the_size_of_the_work_blocks_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    left, right = random_list(rng, 50, 12, 2), random_list(rng, 50, 12, 2)
    expected = pairs(left.beside(right, 20))
    monkeypatch.setattr(module, "_BLOCK_PAIRS", 100)
    assert pairs(left.beside(right, 20)) == expected
