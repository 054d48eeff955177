"""Features: what is known of each item, one array a modality, checked once on the way in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semantic_ids.ids import check_unique, id_array
from semantic_ids.mapped import release

#: Rows that are read, fused and quantized together.
BLOCK_ROWS = 4096

#: The name of the modality where features came as one array without a name.
SINGLE = "features"


@dataclass(frozen=True, init=False, eq=False)
class Features:
    """Feature vectors of N items in one or several modalities.

    The arrays are kept as they came (not copied) and read block by block as float32.

    Parameters
    ----------
    modalities : mapping of modality name to a real array of shape (N, d_m), any d_m >= 1. One
        array without a name becomes the modality ``"features"``.
    present : mapping of modality name to a bool array (N,), True where the item has that
        modality. A modality without an entry is present for every item. Values in absent rows
        are ignored and may be NaN.
    ids : N distinct str or int, or None for rows without ids.

    Raises
    ------
    TypeError
        if a modality is not a numeric array.
    ValueError
        if an array is not two-dimensional, is empty, holds NaN, infinity or a number beyond
        float32 in a present row, or the lengths differ; if a modality is present for no item
        or an item has no modality; if ids repeat.

    Examples
    --------
    >>> features = Features({"text": np.ones((3, 2)), "image": np.zeros((3, 4))},
    ...                     present={"image": [True, False, True]}, ids=["a", "b", "c"])
    >>> len(features), features.widths
    (3, {'text': 2, 'image': 4})
    """

    modalities: dict[str, np.ndarray]
    present: np.ndarray
    ids: np.ndarray | None

    def __init__(
        self,
        modalities: Any,
        present: Mapping[str, Any] | None = None,
        ids: Sequence[str] | Sequence[int] | np.ndarray | None = None,
    ) -> None:
        if not isinstance(modalities, Mapping):
            modalities = {SINGLE: modalities}
        if not modalities:
            raise ValueError("features: expected at least one modality, got none")
        for name in modalities:
            if not isinstance(name, str):
                raise TypeError(f"features: modality names are str, got {name!r}")
        arrays = {
            name: as_matrix(value, f"features[{name!r}]") for name, value in modalities.items()
        }
        n = _same_length({f"features[{name!r}]": len(array) for name, array in arrays.items()})
        mask = _presence(list(arrays), present or {}, n)
        names = None
        if ids is not None:
            names = id_array(ids)
            _same_length({"features": n, "ids": len(names)})
            check_unique(names)
        _check_present(list(arrays), mask, names)
        for column, (name, array) in enumerate(arrays.items()):
            _check_finite(name, array, mask[:, column])
        self._set(arrays, mask, names)

    def _set(self, arrays: dict[str, np.ndarray], mask: np.ndarray, ids: np.ndarray | None) -> None:
        object.__setattr__(self, "modalities", arrays)
        object.__setattr__(self, "present", mask)
        object.__setattr__(self, "ids", ids)

    @classmethod
    def of(cls, value: Any, ids: Any = None) -> "Features":
        """Return `value` as Features; `ids`, where given, must not contradict its own."""
        if not isinstance(value, Features):
            return cls(value, ids=ids)
        if ids is None:
            return value
        if value.ids is not None:
            raise ValueError("ids: the features carry ids of their own; give them once")
        return cls(
            value.modalities,
            {name: value.present[:, i] for i, name in enumerate(value.modalities)},
            ids,
        )

    def __len__(self) -> int:
        return len(self.present)

    @property
    def widths(self) -> dict[str, int]:
        """Number of columns of each modality."""
        return {name: array.shape[1] for name, array in self.modalities.items()}

    def rows(self, index: slice | np.ndarray) -> "Features":
        """Return some of the items (a slice gives views; rows are not checked again)."""
        part = object.__new__(Features)
        arrays = {name: array[index] for name, array in self.modalities.items()}
        if not isinstance(index, slice):
            self._release()
        part._set(arrays, self.present[index], None if self.ids is None else self.ids[index])
        return part

    def without_ids(self) -> "Features":
        """Return the same rows without their ids."""
        anonymous = object.__new__(Features)
        anonymous._set(self.modalities, self.present, None)
        return anonymous

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator["Features"]:
        """Go through the items in order, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield self.rows(slice(start, start + size))
            self._release()

    def _release(self) -> None:
        """Let go of what was read of memory-mapped files, which else stays in memory."""
        for array in self.modalities.values():
            release(array)

    def modality(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return one modality as a float32 array (N, d_m) and who has it, bool (N,).

        Absent rows come as zeros.
        """
        present = self.present[:, list(self.modalities).index(name)]
        values = np.where(present[:, None], self.modalities[name], 0).astype(np.float32)
        return values, present

    def __repr__(self) -> str:
        shares = self.present.mean(axis=0)
        parts = [
            f"{name}: {array.shape[1]} x {array.dtype}"
            + ("" if share == 1 else f" ({share:.1%} present)")
            for (name, array), share in zip(self.modalities.items(), shares, strict=True)
        ]
        return f"Features({len(self):,} items; {'; '.join(parts)})"


def as_matrix(value: Any, name: str) -> np.ndarray:
    """Return `value` as a real array (items, columns), at least 1 x 1; errors begin with `name`."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{name}: not a rectangular array: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected a real numeric array, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(
            f"{name}: expected two dimensions (items, columns), got shape {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"{name}: expected at least one item and one column, got {array.shape}")
    return array


def _same_length(lengths: dict[str, int]) -> int:
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
        raise ValueError(f"every argument needs one row an item, but {found}")
    return next(iter(lengths.values()))


def _presence(names: list[str], present: Mapping[str, Any], n: int) -> np.ndarray:
    unknown = sorted(set(present) - set(names))
    if unknown:
        raise ValueError(f"present: no modality {unknown[0]!r} among the features {names}")
    mask = np.ones((n, len(names)), dtype=bool)
    for name, value in present.items():
        column = np.asarray(value)
        if column.dtype != bool or column.shape != (n,):
            raise ValueError(
                f"present[{name!r}]: expected bool of shape ({n},), "
                f"got {column.dtype} of shape {column.shape}"
            )
        mask[:, names.index(name)] = column
    return mask


def _check_present(names: list[str], mask: np.ndarray, ids: np.ndarray | None) -> None:
    for column, name in enumerate(names):
        if not mask[:, column].any():
            raise ValueError(f"features[{name!r}]: missing for every one of {len(mask):,} items")
    bare = np.flatnonzero(~mask.any(axis=1))
    if len(bare):
        first = f"row {bare[0]}" if ids is None else f"id {ids.tolist()[bare[0]]!r}"
        raise ValueError(
            f"features: {len(bare)} items have no modality at all (first: {first}); leave them out"
        )


def _check_finite(name: str, array: np.ndarray, present: np.ndarray) -> None:
    if array.dtype.kind != "f":
        return
    bad = np.zeros(len(array), dtype=bool)
    for start in range(0, len(array), BLOCK_ROWS):
        with np.errstate(over="ignore"):
            finite = np.isfinite(array[start : start + BLOCK_ROWS].astype(np.float32))
        release(array)
        bad[start : start + BLOCK_ROWS] = ~finite.all(axis=1)
    bad &= present
    if not bad.any():
        return
    first = int(np.flatnonzero(bad)[0])
    what, remedy = "a number beyond float32", ""
    if np.isnan(array[first]).any():
        what = "NaN"
        remedy = f"; mark missing rows in the mask: present={{{name!r}: ...}}"
    elif np.isinf(array[first]).any():
        what = "infinity"
    verb = "row holds" if bad.sum() == 1 else "rows hold"
    raise ValueError(f"features[{name!r}]: {bad.sum()} {verb} {what} (first: {first}){remedy}")
