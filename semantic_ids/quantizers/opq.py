"""OPQ: a learnt rotation, then product k-means."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import (
    Arrays,
    FittedQuantizer,
    Quantizer,
    check_enough_rows,
    matrix_of,
)
from semantic_ids.quantizers.product_kmeans import FittedProductKMeans, ProductKMeans
from semantic_ids.quantizers.rotation import learn_rotation, rotate
from semantic_ids.side import Side
from semantic_ids.storage import stored_array

#: How far the products of a stored rotation's columns may be from those of a rotation.
_ORTHOGONAL = 1e-9


class OPQ(Quantizer):
    """Optimised product quantization: rotate so that the slots share the variance, then quantize.

    Parameters
    ----------
    slots : number of codes an item gets, 1-256; 16 to 64 are usual for generative recommenders
        that predict all of them at once.
    codebook_size : entries of each slot's codebook.
    rounds : how often the rotation is learnt anew; 0 leaves it at the principal axes.
    iterations : k-means iterations a slot at most, once the rotation is known.
    seed : where the random numbers of the starts and of the samples begin.

    Notes
    -----
    Distances are taken between rotated vectors in float32. They are those between the vectors
    and what `decode` returns, up to the rounding of both: with up to 4,096 columns, the square
    roots of an error differ by at most ``2 ** -23 * (|x| + |x_hat|)``.

    References
    ----------
    T. Ge, K. He, Q. Ke and J. Sun, Optimized product quantization for approximate nearest
    neighbor search, CVPR 2013 (the non-parametric solution). As semantic IDs: RPG, KDD 2025.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(1000, 8)) * np.arange(1, 9)
    >>> fitted = OPQ(slots=4, codebook_size=16).fit(vectors)
    >>> plain = ProductKMeans(slots=4, codebook_size=16).fit(vectors)
    >>> def error(quantizer):
    ...     return quantizer.errors(vectors, quantizer.encode(vectors))[:, -1].mean()
    >>> bool(error(fitted) < error(plain))
    True
    """

    kind: Literal["opq"] = "opq"
    slots: int = Field(default=32, ge=1, le=256)
    codebook_size: int = Field(default=256, ge=1, le=2**20)
    rounds: int = Field(default=20, ge=0)
    iterations: int = Field(default=25, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31 - 256)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each slot."""
        return self.product.codebook_sizes

    @property
    def product(self) -> ProductKMeans:
        """What follows the rotation."""
        return ProductKMeans(
            slots=self.slots,
            codebook_size=self.codebook_size,
            iterations=self.iterations,
            seed=self.seed,
        )

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedOPQ":
        """Learn the rotation, then the codebooks.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : not used.
        progress : show bars over the rounds and the codebooks; None shows them in a terminal.

        Raises
        ------
        ValueError
            if there are fewer rows than entries in a codebook or fewer columns than slots, or
            the rows are not finite.
        """
        matrix = Latent.of(latent).matrix
        check_enough_rows(len(matrix), self.codebook_size)
        rotation = learn_rotation(matrix, self.product, rounds=self.rounds, progress=progress)
        rotated = rotate(matrix, rotation)
        return FittedOPQ(self, rotation, self.product.fit(rotated, progress=progress))

    def restore(self, arrays: Arrays) -> "FittedOPQ":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        product = self.product.restore(arrays)
        width = len(product.mean)
        rotation = stored_array(arrays, "rotation", (width, width), np.float64)
        if not np.allclose(rotation.T @ rotation, np.eye(width), rtol=0, atol=_ORTHOGONAL):
            raise ValueError("rotation: its columns are not orthogonal unit vectors")
        return FittedOPQ(self, rotation, product)


class FittedOPQ(FittedQuantizer):
    """A fitted rotation and the fitted product quantizer behind it."""

    ordered = False

    def __init__(self, spec: OPQ, rotation: np.ndarray, product: FittedProductKMeans) -> None:
        self.spec = spec
        self.rotation = rotation
        self.product = product

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, S) int32: the nearest entry of each slot after the rotation."""
        return self.product.encode(self._rotated(latent))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the entries, rotated back, (n, d) float32; codes may be prefixes (n, l)."""
        return rotate(self.product.decode(codes), self.rotation.T)

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best of all codes of each row; see `FittedProductKMeans.candidates`."""
        return self.product.candidates(self._rotated(latent), m)

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, S) float64 of rows to what the first 1, 2, ... slots say."""
        return self.product.errors(self._rotated(latent), codes)

    def arrays(self) -> Arrays:
        """Return the rotation, the codebooks and the mean of the rotated rows."""
        return {"rotation": self.rotation, **self.product.arrays()}

    def _rotated(self, latent: Latent | Any) -> np.ndarray:
        return rotate(matrix_of(latent, len(self.rotation)), self.rotation)
