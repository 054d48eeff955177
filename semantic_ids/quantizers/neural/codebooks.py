"""Codebooks as torch modules: residual levels, and slots that stand side by side."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semantic_ids.quantizers.kmeans import kmeans
from semantic_ids.quantizers.neural.balance import balanced_choice
from semantic_ids.quantizers.neural.estimators import gumbel_choice, rotate, straight_through
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.residual import ResidualCodebooks

#: Running share of the rows below which an entry's statistics do not fall.
_LEAST_COUNT = 1e-6


@dataclass(frozen=True)
class Quantized:
    """What the codebooks made of latent vectors.

    Attributes
    ----------
    values : (B, c) what the decoder reads; its gradient reaches the latents by the estimator.
    codes : (B, L) int64.
    vectors : one tensor a level or slot, what was looked up there; carries the encoder's
        gradient at every level.
    entries : one tensor a level or slot, what was chosen; carries the codebook's gradient.
    """

    values: Tensor
    codes: Tensor
    vectors: tuple[Tensor, ...]
    entries: tuple[Tensor, ...]


class Codebook(nn.Module):
    """One table of entries.

    Parameters
    ----------
    size, width : of the table.
    lookup : how entries are compared, chosen, and learnt.

    Entries are a parameter, learnt by the codebook loss, or where `lookup.decay` is set the
    running means of the vectors that chose them, ``sums / counts`` (van den Oord et al. 2017,
    appendix A.1). The means are taken of the running statistics when they are read, so that
    processes may average these in between. With cosine search all entries have one norm, a
    learnt one, so that the nearest entry is also that of the largest cosine.
    """

    def __init__(self, size: int, width: int, lookup: Lookup) -> None:
        super().__init__()
        self.size, self.width, self.lookup = size, width, lookup
        start = torch.randn(size, width) / width**0.5
        if lookup.decay is None:
            self.table = nn.Parameter(start)
            if lookup.search == "cosine":
                self.log_norm = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("counts", torch.full((size,), 1 / size))
            self.register_buffer("sums", start / size)

    def entries(self) -> Tensor:
        """Return the entries (K, c)."""
        if self.lookup.decay is None:
            if self.lookup.search == "euclidean":
                return self.table
            return functional.normalize(self.table, dim=1) * self.log_norm.exp()
        sums, counts = self.get_buffer("sums"), self.get_buffer("counts")
        if self.lookup.search == "euclidean":
            return sums / counts[:, None]
        # The norm that brings entries of these directions closest to the vectors they stand for.
        norms = sums.norm(dim=1)
        return functional.normalize(sums, dim=1) * (norms.sum() / counts.sum())

    def forward(self, vectors: Tensor, epsilon: float = 0.0) -> tuple[Tensor, Tensor]:
        """Choose an entry for each vector (B, c); return codes (B,) and entries (B, c).

        In training entries may be drawn or balanced, as `lookup` says; in evaluation the
        nearest one is taken.
        """
        table = self.entries()
        if self.training and self.lookup.estimator == "gumbel":
            distances = _squared_distances(vectors, table)
            chosen = gumbel_choice(-distances / self.lookup.temperature)
            return chosen.argmax(dim=1), chosen.to(table.dtype) @ table
        with torch.no_grad():
            if self.training and epsilon > 0:
                codes = balanced_choice(_squared_distances(vectors, table), epsilon)
            else:
                half_norms = table.square().sum(dim=1) / 2
                codes = torch.addmm(half_norms, vectors, table.T, alpha=-1).argmin(dim=1)
        if self.training and self.lookup.decay is not None:
            self._follow(vectors.detach(), codes, self.lookup.decay)
        return codes, table[codes]

    @torch.no_grad()
    def _follow(self, vectors: Tensor, codes: Tensor, decay: float) -> None:
        # Shares of the batch, so that means over processes are those of the whole batch.
        chosen = vectors.new_zeros(len(vectors), self.size)
        chosen.scatter_(1, codes[:, None], 1 / len(vectors))
        counts, sums = self.get_buffer("counts"), self.get_buffer("sums")
        counts.mul_(decay).add_(chosen.sum(dim=0), alpha=1 - decay)
        sums.mul_(decay).add_(chosen.T @ vectors, alpha=1 - decay)
        # What nobody chooses for long would become 0 / 0; both are lifted, so the mean stays.
        lift = (_LEAST_COUNT / counts).clamp(min=1)
        counts.mul_(lift)
        sums.mul_(lift[:, None])

    @torch.no_grad()
    def replace(self, which: Tensor, vectors: Tensor, optimiser: Any = None) -> None:
        """Put vectors (n, c) in the place of entries (n,), and forget what was learnt of these.

        Without the second, running means or the moments of the optimiser would pull the entry
        back to where it was.
        """
        if self.lookup.decay is not None:
            # As if one batch had brought an average share of the rows.
            counts, sums = self.get_buffer("counts"), self.get_buffer("sums")
            share = counts.mean()
            counts[which] = share
            sums[which] = vectors * share
            return
        self.table[which] = vectors
        for moment in _moments(optimiser, self.table):
            moment[which] = 0

    @torch.no_grad()
    def start(self, vectors: np.ndarray, seed: int) -> None:
        """Begin at the centroids of k-means over vectors (n, c), n >= K."""
        centroids = torch.from_numpy(kmeans(vectors, self.size, iterations=10, seed=seed))
        if self.lookup.search == "cosine" and self.lookup.decay is None:
            self.log_norm.copy_(centroids.norm(dim=1).mean().clamp(min=1e-6).log())
        if self.lookup.decay is None:
            self.table.copy_(centroids)
        else:
            self.get_buffer("counts").fill_(1 / self.size)
            self.get_buffer("sums").copy_(centroids / self.size)


@dataclass(frozen=True)
class Search:
    """The exact search over entries, in numpy; a row's result depends on the row alone.

    Attributes
    ----------
    codes : gives the codes (N, L) int32 of latents (N, c) float32.
    best : gives good codes (N, m', L) int32 of latents, and of a number m, distinct within a
        row and all codes where these are no more than m; and their errors (N, m').
    decode : gives the latents (n, c) float32 that codes (n, l), l <= L, stand for.
    """

    codes: Callable[[np.ndarray], np.ndarray]
    best: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
    decode: Callable[[np.ndarray], np.ndarray]


class Codebooks(nn.Module, ABC):
    """The codebooks of all levels of a quantizer.

    Attributes
    ----------
    ordered : whether a level refines the levels before it.
    width : columns c of the latents.
    """

    ordered: ClassVar[bool]
    width: int

    @abstractmethod
    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (B, c)."""

    @abstractmethod
    def search(self) -> Search:
        """Return the exact search over the entries as they are now."""

    @abstractmethod
    def start(self, latents: np.ndarray, seed: int) -> None:
        """Begin at the centroids of k-means over latents (n, c), n >= the largest codebook."""

    @abstractmethod
    def restart(
        self, latents: np.ndarray, codes: np.ndarray, rng: np.random.Generator, optimiser: Any
    ) -> None:
        """Move entries that no code (n, L) names to where latents (n, c) lie far from theirs."""


class ResidualLevels(Codebooks):
    """Level l quantizes what the levels before left over of a latent (B, c).

    What is left over is ``residual - sg(entry)``: it carries the encoder's gradient, so the
    commitment of every level reaches the encoder. The common form, which subtracts the
    straight-through value instead, cancels that gradient after the first level.

    Parameters
    ----------
    sizes : entries of each level.
    width : columns of the latent.
    lookup : how entries are compared, chosen and learnt.
    epsilons : of the balanced assignment, one a level; 0 takes the nearest.
    """

    ordered = True

    def __init__(
        self, sizes: Sequence[int], width: int, lookup: Lookup, epsilons: Sequence[float]
    ) -> None:
        super().__init__()
        self.width, self.lookup, self.epsilons = width, lookup, tuple(epsilons)
        self.books = nn.ModuleList(Codebook(size, width, lookup) for size in sizes)

    def levels(self) -> list[Codebook]:
        """Return the codebook of each level."""
        return cast(list[Codebook], list(self.books))

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (B, c)."""
        residual = latents
        codes, vectors, entries = [], [], []
        for book, epsilon in zip(self.levels(), self.epsilons, strict=True):
            code, entry = book(residual, epsilon)
            codes.append(code)
            vectors.append(residual)
            entries.append(entry)
            residual = residual - entry.detach()
        total = torch.stack(entries).sum(dim=0)
        values = estimate(latents, total, self.lookup)
        return Quantized(values, torch.stack(codes, dim=1), tuple(vectors), tuple(entries))

    def search(self) -> Search:
        """Return the greedy search level by level, and the beam search."""
        books = ResidualCodebooks([as_numpy(book.entries()) for book in self.levels()])
        return Search(books.greedy_codes, books.beam_codes, books.decode)

    def start(self, latents: np.ndarray, seed: int) -> None:
        """Begin each level at the centroids of what is left over of latents (n, c)."""
        residual = latents.copy()
        for level, book in enumerate(self.levels()):
            book.start(residual, seed + level)
            nearest = ResidualCodebooks([as_numpy(book.entries())])
            residual -= nearest.codebooks[0][nearest.greedy_codes(residual)[:, 0]]

    def restart(
        self, latents: np.ndarray, codes: np.ndarray, rng: np.random.Generator, optimiser: Any
    ) -> None:
        """Move entries that no code (n, L) names to where latents (n, c) lie far from theirs."""
        residual = latents.copy()
        for level, book in enumerate(self.levels()):
            entries = as_numpy(book.entries())
            left = residual - entries[codes[:, level]]
            restart_unused(book, residual, left, codes[:, level], rng, optimiser)
            residual = left


def estimate(vectors: Tensor, entries: Tensor, lookup: Lookup) -> Tensor:
    """Return the values that the decoder reads, by the estimator of `lookup`."""
    if lookup.estimator == "gumbel":
        return entries
    return (rotate if lookup.estimator == "rotation" else straight_through)(vectors, entries)


def restart_unused(
    book: Codebook,
    vectors: np.ndarray,
    left: np.ndarray,
    codes: np.ndarray,
    rng: np.random.Generator,
    optimiser: Any,
) -> None:
    """Replace the entries that no code names by vectors that their own entries serve badly.

    They are drawn with probability proportional to the squared error (n, c) left, as k-means++
    draws its starts; where nothing is left over, nothing is moved.
    """
    used = np.zeros(book.size, dtype=bool)
    used[codes] = True
    weights = (left.astype(np.float64) ** 2).sum(axis=1)
    count = min(int((~used).sum()), int((weights > 0).sum()))
    if not count:
        return
    rows = rng.choice(len(vectors), size=count, replace=False, p=weights / weights.sum())
    which = torch.from_numpy(np.flatnonzero(~used)[:count])
    device = next(iter(book.state_dict().values())).device
    book.replace(which.to(device), torch.from_numpy(vectors[rows]).to(device), optimiser)


def _squared_distances(vectors: Tensor, table: Tensor) -> Tensor:
    return (
        vectors.square().sum(dim=1, keepdim=True)
        + table.square().sum(dim=1)
        - 2 * (vectors @ table.T)
    )


def _moments(optimiser: Any, parameter: nn.Parameter) -> list[Tensor]:
    slots = {} if optimiser is None else optimiser.state.get(parameter, {})
    return [value for value in slots.values() if value.shape == parameter.shape]


def as_numpy(entries: Tensor) -> np.ndarray:
    """Return a copy of a tensor as float32."""
    return entries.detach().float().cpu().numpy().copy()
