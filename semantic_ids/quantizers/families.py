"""Which child of its own parent each row is nearest to, for many parents at once."""

import math

import numpy as np

from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.rounding import score_bounds

_BLOCK_VALUES = 1 << 21  # numbers in work at a time


class Families:
    """Centroids of the children of many parents, those of a parent side by side; immutable.

    Parameters
    ----------
    centroids : (C, d) float32 or float64, in the order of the parents.
    counts : (P,) int, how many children each parent has.

    Examples
    --------
    >>> two = Families(np.array([[0.0], [9.0], [5.0]], dtype=np.float32), np.array([2, 1]))
    >>> two.nearest(np.array([[6.0], [6.0]], dtype=np.float32), np.array([0, 1]))
    array([1, 2])
    """

    def __init__(self, centroids: np.ndarray, counts: np.ndarray) -> None:
        self.centroids = centroids
        self.counts = counts
        self.first = np.cumsum(counts) - counts
        half_norms = (centroids.astype(np.float64) ** 2).sum(axis=1) / 2
        self._half_norms = half_norms.astype(centroids.dtype)
        self._largest = math.sqrt(2 * half_norms.max())

    def nearest(self, matrix: np.ndarray, parent: np.ndarray) -> np.ndarray:
        """Return the nearest centroid (N,) of each float32 row's (N, d) own parent (N,).

        Decided in float64 where float32 cannot tell, the first of equally near ones.
        """
        found = np.empty(len(matrix), dtype=np.int64)
        width = max(matrix.shape[1], int(self.counts[parent].max(initial=1)))
        for rows in blocks(len(matrix), _BLOCK_VALUES // width):
            found[rows] = self._nearest_block(matrix[rows], parent[rows])
        return found

    def _nearest_block(self, x: np.ndarray, parent: np.ndarray) -> np.ndarray:
        scores = self.scores(x, parent)
        chosen = scores.argmin(axis=1)
        best = np.take_along_axis(scores, chosen[:, None], axis=1)
        reach = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))
        bounds = score_bounds(reach, self._largest, x.shape[1])
        close = scores <= best + 2 * bounds[:, None]
        unsure = np.flatnonzero(close.sum(axis=1) > 1)
        if len(unsure):
            chosen[unsure] = self._decide(x[unsure], parent[unsure], close[unsure])
        return self.first[parent] + chosen

    def scores(self, x: np.ndarray, parent: np.ndarray) -> np.ndarray:
        """Return |c|^2 / 2 - xc of the children c of each row's parent, inf beyond the last.

        Parameters
        ----------
        x : (n, d) of the centroids' dtype.
        parent : (n,).

        Returns
        -------
        scores : (n, most children of these parents).
        """
        order = np.argsort(parent, kind="stable")
        x = x[order]
        parents, begins = np.unique(parent[order], return_index=True)
        ends = np.searchsorted(parent[order], parents, side="right")
        firsts, counts = self.first[parents], self.counts[parents]
        scores = np.full((len(x), counts.max(initial=0)), np.inf, dtype=x.dtype)
        # A loop over parents, not rows: of many rows most share theirs with others.
        for begin, end, first, count in zip(begins, ends, firsts, counts, strict=True):
            family = slice(first, first + count)
            products = x[begin:end] @ self.centroids[family].T
            scores[begin:end, :count] = self._half_norms[family] - products
        unsorted = np.empty_like(scores)
        unsorted[order] = scores
        return unsorted

    def _decide(self, x: np.ndarray, parent: np.ndarray, close: np.ndarray) -> np.ndarray:
        distances = np.full(close.shape, np.inf)
        rows, entries = np.nonzero(close)
        for part in blocks(len(rows), _BLOCK_VALUES // x.shape[1]):
            r, e = rows[part], entries[part]
            child = self.centroids[self.first[parent[r]] + e].astype(np.float64)
            distances[r, e] = ((x[r] - child) ** 2).sum(axis=1)
        return distances.argmin(axis=1)
