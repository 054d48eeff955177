"""Latent: what a fuser hands to a quantizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from semantic_ids.features import SINGLE, as_matrix


@dataclass(frozen=True, eq=False)
class Latent:
    """One float32 matrix of fused items.

    Parameters
    ----------
    matrix : (N, d) float32, C-contiguous.
    blocks : modality name to the columns that stem from it alone; a fuser that mixes
        modalities names one block for all.
    present : (N, M) bool, which modalities each item has.

    Examples
    --------
    >>> latent = Latent.of(np.ones((3, 2)))
    >>> len(latent), latent.matrix.dtype, latent.present.shape
    (3, dtype('float32'), (3, 1))
    """

    matrix: np.ndarray
    blocks: Mapping[str, slice]
    present: np.ndarray

    @classmethod
    def of(cls, value: "Latent | Any") -> "Latent":
        """Return `value` as a Latent; a plain (N, d) array becomes one block.

        Raises
        ------
        TypeError
            if it is not a numeric array.
        ValueError
            if the array is not two-dimensional, is empty, is not finite, or is so large that
            squared distances would leave float32.

        Examples
        --------
        >>> Latent.of([[1.0, 2.0]]).blocks
        {'features': slice(0, 2, None)}
        """
        if isinstance(value, Latent):
            return value
        with np.errstate(over="ignore"):
            matrix = np.ascontiguousarray(as_matrix(value, "vectors"), dtype=np.float32)
        check_range(matrix, "vectors")
        everyone = np.ones((len(matrix), 1), dtype=bool)
        return cls(matrix, {SINGLE: slice(0, matrix.shape[1])}, everyone)

    def rows(self, index: np.ndarray) -> "Latent":
        """Return some of the rows."""
        return Latent(self.matrix[index], self.blocks, self.present[index])

    def __len__(self) -> int:
        return len(self.matrix)


def check_range(matrix: np.ndarray, name: str) -> None:
    """Refuse float32 rows that are not finite or whose squared distances would leave float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
    bad = np.flatnonzero(~(squares < np.finfo(np.float32).max / 16))
    if len(bad):
        raise ValueError(
            f"{name}: {len(bad)} rows hold NaN, infinity, or numbers whose squares leave "
            f"float32 (first: {bad[0]})"
        )
