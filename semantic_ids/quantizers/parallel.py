"""Parallel codebooks: each slot has columns of its own and is coded apart from the others.

A row's code at a slot is the entry nearest to the slot's columns by squared distances in float64,
the lowest index where two are equally near. `nearest_codes` finds it with float32 matrix products
and takes decisions closer than the bound of their rounding error again in float64, so a row's
code depends on the row alone, on no batch, order or thread.
"""

import math
from collections.abc import Sequence

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.residual import least, least_but
from semantic_ids.quantizers.rounding import TINY32, UNIT32, half_norms, norm_bounds
from semantic_ids.quantizers.smallest import smallest

# Further than any entry in range can be (`check_range`). Infinity, which stands for entries that
# repeat an earlier one, would meet the zeros with which matrix products fill up their blocks.
_FAR = np.float32(np.finfo(np.float32).max / 4)
_BLOCK_VALUES = 1 << 21  # float64 values in work at a time
_CACHED_VALUES = 1 << 17  # scores in work at a time: they stay in the processor's cache


class ParallelCodebooks:
    """The codebooks of S slots, which share out the columns between them; immutable.

    Parameters
    ----------
    codebooks : one float32 array (K_s, w_s) a slot, for the next w_s columns; the same array
        again and again where the slots share one.
    mean : (d,) float32, what the columns of a slot decode to while its code is not given.
    """

    def __init__(self, codebooks: Sequence[np.ndarray], mean: np.ndarray) -> None:
        self.codebooks = tuple(np.ascontiguousarray(book, dtype=np.float32) for book in codebooks)
        self.mean = mean
        self.sizes = tuple(len(book) for book in self.codebooks)
        self.width = len(mean)
        self._columns = column_blocks([book.shape[1] for book in self.codebooks])
        scorings = {id(book): _Scoring(book) for book in self.codebooks}
        self._scorings = [scorings[id(book)] for book in self.codebooks]

    def nearest_codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return each slot's nearest entry, (N, S) int32, of float32 rows (N, d)."""
        codes = np.empty((len(matrix), len(self.sizes)), dtype=np.int32)
        slots = list(zip(self._columns, self._scorings, strict=True))
        for block in blocks(len(matrix), _CACHED_VALUES // max(self.sizes)):
            for slot, (columns, scoring) in enumerate(slots):
                codes[block, slot] = scoring.nearest(matrix[block, columns])
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return entries side by side, (n, d) float32, of codes (n, l), l <= S.

        The columns of the slots that are not given are the mean.
        """
        codes = check_codes(codes, self.sizes[: np.asarray(codes).shape[-1]])
        decoded = np.tile(self.mean, (len(codes), 1))
        for columns, book, code in zip(self._columns, self.codebooks, codes.T, strict=False):
            decoded[:, columns] = book[code]
        return decoded

    def errors(self, matrix: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, S) float64 to what the first 1 ... S codes decode to."""
        errors = np.empty(codes.shape)
        for block in blocks(len(matrix), _BLOCK_VALUES // self.width):
            x = matrix[block].astype(np.float64)
            given, not_given = np.empty(codes[block].shape), np.zeros(codes[block].shape)
            for slot, (columns, book) in enumerate(zip(self._columns, self.codebooks, strict=True)):
                part = x[:, columns]
                given[:, slot] = _squared_norms(part - book[codes[block, slot]])
                if slot:
                    not_given[:, slot - 1] = _squared_norms(part - self.mean[columns])
            rest = np.cumsum(not_given[:, ::-1], axis=1)[:, ::-1]
            errors[block] = np.cumsum(given, axis=1) + rest
        return errors

    def best_codes(self, matrix: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best of all codes of each row, best first.

        Errors are sums over the slots, so the m best codes of some slots are pairs of one of
        the m best codes of all but the last of them with an entry of the last: the i-th best
        and the j-th best only where ``i * j <= m``, since ``i * j`` pairs are no worse.

        Returns
        -------
        codes : (N, m', S) int32, by (error, code), m' = min(m, number of codes).
        errors : (N, m') float64, as `errors` returns for whole codes, bit for bit.
        """
        m = min(m, math.prod(self.sizes))
        codes = np.empty((len(matrix), m, len(self.sizes)), dtype=np.int32)
        errors = np.empty((len(matrix), m))
        values = max(*self.sizes, m * len(self.sizes), len(_pairs(m, max(self.sizes), m)[0]))
        for block in blocks(len(matrix), _CACHED_VALUES // values):
            codes[block], errors[block] = self._best_block(matrix[block].astype(np.float64), m)
        return codes, errors

    def _best_block(self, x: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        codes = np.zeros((len(x), 1, 0), dtype=np.int32)
        errors = np.zeros((len(x), 1))
        places = np.zeros((len(x), 1), dtype=np.int64)  # of each code among the codes of its row
        for columns, book in zip(self._columns, self.codebooks, strict=True):
            distances = _squared_distances(x[:, columns], book)
            entries = smallest(distances, m)
            first, second = _pairs(errors.shape[1], entries.shape[1], m)
            sums = errors[:, first] + np.take_along_axis(distances, entries, axis=1)[:, second]
            keys = places[:, first] * len(book) + entries[:, second]
            kept = _smallest_by_key(sums, keys, m)
            errors = np.take_along_axis(sums, kept, axis=1)
            places = np.take_along_axis(keys, kept, axis=1).argsort(axis=1).argsort(axis=1)
            parents = np.take_along_axis(codes, first[kept][:, :, None], axis=1)
            added = np.take_along_axis(entries, second[kept], axis=1)
            codes = np.concatenate([parents, added[:, :, None].astype(np.int32)], axis=2)
        return codes, errors


class _Scoring:
    """One codebook, laid out so that one float32 product scores all its entries.

    A score is half the squared norm of an entry minus its product with the row, that is, half
    their squared distance up to a term that all entries share.
    """

    def __init__(self, book: np.ndarray) -> None:
        self._book = book
        self._width = book.shape[1]
        # The half norms stand below the entries and meet a one behind each row.
        below = np.minimum(half_norms(book), _FAR)
        self._factors = np.concatenate([-book.T, below[None]])
        self._largest = math.sqrt((book.astype(np.float64) ** 2).sum(axis=1).max())

    def nearest(self, part: np.ndarray) -> np.ndarray:
        """Return the nearest entries (n,) of rows (n, w), which may be columns of wider ones."""
        rows = np.ones((len(part), self._width + 1), dtype=np.float32)
        rows[:, :-1] = part
        scores = rows @ self._factors
        best = least(scores)
        limits = scores.ravel()[best] + 2 * self._rounding_bounds(part)
        chosen = best - np.arange(len(part)) * scores.shape[1]
        unsure = np.flatnonzero(least_but(scores, best) <= limits)
        if len(unsure):
            close = scores[unsure] <= limits[unsure, None]
            chosen[unsure] = self._decide(part[unsure], close)
        return chosen

    def _rounding_bounds(self, part: np.ndarray) -> np.ndarray:
        """Bound the rounding error of each row's scores, (n,) float32.

        With u the unit roundoff, R the row's norm and C the largest of an entry: the half norm
        errs by at most u C^2 / 2, and a sum of w + 1 products, whose magnitudes add up to at
        most R C + C^2 / 2, by (w + 1) u times that. Each of these operations may underflow.
        """
        terms = self._width + 1
        units = terms * norm_bounds(part) + (terms + 1) / 2 * self._largest
        underflow = (terms + 2) * TINY32
        return (1.01 * UNIT32 * self._largest * units + underflow).astype(np.float32)

    def _decide(self, part: np.ndarray, close: np.ndarray) -> np.ndarray:
        """Choose among close entries in float64, (n,) indices."""
        distances = np.full(close.shape, np.inf)
        rows, entries = np.nonzero(close)
        for block in blocks(len(rows), _BLOCK_VALUES // self._width):
            r, e = rows[block], entries[block]
            distances[r, e] = _squared_norms(part[r].astype(np.float64) - self._book[e])
        return distances.argmin(axis=1)


def column_blocks(widths: Sequence[int]) -> list[slice]:
    """Return consecutive slices of the given widths.

    Examples
    --------
    >>> column_blocks([2, 1])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _squared_norms(differences: np.ndarray) -> np.ndarray:
    """Return squared norms (n,) of rows (n, w), summed from the first column to the last."""
    return np.cumsum(differences**2, axis=1)[:, -1]


def _squared_distances(x: np.ndarray, book: np.ndarray) -> np.ndarray:
    """Return squared distances (n, K) float64, those of `_squared_norms` bit for bit."""
    distances = np.zeros((len(x), len(book)))
    difference = np.empty_like(distances)
    columns = np.ascontiguousarray(book.T, dtype=np.float64)
    for column, entries in zip(x.T, columns, strict=True):
        np.subtract(column[:, None], entries, out=difference)
        distances += np.square(difference, out=difference)
    return distances


def _pairs(a: int, b: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the pairs of the i-th of a and the j-th of b with i * j <= m.

    Examples
    --------
    >>> first, second = _pairs(2, 3, 3)
    >>> list(zip(first.tolist(), second.tolist()))
    [(0, 0), (0, 1), (0, 2), (1, 0)]
    """
    lengths = np.minimum(b, m // np.arange(1, min(a, m) + 1))
    first = np.repeat(np.arange(len(lengths)), lengths)
    return first, np.arange(len(first)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _smallest_by_key(values: np.ndarray, keys: np.ndarray, m: int) -> np.ndarray:
    """Return the columns of each row's m smallest values (n, W), by (value, key)."""
    kept = smallest(values, m)
    largest = np.take_along_axis(values, kept[:, -1:], axis=1)
    chosen = np.take_along_axis(values, kept, axis=1)
    tied = (chosen[:, 1:] == chosen[:, :-1]).any(axis=1)
    tied |= np.count_nonzero(values <= largest, axis=1) > kept.shape[1]
    rows = np.flatnonzero(tied)
    kept[rows] = np.lexsort((keys[rows], values[rows]), axis=1)[:, : kept.shape[1]]
    return kept
