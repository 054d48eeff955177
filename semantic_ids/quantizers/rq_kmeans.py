"""RQ-KMeans: residual quantization by k-means."""

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from semantic_ids.latent import Latent, check_range
from semantic_ids.progress import progress_bar
from semantic_ids.quantizers.base import (
    Arrays,
    FittedQuantizer,
    Quantizer,
    check_enough_rows,
    matrix_of,
)
from semantic_ids.quantizers.kmeans import kmeans
from semantic_ids.quantizers.residual import ResidualCodebooks
from semantic_ids.side import Side
from semantic_ids.storage import stored_array


class RQKMeans(Quantizer):
    """Residual quantization by k-means: level l clusters what levels < l left over.

    Each level is one k-means (faiss) with k-means++ starts; a row's code at a level is the
    nearest centroid.

    Parameters
    ----------
    levels : number of codes an item gets, 1-64.
    codebook_size : entries of each level's codebook, one number or one a level.
    iterations : k-means iterations a level.
    seed : where the random numbers of the starts and of the sample begin.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
    >>> fitted = RQKMeans(levels=3, codebook_size=16).fit(vectors)
    >>> codes = fitted.encode(vectors)
    >>> codes.shape, fitted.decode(codes).shape
    ((1000, 3), (1000, 8))
    """

    kind: Literal["rq-kmeans"] = "rq-kmeans"
    levels: int = Field(default=4, ge=1, le=64)
    codebook_size: int | tuple[int, ...] = 256
    iterations: int = Field(default=25, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31 - 64)

    @field_validator("codebook_size")
    @classmethod
    def _sizes_in_range(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        for size in (value,) if isinstance(value, int) else value:
            if not 1 <= size <= 2**20:
                raise ValueError(f"codebook_size={size}: expected 1 to {2**20}")
        return value

    @model_validator(mode="after")
    def _one_size_a_level(self) -> "RQKMeans":
        size = self.codebook_size
        if isinstance(size, tuple) and len(size) != self.levels:
            raise ValueError(
                f"codebook_size={size} has {len(size)} entries, levels={self.levels}; "
                "give one number, or one a level"
            )
        return self

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level."""
        size = self.codebook_size
        return size if isinstance(size, tuple) else (size,) * self.levels

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedRQKMeans":
        """Learn the codebooks level by level.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : not used.
        progress : show a bar over the levels; None shows it in a terminal.

        Raises
        ------
        ValueError
            if there are fewer rows than entries in a codebook, or the rows are not finite.
        """
        residual = Latent.of(latent).matrix.copy()
        check_enough_rows(len(residual), max(self.codebook_sizes))
        codebooks = []
        levels = progress_bar(self.codebook_sizes, description="codebooks", progress=progress)
        for level, size in enumerate(levels):
            book = kmeans(residual, size, iterations=self.iterations, seed=self.seed + level)
            codes = ResidualCodebooks([book]).greedy_codes(residual)
            residual -= book[codes[:, 0]]
            codebooks.append(book)
        return FittedRQKMeans(self, ResidualCodebooks(codebooks))

    def restore(self, arrays: Arrays) -> "FittedRQKMeans":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        books, width = [], None
        for level, size in enumerate(self.codebook_sizes):
            book = stored_array(arrays, f"codebook.{level}", (size, width))
            check_range(book, f"codebook.{level}")
            books.append(book)
            width = book.shape[1]
        return FittedRQKMeans(self, ResidualCodebooks(books))


class FittedRQKMeans(FittedQuantizer):
    """Fitted residual codebooks; encoding is the greedy search, level by level."""

    ordered = True

    def __init__(self, spec: RQKMeans, codebooks: ResidualCodebooks) -> None:
        self.spec = spec
        self._search = codebooks

    @property
    def codebooks(self) -> tuple[np.ndarray, ...]:
        """One float32 array (K_l, d) a level."""
        return self._search.codebooks

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32: at each level the nearest entry to what is left.

        The search is exact: distances closer than float32 can tell are decided in float64, the
        lowest index first.
        """
        return self._search.greedy_codes(self._matrix(latent))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the sum of the chosen entries, (n, d) float32; codes may be prefixes (n, l)."""
        return self._search.decode(codes)

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best codes a row that a beam of width m over all levels finds.

        Returns
        -------
        codes : (N, m', L) int32, best first; m' = min(m, number of codes).
        errors : (N, m') float64, squared distances.
        """
        return self._search.beam_codes(self._matrix(latent), m)

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 of rows to the first 1, 2, ... L levels."""
        return self._search.errors(self._matrix(latent), codes)

    def arrays(self) -> Arrays:
        """Return the codebooks."""
        return {f"codebook.{level}": book for level, book in enumerate(self.codebooks)}

    def _matrix(self, latent: Latent | Any) -> np.ndarray:
        return matrix_of(latent, self._search.width)
