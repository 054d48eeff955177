"""PSRQ: codes of all modalities together, and codes of each."""

import math
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from semantic_ids.codes import check_codes
from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import Arrays, FittedQuantizer, prefixed, restored
from semantic_ids.quantizers.levelled import Levelled
from semantic_ids.quantizers.per_modality import PerModality
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.side import Side


class PSRQ(Levelled):
    """Joint and modality-specific codes by progressive residual quantization.

    `RQKMeans` with a `prefix_weight` is fitted on all columns, and once more on the columns of
    each modality. A code is the joint code followed by that of each modality. It is decoded from
    the joint part alone: the others are side features, and so is the whole where the weight is
    not 0; see `RQKMeans` for why such codes are wrong as identifiers.

    Parameters
    ----------
    modalities : names of the latent's blocks, in the order of their codes.
    levels : codes of each part; an item gets levels * (1 + number of modalities).
    codebook_size : codes of each level of a part, one number or one a level. A modality has one
        more, the last, for items that lack it.
    prefix_weight, iterations, seed : see `RQKMeans`.

    References
    ----------
    "Progressive Semantic Residual Quantization", CIKM 2025, arXiv 2508.20359.

    Examples
    --------
    >>> matrix = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    >>> blocks = {"text": slice(0, 3), "image": slice(3, 5)}
    >>> latent = Latent(matrix, blocks, np.ones((200, 2), dtype=bool))
    >>> spec = PSRQ(modalities=("text", "image"), levels=2, codebook_size=8)
    >>> spec.codebook_sizes
    (8, 8, 9, 9, 9, 9)
    >>> spec.fit(latent).encode(latent).shape
    (200, 6)
    """

    kind: Literal["psrq"] = "psrq"
    modalities: tuple[str, ...]
    levels: int = Field(default=3, ge=1, le=64)
    prefix_weight: float = Field(default=1.0, ge=0, le=2)
    iterations: int = Field(default=25, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31 - 64)

    @field_validator("modalities")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"modalities={value}: expected at least one name, each once")
        return value

    @property
    def part(self) -> RQKMeans:
        """The spec of each part."""
        shared = {"levels", "codebook_size", "prefix_weight", "iterations", "seed"}
        return RQKMeans(**self.model_dump(include=shared))

    @property
    def own(self) -> PerModality:
        """The spec of the modalities' parts."""
        return PerModality(quantizers=[(name, self.part) for name in self.modalities])

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each position: the joint levels, then those of each modality."""
        return self.part.codebook_sizes + self.own.codebook_sizes

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedPSRQ":
        """Fit all parts; each modality on the items that have it.

        Raises
        ------
        ValueError
            if the latent has other modalities, or fewer items have one than a codebook has
            entries.
        """
        latent = Latent.of(latent)
        if set(latent.blocks) != set(self.modalities):
            raise ValueError(
                f"modalities={self.modalities}: the latent's blocks are {tuple(latent.blocks)}; "
                f"give modalities={tuple(latent.blocks)}"
            )
        joint = self.part.fit(latent, progress=progress)
        return FittedPSRQ(self, joint, self.own.fit(latent, progress=progress))

    def restore(self, arrays: Arrays) -> "FittedPSRQ":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        joint, own = restored(self.part, arrays, "joint."), restored(self.own, arrays, "own.")
        return FittedPSRQ(self, joint, own)


class FittedPSRQ(FittedQuantizer):
    """Fitted joint and modality-specific codebooks."""

    ordered = False

    def __init__(self, spec: PSRQ, joint: FittedQuantizer, own: FittedQuantizer) -> None:
        self.spec = spec
        self.joint = joint
        self.own = own
        self._levels = len(joint.codebook_sizes)

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32: the joint code, then each modality's."""
        latent = Latent.of(latent)
        return np.concatenate([self.joint.encode(latent), self.own.encode(latent)], axis=1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the vectors (n, d) float32 that the joint part of codes (n, l) stands for."""
        codes = check_codes(codes, self.codebook_sizes[: np.asarray(codes).shape[-1]])
        return self.joint.decode(codes[:, : self._levels])

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the best joint codes that a beam finds, with the item's codes of modalities.

        Only where there are fewer than m joint codes do other codes of modalities follow each.

        Returns
        -------
        codes : (N, m', L) int32, best first; m' = min(m, number of codes).
        errors : (N, m') float64, squared distances.
        """
        latent = Latent.of(latent)
        m = min(m, math.prod(self.codebook_sizes))
        joint, errors = self.joint.candidates(latent, m)
        each = -(-m // joint.shape[1])
        own = _next_codes(self.own.encode(latent), self.own.codebook_sizes, each)
        own = np.tile(own, (1, joint.shape[1], 1))
        codes = np.concatenate([np.repeat(joint, each, axis=1), own], axis=2, dtype=np.int32)
        return codes[:, :m], np.repeat(errors, each, axis=1)[:, :m]

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64; codes of modalities change nothing."""
        errors = self.joint.errors(latent, codes[:, : self._levels])
        return np.pad(errors, ((0, 0), (0, codes.shape[1] - self._levels)), mode="edge")

    def arrays(self) -> Arrays:
        """Return the codebooks of all parts."""
        return prefixed(self.joint.arrays(), "joint.") | prefixed(self.own.arrays(), "own.")


def _next_codes(codes: np.ndarray, sizes: tuple[int, ...], count: int) -> np.ndarray:
    """Return each code (N, P) and those that follow it, (N, count, P); the first after the last."""
    following = np.repeat(codes[:, None], count, axis=1)
    carry = np.arange(count)[None]
    for place in reversed(range(len(sizes))):
        carry, following[:, :, place] = np.divmod(following[:, :, place] + carry, sizes[place])
    return following
