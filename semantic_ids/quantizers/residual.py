"""Residual codebooks: a vector is the sum of one entry of each level's codebook.

Codes are defined by the greedy search in float64: level by level, the entry nearest to what is
left over, the lowest index where two are equally near. `greedy_codes` finds the same codes with
float32 matrix products: a decision closer than the bound of their rounding error is taken again
in float64. So a row's code depends on the row alone, on no batch, order or thread.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.exact import exact_product

_UNIT32 = 2.0**-24  # unit roundoff of float32
_TINY32 = 2.0**-126  # smallest normal float32, what an underflow loses at most
_BLOCK_VALUES = 1 << 21  # scores in work at a time
_CACHED_VALUES = 1 << 17  # scores of a beam in work at a time: they stay in the processor's cache
_GROUP, _LANES = 8, 32  # how many values make one minimum, and how many minima stand together


class ResidualCodebooks:
    """The codebooks of L levels and what searching them needs; immutable.

    Parameters
    ----------
    codebooks : one float32 array (K_l, d) a level.
    """

    def __init__(self, codebooks: Sequence[np.ndarray]) -> None:
        self.codebooks = tuple(np.ascontiguousarray(book, dtype=np.float32) for book in codebooks)
        self.sizes = tuple(len(book) for book in self.codebooks)
        self.width = self.codebooks[0].shape[1]
        self._half_norms = [_half_norms(book) for book in self.codebooks]
        self._largest = np.array(
            [np.sqrt((book.astype(np.float64) ** 2).sum(axis=1).max()) for book in self.codebooks]
        )

    def greedy_codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return the greedy codes (N, L) int32 of float32 rows (N, d)."""
        codes = np.empty((len(matrix), len(self.sizes)), dtype=np.int32)
        rows = max(1, _BLOCK_VALUES // max(*self.sizes, self.width))
        for start in range(0, len(matrix), rows):
            block = slice(start, start + rows)
            codes[block] = self._greedy_block(matrix[block])
        return codes

    def _greedy_block(self, x: np.ndarray) -> np.ndarray:
        codes = np.empty((len(x), len(self.sizes)), dtype=np.int32)
        bounds = self._rounding_bounds(x)
        residual = x.copy()
        for level, book in enumerate(self.codebooks):
            scores = self._half_norms[level] - residual @ book.T
            chosen = scores.argmin(axis=1)
            best = np.take_along_axis(scores, chosen[:, None], axis=1)
            close = scores <= best + 2 * bounds[:, level, None]
            unsure = np.flatnonzero(close.sum(axis=1) > 1)
            if len(unsure):
                chosen[unsure] = self._decide(x[unsure], codes[unsure, :level], close[unsure])
            codes[:, level] = chosen
            residual -= book[chosen]
        return codes

    def _rounding_bounds(self, x: np.ndarray) -> np.ndarray:
        """Bound the rounding error of each row's scores at each level, (n, L) float32.

        With u the unit roundoff, R = |x| + the largest norms of the levels before, and C the
        largest norm of this level: a product of d terms errs by at most (d + 1) u R C, the
        residual it starts from by one u R a level, the half norm and the sum by u C (C + R).
        Besides, each of these operations may underflow.
        """
        levels = np.arange(len(self.sizes))
        x_norms = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))[:, None]
        reach = x_norms + np.cumsum(np.concatenate(([0.0], self._largest[:-1])))
        units = (self.width + levels + 3) * reach + 2 * self._largest
        underflow = (self.width + 3) * _TINY32
        return (1.01 * _UNIT32 * self._largest * units + underflow).astype(np.float32)

    def _decide(self, x: np.ndarray, prefix: np.ndarray, close: np.ndarray) -> np.ndarray:
        """Choose among close entries in float64, (n,) indices within the level."""
        level = prefix.shape[1]
        book = self.codebooks[level].astype(np.float64)
        residual = self._residual(x, prefix)
        distances = np.full(close.shape, np.inf)
        rows, entries = np.nonzero(close)
        step = max(1, _BLOCK_VALUES // self.width)
        for start in range(0, len(rows), step):
            r, e = rows[start : start + step], entries[start : start + step]
            distances[r, e] = ((residual[r] - book[e]) ** 2).sum(axis=1)
        return distances.argmin(axis=1)

    def _residual(self, x: np.ndarray, prefix: np.ndarray) -> np.ndarray:
        residual = x.astype(np.float64)
        for level in range(prefix.shape[1]):
            residual -= self.codebooks[level][prefix[:, level]]
        return residual

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the sums of entries (n, d) float32 of codes (n, l), l <= L."""
        codes = check_codes(codes, self.sizes[: np.asarray(codes).shape[-1]])
        return (-self._residual(np.zeros((len(codes), self.width)), codes)).astype(np.float32)

    def errors(self, matrix: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 to the sums of the first 1 ... L entries."""
        errors = np.empty(codes.shape, dtype=np.float64)
        rows = max(1, _BLOCK_VALUES // self.width)
        for start in range(0, len(matrix), rows):
            block = slice(start, start + rows)
            residual = matrix[block].astype(np.float64)
            for level, book in enumerate(self.codebooks):
                residual -= book[codes[block, level]]
                errors[block, level] = (residual**2).sum(axis=1)
        return errors

    def beam_codes(self, matrix: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best codes a row that a beam of width m finds, best first.

        The beam is complete where m reaches the number of all codes. It goes by products of
        vectors and entries that are rounded to some 20 bits, which do not depend on how they are
        summed: so the result depends on the row alone. The errors returned are those of the
        unrounded vectors. A table of (sum of codebook sizes)^2 float64 is held meanwhile.

        Returns
        -------
        codes : (N, m', L) int32, by (error, code), m' = min(m, number of codes).
        errors : (N, m') float64.
        """
        m = min(m, math.prod(self.sizes))
        codes = np.empty((len(matrix), m, len(self.sizes)), dtype=np.int32)
        errors = np.empty((len(matrix), m))
        entries = np.concatenate(self.codebooks).astype(np.float64)
        half_norms, products = self._products(entries)
        rows = max(1, _CACHED_VALUES // (m * max(*self.sizes, self.width)))
        for outer in _blocks(len(matrix), _BLOCK_VALUES // max(len(entries), self.width)):
            x = matrix[outer].astype(np.float64)
            scores = half_norms - exact_product(x, entries.T, parts=1)
            for inner in _blocks(len(x), rows):
                found = self._beam_block(scores[inner], products, m)
                at = slice(outer.start + inner.start, outer.start + inner.stop)
                codes[at], errors[at] = self._sort(x[inner], found, entries)
        return codes, errors

    def _products(self, entries: np.ndarray) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        """Return half the squared norms of all entries, and for each level the products of
        the entries of the levels before with its own, (K_before, K_level) each.
        """
        products = exact_product(entries, entries.T, parts=1)
        ends = np.cumsum(self.sizes)
        spans = [slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]
        before = [
            [np.ascontiguousarray(products[earlier, span]) for earlier in spans[:level]]
            for level, span in enumerate(spans)
        ]
        return np.diagonal(products) / 2, before

    def _beam_block(
        self, scores: np.ndarray, products: list[list[np.ndarray]], m: int
    ) -> np.ndarray:
        n, start = len(scores), 0
        codes = np.zeros((n, 1, 0), dtype=np.int32)
        so_far = np.zeros((n, 1))
        for level, size in enumerate(self.sizes):
            total = so_far[:, :, None] + scores[:, None, start : start + size]
            for before, table in enumerate(products[level]):
                total += table.take(codes[:, :, before], axis=0)
            total = total.reshape(n, -1)
            picked = _smallest(total, m)
            parent, entry = np.divmod(picked, size)
            so_far = np.take_along_axis(total, picked, axis=1)
            codes = np.concatenate(
                [np.take_along_axis(codes, parent[:, :, None], axis=1), entry[:, :, None]], axis=2
            )
            start += size
        return codes

    def _sort(
        self, x: np.ndarray, codes: np.ndarray, entries: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        n, m, levels = codes.shape
        residual = np.repeat(x, m, axis=0)
        chosen = np.empty_like(residual)
        starts = np.cumsum((0, *self.sizes[:-1]))
        for index in (codes + starts).reshape(n * m, levels).T:
            # Checked already; without "clip" numpy writes to a copy first.
            entries.take(index, axis=0, out=chosen, mode="clip")
            residual -= chosen
        errors = np.square(residual, out=residual).sum(axis=1).reshape(n, m)
        order = np.lexsort((*np.moveaxis(codes, 2, 0)[::-1], errors), axis=1)
        return (
            np.take_along_axis(codes, order[:, :, None], axis=1),
            np.take_along_axis(errors, order, axis=1),
        )


def _half_norms(book: np.ndarray) -> np.ndarray:
    """Return half the squared norms of entries (K,) float32, infinite for a repeated entry.

    Of equal entries the first is always chosen; leaving the others out saves deciding it.
    """
    half = ((book.astype(np.float64) ** 2).sum(axis=1) / 2).astype(np.float32)
    _, first = np.unique(book, axis=0, return_index=True)
    repeated = np.ones(len(book), dtype=bool)
    repeated[first] = False
    half[repeated] = np.inf
    return half


def _smallest(values: np.ndarray, m: int) -> np.ndarray:
    """Return the columns (n, min(m, W)) of each row's m smallest values, by (value, column)."""
    n, width = values.shape
    if m >= width:
        return np.argsort(values, axis=1, kind="stable")
    limit = np.partition(_group_minima(values, m), m - 1, axis=1)[:, m - 1 : m]
    row, column = np.divmod(np.flatnonzero(values <= limit), width)
    counts = np.bincount(row, minlength=n)
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    few = np.full((n, counts.max()), np.inf)
    few[row, place] = values[row, column]
    columns = np.zeros(few.shape, dtype=np.int64)
    columns[row, place] = column
    order = np.argsort(few, axis=1, kind="stable")[:, :m]
    return np.take_along_axis(columns, order, axis=1)


def _group_minima(values: np.ndarray, m: int) -> np.ndarray:
    """Return minima of groups of the values (n, W), at least m a row, or the values themselves.

    At least m values are no larger than the m-th smallest minimum, so it bounds the m-th
    smallest value, and with many groups it is seldom much larger. A group is a few values that
    stand _LANES apart, so that the minima are taken side by side.
    """
    n, width = values.shape
    chunks = width // (_GROUP * _LANES)
    if chunks * _LANES < 4 * m:
        return values
    grouped = values[:, : chunks * _GROUP * _LANES].reshape(n, chunks, _GROUP, _LANES)
    return grouped.min(axis=2).reshape(n, -1)


def _blocks(n: int, rows: int) -> Iterator[slice]:
    """Split n rows into slices of at most `rows`, at least one each."""
    rows = max(1, rows)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))
