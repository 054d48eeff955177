"""Finite scalars: each column of the latent is rounded to a fixed grid."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semantic_ids.quantizers.neural.codebooks import Codebooks, Quantized, Search
from semantic_ids.quantizers.neural.estimators import straight_through
from semantic_ids.quantizers.parallel import ParallelCodebooks

#: How far the bounded values may pass the outermost grid points, so that these can be reached.
_MARGIN = 1e-3


class Bounded(nn.Module):
    """Bring each column of a latent (B, L) into the range of its grid.

    Mentzer et al. 2023 (arXiv 2309.15505, section 3.1 and appendix A): a tanh, shifted for even
    sizes, so that a latent of 0 lies on the grid point 0.

    Examples
    --------
    >>> Bounded([8, 5])(torch.tensor([[0.0, 0.0], [9.0, -9.0]])).round(decimals=2).tolist()
    [[0.0, 0.0], [0.75, -1.0]]
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        size = torch.tensor(sizes, dtype=torch.float32)
        reach = (size - 1) * (1 + _MARGIN) / 2
        offset = 0.5 * ((size + 1) % 2)
        self.register_buffer("reach", reach, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("shift", torch.atanh(offset / reach), persistent=False)
        self.register_buffer("unit", size // 2, persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Return values (B, L) in about -1 ... 1."""
        reach, offset = self.get_buffer("reach"), self.get_buffer("offset")
        bounded = torch.tanh(latents + self.get_buffer("shift")) * reach - offset
        return bounded / self.get_buffer("unit")


class FiniteScalars(Codebooks):
    """Rounds bounded latents (B, L) to grids; there is nothing to learn, and nothing dies.

    Parameters
    ----------
    sizes : grid points of each column, at least 2.
    """

    ordered = False

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes, self.width = tuple(sizes), len(sizes)
        size = torch.tensor(self.sizes)
        self.register_buffer("size", size, persistent=False)

    def forward(self, latents: Tensor) -> Quantized:
        """Round latents (B, L) that `Bounded` made."""
        size = self.get_buffer("size")
        unit = size // 2
        codes = (latents.detach() * unit).round().long() + unit
        codes = codes.clamp(min=torch.zeros_like(size), max=size - 1)
        entries = (codes - unit) / unit
        columns = [tensor.split(1, dim=1) for tensor in (latents, entries)]
        return Quantized(straight_through(latents, entries), codes, *columns)

    def search(self) -> Search:
        """Return the exact rounding; columns that are not given decode to the grid's mean."""
        grids = [
            ((np.arange(size) - size // 2) / (size // 2)).astype(np.float32)[:, None]
            for size in self.sizes
        ]
        books = ParallelCodebooks(grids, np.concatenate([grid.mean(axis=0) for grid in grids]))
        return Search(books.nearest_codes, books.best_codes, books.decode)

    def start(self, latents: np.ndarray, seed: int) -> None:
        """Leave the grids as they are."""

    def restart(
        self, latents: np.ndarray, codes: np.ndarray, rng: np.random.Generator, optimiser: Any
    ) -> None:
        """Leave the grids as they are."""
