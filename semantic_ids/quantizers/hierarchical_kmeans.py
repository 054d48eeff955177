"""Hierarchical k-means: clusters within clusters, and the path to an item as its code."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from semantic_ids.latent import Latent, check_range
from semantic_ids.progress import progress_bar
from semantic_ids.quantizers.base import Arrays, FittedQuantizer, check_enough_rows
from semantic_ids.quantizers.families import Families
from semantic_ids.quantizers.levelled import Levelled
from semantic_ids.quantizers.subclusters import subclusters
from semantic_ids.quantizers.tree import ClusterTree
from semantic_ids.side import Side
from semantic_ids.storage import stored_array


class HierarchicalKMeans(Levelled):
    """Hierarchical k-means: each cluster of a level is clustered again by the next.

    The items of a node are clustered by themselves, so that a code means something only below
    its prefix; residual codes share one codebook a level instead. A node with fewer distinct
    items than `codebook_size` has a child for each. Encoding walks from the root to the nearest
    child that there is, and a code is decoded to the centroid at the end of its path.

    Parameters
    ----------
    levels : number of codes an item gets, 1-64.
    codebook_size : most children of a node, one number or one a level. There are
        codebook_size ** levels paths; a centroid is kept for those that items took at the fit.
    iterations : k-means iterations a level, at most.
    seed : where the random numbers of the starts begin.

    Notes
    -----
    A code whose path leaves the tree stands for the last node on it. Resolvers give such codes
    to items that collide, which then stay below the node that they belong to.

    With as many paths as items the last levels hold items of the fit one by one: their error at
    the fit says little of new items, and the centroids take the room of the vectors.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
    >>> fitted = HierarchicalKMeans(levels=3, codebook_size=8).fit(vectors)
    >>> codes = fitted.encode(vectors)
    >>> codes.shape, fitted.decode(codes[:, :2]).shape
    ((1000, 3), (1000, 8))
    """

    kind: Literal["hierarchical-kmeans"] = "hierarchical-kmeans"
    codebook_size: int | tuple[int, ...] = 16
    iterations: int = Field(default=25, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31 - 64)

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedHierarchicalKMeans":
        """Grow the tree level by level.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : not used.
        progress : show a bar over the levels; None shows it in a terminal.

        Raises
        ------
        ValueError
            if there are fewer rows than children of a node, or the rows are not finite.
        """
        matrix = Latent.of(latent).matrix
        check_enough_rows(len(matrix), max(self.codebook_sizes))
        root = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)[None]
        centroids, children = [root], []
        node = np.zeros(len(matrix), dtype=np.int64)
        levels = progress_bar(self.codebook_sizes, description="levels", progress=progress)
        for level, size in enumerate(levels):
            found, counts = subclusters(
                matrix, node, size, iterations=self.iterations, seed=self.seed + level
            )
            node = Families(found, counts).nearest(matrix, node)
            used, node = np.unique(node, return_inverse=True)
            owner = np.repeat(np.arange(len(counts)), counts)
            centroids.append(found[used])
            children.append(np.bincount(owner[used], minlength=len(counts)))
        tree = ClusterTree(
            self.codebook_sizes,
            np.concatenate(centroids),
            np.concatenate(children).astype(np.int32),
        )
        return FittedHierarchicalKMeans(self, tree)

    def restore(self, arrays: Arrays) -> "FittedHierarchicalKMeans":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        children = stored_array(arrays, "children", (None,), np.int32)
        centroids = stored_array(arrays, "centroids", (_count_nodes(children, self), None))
        check_range(centroids, "centroids")
        return FittedHierarchicalKMeans(self, ClusterTree(self.codebook_sizes, centroids, children))


def _count_nodes(children: np.ndarray, spec: HierarchicalKMeans) -> int:
    """Count the nodes of a tree whose inner nodes, in level order, have so many children."""
    start, width = 0, 1
    for size in spec.codebook_sizes:
        family = children[start : start + width]
        if len(family) < width or not ((family >= 1) & (family <= size)).all():
            raise ValueError(f"children: not those of a tree with codebook_size={size}")
        start, width = start + width, int(family.sum())
    if start != len(children):
        raise ValueError(f"children: expected {start} inner nodes, got {len(children)}")
    return start + width


class FittedHierarchicalKMeans(FittedQuantizer):
    """A fitted tree of centroids; a code is a path from its root."""

    ordered = True

    def __init__(self, spec: HierarchicalKMeans, tree: ClusterTree) -> None:
        self.spec = spec
        self._tree = tree

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32: from the root on, always the nearest child.

        Distances closer than float32 can tell are decided in float64, the first child first.
        """
        return self._tree.codes(self._matrix(latent))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the centroids (n, d) float32 where the paths (n, l) end, or leave the tree."""
        return self._tree.decode(codes)

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best codes a row that a beam of width m over the tree finds.

        Codes whose paths leave the tree are among them.

        Returns
        -------
        codes : (N, m', L) int32, best first; m' = min(m, number of codes).
        errors : (N, m') float64, squared distances.
        """
        return self._tree.beam_codes(self._matrix(latent), m)

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 of rows to the node after 1, 2, ... L levels."""
        return self._tree.errors(self._matrix(latent), codes)

    def arrays(self) -> Arrays:
        """Return the nodes in level order: their centroids, and how many children they have."""
        return {"centroids": self._tree.centroids, "children": self._tree.children}

    def _matrix(self, latent: Latent | Any) -> np.ndarray:
        matrix = Latent.of(latent).matrix
        if matrix.shape[1] != self._tree.width:
            raise ValueError(
                f"vectors: expected {self._tree.width} columns as in the fit, got {matrix.shape[1]}"
            )
        return matrix
