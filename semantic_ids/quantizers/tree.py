"""A tree of centroids: a code is the path from the root, one child a level."""

import math
from collections.abc import Iterator

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.exact import part_bits, round_bits
from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.families import Families
from semantic_ids.quantizers.smallest import smallest

_BLOCK_VALUES = 1 << 21  # numbers in work at a time


class ClusterTree:
    """The nodes of a tree in level order, the children of a node side by side; immutable.

    A path that leaves the tree stands for its last node that exists. Codes of vectors are
    defined by the greedy search in float64: from the root on, the nearest child, the first of
    equally near ones. A decision closer than the bound of float32's rounding is taken again in
    float64, so that a row's code depends on the row alone.

    Parameters
    ----------
    sizes : most children of a node at each of the L levels.
    centroids : (T, d) float32, the root's first.
    children : (inner nodes,) int32, how many children each node above the leaves has.
    """

    def __init__(self, sizes: tuple[int, ...], centroids: np.ndarray, children: np.ndarray) -> None:
        self.sizes = sizes
        self.centroids = centroids
        self.children = children
        counts = np.concatenate([children, np.zeros(len(centroids) - len(children), np.int64)])
        self._families = Families(centroids[1:], counts)  # its centroid c is node c + 1
        self._level_starts, width = [0], 1
        for _ in sizes:
            start = self._level_starts[-1]
            self._level_starts.append(start + width)
            width = int(children[start : start + width].sum())

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.centroids.shape[1]

    def codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return the codes (N, L) int32 of float32 rows (N, d)."""
        codes = np.empty((len(matrix), len(self.sizes)), dtype=np.int32)
        node = np.zeros(len(matrix), dtype=np.int64)
        for level in range(len(self.sizes)):
            child = self._families.nearest(matrix, node)
            codes[:, level] = child - self._families.first[node]
            node = child + 1
        return codes

    def nodes(self, codes: np.ndarray) -> np.ndarray:
        """Return the node (n, l) of each prefix of codes, the last that exists on its path."""
        nodes = np.empty(codes.shape, dtype=np.int64)
        node = np.zeros(len(codes), dtype=np.int64)
        for level, entry in enumerate(codes.T):
            node = nodes[:, level] = self._step(node, entry, level)
        return nodes

    def _step(self, node: np.ndarray, entry: np.ndarray, level: int) -> np.ndarray:
        """Go down to a child, from nodes of this level that have it; the others stay."""
        there = (node >= self._level_starts[level]) & (entry < self._families.counts[node])
        return np.where(there, self._families.first[node] + entry + 1, node)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the centroids (n, d) float32 of paths (n, l), l <= L."""
        codes = check_codes(codes, self.sizes[: np.asarray(codes).shape[-1]])
        return self.centroids[self.nodes(codes)[:, -1]]

    def errors(self, matrix: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 to the node after 1 ... L levels."""
        return self._distances(matrix, self.nodes(codes))

    def _distances(self, matrix: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, m) float64 of rows to nodes (N, m)."""
        distances = np.empty(nodes.shape)
        for rows in blocks(len(matrix), _BLOCK_VALUES // (self.width * nodes.shape[1])):
            gaps = self.centroids[nodes[rows]].astype(np.float64) - matrix[rows, None]
            distances[rows] = np.square(gaps, out=gaps).sum(axis=2)
        return distances

    def beam_codes(self, matrix: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best paths a row that a beam of width m finds, best first.

        Paths that leave the tree are among them, as good as their last node. The beam is
        complete where m reaches the number of all codes. Rows and centroids are first rounded
        to so few bits that their products are exact in float64; the errors returned are those
        of the vectors as they came.

        Returns
        -------
        codes : (N, m', L) int32, by (error, code), m' = min(m, number of codes).
        errors : (N, m') float64.
        """
        m = min(m, math.prod(self.sizes))
        codes = np.empty((len(matrix), m, len(self.sizes)), dtype=np.int32)
        errors = np.empty((len(matrix), m))
        for rows, paths, nodes in self._beams(matrix, m):
            found = self._distances(matrix[rows], nodes)
            order = np.lexsort((*np.moveaxis(paths, 2, 0)[::-1], found), axis=1)
            codes[rows] = np.take_along_axis(paths, order[:, :, None], axis=1)
            errors[rows] = np.take_along_axis(found, order, axis=1)
        return codes, errors

    def _beams(self, matrix: np.ndarray, m: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield rows, the best paths (n, m, L) that a beam finds, and where they end, (n, m)."""
        bits = part_bits(self.width)
        rounded = round_bits(self.centroids.astype(np.float64), bits, axis=None)
        families = Families(rounded[1:], self._families.counts)
        for rows in blocks(len(matrix), _BLOCK_VALUES // (m * max(*self.sizes, self.width))):
            x = round_bits(matrix[rows].astype(np.float64), bits, axis=1)
            codes = np.zeros((len(x), 1, 0), dtype=np.int32)
            nodes = np.zeros((len(x), 1), dtype=np.int64)
            scores = (rounded[0] ** 2).sum() / 2 - x @ rounded[:1].T
            for level, size in enumerate(self.sizes):
                # A child that is not there is as near as its parent.
                total = np.repeat(scores[:, :, None], size, axis=2)
                row, member = np.nonzero(nodes >= self._level_starts[level])
                below = families.scores(x[row], nodes[row, member])
                there = np.isfinite(below)
                at, entry = np.nonzero(there)
                total[row[at], member[at], entry] = below[there]
                total = total.reshape(len(x), -1)
                picked = smallest(total, m)
                scores = np.take_along_axis(total, picked, axis=1)
                parent, entry = np.divmod(picked, size)
                nodes = np.take_along_axis(nodes, parent, axis=1)
                nodes = self._step(nodes, entry, level)
                codes = np.take_along_axis(codes, parent[:, :, None], axis=1)
                codes = np.concatenate([codes, entry[:, :, None]], axis=2, dtype=np.int32)
            yield rows, codes, nodes
