"""Catalogue vectors: what a recommender knows of each item beside its code, by id."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from semantic_ids import Features, FittedFuser, NoCodecError, Tokenizer
from semantic_ids.id_index import IdIndex


@dataclass(frozen=True, eq=False)
class FeatureProjection:
    """How a recommender sees features: fused, then projected into its own space.

    Parameters
    ----------
    fuser : a fitted one; pure.
    weight : (width, d) float32.
    """

    fuser: FittedFuser
    weight: np.ndarray

    def of(self, features: Features) -> np.ndarray:
        """Return the vectors (n, width) float32 of feature rows."""
        return latents(self.fuser, features) @ self.weight.T

    def of_codes(self, tokenizer: Tokenizer, codes: np.ndarray) -> np.ndarray:
        """Return the vectors (n, width) float32 of what codes decode to; see `decoded_latents`."""
        return decoded_latents(self.fuser, tokenizer, codes) @ self.weight.T


def latents(fuser: FittedFuser, features: Features) -> np.ndarray:
    """Return fused rows (n, d) float32 at a mean squared length of about 1."""
    matrix = fuser.transform(features).matrix
    # `Concat` gives every modality a total variance of 1.
    return matrix * np.float32(len(fuser.widths) ** -0.5)


def decoded_latents(fuser: FittedFuser, tokenizer: Tokenizer, codes: np.ndarray) -> np.ndarray:
    """Return fused rows (n, d) of codes of a catalogue: as much of the features as a code kept.

    They are zeros, which is the mean item, where the tokenizer has no codec to decode with.
    """
    empty = fuser.transform(
        Features({name: np.zeros((1, width)) for name, width in fuser.widths.items()})
    )
    if not len(codes):
        return np.zeros((0, empty.matrix.shape[1]), np.float32)
    try:
        decoded = tokenizer.decode(codes)
    except NoCodecError:
        return np.zeros((len(codes), empty.matrix.shape[1]), np.float32)
    return latents(fuser, Features({name: decoded[name] for name in fuser.widths}))


class CatalogueVectors:
    """The parts of item vectors that belong to an item rather than to its code; a value.

    Parameters
    ----------
    ids : (n,) int64 or numpy strings, the items that something is known of.
    parts : by name, (n, width) float32.
    projection : makes the part ``"features"`` of an item that nothing is known of yet; None where
        there is no such part.
    """

    def __init__(
        self,
        ids: np.ndarray,
        parts: Mapping[str, np.ndarray],
        projection: FeatureProjection | None,
    ) -> None:
        self.ids = ids
        self.parts = dict(parts)
        self.projection = projection
        self._index = IdIndex.of(ids)

    def of(self, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
        """Return the parts (N, width) for the rows of a catalogue as it stands.

        What training gave an item stays with its id. An item that came later has no vector of
        its own (zeros), and the features that were given with it, or what its code decodes to.
        """
        same_kind = tokenizer.ids.dtype.kind == self.ids.dtype.kind
        at = self._index.find(tokenizer.ids) if same_kind else np.full(len(tokenizer), -1)
        new = np.flatnonzero(at < 0)
        found = {}
        for name, known in self.parts.items():
            found[name] = np.zeros((len(tokenizer), known.shape[1]), np.float32)
            found[name][at >= 0] = known[at[at >= 0]]
        if self.projection is not None:
            codes = tokenizer.codes[new]
            found["features"][new] = self.projection.of_codes(tokenizer, codes)
        return found

    def given(self, ids: np.ndarray, features: Features) -> "CatalogueVectors":
        """Return the vectors with the features of some items, which may be known already.

        What else is known of an item stays; an item that comes anew has nothing else.
        """
        if self.projection is None:
            return self
        at = self._index.find(ids)
        new = at < 0
        parts = {
            name: np.concatenate([part, np.zeros((new.sum(), part.shape[1]), part.dtype)])
            for name, part in self.parts.items()
        }
        rows = np.where(new, len(self.ids) + np.cumsum(new) - 1, at)
        parts["features"][rows] = self.projection.of(features)
        return CatalogueVectors(np.concatenate([self.ids, ids[new]]), parts, self.projection)
