"""k-means whose clusters hold about as many points each."""

import math

import numpy as np

from semantic_ids.quantizers.kmeans import cluster_sums, kmeans

#: Sinkhorn steps that prices take in each iteration; they start from those of the one before.
_STEPS = 10
#: Width of the soft choice between centroids, as a share of the mean distance to the nearest.
_SOFTNESS = 0.1


def balanced_kmeans(points: np.ndarray, size: int, *, iterations: int, seed: int) -> np.ndarray:
    """Cluster float32 points (n, d) so that no centroid has more than ceil(n / size) of them.

    Starts from plain k-means. Then each iteration assigns the points under that limit, see
    `assign`, and moves each centroid to the mean of its points. The points are the nearest to
    their centroids that way only while training: a search for the nearest centroid is less
    balanced. Distances (n, size) float32 are held meanwhile.

    Examples
    --------
    >>> points = np.array([[0.0], [0.1], [0.2], [5.0]], dtype=np.float32)
    >>> np.sort(balanced_kmeans(points, 2, iterations=5, seed=0), axis=0).round(2).ravel().tolist()
    [0.05000000074505806, 2.5999999046325684]
    """
    centroids = kmeans(points, size, iterations=iterations, seed=seed)
    limit, prices = math.ceil(len(points) / size), np.zeros(size, dtype=np.float32)
    # Distances by |x|^2 + |c|^2 - 2xc lose their digits far from the origin.
    centre = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    points, centroids = points - centre, centroids - centre
    for _ in range(iterations):
        distances = _squared_distances(points, centroids)
        prices = balancing_prices(distances, prices)
        owner = assign(distances + prices, limit)
        counts = np.bincount(owner, minlength=size)
        sums = cluster_sums(points, owner, size)
        filled = counts > 0
        centroids[filled] = sums[filled] / counts[filled, None]
    return centroids + centre


def balancing_prices(distances: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """Raise the price of centroids that too many points are near to, (size,) float32.

    Steps of Sinkhorn's algorithm on the logarithms of a soft assignment in which every centroid
    has an equal share of the points (Cuturi, 2013).

    Parameters
    ----------
    distances : (n, size) float32, squared.
    prices : (size,) to begin with.
    """
    n, size = distances.shape
    scale = _SOFTNESS * float(distances.min(axis=1).mean())
    if scale == 0:
        return prices
    for _ in range(_STEPS):
        soft = -(distances + prices) / scale
        soft -= soft.max(axis=1, keepdims=True)
        np.exp(soft, out=soft)
        soft /= soft.sum(axis=1, keepdims=True)
        share = soft.sum(axis=0) * (size / n)
        prices = prices + scale * np.log(np.maximum(share, 1e-3)).astype(np.float32)
    return prices


def assign(costs: np.ndarray, limit: int) -> np.ndarray:
    """Give each row a column, at most `limit` rows a column, cheap ones first.

    All rows without a column ask at once for the cheapest that has room, and it takes those
    whose costs are lowest, the first of equal ones.

    Parameters
    ----------
    costs : (n, size), n <= limit * size.
    limit : most rows of a column.

    Returns
    -------
    columns : (n,) int64.

    Examples
    --------
    >>> assign(np.array([[0.0, 9.0], [1.0, 2.0], [2.0, 8.0]]), 2)
    array([0, 0, 1])
    """
    owner = np.full(len(costs), -1)
    room = np.full(costs.shape[1], limit)
    seeking = np.arange(len(costs))
    while len(seeking):
        open_to = np.flatnonzero(room)
        offered = costs[np.ix_(seeking, open_to)]
        choice = offered.argmin(axis=1)
        asked, cost = open_to[choice], offered[np.arange(len(seeking)), choice]
        order = np.lexsort((cost, asked))
        asked = asked[order]
        place = np.arange(len(asked)) - np.searchsorted(asked, asked)
        fits = place < room[asked]
        owner[seeking[order[fits]]] = asked[fits]
        room -= np.bincount(asked[fits], minlength=len(room))
        seeking = np.sort(seeking[order[~fits]])
    return owner


def _squared_distances(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    norms = np.einsum("ij,ij->i", points, points)[:, None]
    squares = norms + np.einsum("ij,ij->i", centroids, centroids) - 2 * (points @ centroids.T)
    return np.maximum(squares, 0)
