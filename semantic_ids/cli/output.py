"""Tables that go out: to standard output as lines or JSON, or into a file, block by block."""

import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semantic_ids.frames import import_pyarrow
from semantic_ids.vocabulary import Vocabulary, level_name

#: Columns of one length by name: sequences, or arrays whose rows are the values.
Columns = Mapping[str, Any]


class ReaderGone(Exception):
    """Nobody reads standard output any more."""


def say(text: str) -> None:
    """Print a line, or several.

    Raises
    ------
    ReaderGone
        if the pipe is closed.
    """
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def say_result(value: Any, *, as_json: bool) -> None:
    """Print what was found out, as text for people or as one JSON object.

    Parameters
    ----------
    value : a dataclass; `to_dict` tells its figures where it has one.
    as_json : which of the two.
    """
    say(to_json(value) if as_json else str(value))


def to_json(value: Any) -> str:
    """Return a value as JSON in one line; arrays become lists and dataclasses objects.

    Examples
    --------
    >>> to_json({"codes": np.array([[1, 2]]), "id": np.int64(7), "title": "Thé"})
    '{"codes": [[1, 2]], "id": 7, "title": "Thé"}'
    """
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return np.asarray(value).tolist()


def code_column(codes: np.ndarray, tokens: bool) -> Any:
    """Return codes (n, P) as they are, or as n token strings."""
    if not tokens:
        return codes
    sizes = tuple(codes.max(axis=0, initial=0).astype(np.int64) + 1)
    return Vocabulary(sizes).to_strings(codes)


def emit(
    blocks: Iterable[Columns],
    out: Path | None,
    *,
    as_json: bool,
    main: str,
    line: Callable[..., str] | None = None,
    form: str | None = None,
) -> None:
    """Write a table, block by block as they come.

    Parameters
    ----------
    blocks : columns of some rows each. Where rows of a column are codes (2-D), a .csv or
        .parquet file has a column of each level, `code_a`, `code_b`, ...
    out : file to write, whose ending says how; it is put in place when it is complete. None
        prints.
    as_json : whether to print JSON objects; otherwise lines.
    main : the column that a .npy file holds alone.
    line : makes a line of the values of a row; by default of those of the main column.
    form : such as ``"csv"``, for a file whose ending does not say it.
    """
    if out is None:
        for block in blocks:
            rows = _json_rows(block) if as_json else _line_rows(block, main, line)
            say("\n".join(rows))
        return
    with _replaced(out) as path:
        ending = out.suffix.lower() if form is None else f".{form}"
        if ending == ".npy":
            _write_npy(path, blocks, main)
        elif ending == ".parquet":
            _write_parquet(path, blocks)
        elif ending == ".csv":
            _write_csv(path, blocks)
        else:
            make = _json_rows if ending == ".jsonl" else lambda b: _line_rows(b, main, line)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                for block in blocks:
                    file.writelines(f"{row}\n" for row in make(block))


def check_file(out: Path | None) -> None:
    """Refuse a file that cannot be written for want of its folder, or that is a folder."""
    if out is not None and not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"{out}: there is no such folder to write into")
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"{out}: is a folder; expected a file or nothing")


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """Give a path to write; what stands there at the end replaces `out`, or goes at an error."""
    check_file(out)
    handle, name = tempfile.mkstemp(dir=out.resolve().parent, prefix=".writing-")
    os.close(handle)
    path = Path(name)
    try:
        yield path
        path.chmod(0o644)
        path.replace(out)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _json_rows(block: Columns) -> Iterator[str]:
    columns = [_values(column) for column in block.values()]
    for row in zip(*columns, strict=True):
        yield to_json(dict(zip(block, row, strict=True)))


def _line_rows(block: Columns, main: str, line: Callable[..., str] | None) -> Iterator[str]:
    if line is None:
        return map(as_text, _values(block[main]))
    return map(line, *(_values(column) for column in block.values()))


def as_text(value: Any) -> str:
    """Return a value as a word of a line: codes joined by commas, nothing for None.

    Examples
    --------
    >>> as_text([12, 7]), as_text("<a_12>"), as_text(None), as_text(0.25)
    ('12,7', '<a_12>', '', '0.25')
    """
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def tabbed(*values: Any) -> str:
    """Return values as a line of words with tabs between them.

    Examples
    --------
    >>> tabbed("B0007", 0.25)
    'B0007\\t0.25'
    """
    return "\t".join(map(as_text, values))


def _values(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _flat(block: Columns) -> dict[str, Any]:
    """Return columns of single values: codes become one column a level."""
    flat: dict[str, Any] = {}
    for name, column in block.items():
        if isinstance(column, np.ndarray) and column.ndim == 2 and column.dtype.kind == "i":
            for level in range(column.shape[1]):
                flat[f"{name}_{level_name(level)}"] = np.ascontiguousarray(column[:, level])
        else:
            flat[name] = _values(column)
    return flat


def _write_csv(path: Path, blocks: Iterable[Columns]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, block in enumerate(blocks):
            flat = _flat(block)
            if not number:
                writer.writerow(flat)
            rows = zip(*map(_values, flat.values()), strict=True)
            writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> Any:
    return to_json(value) if isinstance(value, list) else value


def _write_parquet(path: Path, blocks: Iterable[Columns]) -> None:
    pa = import_pyarrow()
    from pyarrow.parquet import ParquetWriter

    writer = None
    try:
        for block in blocks:
            columns = {name: pa.array(values) for name, values in _flat(block).items()}
            table = pa.table(columns, schema=writer.schema if writer else None)
            writer = writer or ParquetWriter(path, table.schema)
            writer.write_table(table)
    except pa.ArrowException as error:
        raise ValueError(f"a .parquet file cannot hold these values: {error}") from None
    finally:
        if writer:
            writer.close()
    if writer is None:
        raise ValueError("there is nothing to write: a .parquet file needs at least one row")


def _write_npy(path: Path, blocks: Iterable[Columns], main: str) -> None:
    parts = [_npy_values(block[main]) for block in blocks]
    if not parts:
        raise ValueError("there is nothing to write: a .npy file needs at least one row")
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.concatenate(parts), allow_pickle=False)


def _npy_values(column: Any) -> np.ndarray:
    """Return an array of numbers, or of strings of a fixed width, as .npy files hold them."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "if":
        return column
    values = _values(column)
    if any(value is None for value in values):
        raise ValueError("a .npy file cannot say that there is no id; write .jsonl or .csv")
    return np.array(values)
