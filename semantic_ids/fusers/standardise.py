"""Bringing the columns of one modality to mean 0 and a common scale."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from semantic_ids.features import Features

#: A column whose deviation is below this share of its largest value is constant but for rounding.
_CONSTANT = 1e-6
#: So is one whose deviation is below this share of the typical one: at its own scale, what is
#: noise of the fit would count as much as any other column, and a later item that has a usual
#: value there would be a thousand deviations off and outweigh everything.
_NEGLIGIBLE = 1e-3
_FLOAT32 = np.finfo(np.float32)


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and scale of each column of one modality, float32 (d_m,)."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, features: Features, name: str) -> Self:
        """Measure one modality over the rows that have it, in float64.

        The scale divides by the standard deviation and by the root of the number of columns
        that vary, so that a modality's total variance is 1 however wide it is.

        Constant columns, and those that vary a thousand times less than is typical, are scaled
        by the typical deviation: they stay constant, and an item that comes later and differs
        there differs as it would in a column that varies. Typical is the lower quartile of the
        columns that vary: a mean would be that of the largest unit, and of columns as unlike as
        revenues and ratings it would take the ratings for noise. So of up to four columns none
        is too small, whatever their units.

        Raises
        ------
        ValueError
            if no row has the modality, or numbers are so large that standardising them leaves
            float32.
        """
        mean, deviation, largest = _moments(features, name, lambda values: values)
        varies = deviation > np.maximum(_CONSTANT * largest, _FLOAT32.tiny)
        typical = np.quantile(deviation[varies], 0.25, method="lower") if varies.any() else 1.0
        varies &= deviation >= _NEGLIGIBLE * typical
        # At least so much that float32's rounding of a large constant stays small.
        instead = np.maximum(typical, _NEGLIGIBLE * largest)
        scale = np.where(varies, deviation, instead) * np.sqrt(max(1, int(varies.sum())))
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


class UnitLength(Standard):
    """Rows at length 1, then mean 0 and one scale for all columns; lengths are lost."""

    @classmethod
    def of(cls, features: Features, name: str) -> Self:
        """Measure the directions of one modality over the rows that have it, in float64.

        The scale is the root of their total variance, which so becomes 1.

        Raises
        ------
        ValueError
            if no row has the modality.
        """
        mean, deviation, _ = _moments(features, name, unit_rows)
        total = np.sqrt((deviation**2).sum())
        scale = np.full(len(mean), total if total > _CONSTANT else 1.0)
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def forward(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Bring float32 rows (n, d_m) to length 1, centre and scale; absent rows become 0."""
        return super().forward(unit_rows(values).astype(np.float32), present)


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Divide rows (n, d) by their Euclidean norms, in float64; rows of zeros stay zeros.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    # In C order each row is added up the same way, whatever its neighbours.
    wide = np.ascontiguousarray(values, dtype=np.float64)
    norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    return wide / np.where(norms > 0, norms, 1.0)


def _moments(
    features: Features, name: str, prepare: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and largest magnitude of each column, float64 (d_m,)."""
    width = features.widths[name]
    count, total, largest = 0, np.zeros(width), np.zeros(width)
    for values in map(prepare, _present_blocks(features, name)):
        count += len(values)
        total = total + values.sum(axis=0)
        largest = np.maximum(largest, np.abs(values).max(axis=0, initial=0.0))
    if not count:
        raise ValueError(
            f"features[{name!r}]: missing for every one of the {len(features):,} items to learn "
            "from; choose a larger fit_sample, or leave the modality out"
        )
    mean = total / count
    squares = np.zeros(width)
    for values in map(prepare, _present_blocks(features, name)):
        squares += ((values - mean) ** 2).sum(axis=0)
    return mean, np.sqrt(squares / count), largest


def _present_blocks(features: Features, name: str) -> Iterator[np.ndarray]:
    for block in features.blocks():
        values, present = block.modality(name)
        yield values[present].astype(np.float64)
