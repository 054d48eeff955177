"""Ranked codes: several for each row, best first, and how to combine them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

_BLOCK_PAIRS = 1 << 19  # pairs of codes that are sorted at a time


@dataclass(frozen=True)
class Ranked:
    """c codes for each of n rows, by (error, code).

    Attributes
    ----------
    codes : (n, c, L) int32, distinct within a row.
    errors : (n, c) float64; what they are adds up over parts of a code.
    """

    codes: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, errors: np.ndarray, m: int) -> Self:
        """Sort codes by (error, code) and keep the first m of each row."""
        order = np.lexsort((*np.moveaxis(codes, 2, 0)[::-1], errors), axis=1)[:, :m]
        return cls(
            np.take_along_axis(codes, order[:, :, None], axis=1),
            np.take_along_axis(errors, order, axis=1),
        )

    @property
    def count(self) -> int:
        """Codes a row, c."""
        return self.errors.shape[1]

    def merged(self, other: "Ranked", m: int) -> "Ranked":
        """Return the m best of two lists that have no code in common."""
        return Ranked.of(
            np.concatenate([self.codes, other.codes], axis=1),
            np.concatenate([self.errors, other.errors], axis=1),
            m,
        )

    def followed_by(self, other: "Ranked") -> "Ranked":
        """Return one list behind the other, which need not be worse."""
        return Ranked(
            np.concatenate([self.codes, other.codes], axis=1),
            np.concatenate([self.errors, other.errors], axis=1),
        )

    def beside(self, other: "Ranked", m: int) -> "Ranked":
        """Return the m best of all codes that begin as these and go on as those of `other`.

        Examples
        --------
        >>> codes = np.arange(3, dtype=np.int32).reshape(1, 3, 1)
        >>> few = Ranked(codes, np.array([[0.0, 1.0, 5.0]]))
        >>> best = few.beside(Ranked(codes, np.array([[0.0, 2.0, 3.0]])), 4)
        >>> best.codes[0].tolist(), best.errors[0].tolist()
        ([[0, 0], [1, 0], [0, 1], [0, 2]], [0.0, 1.0, 2.0, 3.0])
        """
        left, right = _pairs(self.count, other.count, m)
        n, levels = len(self.errors), self.codes.shape[2] + other.codes.shape[2]
        codes = np.empty((n, min(m, len(left)), levels), dtype=np.int32)
        errors = np.empty(codes.shape[:2])
        for rows in _blocks(n, _BLOCK_PAIRS // max(1, len(left))):
            best = Ranked.of(
                np.concatenate([self.codes[rows][:, left], other.codes[rows][:, right]], axis=2),
                self.errors[rows][:, left] + other.errors[rows][:, right],
                m,
            )
            codes[rows], errors[rows] = best.codes, best.errors
        return Ranked(codes, errors)


def _pairs(first: int, second: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Name the pairs among which are the m best of all, whatever the errors.

    Pair (i, j) of two sorted lists is preceded by all (i + 1) (j + 1) - 1 others up to there, so
    it is out of the question if that is m or more.
    """
    places = np.arange(min(first, m))
    counts = np.minimum(second, m // (places + 1))
    left = np.repeat(places, counts)
    return left, np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)


def _blocks(n: int, rows: int) -> Iterator[slice]:
    rows = max(1, rows)
    return (slice(start, start + rows) for start in range(0, n, rows))
