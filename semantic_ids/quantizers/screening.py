"""Scores of entries by matrix products of low precision, and how far these may be off.

What is nearest by more than the rounding error is nearest; the few rows of which that cannot be
said are decided anew, with higher precision. So a coarser product changes no code, only how many
rows are decided twice.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from semantic_ids.processor import has_bfloat16
from semantic_ids.quantizers.rounding import TINY32, UNIT32, half_norms, norm_bounds

if TYPE_CHECKING:
    from torch import Tensor

_UNIT16 = 2.0**-8  # unit roundoff of bfloat16
_PIECES = 3  # of 8 bits, for the 24 of a float32

#: Columns and rows from which on there is enough to gain, and multiplications from which on torch
#: is worth to be imported.
_MANY_COLUMNS = 256
_MANY_ROWS = 1024
_WORTH_AN_IMPORT = 2e11


class Screening(Protocol):
    """Scores |c|^2 / 2 - rc of the entries c of each level, for one search at a time."""

    def score(self, level: int, left: np.ndarray, scores: np.ndarray) -> None:
        """Write scores (n, K) of rows r of `left` (n, d) float32, or what they are at least.

        What is written may be less than a score by as much as the entry, for such a row, may be
        off more than others.
        """
        ...

    def limits(
        self, level: int, lowest: np.ndarray, chosen: np.ndarray, float32: np.ndarray
    ) -> np.ndarray:
        """Return above what a score as written is surely worse than a row's best, (n,).

        Parameters
        ----------
        level : that was scored last.
        lowest : (n,) the least of what was written.
        chosen : (n,) the entries that have it.
        float32 : (n,) how far float32 may round scores.
        """
        ...

    def near(
        self, level: int, scores: np.ndarray, limits: np.ndarray, float32: np.ndarray
    ) -> np.ndarray:
        """Return which entries may be a row's best, (n, K) bool, of rows of which that is not sure.

        Parameters
        ----------
        level : that was scored last.
        scores : (n, K) as they were written.
        limits, float32 : as `limits` returned and took them.
        """
        ...


class Float32:
    """Products in float32, by numpy.

    All scores of a row are at most off by what those of the longest entry may be. Where that
    leaves a row unsure, each entry has a bound of its own, in proportion to its length: else a
    single long entry would make all others look alike.

    Parameters
    ----------
    codebooks : one float32 array (K_l, d) a level.
    """

    def __init__(self, codebooks: Sequence[np.ndarray]) -> None:
        self._negated = [np.ascontiguousarray(-book.T) for book in codebooks]
        self.half_norms = [half_norms(book) for book in codebooks]
        self._shares, self._tiny = [], []
        for book in codebooks:
            norms = np.sqrt((book.astype(np.float64) ** 2).sum(axis=1))
            longest = max(float(norms.max()), np.finfo(np.float32).tiny)
            self._shares.append((norms / longest).astype(np.float32))
            self._tiny.append(np.float32(2 * (book.shape[1] + 3) * TINY32))

    def score(self, level: int, left: np.ndarray, scores: np.ndarray) -> None:
        """Write the scores; all of a row may be off as far."""
        np.matmul(left, self._negated[level], out=scores)
        scores += self.half_norms[level]

    def limits(
        self, level: int, lowest: np.ndarray, chosen: np.ndarray, float32: np.ndarray
    ) -> np.ndarray:
        """Return the limits: both the best and another may be off by `float32`."""
        return lowest + 2 * float32

    def near(
        self, level: int, scores: np.ndarray, limits: np.ndarray, float32: np.ndarray
    ) -> np.ndarray:
        """Return the entries that are at best no worse than another is at worst."""
        with np.errstate(over="ignore", invalid="ignore"):
            # Twice the bounds, for the rounding of these sums.
            off = 2 * float32[:, None] * self._shares[level] + self._tiny[level]
            return ~(scores - off > (scores + off).min(axis=1, keepdims=True))


class Rounded:
    """Codebooks rounded to bfloat16, and how far off that makes their entries; immutable.

    Below each negated entry c stand what is added to its products with rows: |c|^2 / 2 less a
    fixed part of its bound, in three pieces that together are all of a float32, and less the part
    of the bound that grows with the norm of a row. So one product gives scores.

    Parameters
    ----------
    codebooks : one float32 array (K_l, d) a level.
    half_norms : as `Float32` has them.
    """

    def __init__(self, codebooks: Sequence[np.ndarray], half_norms: Sequence[np.ndarray]) -> None:
        import torch

        self.entries, self.by_norm, self.fixed = [], [], []
        for book, half in zip(codebooks, half_norms, strict=True):
            entries = torch.from_numpy(-book.T).bfloat16()
            lost = book + entries.float().numpy().T  # exact
            norms, losses = (
                np.sqrt((array.astype(np.float64) ** 2).sum(axis=1)) for array in (book, lost)
            )
            width = book.shape[1]
            tiny = 2 * width * TINY32  # numbers that small may count as zero
            sums = (width + 8) * UNIT32  # of what is summed, lost by adding it up in float32
            # A hundredth more than u, for the roundings of the bounds, of scores less their
            # bounds, and for products of u.
            more = 1.01 + sums
            by_norm = _raised(more * (_UNIT16 * norms + (1 + _UNIT16) * losses + tiny))
            fixed = torch.from_numpy(more * (sums * norms**2 / 2 + tiny * (1 + norms))).float()
            added = _pieces(torch.from_numpy(half) - fixed)
            self.entries.append(torch.cat([entries, added, -by_norm[None]]))
            self.by_norm.append(by_norm.float().numpy())
            self.fixed.append(fixed.numpy())


def _raised(values: np.ndarray) -> "Tensor":
    """Round positive numbers up to bfloat16."""
    import torch

    return torch.from_numpy((1 + 2 * _UNIT16) * values).bfloat16()


def _pieces(values: "Tensor") -> "Tensor":
    """Split float32 numbers (K,) into bfloat16 ones (3, K) that add up to them."""
    import torch

    pieces, left = [], values
    for _ in range(_PIECES):
        pieces.append(left.bfloat16())
        # Infinite numbers are their own first piece.
        left = torch.where(values.isfinite(), left - pieces[-1].float(), 0.0)
    return torch.stack(pieces)


class BFloat16:
    """Products in bfloat16, by torch, for processors that have instructions for them.

    With u the unit roundoff, a row r is off by up to u |r|, an entry c by what it lost, and a
    score s by up to u |s|, when it is rounded. How far entries may be off differs so much with
    their length that each has a bound of its own, B = |r| a + f, which is taken off its score;
    u |s| is left for the limits.

    Parameters
    ----------
    rounded : the codebooks.
    rows : the most that are scored together.
    """

    def __init__(self, rounded: Rounded, rows: int) -> None:
        import torch

        self._torch = torch
        self._rounded = rounded
        most = max(len(fixed) for fixed in rounded.fixed)
        low = {"dtype": torch.bfloat16, "device": "cpu"}
        # Beside each row, what the pieces and the bounds below the entries are multiplied by.
        self._left = torch.ones((rows, len(rounded.entries[0])), **low)
        self._products = torch.empty(rows * most, **low)
        self._norms = np.empty(0, dtype=np.float32)

    def score(self, level: int, left: np.ndarray, scores: np.ndarray) -> None:
        """Write the scores, each less its entry's bound."""
        torch = self._torch
        with torch.inference_mode():
            # A tensor can neither be read-only nor go backwards.
            rows = torch.from_numpy(np.require(left, requirements=("C", "W")))
            low = self._left[: len(left)]
            low[:, : left.shape[1]].copy_(rows)
            with np.errstate(over="ignore"):  # what is infinite or no number is decided anew
                low[:, -1] = _raised(norm_bounds(left))
            self._norms = low[:, -1].float().numpy()
            products = self._products[: scores.size].view(scores.shape)
            torch.mm(low, self._rounded.entries[level], out=products)
            torch.from_numpy(scores).copy_(products)

    def limits(
        self, level: int, lowest: np.ndarray, chosen: np.ndarray, float32: np.ndarray
    ) -> np.ndarray:
        """Return the limits.

        The best, of score s and bound B, is s + B + u |s| at most. Another, worse by D, is off
        by up to its own bound and u |s| + u D: it is surely worse where D (1 - u), less its
        bound, is more than B + 2 u |s|. Rounding these sums in float32 takes a thousandth of what
        the factors 1.01 and 2.02 leave.
        """
        by_norm, fixed = self._rounded.by_norm[level], self._rounded.fixed[level]
        with np.errstate(over="ignore", invalid="ignore"):
            own = self._norms * by_norm[chosen] + fixed[chosen]
            best = lowest + own
            apart = own + np.float32(2.02 * _UNIT16) * np.abs(best) + 4 * float32
            return best + np.float32(1 / (1 - 1.01 * _UNIT16)) * apart

    def near(
        self, level: int, scores: np.ndarray, limits: np.ndarray, float32: np.ndarray
    ) -> np.ndarray:
        """Return the entries within the limits, which their own bounds are in already."""
        return ~(scores > limits[:, None])


def bfloat16_pays(rows: int, width: int, work: float) -> bool:
    """Return whether so many rows of so many columns are screened faster in bfloat16 here.

    `work` is the number of multiplications so far, by which torch may be worth its import.
    """
    is_large = rows >= _MANY_ROWS and width >= _MANY_COLUMNS
    has_torch = "torch" in sys.modules or work > _WORTH_AN_IMPORT
    return is_large and has_torch and has_bfloat16()
