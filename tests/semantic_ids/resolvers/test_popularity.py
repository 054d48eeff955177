"""Popularity: the rank by counts within a content code."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import CollisionError
from semantic_ids.resolvers.popularity import Popularity


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60), kinds=st.sampled_from([1, 3, 100]))
def test_the_most_popular_comes_first_and_ties_go_by_id(seed, n, kinds):
    rng = np.random.default_rng(seed)
    codes = rng.integers(3, size=(n, 2)).astype(np.int32)
    ids, counts = rng.permutation(n) - n // 2, rng.integers(kinds, size=n) / 2
    unique = Popularity().resolve(codes, ids, (3, 3), priority=counts)
    buckets = defaultdict(list)
    for row in range(n):
        buckets[tuple(codes[row].tolist())].append(row)
    for code, rows in buckets.items():
        rows.sort(key=lambda row: (-counts[row], ids[row]))
        for rank, row in enumerate(rows):
            assert unique[row].tolist() == [*code, rank]


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float32, bool])
def test_counts_of_any_number_type(dtype):
    codes = np.zeros((3, 1), dtype=np.int32)
    counts = np.array([0, 1, 0], dtype=dtype)
    unique = Popularity().resolve(codes, np.arange(3), (1,), priority=counts)
    assert unique[:, 1].tolist() == [1, 0, 2]


def test_it_needs_priority():
    with pytest.raises(TypeError, match="Popularity needs priority, one count an item"):
        Popularity().resolve(np.zeros((2, 1), dtype=np.int32), np.arange(2), (1,))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros(3), r"priority: 2 items, got counts of shape \(3,\)"),
        (np.zeros((2, 1)), r"got counts of shape \(2, 1\)"),
        (np.array([1, np.nan]), r"1 items have NaN \(first: row 1\)"),
    ],
)
def test_counts_that_do_not_fit_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        Popularity().resolve(np.zeros((2, 1), dtype=np.int32), np.arange(2), (1,), priority=counts)


def test_a_bucket_larger_than_the_position_is_refused():
    codes = np.zeros((3, 1), dtype=np.int32)
    with pytest.raises(CollisionError, match="max_suffix=2: 3 items share one content code"):
        Popularity(max_suffix=2).resolve(codes, np.arange(3), (1,), priority=np.zeros(3))


def test_ranks_of_earlier_items_stay():
    codes, taken = np.zeros((2, 1), dtype=np.int32), np.array([[0, 0], [0, 1]])
    later = Popularity().resolve(codes, np.arange(2), (1,), priority=[5, 900], taken=taken)
    assert later[:, 1].tolist() == [3, 2]
