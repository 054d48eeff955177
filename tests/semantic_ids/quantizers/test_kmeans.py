"""k-means against scikit-learn and against what defines it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans, kmeans_plusplus

from semantic_ids.quantizers import kmeans as kmeans_module
from semantic_ids.quantizers import residual
from semantic_ids.quantizers.kmeans import cluster_sums, kmeans, lloyd, spread_starts


def blobs(clusters=12, each=60, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, 6)) * 10
    return (np.repeat(centres, each, axis=0) + rng.normal(size=(clusters * each, 6))).astype("f4")


def inertia(points, centroids):
    """Sum of squared distances to the nearest centroid, by direct differences."""
    points, centroids = points.astype(np.float64), np.asarray(centroids, dtype=np.float64)
    return ((points[:, None] - centroids) ** 2).sum(axis=2).min(axis=1).sum()


def test_clusters_are_as_tight_as_those_of_scikit_learn():
    points = np.random.default_rng(3).normal(size=(800, 8)).astype(np.float32)
    ours = inertia(points, kmeans(points, 32, iterations=25, seed=0))
    theirs = KMeans(32, n_init=1, max_iter=25, random_state=0).fit(points).inertia_
    assert ours <= 1.02 * theirs


def test_well_separated_clusters_are_found():
    points = blobs()
    centroids = kmeans(points, 12, iterations=10, seed=0)
    means = points.reshape(12, 60, 6).mean(axis=1)
    distances = np.linalg.norm(means[:, None] - centroids, axis=2)
    assert sorted(distances.argmin(axis=1)) == list(range(12))
    assert distances.min(axis=1).max() < 1e-4


def test_a_centroid_is_the_mean_of_its_points_once_nothing_moves():
    points = blobs(clusters=5, seed=1)
    centroids = kmeans(points, 5, iterations=50, seed=0).astype(np.float64)
    owner = ((points[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    for index, centroid in enumerate(centroids):
        assert np.allclose(points[owner == index].mean(axis=0, dtype="f8"), centroid, atol=1e-4)


def test_equal_seeds_give_equal_centroids_and_others_do_not():
    points = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    first, again, other = (kmeans(points, 20, iterations=5, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_as_many_centroids_as_points_are_the_points():
    points = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    centroids = kmeans(points, 30, iterations=5, seed=0)
    assert np.allclose(np.sort(centroids, axis=0), np.sort(points, axis=0), atol=1e-6)


def test_points_that_are_all_the_same():
    centroids = kmeans(np.full((50, 3), 0.1, dtype=np.float32), 8, iterations=5, seed=0)
    assert centroids.shape == (8, 3)
    assert np.allclose(centroids, 0.1, atol=1e-3)


def test_one_centroid_is_the_mean():
    points = np.random.default_rng(0).normal(2, 1, size=(200, 3)).astype(np.float32)
    centroid = kmeans(points, 1, iterations=3, seed=0)
    assert np.allclose(centroid, points.mean(axis=0, dtype=np.float64), atol=1e-5)


def test_points_and_nothing_on_standard_output(capfd):
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    before = points.copy()
    kmeans(points, 30, iterations=3, seed=0)
    assert np.array_equal(points, before)
    assert capfd.readouterr() == ("", "")


def test_starts_are_points_as_well_spread_as_those_of_scikit_learn():
    points = blobs(clusters=20, each=30)
    ours, theirs = [], []
    for seed in range(10):
        starts = spread_starts(points, 20, np.random.default_rng(seed))
        assert (starts[:, None] == points).all(axis=2).any(axis=1).all()
        ours.append(inertia(points, starts))
        theirs.append(inertia(points, kmeans_plusplus(points, 20, random_state=seed)[0]))
    assert np.mean(ours) <= 1.1 * np.mean(theirs)


def naive_starts(points, size, rng):
    """Greedy k-means++ by definition: rows that were picked."""
    trials = 2 + int(np.log(size))
    distances = ((points[:, None] - points) ** 2).sum(axis=2)
    picked = [rng.integers(len(points))]
    while len(picked) < size:
        nearest = distances[picked].min(axis=0)
        drawn = rng.choice(len(points), size=trials, p=nearest / nearest.sum())
        sums = [np.minimum(nearest, distances[row]).sum() for row in drawn]
        picked.append(drawn[np.argmin(sums)])
    return picked


@pytest.mark.parametrize("pool", [1, 256])
def test_starts_are_drawn_as_often_as_by_definition(monkeypatch, pool):
    """With a large pool all but the first come of one draw, by distances that fall meanwhile."""
    monkeypatch.setattr(kmeans_module, "_POOL", pool)
    points = np.array([[0, 0], [1, 0], [0, 2], [5, 5], [5, 6], [9, 0], [9, 1]], dtype=np.float32)
    runs, counts = 2000, np.zeros((2, len(points)))
    for seed in range(runs):
        starts = spread_starts(points, 4, np.random.default_rng(seed))
        rows = (starts[:, None] == points).all(axis=2).argmax(axis=1)
        counts[0, rows] += 1
        counts[1, naive_starts(points, 4, np.random.default_rng(runs + seed))] += 1
    shares = counts / runs
    deviation = np.sqrt(2 * shares.mean(axis=0) * (1 - shares.mean(axis=0)) / runs)
    assert (np.abs(shares[0] - shares[1]) < 4 * deviation + 1e-9).all()


@pytest.mark.parametrize("distinct", [1, 3])
def test_more_starts_than_distinct_points(distinct):
    points = np.repeat(np.eye(3, dtype=np.float32)[:distinct], 10, axis=0)
    starts = spread_starts(points, 5, np.random.default_rng(0))
    assert len(np.unique(starts, axis=0)) == distinct


@pytest.mark.parametrize("exponent", [-60, -10, 10, 60])
def test_powers_of_two_scale_the_centroids_and_nothing_else(exponent):
    points = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    plain = kmeans(points, 16, iterations=5, seed=0)
    scaled = kmeans(np.ldexp(points, exponent), 16, iterations=5, seed=0)
    np.testing.assert_array_equal(scaled, np.ldexp(plain, exponent))


def naive_lloyd(points, centroids, iterations):
    """Lloyd's iterations by loops in float64, centroids rounded to float32 between them."""
    before, last = np.inf, np.full(len(points), -1)
    for _ in range(iterations):
        apart = ((points[:, None].astype("f8") - centroids) ** 2).sum(axis=2)
        owner = apart.argmin(axis=1)
        errors = apart[np.arange(len(points)), owner]
        shared = [(owner == own).sum() > 1 for own in owner]
        worst = [row for row in np.argsort(-errors, kind="stable") if errors[row] > 0]
        worst = [row for row in worst if shared[row]]
        dead = [k for k in range(len(centroids)) if not (owner == k).any()]
        for k, row in zip(dead, worst, strict=False):
            owner[row] = k
        centroids = np.array(
            [
                points[owner == k].mean(axis=0, dtype="f8") if (owner == k).any() else centroid
                for k, centroid in enumerate(centroids)
            ],
            dtype="f4",
        )
        means = [points[owner == k].mean(axis=0, dtype="f8") for k in owner]
        error = ((points - np.array(means)) ** 2).sum()
        few = (owner != last).sum() < len(points) / 200 and not (dead and worst)
        if few and before - error < error / 2048:
            break
        before, last = error, owner
    return centroids


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 8), st.integers(1, 6))
def test_iterations_are_those_of_plain_loops(seed, n, size, iterations):
    rng = np.random.default_rng(seed)
    # Few different whole numbers: equal distances, equal points and clusters that run empty.
    points = rng.integers(-3, 4, size=(n, 2)).astype(np.float32)
    starts = points[rng.integers(n, size=size)]
    expected = naive_lloyd(points, starts, iterations)
    np.testing.assert_allclose(lloyd(points, starts, iterations), expected, rtol=1e-6)


