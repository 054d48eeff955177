"""Every format of codes by its name, or by the ending of a file's name."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from semantic_ids.interop.index_json import read_index_json, write_index_json
from semantic_ids.interop.npy import read_npy, write_npy
from semantic_ids.interop.parquet import read_parquet, write_parquet
from semantic_ids.interop.recbole import read_recbole_item, write_recbole_item
from semantic_ids.interop.table import CodeTable

if TYPE_CHECKING:
    from semantic_ids.tokenizer import Tokenizer


class Format(NamedTuple):
    """One file format: the endings it is known by, and what reads and writes it."""

    endings: tuple[str, ...]
    read: Callable[[Path], CodeTable]
    write: Callable[[Path, Any, Any], None]


FORMATS = {
    "index.json": Format((".json",), read_index_json, write_index_json),
    "recbole": Format((".item",), read_recbole_item, write_recbole_item),
    "npy": Format((".npy",), read_npy, write_npy),
    "parquet": Format((".parquet",), read_parquet, write_parquet),
}


def export(tokenizer: "Tokenizer", path: str | Path, format: str | None = None) -> None:
    """Write a tokenizer's ids and unique codes as a file of another project.

    Parameters
    ----------
    tokenizer : its catalogue is written, row by row.
    path : file to write; one that is there is replaced.
    format : "index.json" (LC-Rec, LETTER, MQL4GRec, MiniOneRec), "recbole", "npy" or
        "parquet"; None takes that of the path's ending.

    Raises
    ------
    ValueError
        if the format is unknown, or cannot hold the ids.

    Examples
    --------
    >>> import tempfile
    >>> from semantic_ids import Tokenizer
    >>> tokenizer = Tokenizer.from_codes(["x", "y"], [[12, 7], [3, 9]], resolver=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(tokenizer, f"{folder}/tea.index.json")
    ...     Tokenizer.from_codes(*read_codes(f"{folder}/tea.index.json"), resolver=None)
    Tokenizer(2 items, codes of 2 positions [13, 10])
    """
    _format(path, format).write(Path(path), tokenizer.ids, tokenizer.codes)


def read_codes(path: str | Path, format: str | None = None) -> CodeTable:
    """Read ids and codes for `Tokenizer.from_codes` from a file of another project.

    Parameters
    ----------
    path : file to read.
    format : as in `export`.

    Returns
    -------
    table : ids (N,) and codes (N, L) int32. The sizes of the codebooks are not in such files;
        `Tokenizer.from_codes` takes the largest code + 1 unless it is told. Files of text cannot
        tell the id "7" from 7: where every id is a whole number, all are int.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if the format is unknown, or the file is not of it.
    """
    return _format(path, format).read(Path(path))


def _format(path: str | Path, name: str | None) -> Format:
    if name is not None:
        if name not in FORMATS:
            raise ValueError(f"format={name!r} should be one of {', '.join(FORMATS)}")
        return FORMATS[name]
    ending = Path(path).suffix.lower()
    for format_ in FORMATS.values():
        if ending in format_.endings:
            return format_
    endings = ", ".join(ending for format_ in FORMATS.values() for ending in format_.endings)
    raise ValueError(f"{path}: expected a name that ends in one of {endings}, or format=...")
