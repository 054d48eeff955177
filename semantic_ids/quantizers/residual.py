"""Residual codebooks: a vector is the sum of one entry of each level's codebook.

Codes are defined by the greedy search in float64: level by level, the entry nearest to what is
left over, the lowest index where two are equally near. `greedy_codes` finds the same codes with
float32 matrix products: a decision closer than the bound of their rounding error is taken again
in float64. So a row's code depends on the row alone, on no batch, order or thread.
"""

from collections.abc import Sequence

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.quantizers.beam import BeamSearch

_UNIT32 = 2.0**-24  # unit roundoff of float32
_TINY32 = 2.0**-126  # smallest normal float32, what an underflow loses at most
_BLOCK_VALUES = 1 << 21  # numbers in work at a time
_CACHED_VALUES = 1 << 18  # scores in work at a time: they stay in the processor's cache
_LEAST_ROWS = 256  # fewer would not be worth a matrix product's packing of the codebook


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
        self._negated = [np.ascontiguousarray(-book.T) for book in self.codebooks]
        self._half_norms = [half_norms(book) for book in self.codebooks]
        self._largest = np.array(
            [np.sqrt((book.astype(np.float64) ** 2).sum(axis=1).max()) for book in self.codebooks]
        )

    def greedy_codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return the greedy codes (N, L) int32 of float32 rows (N, d)."""
        codes = np.empty((len(matrix), len(self.sizes)), dtype=np.int32)
        rows = max(_LEAST_ROWS, _CACHED_VALUES // max(*self.sizes, self.width))
        work = _Work(min(rows, len(matrix)), self.sizes, self.width)
        for start in range(0, len(matrix), rows):
            block = slice(start, start + rows)
            codes[block] = self._greedy_block(matrix[block], work)
        return codes

    def _greedy_block(self, x: np.ndarray, work: "_Work") -> np.ndarray:
        codes = np.empty((len(x), len(self.sizes)), dtype=np.int32)
        bounds = self._rounding_bounds(x)
        left = x
        for level, size in enumerate(self.sizes):
            if level:
                chosen = work.entries[: len(x)]
                # In range already; without "clip" numpy writes to a copy first.
                self.codebooks[level - 1].take(codes[:, level - 1], 0, chosen, "clip")
                left = np.subtract(left, chosen, out=work.residual[: len(x)])
            scores = work.scores[level][: len(x)]
            np.matmul(left, self._negated[level], out=scores)
            scores += self._half_norms[level]
            best, others = two_least(scores)
            limits = scores.ravel()[best] + 2 * bounds[:, level]
            unsure = np.flatnonzero(others <= limits)
            codes[:, level] = best - np.arange(len(x)) * size
            if len(unsure):
                near = scores[unsure] <= limits[unsure, None]
                codes[unsure, level] = self._decide(x[unsure], codes[unsure, :level], near)
        return codes

    def _rounding_bounds(self, x: np.ndarray) -> np.ndarray:
        """Bound the rounding error of each row's scores at each level, (n, L) float32."""
        levels = np.arange(len(self.sizes))
        reach = norm_bounds(x)[:, None] + np.cumsum(np.append(0.0, self._largest[:-1]))
        return score_bounds(reach, self._largest, self.width, levels)

    def _decide(self, x: np.ndarray, prefix: np.ndarray, close: np.ndarray) -> np.ndarray:
        """Choose among close entries in float64, (n,) indices within the level."""
        book = self.codebooks[prefix.shape[1]]
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

    def beam_codes(
        self, matrix: np.ndarray, m: int, *, passes: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best codes a row that a beam of width m finds, best first.

        The beam is complete where m reaches the number of all codes; see `BeamSearch`.

        Parameters
        ----------
        matrix : (N, d) float32.
        m : width of the beam.
        passes : coordinate passes over the codes that the beam found, at most.

        Returns
        -------
        codes : (N, m', L) int32, by (error, code), m' = min(m, number of codes).
        errors : (N, m') float64.
        """
        return BeamSearch(self.codebooks).best(matrix, m, passes=passes)


class _Work:
    """Arrays that the blocks of one search share: numpy would ask the system for each anew.

    Rows of scores lie side by side without gaps, on which numpy is several times faster.
    """

    def __init__(self, rows: int, sizes: Sequence[int], width: int) -> None:
        one_for_all = np.empty(rows * max(sizes), dtype=np.float32)
        self.scores = [one_for_all[: rows * size].reshape(rows, size) for size in sizes]
        self.residual = np.empty((rows, width), dtype=np.float32)
        self.entries = np.empty((rows, width), dtype=np.float32)


def two_least(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where in all scores (n, K) each row's least lies, (n,), and its least but one.

    Looking for the least twice is faster than comparing all with the first. Of equal ones the
    first is the least and the second the other; where K = 1 the other is infinite.

    Parameters
    ----------
    scores : C-contiguous; left as they were.

    Examples
    --------
    >>> best, others = two_least(np.array([[3.0, 1.0, 2.0], [5.0, 6.0, 5.0]]))
    >>> best.tolist(), others.tolist()
    ([1, 3], [2.0, 5.0])
    """
    flat, starts = scores.reshape(-1), np.arange(len(scores)) * scores.shape[1]
    best = starts + scores.argmin(axis=1)
    least = flat[best]
    flat[best] = np.inf
    others = flat[starts + scores.argmin(axis=1)]
    flat[best] = least
    return best, others


def norm_bounds(x: np.ndarray) -> np.ndarray:
    """Return bounds (n,) float64 of the norms of float32 rows (n, d), hardly above them.

    A sum of d squares in float32 is off by some d u of itself, and by what underflows.

    Examples
    --------
    >>> norm_bounds(np.array([[3.0, 4.0]], dtype=np.float32)).round(5).tolist()
    [5.0]
    """
    width = x.shape[1]
    squares = np.vecdot(x, x).astype(np.float64)
    return np.sqrt((1 + 2 * width * _UNIT32) * squares + width * _TINY32)


def score_bounds(
    reach: np.ndarray, largest: np.ndarray | float, width: int, levels: np.ndarray | int = 0
) -> np.ndarray:
    """Bound the rounding error of scores |c|^2 / 2 - rc in float32.

    With u the unit roundoff, R the reach and C the largest norm: a product of d terms errs by at
    most (d + 1) u R C, the residual r it starts from by one u R a level, the half norm and the sum
    by u C (C + R). Besides, each of these operations may underflow.

    Parameters
    ----------
    reach : bounds of |r| at the first level, and of all that is taken away before later ones.
    largest : largest norm of an entry c.
    width : number d of columns.
    levels : how many entries have been taken away from r.

    Examples
    --------
    >>> bool(score_bounds(np.array([1.0]), 1.0, 8)[0] < 1e-6)
    True
    """
    units = (width + levels + 3) * reach + 2 * largest
    underflow = (width + 3) * _TINY32
    return (1.01 * _UNIT32 * largest * units + underflow).astype(np.float32)


def half_norms(book: np.ndarray) -> np.ndarray:
    """Return half the squared norms of entries (K,) float32, infinite for a repeated entry.

    Of equal entries the first is always chosen; leaving the others out saves deciding it.
    """
    half = ((book.astype(np.float64) ** 2).sum(axis=1) / 2).astype(np.float32)
    _, first = np.unique(book, axis=0, return_index=True)
    repeated = np.ones(len(book), dtype=bool)
    repeated[first] = False
    half[repeated] = np.inf
    return half
