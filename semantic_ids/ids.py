"""Item ids as compact arrays: int64, or variable-width strings."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from semantic_ids.storage import stored_array

ItemId = str | int

STRINGS = np.dtypes.StringDType(coerce=False)

#: Ids that are Python objects at a time.
_BLOCK_IDS = 65_536


def id_array(ids: Any, *, name: str = "ids") -> np.ndarray:
    """Return ids as an int64 array or a numpy string array.

    Parameters
    ----------
    ids : sequence or 1-D array of str, or of int; not a mix of both.
    name : what to call it in an error.

    Raises
    ------
    TypeError
        if it is no sequence of ids, such as one bare str.
    ValueError
        if it is not one-dimensional, mixes str and int, holds anything else, an int leaves 64
        bits, or a str holds a NUL character.

    Examples
    --------
    >>> id_array([3, 1, 2])
    array([3, 1, 2])
    >>> id_array(["B01", "B02"]).tolist()
    ['B01', 'B02']
    """
    if isinstance(ids, set | frozenset | Mapping):
        raise TypeError(
            f"{name}: expected a sequence or 1-D array of ids, got a {type(ids).__name__}, which "
            "says nothing of which row is whose"
        )
    if isinstance(ids, np.ndarray):
        if ids.ndim != 1:
            raise ValueError(f"{name}: expected one dimension, got shape {ids.shape}")
        if ids.dtype.kind == "i":
            return ids.astype(np.int64)
        if ids.dtype.kind in "TU":
            return _in_blocks(ids, lambda block: id_array(block.tolist(), name=name))
        ids = ids.tolist()
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TypeError(f"{name}: expected a sequence or 1-D array of ids, got {ids!r}")
    values = list(ids)
    kinds = {type(value) for value in values}
    if not values or all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            largest = max(values, key=abs)
            raise ValueError(f"{name}: int ids are 64 bits wide, got {largest}") from None
    if all(issubclass(kind, str) for kind in kinds):
        return _in_blocks(values, lambda block: _strings(block, name))
    names = sorted(kind.__name__ for kind in kinds)
    raise ValueError(f"{name}: expected str or int ids, all of one kind, got {', '.join(names)}")


def as_ids(ids: Any, *, name: str = "ids") -> np.ndarray:
    """Return ids as `id_array` does, but an array that is of its kinds already as it is."""
    is_array = isinstance(ids, np.ndarray) and ids.ndim == 1
    if is_array and (ids.dtype == np.int64 or ids.dtype.kind == "T"):
        return ids
    return id_array(ids, name=name)


def _strings(values: list[str], name: str) -> np.ndarray:
    # numpy compares strings up to the first NUL: "a\0b" would be found for "a\0c".
    if "\0" in "".join(values):
        raise ValueError(f"{name}: an id holds a NUL character")
    try:
        return np.array(values, dtype=STRINGS)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: an id is not valid Unicode: {error}") from None


def _in_blocks(ids: Any, read: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Read string ids, of which only a block at a time need be Python objects."""
    array = np.empty(len(ids), dtype=STRINGS)
    for part in id_blocks(len(ids)):
        array[part] = read(ids[part])
    return array


def id_blocks(n: int) -> Iterator[slice]:
    """Split n ids into slices of some ten thousand."""
    return (slice(at, min(at + _BLOCK_IDS, n)) for at in range(0, n, _BLOCK_IDS))


def check_unique(ids: np.ndarray, *, name: str = "ids") -> None:
    """Refuse ids that occur twice, naming the first and how many there are."""
    if (ids[1:] > ids[:-1]).all():
        return
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        first = repeated[0].item() if ids.dtype.kind == "i" else repeated[0]
        raise ValueError(
            f"{name}: {len(repeated)} of {len(ids)} repeat an earlier id (such as {first!r}); "
            "every item needs an id of its own"
        )


def is_id(value: Any) -> bool:
    """Say whether a value can be one item's id."""
    return isinstance(value, str | int | np.integer) and not isinstance(value, bool)


def pack_ids(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return arrays that a safetensors file can hold; strings become bytes and offsets."""
    if ids.dtype.kind == "i":
        return {"ids": ids}
    return pack_strings(ids, "id")


def unpack_ids(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the ids that `pack_ids` wrote.

    Raises
    ------
    ValueError
        if an array is missing or not of its type, the offsets do not fit the bytes, or the
        bytes are not UTF-8.
    """
    if "ids" in arrays:
        return stored_array(arrays, "ids", (None,), np.int64)
    return unpack_strings(arrays, "id")


def pack_strings(strings: np.ndarray | Sequence[str], name: str) -> dict[str, np.ndarray]:
    """Return strings as two arrays: UTF-8 bytes, and the n + 1 places where they begin and end.

    Examples
    --------
    >>> packed = pack_strings(["ab", "", "c"], "term")
    >>> packed["term_offsets"].tolist(), unpack_strings(packed, "term").tolist()
    ([0, 2, 2, 3], ['ab', '', 'c'])
    """
    array = np.asarray(strings, dtype=STRINGS)
    texts, offsets = [], np.zeros(len(array) + 1, dtype=np.int64)
    for part in id_blocks(len(array)):
        encoded = [text.encode() for text in array[part].tolist()]
        offsets[1:][part] = [len(text) for text in encoded]
        texts.append(b"".join(encoded))
    np.cumsum(offsets, out=offsets)
    content = np.frombuffer(b"".join(texts), dtype=np.uint8)
    return {f"{name}_bytes": content, f"{name}_offsets": offsets}


def unpack_strings(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return the strings that `pack_strings` packed, as a numpy string array.

    Raises
    ------
    ValueError
        if an array is missing or not of its type, the offsets do not fit the bytes, or the
        bytes are not UTF-8.
    """
    text = stored_array(arrays, f"{name}_bytes", (None,), np.uint8)
    offsets = stored_array(arrays, f"{name}_offsets", (None,), np.int64)
    if (
        not len(offsets)
        or offsets[0] != 0
        or offsets[-1] != len(text)
        or (offsets[1:] < offsets[:-1]).any()
    ):
        raise ValueError(f"{name}_offsets do not fit {name}_bytes")
    strings = np.empty(len(offsets) - 1, dtype=STRINGS)
    for part in id_blocks(len(strings)):
        bounds = offsets[part.start : part.stop + 1]
        block = text[bounds[0] : bounds[-1]].tobytes()
        places = itertools.pairwise((bounds - bounds[0]).tolist())
        strings[part] = _strings([block[start:stop].decode() for start, stop in places], name)
    return strings
