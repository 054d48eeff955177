"""The greedy search over residual codebooks on a torch device, and for which rows it is sure."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.rounding import UNIT64, largest_norms

_BLOCK_VALUES = 1 << 25  # numbers of one array in work at a time, 256 MB; there are some four


class DeviceSearch:
    """Codebooks on a torch device; they do not change.

    Scores |c|^2 / 2 - rc are taken in float64: cards shorten products of float32 as a setting of
    the whole process has it, and cards for data centres are as fast in float64. A row is sure of
    its code where at each level all others are worse by more than what is lost to rounding, here
    and where the processor decides by |r - c|^2 in float64.

    Parameters
    ----------
    codebooks : one float32 array (K_l, d) a level.
    half_norms : of the entries, (K_l,) float32 a level; infinite for one that is never chosen.
    device : of torch.
    """

    def __init__(
        self,
        codebooks: Sequence[np.ndarray],
        half_norms: Sequence[np.ndarray],
        device: torch.device,
    ) -> None:
        wide = [book.astype(np.float64) for book in codebooks]
        halves = [
            _halves(book, np.isinf(half)) for book, half in zip(wide, half_norms, strict=True)
        ]
        self._books = [torch.from_numpy(book).to(device) for book in wide]
        self._halves = [torch.from_numpy(half).to(device) for half in halves]
        self._largest = largest_norms(codebooks).tolist()
        self._device = device
        width = codebooks[0].shape[1]
        # Sums of d products, and of differences of up to L entries; see `score_bounds`.
        self._unit = 1.01 * UNIT64 * (width + 2 * len(codebooks) + 8)
        self._rows = max(1, _BLOCK_VALUES // max(width, *(len(book) for book in codebooks)))

    def codes(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes (N, L) int32 of float32 rows (N, d), and which are sure, (N,) bool."""
        codes = np.empty((len(matrix), len(self._books)), dtype=np.int32)
        sure = np.empty(len(matrix), dtype=bool)
        with torch.inference_mode():
            for rows in blocks(len(matrix), self._rows):
                # A tensor can neither be read-only nor go backwards.
                block = torch.from_numpy(np.require(matrix[rows], requirements=("C", "W")))
                found, certain = self._search(block.to(self._device).double())
                codes[rows], sure[rows] = found.cpu().numpy(), certain.cpu().numpy()
        return codes, sure

    def _search(self, left: Tensor) -> tuple[Tensor, Tensor]:
        codes = torch.empty((len(left), len(self._books)), dtype=torch.int32, device=self._device)
        sure = torch.ones(len(left), dtype=torch.bool, device=self._device)
        reach = left.square().sum(dim=1).sqrt()  # of all that is left over and was taken away
        for level, (book, half_norms) in enumerate(zip(self._books, self._halves, strict=True)):
            reach = reach + self._largest[level]
            scores = torch.mm(left, book.T).neg_().add_(half_norms)
            lowest, best = scores.min(dim=1)
            others = scores.scatter_(1, best[:, None], torch.inf).amin(dim=1)
            # What is not a number is not sure either.
            sure &= others - lowest > 2 * self._unit * reach.square()
            codes[:, level] = best
            left = left - book[best]
        return codes, sure


def _halves(book: np.ndarray, infinite: np.ndarray) -> np.ndarray:
    """Return half the squared norms in float64, infinite where float32's are so on purpose."""
    half = (book**2).sum(axis=1) / 2
    # What is long for float32 alone is an entry like any other here.
    half[infinite & (half < np.finfo(np.float32).max)] = np.inf
    return half
