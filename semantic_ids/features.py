"""Features: what is known of each item, one array a modality, checked once on the way in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from semantic_ids.frames import is_a
from semantic_ids.ids import check_unique, id_array
from semantic_ids.mapped import release
from semantic_ids.readers import SINGLE as SINGLE
from semantic_ids.readers import read

#: Rows that are read, fused and quantized together.
BLOCK_ROWS = 4096
#: Rows of a map that lie apart and are read before their pages are let go: the system maps some
#: 64 kB around each.
_SCATTERED_ROWS = 256


@dataclass(frozen=True, init=False, eq=False)
class Features:
    """Features of N items in one or several modalities: vectors, or raw text.

    Arrays are kept as they came (not copied) and read block by block as float32.

    Parameters
    ----------
    modalities : any of these.

        - Mapping of modality name to a real array or torch tensor of shape (N, d_m), any
          d_m >= 1; to raw text, a sequence of N str, None where there is none; to a pandas or
          polars Series; or to a `pathlib.Path` of a file of one modality.
        - One array without a name, which becomes the modality ``"features"``.
        - A DataFrame of pandas or polars: see below.
        - A `pathlib.Path`. A ``.npy`` file holds an array (N, d); a ``.safetensors`` file one or
          several, each a modality by its name, in the order of the names. Both are memory-mapped
          and must stay as they are meanwhile. A ``.parquet`` file holds columns, as a DataFrame
          does; its vectors are unpacked once, batch by batch, into an unlinked file in the
          folder of temporary files, which then is memory-mapped.
    present : mapping of modality name to a bool array (N,), True where the item has that
        modality. A modality without an entry is present for every item. Values in absent rows
        are ignored and may be NaN.
    ids : N distinct str or int, or None for rows without ids; of columns, the name of the one
        that holds them.
    missing : ``"nan"`` declares that an item whose vector is NaN throughout lacks that modality.

    Attributes
    ----------
    modalities : by name, an array (N, d_m), or a numpy string array (N,) of raw text.
    present : bool (N, M), which item has which modality.
    ids : int64 or a numpy string array (N,), or None.

    Raises
    ------
    FileNotFoundError
        if a file is missing.
    ImportError
        if pyarrow is missing, which frames and ``.parquet`` files need (the extra ``frames``).
    TypeError
        if a modality is neither a numeric array nor text.
    ValueError
        if an array is not two-dimensional, is empty, holds NaN, infinity or a number beyond
        float32 in a present row, or the lengths differ; if an item has no modality;
        if ids repeat; if a file or a column cannot be used.

    Notes
    -----
    Columns are read by one set of rules. Ids are in the column that `ids` names, else in ``id``
    or ``item_id``, if there is one. A column of lists of numbers, all of one length, is a modality;
    null says that an item lacks it. Numeric columns ``text_0``, ``text_1``, ... are together the
    modality ``text``; an item lacks it where all of them are null or NaN. A column of str is a
    modality of raw text. Any other column is refused by name. The index of a pandas frame is not
    read.

    Examples
    --------
    >>> features = Features({"text": np.ones((3, 2)), "image": np.zeros((3, 4))},
    ...                     present={"image": [True, False, True]}, ids=["a", "b", "c"])
    >>> len(features), features.widths
    (3, {'text': 2, 'image': 4})
    >>> Features({"title": ["red lipstick", "blue lipstick", None], "text": np.ones((3, 2))})
    Features(3 items; title: raw text (66.7% present); text: 2 x float64)
    """

    modalities: dict[str, np.ndarray]
    present: np.ndarray
    ids: np.ndarray | None

    def __init__(
        self,
        modalities: Any,
        present: Mapping[str, Any] | None = None,
        ids: str | Sequence[str] | Sequence[int] | np.ndarray | None = None,
        missing: Literal["nan"] | None = None,
    ) -> None:
        if missing not in (None, "nan"):
            raise ValueError(f"missing: expected None or 'nan', got {missing!r}")
        table = read(modalities, ids if isinstance(ids, str) else None)
        if not table.modalities:
            raise ValueError("features: expected at least one modality, got none")
        for name in table.modalities:
            if not isinstance(name, str):
                raise TypeError(f"features: modality names are str, got {name!r}")
        arrays = {
            name: value if _is_raw_text(value) else as_matrix(value, f"features[{name!r}]")
            for name, value in table.modalities.items()
        }
        n = _same_length({f"features[{name!r}]": len(array) for name, array in arrays.items()})
        mask = _presence(list(arrays), table.present, n)
        mask &= _presence(list(arrays), {} if present is None else present, n)
        names = _item_ids(ids, table.ids, n)
        for column, (name, array) in enumerate(arrays.items()):
            if array.dtype.kind == "f":
                mask[:, column] = _check_finite(name, array, mask[:, column], missing == "nan")
        _check_present(mask, names)
        self._set(arrays, mask, names)

    def _set(self, arrays: dict[str, np.ndarray], mask: np.ndarray, ids: np.ndarray | None) -> None:
        object.__setattr__(self, "modalities", arrays)
        object.__setattr__(self, "present", mask)
        object.__setattr__(self, "ids", ids)

    @classmethod
    def of(cls, value: Any, ids: Any = None) -> "Features":
        """Return `value`, anything that `Features` takes, as Features.

        Raises
        ------
        ValueError
            if `ids` are given although `value` has its own; see `Features` for others.
        """
        if not isinstance(value, Features):
            return cls(value, ids=ids)
        if ids is None:
            return value
        if value.ids is not None:
            raise ValueError("ids: the features carry ids of their own; give them once")
        named = object.__new__(cls)
        named._set(value.modalities, value.present, _item_ids(ids, None, len(value)))
        return named

    def __len__(self) -> int:
        return len(self.present)

    @property
    def widths(self) -> dict[str, int]:
        """Number of columns of each modality.

        Raises
        ------
        TypeError
            if a modality is raw text, which has none before it is vectorised.
        """
        for name in self.texts:
            raise _raw_text_error(name)
        return {name: array.shape[1] for name, array in self.modalities.items()}

    @property
    def texts(self) -> list[str]:
        """Names of the modalities that are raw text."""
        return [name for name, array in self.modalities.items() if _is_raw_text(array)]

    def rows(self, index: slice | np.ndarray) -> "Features":
        """Return some of the items (a slice gives views; rows are not checked again)."""
        part = object.__new__(Features)
        arrays = {name: _rows(array, index) for name, array in self.modalities.items()}
        part._set(arrays, self.present[index], None if self.ids is None else self.ids[index])
        return part

    def replaced(self, arrays: Mapping[str, np.ndarray]) -> "Features":
        """Return the same items with other arrays, as long, for some modalities (not checked)."""
        other = object.__new__(Features)
        other._set({**self.modalities, **arrays}, self.present, self.ids)
        return other

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

        Raises
        ------
        TypeError
            if it is raw text.
        """
        if _is_raw_text(self.modalities[name]):
            raise _raw_text_error(name)
        present = self.present[:, list(self.modalities).index(name)]
        values = np.where(present[:, None], self.modalities[name], 0).astype(np.float32)
        return values, present

    def __repr__(self) -> str:
        shares = self.present.mean(axis=0)
        parts = [
            f"{name}: {_what(array)}" + ("" if share == 1 else f" ({share:.1%} present)")
            for (name, array), share in zip(self.modalities.items(), shares, strict=True)
        ]
        return f"Features({len(self):,} items; {'; '.join(parts)})"


