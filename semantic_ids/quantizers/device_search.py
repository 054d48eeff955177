"""The greedy search over residual codebooks on a torch device, and for which rows it is sure."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semantic_ids.quantizers.blocks import blocks

_BLOCK_VALUES = 1 << 26  # scores, or numbers of rows, in work at a time: 256 MB of each


class DeviceSearch:
    """Codebooks on a torch device; they do not change.

    Scores are those of the processor, |c|^2 / 2 - rc in float32, and may be off as far, so a row
    is sure of its code where at each level all others are worse by more than that.

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
        self._books = [torch.tensor(book, device=device) for book in codebooks]
        self._half_norms = [torch.tensor(half, device=device) for half in half_norms]
        self._device = device
        widest = max(*codebooks[0].shape, *(len(book) for book in codebooks))
        self._rows = max(1, _BLOCK_VALUES // widest)

    def codes(
        self, matrix: np.ndarray, bounds: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes (N, L) int32 of float32 rows (N, d), and which are sure, (N,) bool.

        Parameters
        ----------
        matrix : the rows.
        bounds : gives, from sums of squares of n rows in float32, how far float32 may round their
            scores at each level, (n, L) float32.
        """
        codes = np.empty((len(matrix), len(self._books)), dtype=np.int32)
        sure = np.empty(len(matrix), dtype=bool)
        with torch.inference_mode(), float32_products(self._device):
            for rows in blocks(len(matrix), self._rows):
                # A tensor can neither be read-only nor go backwards.
                block = torch.from_numpy(np.require(matrix[rows], requirements=("C", "W")))
                x = block.to(self._device)
                off = torch.from_numpy(bounds((x * x).sum(dim=1).cpu().numpy()))
                found, certain = self._search(x, off.to(self._device))
                codes[rows], sure[rows] = found.cpu().numpy(), certain.cpu().numpy()
        return codes, sure

    def _search(self, x: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
        codes = torch.empty((len(x), len(self._books)), dtype=torch.int32, device=self._device)
        sure = torch.ones(len(x), dtype=torch.bool, device=self._device)
        left = x
        for level, (book, half_norms) in enumerate(zip(self._books, self._half_norms, strict=True)):
            # In two steps: nobody says where a sum inside a product would be rounded.
            scores = torch.mm(left, book.T).neg_().add_(half_norms)
            lowest, best = scores.min(dim=1)
            others = scores.scatter_(1, best[:, None], torch.inf).amin(dim=1)
            # What is not a number, after an overflow, is not sure either.
            sure &= others > lowest + 2 * bounds[:, level]
            codes[:, level] = best
            left = left - book[best]
        return codes, sure


@contextmanager
def float32_products(device: torch.device) -> Iterator[None]:
    """Let products of float32 matrices round nothing shorter inside, whatever was set outside."""
    backend: Any = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    matmul = backend.matmul
    newer = hasattr(matmul, "fp32_precision")  # since torch 2.9
    name, exact = ("fp32_precision", "ieee") if newer else ("allow_tf32", False)
    before = getattr(matmul, name)
    setattr(matmul, name, exact)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        setattr(matmul, name, before)
