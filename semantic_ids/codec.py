"""Codec: a fitted fuser and a fitted quantizer, one pure function from features to codes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.features import Features
from semantic_ids.fusers.base import FittedFuser, Fuser
from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import FittedQuantizer, Quantizer


class Codec:
    """Turns features into content codes and back; never changes.

    Parameters
    ----------
    fuser, quantizer : fitted one after the other.
    """

    def __init__(self, fuser: FittedFuser, quantizer: FittedQuantizer) -> None:
        self.fuser = fuser
        self.quantizer = quantizer

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codebook size of each of the L levels."""
        return self.quantizer.codebook_sizes

    def fuse(self, features: Features) -> Latent:
        """Fuse features block by block into one Latent."""
        return fuse(self.fuser, features)

    def encode(self, features: Features) -> np.ndarray:
        """Return content codes (N, L) int32, block by block."""
        parts = [self.quantizer.encode(self.fuser.transform(block)) for block in features.blocks()]
        return np.concatenate(parts)

    def decode(self, codes: Any) -> dict[str, np.ndarray]:
        """Return the features, one float32 array a modality, of content codes (n, L)."""
        return self.fuser.inverse(self.quantizer.decode(check_codes(codes, self.sizes)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned, as named arrays."""
        fuser, quantizer = self.fuser.arrays(), self.quantizer.arrays()
        return {
            **{f"fuser.{name}": array for name, array in fuser.items()},
            **{f"quantizer.{name}": array for name, array in quantizer.items()},
        }

    @classmethod
    def restore(
        cls,
        fuser: Fuser,
        quantizer: Quantizer,
        widths: Mapping[str, int],
        arrays: Mapping[str, np.ndarray],
    ) -> "Codec":
        """Rebuild from specs, the widths of the modalities, and `arrays`.

        Raises
        ------
        TypeError, ValueError
            if the arrays are not those that the specs need.
        """
        codec = cls(
            fuser.restore(widths, _part(arrays, "fuser.")),
            quantizer.restore(_part(arrays, "quantizer.")),
        )
        if codec.arrays().keys() != arrays.keys():
            raise ValueError(f"codec: the spec has no use for all of {sorted(arrays)}")
        return codec


def fuse(fuser: FittedFuser, features: Features) -> Latent:
    """Fuse features block by block into one Latent."""
    parts = [fuser.transform(block) for block in features.blocks()]
    if len(parts) == 1:
        return parts[0]
    return Latent(
        np.concatenate([part.matrix for part in parts]),
        parts[0].blocks,
        np.concatenate([part.present for part in parts]),
    )


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
