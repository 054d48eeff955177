"""Bringing the columns of one modality to mean 0 and a common scale."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from semantic_ids.features import Features

#: A column whose deviation is below this share of its largest value is constant but for rounding.
_CONSTANT = 1e-6
_FLOAT32 = np.finfo(np.float32)


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and scale of each column of one modality, float32 (d_m,)."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, features: Features, name: str) -> "Standard":
        """Measure one modality over the rows that have it, in float64.

        The scale divides by the standard deviation and by the root of the number of columns
        that vary, so that a modality's total variance is 1 however wide it is. Constant
        columns get that same scale with a deviation of 1: they stay constant.

        Raises
        ------
        ValueError
            if numbers are so large that standardising them leaves float32.
        """
        width = features.widths[name]
        count, total, largest = 0, np.zeros(width), np.zeros(width)
        for values in _present_blocks(features, name):
            count += len(values)
            total = total + values.sum(axis=0)
            largest = np.maximum(largest, np.abs(values).max(axis=0, initial=0.0))
        mean = total / count
        squares = np.zeros(width)
        for values in _present_blocks(features, name):
            squares += ((values - mean) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / count)
        varies = deviation > np.maximum(_CONSTANT * largest, _FLOAT32.tiny)
        scale = np.where(varies, deviation, 1.0) * np.sqrt(max(1, int(varies.sum())))
        if max(scale.max(), 2 * largest.max()) > _FLOAT32.max:
            raise ValueError(
                f"features[{name!r}]: standardising numbers as large as {largest.max():.3g} "
                "leaves float32; scale them down"
            )
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def forward(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Standardise float32 rows (n, d_m); absent rows become 0, which is the mean.

        Numbers far beyond those of the fit may become infinite.
        """
        with np.errstate(over="ignore"):
            return np.where(present[:, None], (values - self.mean) / self.scale, np.float32(0))

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Undo `forward`; the mean stands in for absent rows."""
        return values * self.scale + self.mean


def _present_blocks(features: Features, name: str) -> Iterator[np.ndarray]:
    for block in features.blocks():
        values, present = block.modality(name)
        yield values[present].astype(np.float64)
