"""RQ-OPQ: residual codes first, then parallel codes of what these leave over."""

import math
from typing import Any, Literal

import numpy as np
from pydantic import Field

from semantic_ids.codes import check_codes
from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import Arrays, FittedQuantizer, Quantizer, prefixed, restored
from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.opq import OPQ
from semantic_ids.quantizers.product_kmeans import ProductKMeans
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.side import Side

_BLOCK_VALUES = 1 << 21


class RQOPQ(Quantizer):
    """A residual head for what items have in common, a parallel tail for what tells them apart.

    The levels of the head refine each other; the slots of the tail stand side by side. So as a
    whole the codes are not `ordered`, though a prefix within the head is as good as one of
    residual codes, and is decoded as such.

    Parameters
    ----------
    head : the residual quantizer; its levels come first.
    tail : OPQ or ProductKMeans, for what the head leaves over; its slots come after.

    References
    ----------
    B. Chen et al., OneSearch, arXiv 2509.03236, 2025 (RQ-OPQ).

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
    >>> spec = RQOPQ(head=RQKMeans(levels=2, codebook_size=16), tail=OPQ(slots=2, codebook_size=8))
    >>> fitted = spec.fit(vectors)
    >>> fitted.codebook_sizes, fitted.encode(vectors).shape
    ((16, 16, 8, 8), (1000, 4))
    """

    kind: Literal["rq-opq"] = "rq-opq"
    head: RQKMeans = RQKMeans(levels=3)
    tail: OPQ | ProductKMeans = Field(default=OPQ(slots=2), discriminator="kind")

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level of the head and each slot of the tail."""
        return self.head.codebook_sizes + self.tail.codebook_sizes

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedRQOPQ":
        """Learn the head, then the tail from what it leaves over.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : not used.
        progress : show the bars of both parts; None shows them in a terminal.

        Raises
        ------
        ValueError
            if there are fewer rows than entries in a codebook or fewer columns than slots in
            the tail, or the rows are not finite.
        """
        matrix = Latent.of(latent).matrix
        head = self.head.fit(matrix, progress=progress)
        left = matrix - head.decode(head.encode(matrix))
        return FittedRQOPQ(self, head, self.tail.fit(left, progress=progress))

    def restore(self, arrays: Arrays) -> "FittedRQOPQ":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        head = restored(self.head, arrays, "head.")
        tail = restored(self.tail, arrays, "tail.")
        widths = [part.decode(np.zeros((1, 1), dtype=np.int32)).shape[1] for part in (head, tail)]
        if widths[0] != widths[1]:
            raise ValueError(f"tail: expected {widths[0]} columns as in the head, got {widths[1]}")
        return FittedRQOPQ(self, head, tail)


class FittedRQOPQ(FittedQuantizer):
    """A fitted head and a fitted tail."""

    ordered = False

    def __init__(self, spec: RQOPQ, head: FittedQuantizer, tail: FittedQuantizer) -> None:
        self.spec = spec
        self.head = head
        self.tail = tail
        self._levels = len(head.codebook_sizes)

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32: those of the head, then those of the tail."""
        matrix = Latent.of(latent).matrix
        codes = self.head.encode(matrix)
        return np.concatenate([codes, self.tail.encode(self._left(matrix, codes))], axis=1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return what both parts decode to, summed, (n, d) float32; codes may be prefixes.

        A prefix within the head decodes as the head's does; from its first slot on, the tail
        counts, with its mean for the slots that are not given.
        """
        codes = check_codes(codes, self.codebook_sizes[: np.asarray(codes).shape[-1]])
        decoded = self.head.decode(codes[:, : self._levels])
        if codes.shape[1] > self._levels:
            decoded = decoded + self.tail.decode(codes[:, self._levels :])
        return decoded

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return good codes of each row: of its i-th best head, the ``m // i`` best tails.

        All codes where m reaches their number.

        Returns
        -------
        codes : (N, m', L) int32, best first; m' = min(m, number of codes).
        errors : (N, m') float64, squared distances.
        """
        matrix = Latent.of(latent).matrix
        m = min(m, math.prod(self.codebook_sizes))
        codes = np.empty((len(matrix), m, len(self.codebook_sizes)), dtype=np.int32)
        errors = np.empty((len(matrix), m))
        heads = self.head.candidates(matrix, m)[0]
        for block in blocks(len(matrix), _BLOCK_VALUES // (m * matrix.shape[1])):
            codes[block], errors[block] = self._best_block(matrix[block], heads[block], m)
        return codes, errors

    def _best_block(
        self, x: np.ndarray, heads: np.ndarray, m: int
    ) -> tuple[np.ndarray, np.ndarray]:
        shares = m // np.arange(1, heads.shape[1] + 1)
        found = [
            self._continued(x, heads[:, shares == share], share)
            for share in np.unique(shares).tolist()
        ]
        codes = np.concatenate([some for some, _ in found], axis=1)
        errors = np.concatenate([some for _, some in found], axis=1)
        order = np.lexsort((*np.moveaxis(codes, 2, 0)[::-1], errors), axis=1)[:, :m]
        return (
            np.take_along_axis(codes, order[:, :, None], axis=1),
            np.take_along_axis(errors, order, axis=1),
        )

    def _continued(
        self, x: np.ndarray, heads: np.ndarray, share: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add to each of the head's codes (n, h, levels) the tail's `share` best."""
        n, h = heads.shape[:2]
        flat = heads.reshape(n * h, -1)
        tails, errors = self.tail.candidates(self._left(np.repeat(x, h, axis=0), flat), share)
        repeated = np.repeat(flat[:, None], tails.shape[1], axis=1)
        codes = np.concatenate([repeated, tails], axis=2)
        return codes.reshape(n, -1, codes.shape[2]), errors.reshape(n, -1)

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 of rows to what prefixes decode to."""
        matrix = Latent.of(latent).matrix
        heads, tails = codes[:, : self._levels], codes[:, self._levels :]
        errors = self.head.errors(matrix, heads)
        left = self._left(matrix, heads)
        return np.concatenate([errors, self.tail.errors(left, tails)], axis=1)

    def arrays(self) -> Arrays:
        """Return the arrays of both parts."""
        return prefixed(self.head.arrays(), "head.") | prefixed(self.tail.arrays(), "tail.")

    def _left(self, matrix: np.ndarray, heads: np.ndarray) -> np.ndarray:
        return matrix - self.head.decode(heads)
