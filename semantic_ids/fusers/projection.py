"""Fewer columns for one modality: its principal components, at their own scale or whitened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from semantic_ids.exact import exact_product

#: A component with less than this share of the largest variance is nothing but rounding: float32
#: keeps 7 digits of the columns that it is computed from.
_VANISHING = 1e-8


def pca_scales(variances: np.ndarray) -> np.ndarray:
    """Return what components (k,) are divided by for a total variance of 1: one number for all.

    Examples
    --------
    >>> pca_scales(np.array([3.0, 1.0])).tolist()
    [2.0, 2.0]
    """
    total = variances.sum()
    return np.full(len(variances), np.sqrt(total) if total > 0 else 1.0)


def whitening_scales(variances: np.ndarray) -> np.ndarray:
    """Return what components (k,) are divided by for equal variances that add up to 1.

    Components that all but vanish are divided as if they had a 10,000th of the largest
    deviation: they stay small instead of becoming noise.

    Examples
    --------
    >>> (whitening_scales(np.array([9.0, 1.0])) / np.sqrt(2)).round(9).tolist()
    [3.0, 1.0]
    """
    least = _VANISHING * variances.max()
    if least == 0:
        return np.ones(len(variances))
    return np.sqrt(np.maximum(variances, least) * (variances > least).sum())


@dataclass(frozen=True, eq=False)
class Projection:
    """Orthonormal components (d, k) float64 and what each is divided by, (k,) float64."""

    components: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(
        cls,
        blocks: Iterable[np.ndarray],
        width: int,
        scales: Callable[[np.ndarray], np.ndarray],
    ) -> Self:
        """Find the `width` leading principal components of centred rows, block by block.

        Of the two directions of a component the one is taken whose largest entry is positive.
        """
        moments, count = np.zeros(()), 0
        for block in blocks:
            wide = block.astype(np.float64)
            moments = moments + wide.T @ wide
            count += len(block)
        variances, vectors = np.linalg.eigh(moments / count)
        variances = np.maximum(variances[::-1][:width], 0.0)
        components = vectors[:, ::-1][:, :width]
        largest = np.abs(components).argmax(axis=0)
        components = components * np.sign(components[largest, np.arange(width)])
        return cls(np.ascontiguousarray(components), scales(variances))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Project rows (n, d) onto the components, float32 (n, k); a row depends on itself alone.

        Numbers far beyond those of the fit may become infinite or NaN.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return (exact_product(values, self.components) / self.scale).astype(np.float32)

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Return the rows (n, d) float32 that lie in the components' span and project there."""
        return exact_product(values * self.scale, self.components.T).astype(np.float32)
