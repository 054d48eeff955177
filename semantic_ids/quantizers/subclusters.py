"""k-means within many groups of points at once."""

import itertools

import numpy as np

from semantic_ids.quantizers.kmeans import cluster_sums

_BLOCK_VALUES = 1 << 22  # numbers in work at a time
#: Points of a group for each of its starts, among which these are picked.
_START_ROWS_PER_CENTROID = 32
#: Points that are tried for each start.
_TRIALS = 3


def subclusters(
    points: np.ndarray, group: np.ndarray, size: int, *, iterations: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster the points of each group into at most `size` clusters.

    Starts are picked as by greedy k-means++ (Arthur and Vassilvitskii, 2007), one a group at a
    time, as long as the group has a point that is not yet a start. So a small group with few
    distinct points has a cluster for each; the others go through the iterations of Lloyd.

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
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(group)), group))
    group = group[order]
    begins = np.flatnonzero(_begins(group))
    sampled = np.arange(len(group)) - begins[group] < _START_ROWS_PER_CENTROID * size
    starts, left = _starts(points, order[sampled], group[sampled], size, rng)
    counts = (starts >= 0).sum(axis=1)
    centroids = np.zeros((*starts.shape, points.shape[1]), dtype=np.float32)
    centroids[starts >= 0] = points[starts[starts >= 0]]
    unsettled = ~sampled
    unsettled[sampled] = left > 0
    crowded = np.unique(group[unsettled])
    inside = np.flatnonzero(np.isin(group, crowded))
    which = np.searchsorted(crowded, group[inside])
    centroids[crowded] = _lloyd(
        points[order[inside]], which, centroids[crowded], counts[crowded], iterations
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
) -> tuple[np.ndarray, np.ndarray]:
    """Pick starts for each group of the points that `order` sorts by group.

    Returns
    -------
    starts : (G, size) int64 rows of `points`, -1 where a group has no more.
    left : (n,) float32, squared distance of each sorted point to the nearest start.
    """
    starts = np.full((group[-1] + 1, size), -1)
    left = np.full(len(group), np.inf, dtype=np.float32)
    live = np.arange(len(group))  # sorted points of groups that still need starts
    for number in range(size):
        begins = np.flatnonzero(_begins(group[live]))
        sizes = np.diff(np.append(begins, len(live)))
        weight = left[live].astype(np.float64) if number else np.ones(len(live))
        lowest = np.full(len(begins), np.inf)
        after = left[live]
        for _ in range(_TRIALS):
            drawn = order[live[_draw(weight, begins, sizes, rng)]]
            gaps = _squared_gaps(points, order[live], np.repeat(drawn, sizes))
            tried = np.minimum(left[live], gaps)
            total = np.add.reduceat(tried, begins, dtype=np.float64)
            better = total < lowest
            lowest = np.where(better, total, lowest)
            after = np.where(np.repeat(better, sizes), tried, after)
            starts[group[live[begins[better]]], number] = drawn[better]
        left[live] = after
        live = live[np.repeat(np.maximum.reduceat(after, begins) > 0, sizes)]
        if not len(live):
            break
    return starts, left


def _draw(
    weight: np.ndarray, begins: np.ndarray, sizes: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw one place of each segment, with probabilities in proportion to the weights."""
    # The largest of w / Exp(1) is such a draw.
    race = weight / rng.exponential(size=len(weight))
    fastest = np.repeat(np.maximum.reduceat(race, begins), sizes)
    places = np.flatnonzero(race == fastest)
    return places[np.searchsorted(places, begins)]


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
    points: np.ndarray,
    group: np.ndarray,
    centroids: np.ndarray,
    counts: np.ndarray,
    iterations: int,
) -> np.ndarray:
    """Return the centroids (G, size, d), of which each group has `counts`, after iterations."""
    groups, size, width = centroids.shape
    # Distances by |c|^2 - 2xc lose their digits far from the origin.
    centre = centroids[:, 0].copy()
    points = points - centre[group]
    centroids = centroids - centre[:, None]
    families = np.searchsorted(group, np.arange(groups + 1))
    absent = np.arange(size) >= counts[:, None]
    scores = np.empty((len(points), size), dtype=np.float32)
    owner = np.full(len(points), -1)
    for _ in range(iterations):
        half_norms = np.einsum("gkd,gkd->gk", centroids, centroids) / 2
        half_norms[absent] = np.inf
        for number, (begin, end) in enumerate(itertools.pairwise(families)):
            scores[begin:end] = points[begin:end] @ centroids[number].T
        np.subtract(half_norms[group], scores, out=scores)
        before, owner = owner, scores.argmin(axis=1)
        if np.array_equal(before, owner):
            break
        cluster = group * size + owner
        held = np.bincount(cluster, minlength=groups * size)
        sums = cluster_sums(points, cluster, groups * size)[held > 0]
        centroids.reshape(-1, width)[held > 0] = sums / held[held > 0, None]
    return centroids + centre[:, None]
