"""Fused: the rows of a catalogue as its fuser sees them, made block by block and not kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from semantic_ids.features import BLOCK_ROWS, Features
from semantic_ids.fusers.base import FittedFuser
from semantic_ids.latent import Latent
from semantic_ids.text.base import FittedText, vectorise


@dataclass(frozen=True)
class Fused:
    """Features behind a fitted fuser: as many rows as a catalogue has, never all at once.

    Parameters
    ----------
    fuser : a pure function from features to rows of a matrix.
    features : of the items, in memory or memory-mapped.
    texts : what vectorises each modality of raw text, by name.
    """

    fuser: FittedFuser
    features: Features
    texts: Mapping[str, FittedText] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    def blocks(self, index: np.ndarray | None = None) -> Iterator[Latent]:
        """Go through all rows in order, or through those of an index, a few thousand at a time."""
        if index is None:
            return (self._fuse(block) for block in self.features.blocks())
        starts = range(0, len(index), BLOCK_ROWS)
        parts = (self.features.rows(index[start : start + BLOCK_ROWS]) for start in starts)
        return (self._fuse(part) for part in parts)

    def _fuse(self, block: Features) -> Latent:
        return self.fuser.transform(vectorise(block, self.texts))

    def whole(self) -> Latent:
        """Return all rows as one Latent."""
        parts = list(self.blocks())
        if len(parts) == 1:
            return parts[0]
        return Latent(
            np.concatenate([part.matrix for part in parts]),
            parts[0].blocks,
            np.concatenate([part.present for part in parts]),
        )