def test_a_centroid_that_no_point_is_nearest_to_takes_over_the_worst_one():
    points = np.array([[0.0], [1.0], [9.0], [30.0]], dtype=np.float32)
    starts = np.array([[0.0], [0.0], [9.0]], dtype=np.float32)
    assert lloyd(points, starts, 1).ravel().tolist() == [0.5, 30.0, 9.0]


def test_it_ends_early_as_plain_loops_do(monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(900, 2)).astype(np.float32)
    found = lloyd(points, points[:6], 100)
    np.testing.assert_allclose(found, naive_lloyd(points, points[:6], 100), rtol=1e-5)
    monkeypatch.setattr(kmeans_module, "_FEW", 0)
    assert not np.allclose(found, lloyd(points, points[:6], 100), rtol=1e-5)  # it was not done


def test_few_points_that_carry_the_error_do_not_end_it():
    """Of 5,020 points only 20 are anywhere but at their centroid; it takes them five rounds."""
    far = 1e6 + 1e3 * np.arange(1, 21)
    points = np.append(np.zeros(5000), far).astype(np.float32)[:, None]
    starts = np.array([[0.0], [far[0]], [far[1]]], dtype=np.float32)
    expected = [0.0, far[:10].mean(), far[10:].mean()]
    assert lloyd(points, starts, 50).ravel().tolist() == expected


