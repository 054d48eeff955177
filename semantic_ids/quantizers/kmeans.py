"""k-means by faiss, started from well spread points."""

import math

import numpy as np

#: Training points that faiss samples for each centroid where there are more.
_POINTS_PER_CENTROID = 256
#: Rows for each centroid among which the starts are picked.
_START_ROWS_PER_CENTROID = 32


def kmeans(points: np.ndarray, size: int, *, iterations: int, seed: int) -> np.ndarray:
    """Cluster float32 points (n, d) and return centroids (size, d) float32, size <= n.

    Examples
    --------
    >>> points = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
    >>> np.sort(kmeans(points, 2, iterations=5, seed=0), axis=0).round(2).ravel().tolist()
    [0.05000000074505806, 5.050000190734863]
    """
    import faiss

    # Distances by |x|^2 + |c|^2 - 2xc lose their digits far from the origin.
    centre = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    points = points - centre
    # What rounding left over has squares that processors compute at a hundredth of their speed.
    # Powers of two change no digit.
    exponent = int(np.frexp(np.abs(points).max())[1])
    points = np.ldexp(points, -exponent)
    rng = np.random.default_rng(seed)
    count = min(len(points), _START_ROWS_PER_CENTROID * size)
    sample = points[np.sort(rng.choice(len(points), size=count, replace=False))]
    clustering = faiss.Kmeans(
        points.shape[1],
        size,
        niter=iterations,
        seed=seed,
        min_points_per_centroid=1,  # below 39 faiss writes a warning to standard output
        max_points_per_centroid=_POINTS_PER_CENTROID,
    )
    clustering.train(points, init_centroids=spread_starts(sample, size, rng))
    return np.ldexp(np.array(clustering.centroids, dtype=np.float32), exponent) + centre


def cluster_sums(points: np.ndarray, owner: np.ndarray, size: int) -> np.ndarray:
    """Add up the points (n, d) of each cluster, (size, d) float64.

    Examples
    --------
    >>> cluster_sums(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).ravel().tolist()
    [2.0, 5.0]
    """
    from scipy.sparse import csr_array

    n = len(points)
    return csr_array((np.ones(n), (owner, np.arange(n))), shape=(size, n)) @ points


def spread_starts(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pick `size` of the points (n, d) float32 by greedy k-means++.

    Each next start is the best of a few points drawn with probability proportional to their
    squared distance to the starts so far (Arthur and Vassilvitskii, 2007, section 5).
    scikit-learn's ``kmeans_plusplus`` does the same and takes some eight times as long here,
    since it checks its input at each of the `size` steps.
    """
    trials = 2 + int(math.log(size))
    norms = np.einsum("ij,ij->i", points, points)
    picked = [int(rng.integers(len(points)))]
    nearest = _squared_distances(points, norms, picked)[0]
    for _ in range(size - 1):
        cumulated = np.cumsum(nearest, dtype=np.float64)
        drawn = np.searchsorted(cumulated, rng.random(trials) * cumulated[-1])
        drawn = np.minimum(drawn, len(points) - 1)
        after = np.minimum(nearest, _squared_distances(points, norms, drawn))
        best = int(after.sum(axis=1).argmin())
        nearest = after[best]
        picked.append(int(drawn[best]))
    return points[picked]


def _squared_distances(
    points: np.ndarray, norms: np.ndarray, to: np.ndarray | list[int]
) -> np.ndarray:
    distances = norms[to][:, None] + norms - 2 * (points[to] @ points.T)
    return np.maximum(distances, 0)
