"""Readers: what features may come as, such as files, becomes named arrays; nothing is checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from semantic_ids.frames import (
    BATCH_ROWS,
    Table,
    import_pyarrow,
    is_frame,
    is_series,
    read_batches,
    read_frame,
)
from semantic_ids.raw_text import is_text, text_array

#: The name of the modality where features came as one array without a name.
SINGLE = "features"

#: Types of safetensors files that numpy has, too.
_DTYPES = {
    **{f"F{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"I{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "BOOL": np.dtype(bool),
}


def read(value: Any, ids: str | None = None) -> Table:
    """Return the arrays that features consist of, whatever they came as.

    Parameters
    ----------
    value : an array or tensor; a DataFrame of pandas or polars; the path of a file; or a mapping
        of modality name to array, tensor, Series, sequence of str, or path of a file that holds
        one modality.
    ids : name of the column of ids in frames and .parquet files.

    Raises
    ------
    FileNotFoundError
        if a file is missing.
    TypeError, ValueError
        if a file or a frame cannot be read, or is none of these.
    """
    if isinstance(value, Path):
        return read_file(value, ids)
    if is_frame(value):
        return read_frame(value, "features", ids)
    if isinstance(value, Mapping):
        return _read_each(value, ids)
    if isinstance(value, str):
        raise TypeError(f"features: {value!r} is a str; give a file as pathlib.Path({value!r})")
    if is_text(value) or is_series(value):
        raise TypeError('features: give one column with a name, such as {"title": ...}')
    return Table({SINGLE: value})


def _read_each(value: Mapping[Any, Any], ids: str | None) -> Table:
    modalities: dict[str, Any] = {}
    present: dict[str, np.ndarray] = {}
    names: np.ndarray | None = None
    for key, part in value.items():
        table = _read_one(key, part, ids)
        modalities[key] = next(iter(table.modalities.values()))
        if table.present:
            present[key] = next(iter(table.present.values()))
        if names is not None and table.ids is not None and names.tolist() != table.ids.tolist():
            raise ValueError(f"features[{key!r}]: its ids are not those of the files before it")
        names = table.ids if names is None else names
    return Table(modalities, present, names)


def _read_one(key: Any, value: Any, ids: str | None) -> Table:
    """Return the one modality that stands under a key."""
    name = f"features[{key!r}]"
    if isinstance(value, Path):
        table = read_file(value, ids)
        if len(table.modalities) > 1:
            raise ValueError(
                f"{name}: {value} holds {list(table.modalities)}; expected one modality, or give "
                "the path alone"
            )
        return table
    if is_series(value):
        return read_frame(value.to_frame("values"), name)
    if is_text(value):
        texts, mask = text_array(value, name)
        return Table({key: texts}, {key: mask})
    return Table({key: value})


def read_file(path: Path, ids: str | None = None) -> Table:
    """Read a .npy, .safetensors or .parquet file, memory-mapped or through a mapped copy.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is damaged or of another kind; the error names it.
    """
    kind = path.suffix.lower()
    if kind not in (".npy", ".safetensors", ".parquet"):
        raise ValueError(f"{path}: expected a file that ends in .npy, .safetensors or .parquet")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; expected a file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if kind == ".parquet":
        return read_parquet(path, ids)
    return read_npy(path) if kind == ".npy" else read_safetensors(path)


def read_npy(path: Path) -> Table:
    """Map the array of a .npy file; the file must stay as it is meanwhile.

    Raises
    ------
    ValueError
        if it is no .npy file, or holds Python objects, which would have to be unpickled.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, TypeError, SyntaxError, OverflowError, TokenError, RecursionError) as error:
        raise ValueError(f"{path}: not a .npy file of numbers: {error}") from None
    return Table({SINGLE: _two_dimensional(array, str(path))})


def read_safetensors(path: Path) -> Table:
    """Map the arrays of a .safetensors file, each a modality, in the order of their names.

    Raises
    ------
    ValueError
        if it is no such file, holds no array, or one that numpy has no type for.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):  # it checks the header, and that all is there
            pass
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    if not header:
        raise ValueError(f"{path}: holds no array")
    arrays = {}
    for name, entry in sorted(header.items()):
        what = f"{path}, array {name!r}"
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{what}: numpy has no {entry['dtype']}; save it as F16 or F32")
        shape, offset = tuple(entry["shape"]), 8 + size + entry["data_offsets"][0]
        if 0 in shape:
            raise ValueError(f"{what}: expected at least one item and one column, got {shape}")
        array = np.memmap(path, _DTYPES[entry["dtype"]], "r", offset, shape)
        arrays[name] = _two_dimensional(array, what)
    return Table(arrays)


def read_parquet(path: Path, ids: str | None = None) -> Table:
    """Unpack the columns of a .parquet file by the rules of `read_batches`.

    They are unpacked once, batch by batch, into an unlinked temporary file that is then mapped
    into memory: what is held at a time is a batch, and a page of each column (some 3 MB, so that
    hundreds of numbered columns take more than one column of lists), but never the file. The
    temporary folder needs room for all vectors. Ids and raw text are held in memory.

    Raises
    ------
    ImportError
        if pyarrow is not installed.
    ValueError
        if it is no such file or is damaged, or a column cannot be used.
    """
    pa = import_pyarrow()
    from pyarrow.parquet import ParquetFile

    try:
        # Column chunks are read piece by piece: a row group may be as large as the file.
        with ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as file:
            batches = file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)
            return read_batches(
                file.schema_arrow,
                batches,
                file.metadata.num_rows,
                name=str(path),
                ids=ids,
                mapped=True,
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, such as a full disk, not pyarrow's
        raise ValueError(f"{path}: not a parquet file, or damaged: {error}") from None


def _two_dimensional(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim != 2:
        raise ValueError(
            f"{name}: expected two dimensions (items, columns), got shape {array.shape}"
        )
    return array
