"""k-means against scikit-learn and against what defines it."""

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus

from semantic_ids.quantizers.kmeans import kmeans, spread_starts


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
