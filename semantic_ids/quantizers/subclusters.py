"""k-means within many groups of points at once."""

import itertools

import numpy as np

from semantic_ids.quantizers.kmeans import cluster_sums

_BLOCK_VALUES = 1 << 22  # numbers in work at a time


def subclusters(
    points: np.ndarray, group: np.ndarray, size: int, *, iterations: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster the points of each group into at most `size` clusters.

    Starts are picked as by k-means++ (Arthur and Vassilvitskii, 2007), one a group at a time,
    as long as the group has a point that is not yet a start. So a group with few distinct points
    has a cluster for each; the others go through the iterations of Lloyd.

    Parameters
    ----------
    points : (n, d) float32.
    group : (n,) which group each point is in; groups are 0 to G - 1, none is empty.
    size : most clusters of a group.
    iterations : at most.
    seed : where the random numbers of the starts begin.

    Returns
    -------
    centroids : (C, d) float32, those of a group side by side, in the groups' order.
    counts : (G,) int64, clusters of each group.

    Examples
    --------
    >>> points = np.array([[0.0], [1.0], [8.0], [8.0]], dtype=np.float32)
    >>> centroids, counts = subclusters(points, np.array([0, 0, 1, 1]), 3, iterations=5, seed=0)
    >>> np.sort(centroids.ravel()).tolist(), counts.tolist()
    ([0.0, 1.0, 8.0], [2, 1])
    """
    order = np.argsort(group, kind="stable")
    group = group[order]
    rng = np.random.default_rng(seed)
    starts, owner, left = _starts(points, order, group, size, rng)
    counts = (starts >= 0).sum(axis=1)
    centroids = np.zeros((*starts.shape, points.shape[1]), dtype=np.float32)
    centroids[starts >= 0] = points[starts[starts >= 0]]
    crowded = np.flatnonzero(np.maximum.reduceat(left, np.flatnonzero(_begins(group))) > 0)
    inside = np.flatnonzero(np.isin(group, crowded))
    if len(crowded):
        which = np.searchsorted(crowded, group[inside])
        centroids[crowded] = _lloyd(
            points[order[inside]], which, centroids[crowded], owner[inside], iterations
        )
    return centroids[starts >= 0], counts


def _begins(group: np.ndarray) -> np.ndarray:
    """Say where another group begins, (n,) bool."""
    return np.append(True, group[1:] != group[:-1])


def _starts(
    points: np.ndarray,
    order: np.ndarray,
    group: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pick starts for each group of the points that `order` sorts by group.

    Returns
    -------
    starts : (G, size) int64 rows of `points`, -1 where a group has no more.
    owner : (n,) int64, which start of its group each sorted point is nearest to.
    left : (n,) float32, its squared distance.
    """
    starts = np.full((group[-1] + 1, size), -1)
    owner = np.zeros(len(group), dtype=np.int64)
    left = np.full(len(group), np.inf, dtype=np.float32)
    live = np.arange(len(group))  # sorted points of groups that still need starts
    weight = np.ones(len(group))
    for number in range(size):
        begins = np.flatnonzero(_begins(group[live]))
        # The largest of w / Exp(1) is a draw with probabilities in proportion to w.
        race = weight / rng.exponential(size=len(live))
        best = np.repeat(np.maximum.reduceat(race, begins), np.diff(np.append(begins, len(live))))
        winners = np.flatnonzero((race == best) & (race > 0))
        winners = winners[_begins(group[live[winners]])]
        starts[group[live[winners]], number] = order[live[winners]]
        live = live[np.isin(group[live], group[live[winners]])]
        distances = _squared_gaps(points, order[live], starts[group[live], number])
        nearer = distances < left[live]
        owner[live[nearer]] = number
        left[live] = np.minimum(left[live], distances)
        weight = left[live].astype(np.float64)
        if not weight.any():
            break
    return starts, owner, left


def _squared_gaps(points: np.ndarray, some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return squared distances (n,) between rows of the points; 0 for equal rows only."""
    squares = np.empty(len(some), dtype=np.float32)
    step = max(1, _BLOCK_VALUES // points.shape[1])
    for start in range(0, len(some), step):
        part = slice(start, start + step)
        gaps = points[some[part]].astype(np.float64) - points[others[part]]
        squares[part] = np.einsum("ij,ij->i", gaps, gaps)
        # The square of a small gap must not vanish in float32.
        tiny = (squares[part] == 0) & gaps.any(axis=1)
        squares[part][tiny] = np.finfo(np.float32).tiny
    return squares


def _lloyd(
    points: np.ndarray, group: np.ndarray, centroids: np.ndarray, owner: np.ndarray, iterations: int
) -> np.ndarray:
    """Return the centroids (G, size, d) after iterations from given owners of sorted points."""
    groups, size, width = centroids.shape
    # Distances by |c|^2 - 2xc lose their digits far from the origin.
    centre = centroids[:, 0].copy()
    points = points - centre[group]
    centroids = centroids - centre[:, None]
    begins = np.append(np.flatnonzero(_begins(group)), len(group))
    scores = np.empty((len(points), size), dtype=np.float32)
    for _ in range(iterations):
        cluster = group * size + owner
        counts = np.bincount(cluster, minlength=groups * size)
        filled = counts > 0
        sums = cluster_sums(points, cluster, groups * size)[filled]
        centroids.reshape(-1, width)[filled] = sums / counts[filled, None]
        half_norms = np.einsum("gkd,gkd->gk", centroids, centroids) / 2
        for number, (begin, end) in enumerate(itertools.pairwise(begins)):
            scores[begin:end] = points[begin:end] @ centroids[number].T
        np.subtract(half_norms[group], scores, out=scores)
        before, owner = owner, scores.argmin(axis=1)
        if np.array_equal(before, owner):
            break
    return centroids + centre[:, None]
