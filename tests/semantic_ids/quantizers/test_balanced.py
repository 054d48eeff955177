"""Balanced k-means: its limit, its assignment, and what it costs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from semantic_ids import RQKMeans
from semantic_ids.quantizers import balanced as module
from semantic_ids.quantizers.balanced import assign, balanced_kmeans, balancing_prices


def naive_assign(costs, limit):
    """All rows without a column ask for the cheapest with room, which takes the cheapest rows."""
    owner, room = np.full(len(costs), -1), np.full(costs.shape[1], limit)
    while (owner < 0).any():
        asking = {}
        for row in np.flatnonzero(owner < 0):
            column = min(np.flatnonzero(room > 0), key=lambda c: (costs[row, c], c))
            asking.setdefault(column, []).append(row)
        for column, rows in asking.items():
            rows.sort(key=lambda row: (costs[row, column], row))
            owner[rows[: room[column]]] = column
            room[column] -= len(rows[: room[column]])
    return owner


@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60), size=st.integers(1, 9), ties=st.booleans()
)
def test_rows_are_assigned_as_by_the_naive_loop(seed, n, size, ties):
    rng = np.random.default_rng(seed)
    costs = rng.integers(4, size=(n, size)).astype(float) if ties else rng.random((n, size))
    limit = math.ceil(n / size)
    owner = assign(costs, limit)
    assert np.array_equal(owner, naive_assign(costs, limit))
    assert np.bincount(owner, minlength=size).max() <= limit


def lopsided(n=400, seed=0):
    """Half of the points in one place, the others far spread."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[: n // 2] = 5 + 0.1 * x[: n // 2]
    return x.astype(np.float32)


def squared_distances(x, centroids):
    return ((x[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)


def test_prices_bring_the_assignment_near_to_the_best_one():
    x = lopsided(120)
    centroids = x[::15].copy()  # 8 centroids for 120 points
    costs = squared_distances(x, centroids).astype(np.float32)
    rows, columns = linear_sum_assignment(np.repeat(costs, 15, axis=1))
    best = costs[rows, columns // 15].sum()
    prices = np.zeros(8, dtype=np.float32)
    for _ in range(25):
        prices = balancing_prices(costs, prices)
    priced = costs[np.arange(120), assign(costs + prices, 15)].sum()
    plain = costs[np.arange(120), assign(costs, 15)].sum()
    assert best <= priced * 1.0001
    assert priced <= 1.1 * best
    assert priced < plain


def test_no_centroid_trains_on_more_than_its_share(monkeypatch):
    seen = []

    def recorded(costs, limit):
        owner = assign(costs, limit)
        seen.append(np.bincount(owner, minlength=costs.shape[1]))
        return owner

    monkeypatch.setattr(module, "assign", recorded)
    x = lopsided(403)
    centroids = balanced_kmeans(x, 10, iterations=6, seed=0)
    assert centroids.shape == (10, 4)
    assert len(seen) == 6
    assert max(counts.max() for counts in seen) <= 41


def test_codes_are_used_more_evenly_at_a_larger_error():
    x = lopsided()
    plain, balanced = (
        RQKMeans(levels=1, codebook_size=10, balanced=flag).fit(x) for flag in (False, True)
    )
    largest = [np.bincount(f.encode(x)[:, 0]).max() for f in (plain, balanced)]
    errors = [f.errors(x, f.encode(x)).sum() for f in (plain, balanced)]
    assert largest[1] < 0.7 * largest[0]
    assert errors[1] > errors[0]


@pytest.mark.parametrize("n", [10, 50])
def test_points_that_are_all_the_same(n):
    centroids = balanced_kmeans(np.full((n, 3), 0.1, dtype=np.float32), 10, iterations=3, seed=0)
    assert np.allclose(centroids, 0.1, atol=1e-3)


def test_refining_would_undo_the_balance():
    with pytest.raises(ValueError, match=r"balanced: refine=3"):
        RQKMeans(balanced=True, refine=3)
