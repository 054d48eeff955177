"""Codebooks of slots that stand side by side: parallel codes."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semantic_ids.quantizers.neural.codebooks import (
    Codebook,
    Codebooks,
    Quantized,
    Search,
    as_numpy,
    estimate,
    restart_unused,
)
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.parallel import ParallelCodebooks


class ParallelSlots(Codebooks):
    """Each slot quantizes columns of its own of a latent (B, S w).

    With cosine search the encoder should end in `UnitSlots`.

    Parameters
    ----------
    sizes : entries of each slot.
    slot_width : columns w of a slot.
    lookup : how entries are compared, chosen and learnt.
    shared : whether all slots, of one size then, share one table.
    """

    ordered = False

    def __init__(
        self,
        sizes: Sequence[int],
        slot_width: int,
        lookup: Lookup,
        *,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.sizes, self.slot_width = tuple(sizes), slot_width
        self.lookup, self.shared = lookup, shared
        self.width = len(self.sizes) * slot_width
        tables = self.sizes[:1] if shared else self.sizes
        self.books = nn.ModuleList(Codebook(size, slot_width, lookup) for size in tables)

    def tables(self) -> list[Codebook]:
        """Return the codebook of each slot, or the one that all share."""
        return cast(list[Codebook], list(self.books))

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (B, S w)."""
        vectors = latents.split(self.slot_width, dim=1)
        if self.shared:
            # One look-up for all slots, so that running means follow all of them at once.
            code, entry = self.tables()[0](torch.cat(vectors))
            codes, entries = code.chunk(len(self.sizes)), entry.chunk(len(self.sizes))
        else:
            found = [book(vector) for book, vector in zip(self.tables(), vectors, strict=True)]
            codes, entries = zip(*found, strict=True)
        values = torch.cat(
            [estimate(v, e, self.lookup) for v, e in zip(vectors, entries, strict=True)], dim=1
        )
        return Quantized(values, torch.stack(list(codes), dim=1), vectors, tuple(entries))

    def search(self) -> Search:
        """Return the exact search; slots that are not given decode to the mean of their entries."""
        tables = [as_numpy(book.entries()) for book in self.tables()]
        if self.shared:
            tables *= len(self.sizes)
        mean = np.concatenate([table.mean(axis=0) for table in tables])
        books = ParallelCodebooks(tables, mean)
        return Search(books.nearest_codes, books.best_codes, books.decode)

    def start(self, latents: np.ndarray, seed: int) -> None:
        """Begin each table at the centroids of its columns of latents (n, S w)."""
        parts = np.split(latents, len(self.sizes), axis=1)
        if self.shared:
            parts = [np.concatenate(parts)]
        for number, (book, part) in enumerate(zip(self.tables(), parts, strict=True)):
            book.start(np.ascontiguousarray(part), seed + number)

    def restart(
        self, latents: np.ndarray, codes: np.ndarray, rng: np.random.Generator, optimiser: Any
    ) -> None:
        """Move entries that no code (n, S) names to where latents (n, S w) lie far from theirs."""
        parts = np.split(latents, len(self.sizes), axis=1)
        slots = list(codes.T)
        if self.shared:
            parts, slots = [np.concatenate(parts)], [np.concatenate(slots)]
        for book, part, code in zip(self.tables(), parts, slots, strict=True):
            left = part - as_numpy(book.entries())[code]
            restart_unused(book, part, left, code, rng, optimiser)


class UnitSlots(nn.Module):
    """Bring the columns of each slot of a latent (B, S w) to length 1, for cosine search."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots = slots

    def forward(self, latents: Tensor) -> Tensor:
        """Return the same directions at length 1; zeros stay."""
        parts = latents.reshape(len(latents), self.slots, -1)
        return functional.normalize(parts, dim=2).reshape(latents.shape)
