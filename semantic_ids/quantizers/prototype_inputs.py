"""What a quantizer with named prototypes is given, checked against the names and the latent."""

from collections.abc import Sequence

import numpy as np

from semantic_ids.latent import Latent
from semantic_ids.side import Side


def where(latent: Latent, modality: str | None) -> tuple[slice, np.ndarray]:
    """Return the columns of a modality, or all, and the rows (n,) that have it.

    Raises
    ------
    ValueError
        if the latent has no such block.

    Examples
    --------
    >>> where(Latent.of(np.zeros((2, 3), np.float32)), None)
    (slice(0, 3, None), array([0, 1]))
    """
    if modality is None:
        return slice(0, latent.matrix.shape[1]), np.arange(len(latent))
    names = list(latent.blocks)
    if modality not in names:
        raise ValueError(f"modality={modality!r}: the latent's blocks are {names}")
    there = latent.present[:, names.index(modality)]
    return latent.blocks[modality], np.flatnonzero(there)


def directions(side: Side, names: Sequence[str], columns: slice, *, centre: bool) -> np.ndarray:
    """Return prototypes (K, d) float64, less their mean if they are to be centred.

    Raises
    ------
    ValueError
        if there is not one a name, of the columns' width, or one has no direction.

    Examples
    --------
    >>> side = Side(prototypes=np.array([[1.0, 0.0], [3.0, 0.0]]))
    >>> directions(side, ["cups", "mugs"], slice(0, 2), centre=True)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    given = points = np.asarray(side.prototypes, dtype=np.float64)
    expected = (len(names), columns.stop - columns.start)
    if points.shape != expected:
        raise ValueError(
            f"side.prototypes: expected {expected[0]} rows (one a name) of {expected[1]} "
            f"columns, got shape {points.shape}"
        )
    if centre:
        points = points - points.mean(axis=0)
    lengths = np.linalg.norm(points, axis=1)
    if lengths.min() <= 1e-6 * np.abs(given).max():
        raise ValueError(
            f"side.prototypes: {names[lengths.argmin()]!r} has no direction: it is "
            f"{'the mean of all' if centre else 'zero'}"
        )
    return points


def labels_of(side: Side, names: Sequence[str]) -> np.ndarray:
    """Return which name each item has, (N,) int, -1 where none is known.

    Raises
    ------
    ValueError
        if there are no labels, or one is none of the names.
    """
    if side.labels is None:
        raise ValueError("side: alignment above 0 needs labels; give side=Side(labels=...)")
    if side.labels.max() >= len(names):
        raise ValueError(
            f"side.labels: {side.labels.max()} is none of the {len(names)} names; "
            f"expected -1 to {len(names) - 1}"
        )
    return side.labels
