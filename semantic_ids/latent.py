"""Latent: what a fuser hands to a quantizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from semantic_ids.features import SINGLE


@dataclass(frozen=True, eq=False)
class Latent:
    """One float32 matrix of fused items.

    Parameters
    ----------
    matrix : (N, d) float32, C-contiguous.
    blocks : modality name to the columns that stem from it alone; a fuser that mixes
        modalities names one block for all.
    present : (N, M) bool, which modalities each item has.
    """

    matrix: np.ndarray
    blocks: Mapping[str, slice]
    present: np.ndarray

    @classmethod
    def of(cls, value: "Latent | Any") -> "Latent":
        """Return `value` as a Latent; a plain (N, d) array becomes one block.

        Raises
        ------
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
        matrix = np.ascontiguousarray(value, dtype=np.float32)
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise ValueError(f"vectors: expected shape (items, columns), got {matrix.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("ij,ij->i", matrix, matrix)
        bad = np.flatnonzero(~(squares < np.finfo(np.float32).max / 16))
        if len(bad):
            raise ValueError(
                f"vectors: {len(bad)} rows hold NaN, infinity, or numbers whose squares leave "
                f"float32 (first: {bad[0]})"
            )
        everyone = np.ones((len(matrix), 1), dtype=bool)
        return cls(matrix, {SINGLE: slice(0, matrix.shape[1])}, everyone)

    def __len__(self) -> int:
        return len(self.matrix)
