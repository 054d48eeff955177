"""Streams: several vectors of an item, quantized side by side, any of which may be absent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
from semantic_ids.quantizers.residual import ResidualCodebooks


class Streams(Codebooks):
    """S streams of L residual levels each, from codebooks of their own or the same for all.

    A latent holds the vectors (c,) of all streams. Where any stream can be absent, L marks stand
    behind each vector: 0, or 1 where the stream is absent, whose vector is then zero. An absent
    stream gets the code K at each level, beyond its codebook; a stream that cannot be absent
    has no such code.

    Parameters
    ----------
    sizes : entries of each of the L levels.
    width : columns c of a stream's vector.
    optional : for each of the S streams, whether it can be absent.
    shared : whether all streams have the same codebooks.
    lookup : how entries are compared, chosen and learnt.
    """

    ordered = False

    def __init__(
        self,
        sizes: Sequence[int],
        width: int,
        optional: Sequence[bool],
        *,
        shared: bool,
        lookup: Lookup,
    ) -> None:
        super().__init__()
        self.levels, self.columns, self.lookup = len(sizes), width, lookup
        self.optional, self.shared = tuple(optional), shared
        self.marks = self.levels if any(self.optional) else 0
        self.width = len(self.optional) * (width + self.marks)
        sets = 1 if shared else len(self.optional)
        self.sets = nn.ModuleList(
            nn.ModuleList(Codebook(size, width, lookup) for size in sizes) for _ in range(sets)
        )

    def books(self, stream: int) -> list[Codebook]:
        """Return the codebooks of a stream, one a level."""
        return list(self.sets[0 if self.shared else stream])  # type: ignore[arg-type]

    def joined(self, vectors: Tensor, absent: Tensor) -> Tensor:
        """Return latents of vectors (B, S, c) and who lacks which stream, (B, S) bool."""
        marks = absent[:, :, None].expand(-1, -1, self.marks).to(vectors.dtype)
        vectors = vectors.masked_fill(absent[:, :, None], 0)
        return torch.cat([vectors, marks], dim=2).flatten(1)

    def split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors (B, S, c) and who lacks which stream, (B, S) bool."""
        streams = latents.unflatten(1, (len(self.optional), self.columns + self.marks))
        return streams[:, :, : self.columns], (streams[:, :, self.columns :] > 0).any(dim=2)

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (B, width); absent streams add no vectors and no entries."""
        given, absent = self.split(latents)
        values, codes, vectors, entries = torch.zeros_like(given), [], [], []
        for stream in range(len(self.optional)):
            there = torch.nonzero(~absent[:, stream])[:, 0]
            made = self.quantized(given[there, stream], stream)
            values[there, stream] = made.values
            for book, code in zip(self.books(stream), made.codes.unbind(dim=1), strict=True):
                codes.append(code.new_full((len(latents),), book.size).index_copy(0, there, code))
            if len(there):
                vectors += made.vectors
                entries += made.entries
        joined = self.joined(values, absent)
        return Quantized(joined, torch.stack(codes, dim=1), tuple(vectors), tuple(entries))

    def quantized(self, given: Tensor, stream: int) -> Quantized:
        """Quantize vectors (B, c) by the codebooks of a stream."""
        residual = given
        codes, vectors, entries = [], [], []
        for book in self.books(stream):
            code, entry = book(residual)
            codes.append(code)
            vectors.append(residual)
            entries.append(entry)
            residual = residual - entry.detach()
        values = estimate(given, torch.stack(entries).sum(dim=0), self.lookup)
        return Quantized(values, torch.stack(codes, dim=1), tuple(vectors), tuple(entries))

    def search(self) -> Search:
        """Return the exact search stream by stream, and the beam search over all of them."""
        tables = [
            [as_numpy(book.entries()) for book in self.books(stream)]
            for stream in range(len(self.optional))
        ]
        found = StreamSearch(tables, self.optional)
        return Search(found.greedy_codes, found.beam_codes, found.decode)

    def start(self, latents: np.ndarray, seed: int) -> None:
        """Begin each level at the centroids of what is left over of the streams that are there."""
        for which, (streams, residual) in enumerate(self._gathered(latents)):
            for level, book in enumerate(self.books(streams[0])):
                # k-means wants as many rows as entries, however few items have the modality.
                rows = np.resize(residual, (max(len(residual), book.size), self.columns))
                book.start(rows, seed + which * self.levels + level)
                nearest = ResidualCodebooks([as_numpy(book.entries())])
                residual = residual - nearest.codebooks[0][nearest.greedy_codes(residual)[:, 0]]

    def restart(
        self, latents: np.ndarray, codes: np.ndarray, rng: np.random.Generator, optimiser: Any
    ) -> None:
        """Move entries that no code (n, S * L) names to where latents lie far from theirs."""
        by_stream = codes.reshape(len(codes), len(self.optional), self.levels)
        for streams, residual in self._gathered(latents):
            chosen = np.concatenate([by_stream[:, stream] for stream in streams])
            for level, book in enumerate(self.books(streams[0])):
                there = chosen[:, level] < book.size
                named = chosen[there, level]
                left = residual - as_numpy(book.entries())[named]
                restart_unused(book, residual, left, named, rng, optimiser)
                residual = left

    def _gathered(self, latents: np.ndarray) -> list[tuple[list[int], np.ndarray]]:
        """Return for each set of codebooks its streams, and their vectors one after another."""
        vectors, absent = (part.numpy() for part in self.split(torch.from_numpy(latents)))
        every = list(range(len(self.optional)))
        groups = [every] if self.shared else [[stream] for stream in every]
        found = [
            (group, np.concatenate([vectors[~absent[:, s], s] for s in group])) for group in groups
        ]
        return [(group, rows) for group, rows in found if len(rows)]


class ClusteredStreams(Streams):
    """Streams that training leaves as they are; `start` clusters what it has made of them."""

    def forward(self, latents: Tensor) -> Quantized:
        """Pass latents (B, width) through."""
        levels = len(self.optional) * self.levels
        codes = torch.zeros(len(latents), levels, dtype=torch.int64, device=latents.device)
        return Quantized(latents, codes, (), ())

    def restart(
        self, latents: np.ndarray, codes: np.ndarray, rng: np.random.Generator, optimiser: Any
    ) -> None:
        """Do nothing: there are no codes yet."""


class StreamSearch:
    """Exact search over streams: `ResidualCodebooks` whose levels lie in columns of their own.

    Parameters
    ----------
    tables : for each stream, one float32 array (K_l, c) a level.
    optional : for each stream, whether it can be absent.
    """

    def __init__(self, tables: Sequence[Sequence[np.ndarray]], optional: Sequence[bool]) -> None:
        levels, columns = len(tables[0]), tables[0][0].shape[1]
        stride = columns + (levels if any(optional) else 0)
        self._sizes = np.array([[len(book) for book in books] for books in tables])
        self._is_mark = np.arange(len(tables) * stride) % stride >= columns
        self._first_marks = np.arange(len(tables)) * stride + columns if any(optional) else None
        largest = max(float(np.linalg.norm(b, axis=1).max()) for books in tables for b in books)
        # An absent stream should rather be quantized as absent than as any entries at all.
        self._mark = np.float32(2 * levels * largest + 1)
        present, every = [], []
        for stream, books in enumerate(tables):
            for level, book in enumerate(books):
                placed = np.zeros((len(book) + 1, len(tables) * stride), dtype=np.float32)
                placed[:-1, stream * stride : stream * stride + columns] = book
                present.append(placed[:-1])
                if optional[stream]:
                    placed[-1, stream * stride + columns + level] = self._mark
                    every.append(placed)
                else:
                    every.append(placed[:-1])
        self._present, self._every = ResidualCodebooks(present), ResidualCodebooks(every)

    def greedy_codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return the codes (N, S * L) int32 of latents; those of absent streams are K."""
        codes = self._present.greedy_codes(np.where(self._is_mark, np.float32(0), matrix))
        if self._first_marks is None:
            return codes
        by_stream = codes.reshape(len(matrix), *self._sizes.shape)
        absent = matrix[:, self._first_marks, None] > 0
        return np.where(absent, self._sizes, by_stream).reshape(codes.shape).astype(np.int32)

    def beam_codes(self, matrix: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return good codes (N, m', S * L) of latents, distinct within a row, and their errors."""
        return self._every.beam_codes(np.where(self._is_mark, matrix * self._mark, matrix), m)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the latents (n, width) that codes (n, l), l <= S * L, stand for.

        Marks of absent streams are above 0; streams without a code are zero.
        """
        return self._every.decode(codes)
