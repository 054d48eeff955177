"""k-means: Lloyd's iterations from well spread points, on the search that finds codes."""

import math

import numpy as np

from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.residual import ResidualCodebooks

#: Points for each centroid that are learnt from, at random where there are more.
_POINTS_PER_CENTROID = 256
#: Rows for each centroid among which the starts are picked.
_START_ROWS_PER_CENTROID = 32
#: Points that are drawn together as candidates for starts, and their distances, at most.
_POOL, _POOL_VALUES = 256, 1 << 21
#: Shares of the points that change their centroid, and of the error that this takes away: an
#: iteration below both is not worth another.
_FEW, _LITTLE = 1 / 200, 2.0**-11
#: Numbers that are added up at a time: they stay in the processor's cache.
_BLOCK_VALUES = 1 << 18


def kmeans(points: np.ndarray, size: int, *, iterations: int, seed: int) -> np.ndarray:
    """Cluster float32 points (n, d) and return centroids (size, d) float32, size <= n.

    Which centroid is nearest is decided exactly, as codes are.

    Examples
    --------
    >>> points = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
    >>> np.sort(kmeans(points, 2, iterations=5, seed=0), axis=0).round(2).ravel().tolist()
    [0.05000000074505806, 5.050000190734863]
    """
    rng = np.random.default_rng(seed)
    points = _sample(points, _POINTS_PER_CENTROID * size, rng)
    # Distances by |x|^2 + |c|^2 - 2xc lose their digits far from the origin.
    centre = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    points = points - centre
    # What rounding left over has squares that processors compute at a hundredth of their speed.
    # Powers of two change no digit.
    exponent = int(np.frexp(max(points.max(), -points.min()))[1])
    np.ldexp(points, -exponent, out=points)
    starts = spread_starts(_sample(points, _START_ROWS_PER_CENTROID * size, rng), size, rng)
    return np.ldexp(lloyd(points, starts, iterations), exponent) + centre


def lloyd(points: np.ndarray, centroids: np.ndarray, iterations: int) -> np.ndarray:
    """Move each centroid to the mean of the points that it is nearest to, again and again.

    A centroid that is nearest to none takes over the point that is farthest from its own, each
    another one, of those that are away from their own and share it with others. It ends early
    with an iteration in which none does so, fewer than one point in 200 changes its centroid, and
    the sum of squared distances falls by less than a two-thousandth.

    Parameters
    ----------
    points : (n, d) float32.
    centroids : (size, d) float32, to begin with.
    iterations : at most.

    Returns
    -------
    centroids : (size, d) float32.

    Examples
    --------
    >>> points = np.array([[0.0], [2.0], [6.0]], dtype=np.float32)
    >>> lloyd(points, points[:2], iterations=5).ravel().tolist()
    [1.0, 6.0]
    """
    size, error = len(centroids), np.inf
    squares = np.einsum("nd,nd->", points, points, dtype=np.float64)
    owner, sums = np.full(len(points), -1, np.int32), np.zeros(centroids.shape)
    for _ in range(iterations):
        search = ResidualCodebooks([centroids])
        nearest = search.greedy_codes(points)[:, 0]
        found = _revived(nearest, points, search)
        changed = np.flatnonzero(found != owner)
        if not len(changed):
            break
        # Only what points that change their centroid take there, and take away.
        left = changed[owner[changed] >= 0]
        sums += cluster_sums(points, found, size, changed)
        sums -= cluster_sums(points, owner, size, left)
        owner, counts = found, np.bincount(found, minlength=size)[:, None]
        means = sums / np.maximum(counts, 1)
        centroids = np.where(counts > 0, means, centroids).astype(np.float32)
        before, error = error, squares - float((sums * means).sum())
        few = len(changed) < _FEW * len(points) and found is nearest
        if few and before - error < _LITTLE * error:
            break
    return centroids


def _revived(owner: np.ndarray, points: np.ndarray, search: ResidualCodebooks) -> np.ndarray:
    """Give each centroid without points one of those that are worst off and not alone."""
    counts = np.bincount(owner, minlength=search.sizes[0])
    dead = np.flatnonzero(counts == 0)
    if not len(dead):
        return owner
    errors = np.where(counts[owner] > 1, search.errors(points, owner[:, None])[:, 0], 0)
    worst = np.argsort(-errors, kind="stable")[: min(len(dead), np.count_nonzero(errors))]
    owner = owner.copy()
    owner[worst] = dead[: len(worst)]
    return owner


def _sample(points: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the points, or of more than `most` so many, at random and in their order."""
    if len(points) <= most:
        return points
    return points[np.sort(rng.choice(len(points), size=most, replace=False))]


def cluster_sums(
    points: np.ndarray, owner: np.ndarray, size: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """Add up the points (n, d) of each cluster, of some rows alone or of all, (size, d) float64.

    Examples
    --------
    >>> cluster_sums(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).ravel().tolist()
    [2.0, 5.0]
    """
    from scipy.sparse import csr_array

    sums = np.zeros((size, points.shape[1]))
    # Blocks of fewer rows than there are sums would be work on the sums alone.
    step = max(4 * size, _BLOCK_VALUES // points.shape[1])
    for block in blocks(len(points) if rows is None else len(rows), step):
        chosen = block if rows is None else rows[block]
        of = owner[chosen]
        members = csr_array((np.ones(len(of)), (of, np.arange(len(of)))), shape=(size, len(of)))
        sums += members @ points[chosen].astype(np.float64)
    return sums


def spread_starts(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pick `size` of the points (n, d) float32 by greedy k-means++.

    Each next start is the best of a few points drawn with probability proportional to their
    squared distance to the starts so far (Arthur and Vassilvitskii, 2007, section 5). Points are
    drawn many at a time, for one matrix product. Distances only ever fall, so one that was drawn
    by an earlier distance is kept with the probability that is left of it: what is kept is drawn
    by the distances of now.
    """
    trials = 2 + int(math.log(size))
    many = max(trials, min(_POOL, _POOL_VALUES // len(points)))
    norms = np.einsum("ij,ij->i", points, points)
    picked = [int(rng.integers(len(points)))]
    nearest = _squared_distances(points, norms, np.array(picked))[0]
    while len(picked) < size and nearest.any():
        pool = _drawn(nearest, many, rng)
        distances = _squared_distances(points, norms, pool)
        needed = rng.random(many) * nearest[pool]
        start = 0
        while len(picked) < size:
            kept = start + np.flatnonzero(needed[start:] < nearest[pool[start:]])[:trials]
            if len(kept) < trials:
                break
            start = kept[-1] + 1
            after = np.minimum(nearest, distances[kept])
            best = int(after.sum(axis=1).argmin())
            nearest = after[best]
            picked.append(int(pool[kept[best]]))
    # Fewer different points than starts: some are the same.
    return points[picked + picked[:1] * (size - len(picked))]


def _drawn(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw places of weights (n,) >= 0, each as likely as its weight, with replacement."""
    cumulated = np.cumsum(weights, dtype=np.float64)
    places = np.searchsorted(cumulated, rng.random(count) * cumulated[-1], side="right")
    return np.minimum(places, np.flatnonzero(weights)[-1])


def _squared_distances(points: np.ndarray, norms: np.ndarray, to: np.ndarray) -> np.ndarray:
    distances = norms[to][:, None] + norms - 2 * (points[to] @ points.T)
    return np.maximum(distances, 0, out=distances)