def test_a_centroid_that_was_just_taken_over_does_not_end_it():
    """The third of four loses its points to its neighbours, and takes one of 3,000 at 0.

    That is a small gain, by few points; what follows, that the others at 0 join it, is large.
    """
    far = 1e5 + np.array([840.0, 900.0, 1100.0, 1160.0])
    points = np.concatenate([np.zeros(3000), np.full(3000, 400.0), far]).astype(np.float32)[:, None]
    starts = np.array([200.0, 1e5 + 700, 1e5 + 1000, 1e5 + 1300], dtype=np.float32)[:, None]
    found = lloyd(points, starts, 50).ravel().tolist()
    assert found == [400.0, 1e5 + 870, 0.0, 1e5 + 1130]


def test_a_point_alone_stays_with_its_centroid():
    points = np.array([[0.0], [1.0], [10.0]], dtype=np.float32)
    starts = np.array([[0.4], [7.0], [-50.0]], dtype=np.float32)
    assert lloyd(points, starts, 1).ravel().tolist() == [0.0, 10.0, 1.0]


def test_no_screening_changes_a_centroid(monkeypatch):
    points = np.random.default_rng(1).normal(size=(3000, 256)).astype(np.float32)
    plain = kmeans(points, 64, iterations=8, seed=0)
    screened = []

    class Rounding(residual.BFloat16):
        def score(self, *args):
            screened.append(len(args[1]))
            super().score(*args)

    monkeypatch.setattr(residual, "BFloat16", Rounding)
    monkeypatch.setattr(residual, "bfloat16_pays", lambda *_: True)
    np.testing.assert_array_equal(kmeans(points, 64, iterations=8, seed=0), plain)
    assert sum(screened) >= 3000


def test_of_many_points_a_sample_is_learnt_from():
    points = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    centroids = kmeans(points, 2, iterations=10, seed=0)
    assert not np.array_equal(centroids, kmeans(points, 2, iterations=10, seed=1))
    sure = KMeans(2, n_init=5, random_state=0).fit(points).inertia_
    assert inertia(points, centroids) <= 1.05 * sure


@given(st.integers(0, 10_000), st.integers(1, 3000), st.integers(1, 300))
def test_sums_of_clusters_are_those_of_a_loop(seed, n, size):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)).astype(np.float32)
    owner = rng.integers(size, size=n)
    expected = np.zeros((size, 3))
    np.add.at(expected, owner, points)
    np.testing.assert_allclose(cluster_sums(points, owner, size), expected, atol=1e-9)
    rows = np.flatnonzero(rng.random(n) < 0.5)
    some = np.zeros((size, 3))
    np.add.at(some, owner[rows], points[rows])
    np.testing.assert_allclose(cluster_sums(points, owner, size, rows), some, atol=1e-9)
