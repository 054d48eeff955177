"""Concat: standardised modalities side by side."""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from semantic_ids.features import Features
from semantic_ids.fusers.base import Arrays, FittedFuser, Fuser
from semantic_ids.fusers.standardise import Standard
from semantic_ids.latent import Latent, check_range
from semantic_ids.side import Side
from semantic_ids.storage import stored_array


class Concat(Fuser):
    """Standardise each modality, weight it, and put the modalities side by side.

    Every column gets mean 0 and variance 1 over the items that have the modality; then each
    modality is scaled to a total variance of its weight squared, so that a wide modality does
    not outweigh a narrow one. Missing rows take the modality's mean.

    Parameters
    ----------
    weights : modality name to a weight from 1e-6 to 1e6; modalities without one weigh 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = Features({"text": rng.normal(size=(50, 3)), "image": rng.normal(size=(50, 8))})
    >>> fitted = Concat(weights={"text": 2.0}).fit(features)
    >>> latent = fitted.transform(features)
    >>> latent.matrix.shape, latent.blocks["image"]
    ((50, 11), slice(3, 11, None))
    >>> bool(np.allclose(fitted.inverse(latent.matrix)["image"], features.modalities["image"],
    ...                  atol=1e-5))
    True
    """

    kind: Literal["concat"] = "concat"
    weights: dict[str, Annotated[float, Field(ge=1e-6, le=1e6)]] = Field(default={})

    def fit(
        self, features: Features, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedConcat":
        """Measure mean and deviation of each column over the rows that have the modality.

        Raises
        ------
        ValueError
            if `weights` names a modality that the features do not have.
        """
        unknown = sorted(set(self.weights) - set(features.widths))
        if unknown:
            raise ValueError(
                f"weights: no modality {unknown[0]!r} among the features {list(features.widths)}"
            )
        standards = {name: Standard.of(features, name) for name in features.widths}
        return FittedConcat(self, standards)

    def restore(self, widths: Mapping[str, int], arrays: Arrays) -> "FittedConcat":
        """Rebuild from saved arrays; refuse those that do not fit the widths."""
        standards = {
            name: Standard(
                stored_array(arrays, f"mean.{name}", (width,)),
                stored_array(arrays, f"scale.{name}", (width,)),
            )
            for name, width in widths.items()
        }
        return FittedConcat(self, standards)


class FittedConcat(FittedFuser):
    """A fitted `Concat`; its inverse is exact up to rounding, but for missing rows."""

    def __init__(self, spec: Concat, standards: Mapping[str, Standard]) -> None:
        self.spec = spec
        self.widths = {name: len(standard.mean) for name, standard in standards.items()}
        self._standards = dict(standards)
        self._weights = {name: np.float32(spec.weights.get(name, 1.0)) for name in standards}

    def transform(self, features: Features) -> Latent:
        """Fuse rows; a missing modality, or one left out, becomes zeros (the mean).

        Raises
        ------
        ValueError
            if the modalities are not those of the fit, or numbers are so much larger than
            those of the fit that the fused rows leave float32.
        """
        self.check(features)
        matrix = np.zeros((len(features), sum(self.widths.values())), dtype=np.float32)
        presence = np.zeros((len(features), len(self.widths)), dtype=bool)
        for column, (name, block) in enumerate(self._blocks().items()):
            if name not in features.modalities:
                continue
            values, present = features.modality(name)
            with np.errstate(over="ignore"):  # refused below
                fused = self._standards[name].forward(values, present) * self._weights[name]
            matrix[:, block] = fused
            presence[:, column] = present
        check_range(matrix, "features, standardised")
        return Latent(matrix, self._blocks(), presence)

    def inverse(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """Undo weight and standardisation; rows that were missing come back as the mean."""
        return {
            name: self._standards[name].backward(matrix[:, block] / self._weights[name])
            for name, block in self._blocks().items()
        }

    def arrays(self) -> Arrays:
        """Mean and scale of each modality."""
        arrays = {}
        for name, standard in self._standards.items():
            arrays[f"mean.{name}"] = standard.mean
            arrays[f"scale.{name}"] = standard.scale
        return arrays

    def _blocks(self) -> dict[str, slice]:
        blocks, start = {}, 0
        for name, width in self.widths.items():
            blocks[name] = slice(start, start + width)
            start += width
        return blocks