def as_matrix(value: Any, name: str) -> np.ndarray:
    """Return an array or a torch tensor as a real array (items, columns), at least 1 x 1.

    Tensors are taken from their device; types that numpy lacks, such as bfloat16, become float32.
    Errors begin with `name`.
    """
    try:
        array = _of_tensor(value, name) if is_a(value, "torch", "Tensor") else np.asarray(value)
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


def _of_tensor(tensor: Any, name: str) -> np.ndarray:
    if str(tensor.layout) != "torch.strided":
        raise TypeError(
            f"{name}: expected a dense tensor, got {tensor.layout}; give its to_dense()"
        )
    known = {"torch.float16", "torch.float32", "torch.float64"}
    if tensor.is_floating_point() and str(tensor.dtype) not in known:
        tensor = tensor.float()
    return tensor.numpy(force=True)  # also off another device, and without its gradient


def _is_raw_text(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "T" and array.ndim == 1


def _raw_text_error(name: str) -> TypeError:
    return TypeError(
        f"features[{name!r}]: raw text has no columns; Tokenizer.fit vectorises it "
        "(text=TfidfText()), elsewhere do it first: TfidfText().fit(texts).transform(texts)"
    )


def _what(array: np.ndarray) -> str:
    return "raw text" if _is_raw_text(array) else f"{array.shape[1]} x {array.dtype}"


def _rows(array: np.ndarray, index: slice | np.ndarray) -> np.ndarray:
    if isinstance(index, slice) or array.flags.writeable:
        return array[index]
    # Of a map, rows that lie apart touch a page each, or more: they are let go on the way.
    index = np.flatnonzero(index) if np.asarray(index).dtype == bool else np.asarray(index)
    rows = np.empty((len(index), *array.shape[1:]), dtype=array.dtype)
    for start in range(0, len(index), _SCATTERED_ROWS):
        rows[start : start + _SCATTERED_ROWS] = array[index[start : start + _SCATTERED_ROWS]]
        release(array)
    return rows


def _item_ids(given: Any, found: np.ndarray | None, n: int) -> np.ndarray | None:
    """Return ids as an array: those that came with the features, or were given apart."""
    if isinstance(given, str) and found is None:
        raise TypeError(
            f"ids: expected a sequence or 1-D array of ids, got {given!r}; only frames and "
            ".parquet files have a column to name"
        )
    if given is not None and not isinstance(given, str) and found is not None:
        raise ValueError("ids: the features come with a column of ids; give them once")
    if given is None and found is None:
        return None
    names = id_array(given) if found is None else found
    _same_length({"features": n, "ids": len(names)})
    check_unique(names)
    return names


def _same_length(lengths: dict[str, int]) -> int:
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
        raise ValueError(f"every argument needs one row an item, but {found}")
    return next(iter(lengths.values()))


def _presence(names: list[str], present: Any, n: int) -> np.ndarray:
    if not isinstance(present, Mapping):
        raise TypeError(
            f"present: expected a mapping of modality to bool (N,), got a "
            f"{type(present).__name__}; give present={{{names[0]!r}: ...}}"
        )
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


def _check_present(mask: np.ndarray, ids: np.ndarray | None) -> None:
    bare = np.flatnonzero(~mask.any(axis=1))
    if len(bare):
        first = f"row {bare[0]}" if ids is None else f"id {ids.tolist()[bare[0]]!r}"
        raise ValueError(
            f"features: {len(bare)} items have no modality at all (first: {first}); leave them out"
        )


def _check_finite(
    name: str, array: np.ndarray, present: np.ndarray, nan_is_missing: bool
) -> np.ndarray:
    """Return who has a modality of floats; refuse rows of theirs that are not finite."""
    present = present.copy()
    bad = np.zeros(len(array), dtype=bool)
    for start in range(0, len(array), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        with np.errstate(over="ignore"):
            values = array[part].astype(np.float32)
        release(array)
        if nan_is_missing:
            present[part] &= ~np.isnan(values).all(axis=1)
        bad[part] = ~np.isfinite(values).all(axis=1) & present[part]
    if not bad.any():
        return present
    first = int(np.flatnonzero(bad)[0])
    what, remedy = "a number beyond float32", ""
    if np.isnan(array[first]).any():
        what = "NaN"
        remedy = f'; mark missing rows in the mask: present={{{name!r}: ...}}, or missing="nan"'
        if nan_is_missing:
            remedy = "; missing='nan' is for rows that are NaN throughout"
    elif np.isinf(array[first]).any():
        what = "infinity"
    verb = "row holds" if bad.sum() == 1 else "rows hold"
    raise ValueError(f"features[{name!r}]: {bad.sum()} {verb} {what} (first: {first}){remedy}")
