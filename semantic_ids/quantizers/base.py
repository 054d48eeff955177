"""The quantizer stage: a matrix becomes content codes, and back."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from semantic_ids.latent import Latent
from semantic_ids.side import Side
from semantic_ids.spec import StageSpec

Arrays = dict[str, np.ndarray]


class Quantizer(StageSpec, ABC):
    """How vectors become codes; `fit` learns the codebooks.

    A subclass declares its `kind`, by which it is found.

    Examples
    --------
    >>> Quantizer.parse({"kind": "rq-kmeans", "levels": 2}).codebook_sizes
    (256, 256)
    """

    group: ClassVar[str] = "semantic_ids.quantizers"
    #: Names of the arrays of `Side` without which it cannot be fitted.
    needs: ClassVar[tuple[str, ...]] = ()

    def check_side(self, side: Side | None) -> Side:
        """Return `side`, which must have the arrays that a fit needs; `Side()` for None.

        Raises
        ------
        ValueError
            naming the first array that is missing.
        """
        given = Side() if side is None else side
        for name in self.needs:
            if getattr(given, name) is None:
                raise ValueError(
                    f"side: {type(self).__name__} needs {name}; give side=Side({name}=...)"
                )
        return given

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level."""

    @property
    def least_items(self) -> int:
        """Items that `fit` needs at least."""
        return max(self.codebook_sizes)

    @abstractmethod
    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedQuantizer":
        """Learn codebooks from a Latent or a plain (N, d) array; `side` has its rows."""

    @abstractmethod
    def restore(self, arrays: Arrays) -> "FittedQuantizer":
        """Rebuild what `fit` returned from `FittedQuantizer.arrays`."""


class FittedQuantizer(ABC):
    """A fitted quantizer: a pure function from vectors to content codes.

    Attributes
    ----------
    spec : the Quantizer it was fitted from.
    ordered : True where a level refines the levels before it (residual codes), False where
        the levels stand side by side (parallel codes).
    """

    spec: Quantizer
    ordered: bool

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level."""
        return self.spec.codebook_sizes

    @abstractmethod
    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32; a row's code depends on that row alone."""

    @abstractmethod
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the vectors (n, d) float32 that codes (n, l) stand for, l <= L levels."""

    @abstractmethod
    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Name good codes of each row, best first.

        Returns
        -------
        codes : (N, m', L) int32, distinct within a row; m' = m, or all codes where there are
            fewer.
        errors : (N, m') float64, squared distances of the row to what each code decodes to.
        """

    @abstractmethod
    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 of rows to the first 1, 2, ... L levels."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what was learned, as named arrays."""


def matrix_of(latent: Latent | Any, width: int) -> np.ndarray:
    """Return the rows (N, width) float32; refuse rows of another width than those of the fit."""
    matrix = Latent.of(latent).matrix
    if matrix.shape[1] != width:
        raise ValueError(f"vectors: expected {width} columns as in the fit, got {matrix.shape[1]}")
    return matrix


def check_enough_rows(rows: int, size: int) -> None:
    """Refuse to learn a codebook from fewer rows than it has entries."""
    if rows < size:
        raise ValueError(
            f"codebook_size={size} needs at least {size} items, got {rows}; "
            f"choose codebook_size <= {rows}"
        )


def prefixed(arrays: Arrays, prefix: str) -> Arrays:
    """Name the arrays of a part of a quantizer, so that they stand beside those of others."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def restored(part: Quantizer, arrays: Arrays, prefix: str) -> FittedQuantizer:
    """Rebuild a part of a quantizer from those arrays whose names begin with a prefix.

    Raises
    ------
    ValueError
        if they do not fit its spec; the error names the array in full.
    """
    own = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    try:
        return part.restore(own)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from error
