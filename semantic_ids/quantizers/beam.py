"""Beam search over sums of codebook entries, by tables of inner products.

The squared distance of a row x to a sum of entries is, up to |x|^2, twice the sum of each entry's
score (half its squared norm less its product with x) and of the products of each two entries.
Rows and entries are first rounded to so few bits that their matrix products are exact in float64,
however they are summed, and what follows adds in a fixed order: the codes found for a row depend
on that row alone.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from semantic_ids.codes import code_keys
from semantic_ids.exact import part_bits, round_bits
from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.rounding import UNIT64, largest_norms
from semantic_ids.quantizers.smallest import smallest

_BLOCK_VALUES = 1 << 21  # scores in work at a time
_CACHED_VALUES = 1 << 18  # scores of a beam in work at a time: they stay in the processor's cache


class BeamSearch:
    """Tables of (sum of codebook sizes)^2 float64, and the searches that they serve.

    Parameters
    ----------
    codebooks : one array (K_l, d) a level.
    """

    def __init__(self, codebooks: Sequence[np.ndarray]) -> None:
        self.sizes = tuple(len(book) for book in codebooks)
        self._entries = np.concatenate(codebooks).astype(np.float64)
        self._starts = np.cumsum((0, *self.sizes))
        width = self._entries.shape[1]
        self._bits = part_bits(width)
        # How far rounding may move a vector, by what is largest in it, and a sum of entries.
        self._step = 2.0**-self._bits * math.sqrt(width)
        self._moved = self._step * len(self.sizes) * float(np.abs(self._entries).max())
        self._longest = float(largest_norms(codebooks).sum()) + self._moved
        self._rounded = round_bits(self._entries, self._bits, axis=None)
        self._half_norms = (self._rounded**2).sum(axis=1) / 2
        self._products = {
            (one, other): self._rounded[self._span(one)] @ self._rounded[self._span(other)].T
            for one, other in itertools.permutations(range(len(self.sizes)), 2)
        }

    def best(self, matrix: np.ndarray, m: int, *, passes: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Find the m best codes a row, by a beam of width m.

        Level by level the m best partial codes are kept, the first of equally good ones. Then
        each coordinate pass goes through the levels again: of all codes that differ from one of
        the m in that level only, or not at all, the m best are kept. A row is done with the
        pass that leaves its best code as it was. For m = 1 a pass is that of iterated
        conditional modes.

        Parameters
        ----------
        matrix : (N, d) float32.
        m : width of the beam; it is complete where it reaches the number of all codes.
        passes : coordinate passes, at most.

        Returns
        -------
        codes : (N, m', L) int32, by (error, code), m' = min(m, number of codes).
        errors : (N, m') float64, squared distances of the vectors as they came.
        """
        m = min(m, math.prod(self.sizes))
        codes = np.empty((len(matrix), m, len(self.sizes)), dtype=np.int32)
        errors = np.empty((len(matrix), m))
        for rows, x, scores in self._scored(matrix, m):
            found = self._pass_over(scores, self._beam(scores, m), passes)
            codes[rows], errors[rows] = self._sort(x, found)
        return codes, errors

    def first(self, matrix: np.ndarray, m: int, *, passes: int = 0) -> np.ndarray:
        """Return the first of the codes that `best` finds for each row, (N, L) int32.

        Which of the m it is, their scores say nearly always: only where these are closer than
        rounding may have moved them are the errors of all m computed.
        """
        m = min(m, math.prod(self.sizes))
        codes = np.empty((len(matrix), len(self.sizes)), dtype=np.int32)
        for rows, x, scores in self._scored(matrix, m):
            found = self._pass_over(scores, self._beam(scores, m), passes)
            codes[rows] = self._first(x, scores, found) if m > 1 else found[:, 0]
        return codes

    def improve(self, matrix: np.ndarray, codes: np.ndarray, *, passes: int) -> np.ndarray:
        """Return codes (N, L) int32 after coordinate passes over given ones."""
        improved = np.empty_like(codes)
        for rows, _, scores in self._scored(matrix, 1):
            improved[rows] = self._pass_over(scores, codes[rows, None], passes)[:, 0]
        return improved

    def _span(self, level: int) -> slice:
        return slice(self._starts[level], self._starts[level + 1])

    def _scored(self, matrix: np.ndarray, m: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield rows, their vectors (n, d) and scores (n, sum of sizes), few at a time."""
        entries, width = self._entries.shape
        few = _CACHED_VALUES // (m * max(*self.sizes, width))
        for outer in blocks(len(matrix), _BLOCK_VALUES // max(entries, width)):
            x = matrix[outer].astype(np.float64)
            scores = self._half_norms - round_bits(x, self._bits, axis=1) @ self._rounded.T
            for inner in blocks(len(x), few):
                rows = slice(outer.start + inner.start, outer.start + inner.stop)
                yield rows, x[inner], scores[inner]

    def _beam(self, scores: np.ndarray, m: int) -> np.ndarray:
        n = len(scores)
        codes = np.zeros((n, 1, 0), dtype=np.int32)
        so_far = np.zeros((n, 1))
        for level, size in enumerate(self.sizes):
            total = so_far[:, :, None] + scores[:, None, self._span(level)]
            for before in range(level):
                total += self._products[before, level].take(codes[:, :, before], axis=0)
            total = total.reshape(n, -1)
            picked = smallest(total, m)
            parent, entry = np.divmod(picked, size)
            so_far = np.take_along_axis(total, picked, axis=1)
            codes = np.concatenate(
                [np.take_along_axis(codes, parent[:, :, None], axis=1), entry[:, :, None]], axis=2
            )
        return codes

    def _pass_over(self, scores: np.ndarray, codes: np.ndarray, passes: int) -> np.ndarray:
        moving = np.arange(len(codes))
        for _ in range(passes):
            if not len(moving):
                break
            before = after = codes[moving]
            for level in range(len(self.sizes)):
                after = self._replace(scores[moving], after, level)
            codes[moving] = after
            moving = moving[(after[:, 0] != before[:, 0]).any(axis=1)]
        return codes

    def _replace(self, scores: np.ndarray, codes: np.ndarray, level: int) -> np.ndarray:
        """Keep the m best of the codes (n, m, L) and of those with another entry at a level."""
        n, m, levels = codes.shape
        others = [other for other in range(levels) if other != level]
        total = np.repeat(scores[:, None, self._span(level)], m, axis=1)
        for other in others:
            total += self._products[other, level].take(codes[:, :, other], axis=0)
        if m > 1:
            total += self._partial_scores(scores, codes, others)[:, :, None]
            total[self._alike(codes, others)] = np.inf
        picked = smallest(total.reshape(n, -1), m)
        member, entry = np.divmod(picked, self.sizes[level])
        codes = np.take_along_axis(codes, member[:, :, None], axis=1)
        codes[:, :, level] = entry
        return codes

    def _partial_scores(
        self, scores: np.ndarray, codes: np.ndarray, levels: list[int]
    ) -> np.ndarray:
        """Return scores and products of the entries of some levels, summed, (n, m)."""
        total, rows = np.zeros(codes.shape[:2]), np.arange(len(codes))[:, None]
        for place, level in enumerate(levels):
            entry = codes[:, :, level]
            total += scores[rows, self._starts[level] + entry]
            for before in levels[:place]:
                total += self._products[before, level][codes[:, :, before], entry]
        return total

    def _alike(self, codes: np.ndarray, levels: list[int]) -> np.ndarray:
        """Say which codes (n, m, L) equal an earlier one of their row in some levels, (n, m)."""
        n, m, _ = codes.shape
        sizes = [self.sizes[level] for level in levels]
        keys = code_keys(codes[:, :, levels].reshape(n * m, -1), sizes).reshape(n, m)
        order = np.argsort(keys, axis=1, kind="stable")
        ordered = np.take_along_axis(keys, order, axis=1)
        alike = np.zeros((n, m), dtype=bool)
        np.put_along_axis(alike, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        return alike

    def _first(self, x: np.ndarray, scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return which of the codes (n, m, L) `_sort` would put first, (n, L)."""
        total = self._partial_scores(scores, codes, list(range(len(self.sizes))))
        near = ~(total > (total.min(axis=1) + 2 * self._bounds(x))[:, None])
        first = codes[np.arange(len(codes)), total.argmin(axis=1)]
        unsure = np.flatnonzero(near.sum(axis=1) > 1)
        if len(unsure):
            first[unsure] = self._sort(x[unsure], codes[unsure])[0][:, 0]
        return first

    def _bounds(self, x: np.ndarray) -> np.ndarray:
        """Bound how far the score of a whole code may be from half its error less |x|^2 / 2, (n,).

        With X and C the norms of the row and of the sum of entries, it is moved by no more than
        (X + C) times what the entries are moved by, and C times what the row is.
        """
        norms, most = np.sqrt(np.vecdot(x, x)), self._longest
        moved = self._moved * (norms + most) + self._step * norms * most
        sums = 4 * (x.shape[1] + len(self.sizes) ** 2 + 8) * UNIT64
        return 1.01 * moved + sums * (norms + most) ** 2

    def _sort(self, x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, m, levels = codes.shape
        residual = np.repeat(x, m, axis=0)
        chosen = np.empty_like(residual)
        for index in (codes + self._starts[:-1]).reshape(n * m, levels).T:
            # Checked already; without "clip" numpy writes to a copy first.
            self._entries.take(index, axis=0, out=chosen, mode="clip")
            residual -= chosen
        errors = np.square(residual, out=residual).sum(axis=1).reshape(n, m)
        order = np.lexsort((*np.moveaxis(codes, 2, 0)[::-1], errors), axis=1)
        return (
            np.take_along_axis(codes, order[:, :, None], axis=1),
            np.take_along_axis(errors, order, axis=1),
        )
