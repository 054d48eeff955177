"""Product k-means: the columns in consecutive blocks, each quantized apart from the others."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

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
from semantic_ids.quantizers.parallel import ParallelCodebooks, column_blocks
from semantic_ids.side import Side
from semantic_ids.storage import stored_array


class ProductKMeans(Quantizer):
    """Product quantization by k-means: each slot clusters a block of columns of its own.

    The codes stand side by side: none refines another, and any of them may be read first. A
    prefix decodes to the columns of its slots, and to the mean of the fit in the others.

    Parameters
    ----------
    slots : number of codes an item gets, 1-256. The columns are split into as many consecutive
        blocks of one width; where it does not divide them, the last blocks have a column less.
    codebook_size : entries of each slot's codebook.
    shared : one codebook for all slots, as with a discrete bottleneck whose atoms are shared:
        its entries mean the same at each position. Needs `slots` that divide the columns.
    iterations : k-means iterations a slot, at most.
    seed : where the random numbers of the starts and of the sample begin.

    References
    ----------
    H. Jégou, M. Douze and C. Schmid, Product quantization for nearest neighbor search, IEEE
    TPAMI 33, 2011. The shared codebook: arXiv 2004.10603.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
    >>> fitted = ProductKMeans(slots=4, codebook_size=16).fit(vectors)
    >>> codes = fitted.encode(vectors)
    >>> codes.shape, fitted.decode(codes).shape
    ((1000, 4), (1000, 8))
    """

    kind: Literal["product-kmeans"] = "product-kmeans"
    slots: int = Field(default=32, ge=1, le=256)
    codebook_size: int = Field(default=256, ge=1, le=2**20)
    shared: bool = False
    iterations: int = Field(default=25, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31 - 256)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each slot."""
        return (self.codebook_size,) * self.slots

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedProductKMeans":
        """Learn the codebooks slot by slot.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : not used.
        progress : show a bar over the codebooks; None shows it in a terminal.

        Raises
        ------
        ValueError
            if there are fewer rows than entries in a codebook or fewer columns than slots, or
            the rows are not finite.
        """
        matrix = Latent.of(latent).matrix
        check_enough_rows(len(matrix), self.codebook_size)
        blocks = column_blocks(self.widths(matrix.shape[1]))
        if self.shared:
            parts = [matrix.reshape(-1, matrix.shape[1] // self.slots)]
        else:
            parts = [matrix[:, block] for block in blocks]
        bar = progress_bar(parts, description="codebooks", progress=progress)
        books = [
            kmeans(part, self.codebook_size, iterations=self.iterations, seed=self.seed + slot)
            for slot, part in enumerate(bar)
        ]
        mean = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
        return FittedProductKMeans(self, ParallelCodebooks(self._of_each_slot(books), mean))

    def widths(self, columns: int) -> list[int]:
        """Return how many of the columns each slot gets.

        Raises
        ------
        ValueError
            if there are fewer columns than slots, or they cannot be shared out equally though
            the codebook is shared.

        Examples
        --------
        >>> ProductKMeans(slots=3).widths(8)
        [3, 3, 2]
        """
        if columns < self.slots:
            raise ValueError(
                f"slots={self.slots} needs at least {self.slots} columns, got {columns}; "
                f"choose slots <= {columns}"
            )
        width, wider = divmod(columns, self.slots)
        if self.shared and wider:
            raise ValueError(
                f"slots={self.slots} do not divide {columns} columns, which shared=True needs"
            )
        return [width + 1] * wider + [width] * (self.slots - wider)

    def restore(self, arrays: Arrays) -> "FittedProductKMeans":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        mean = stored_array(arrays, "mean", (None,))
        check_range(mean[None], "mean")
        books = []
        for name, width in zip(self.names, self.widths(len(mean)), strict=False):
            book = stored_array(arrays, name, (self.codebook_size, width))
            check_range(book, name)
            books.append(book)
        return FittedProductKMeans(self, ParallelCodebooks(self._of_each_slot(books), mean))

    @property
    def names(self) -> list[str]:
        """Names under which the codebooks are stored."""
        return ["codebook"] if self.shared else [f"codebook.{slot}" for slot in range(self.slots)]

    def _of_each_slot(self, books: list[np.ndarray]) -> list[np.ndarray]:
        return books * self.slots if self.shared else books


class FittedProductKMeans(FittedQuantizer):
    """Fitted parallel codebooks; encoding takes the nearest entry of each slot."""

    ordered = False

    def __init__(self, spec: ProductKMeans, codebooks: ParallelCodebooks) -> None:
        self.spec = spec
        self._names = spec.names
        self._search = codebooks

    @property
    def codebooks(self) -> tuple[np.ndarray, ...]:
        """One float32 array (K, w_s) a slot; one and the same where it is shared."""
        return self._search.codebooks

    @property
    def mean(self) -> np.ndarray:
        """Mean of the rows of the fit, (d,) float32."""
        return self._search.mean

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, S) int32: the nearest entry of each slot, exactly.

        Distances closer than float32 can tell are decided in float64, the lowest index first.
        """
        return self._search.nearest_codes(matrix_of(latent, self._search.width))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the entries side by side, (n, d) float32; codes may be prefixes (n, l)."""
        return self._search.decode(codes)

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best of all codes of each row.

        Returns
        -------
        codes : (N, m', S) int32, best first, ties by code; m' = min(m, number of codes).
        errors : (N, m') float64, squared distances.
        """
        return self._search.best_codes(matrix_of(latent, self._search.width), m)

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, S) float64 of rows to what the first 1, 2, ... slots say."""
        return self._search.errors(matrix_of(latent, self._search.width), codes)

    def arrays(self) -> Arrays:
        """Return the codebooks and the mean."""
        return {**dict(zip(self._names, self.codebooks, strict=False)), "mean": self.mean}
