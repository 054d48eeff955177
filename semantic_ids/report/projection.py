"""Projection: the two directions in which vectors differ most, found block by block."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane of the first two principal components.

    Attributes
    ----------
    mean : (d,) float64, mean of all vectors.
    axes : (d, 2) float64, orthonormal, the direction of the largest variance first; each signed
        so that its entry of largest size is positive. The second is 0 where d = 1.
    shares : share of the total variance along each axis; 0 where nothing varies.
    """

    mean: np.ndarray
    axes: np.ndarray
    shares: tuple[float, float]

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return where vectors (n, d) lie in the plane, (n, 2) float64."""
        return (vectors.astype(np.float64) - self.mean) @ self.axes


def principal_plane(blocks: Iterable[np.ndarray]) -> Plane:
    """Find the principal plane of all vectors, exactly, in one walk over them.

    Parameters
    ----------
    blocks : of vectors (n, d), at least one vector in all.

    Notes
    -----
    Holds one block and a (d, d) matrix in float64.

    Examples
    --------
    >>> plane = principal_plane([np.array([[0.0, 1.0], [0.0, 3.0]]), np.array([[0.0, 5.0]])])
    >>> plane.axes[:, 0].tolist(), plane.shares
    ([0.0, 1.0], (1.0, 0.0))
    """
    count, origin, sums, products = 0, None, np.zeros(0), np.zeros((0, 0))
    for block in blocks:
        vectors = block.astype(np.float64)
        if origin is None:
            # Sums of squares around a point among the vectors keep the digits that matter.
            origin = vectors.mean(axis=0)
            sums, products = np.zeros(len(origin)), np.zeros((len(origin), len(origin)))
        vectors -= origin
        count += len(vectors)
        sums += vectors.sum(axis=0)
        products += vectors.T @ vectors
    if origin is None:
        raise ValueError("blocks: expected at least one vector")
    offset = sums / count
    return _plane(origin + offset, products / count - np.outer(offset, offset))


def _plane(mean: np.ndarray, covariance: np.ndarray) -> Plane:
    from scipy.linalg import eigh

    d = len(mean)
    kept = min(2, d)
    values, vectors = eigh(covariance, subset_by_index=(d - kept, d - 1))
    axes, largest = np.zeros((d, 2)), np.zeros(2)
    axes[:, :kept], largest[:kept] = vectors[:, ::-1], values[::-1].clip(min=0)
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(2)])
    axes *= np.where(signs == 0, 1, signs)
    total = float(np.trace(covariance))
    first, second = (largest / total if total > 0 else np.zeros(2)).tolist()
    return Plane(mean, axes, (first, second))
