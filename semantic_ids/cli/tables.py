"""Tables that come in: ids, codes and titles, from files and from standard input, in blocks."""

import csv
import gzip
import itertools
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from semantic_ids.frames import ID_COLUMNS, import_pyarrow
from semantic_ids.ids import STRINGS, id_array
from semantic_ids.vocabulary import Vocabulary, level_name

#: Rows that are read, turned over and written together.
BLOCK_ROWS = 1 << 16

#: The column of what has no columns, such as lines.
PLAIN = ""

# One spelling a number: "7" and "07" are two ids, so only one of them can be the number 7.
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_CODES = re.compile(r"[0-9]{1,10}(,[0-9]{1,10})*")
_LEVEL_COLUMN = re.compile(r"code_[a-z]+")


class Block(NamedTuple):
    """Some rows of a table.

    Attributes
    ----------
    columns : values by the name of the column, of one length.
    typed : whether the source tells numbers from text.
    """

    columns: dict[str, list[Any]]
    typed: bool


def read_blocks(source: str, form: str | None = None) -> Iterator[Block]:
    """Go through a table, some ten thousand rows at a time.

    Parameters
    ----------
    source : path of a .npy, .parquet, .jsonl or .csv file (the last two also as .gz) or of plain
        lines, or - for standard input, which holds plain lines or JSON objects.
    form : such as ``"csv"``, for a file whose ending does not say it.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ImportError
        if pyarrow is missing, which .parquet files need.
    ValueError
        if the file is not what its name says; the error names it, and the line.
    """
    path = Path(source)
    ending = path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix
    ending = ending if form is None else f".{form}"
    if source == "-":
        return _lines(sys.stdin, "standard input")
    if ending.lower() == ".npy":
        return _npy(path)
    if ending.lower() == ".parquet":
        return _parquet(path)
    return _text(path, {".csv": _csv, ".jsonl": _json_lines}.get(ending.lower(), _lines))


def read_columns(source: str) -> dict[str, list[Any]]:
    """Return a whole table; see `read_blocks`."""
    columns: dict[str, list[Any]] = {}
    rows = 0
    for block, _ in read_blocks(source):
        n = len(next(iter(block.values())))
        for name in dict.fromkeys([*columns, *block]):  # a JSON object may lack a key
            columns.setdefault(name, [None] * rows).extend(block.get(name, [None] * n))
        rows += n
    return columns


def read_ids(source: str) -> np.ndarray:
    """Return all ids of a table, int64 or strings; of lines and .csv, int64 if all are numbers."""
    return _ids_of(list(read_blocks(source)), source)


def read_code_table(source: str, form: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return all ids (N,) of a table, as `read_ids`, and their codes (N, P) int64.

    Parameters
    ----------
    source, form : as for `read_blocks`; columns are item_id or id, and code or code_a, code_b, ...

    Raises
    ------
    ValueError
        if a column is missing, there are no rows, or codes are of different lengths.
    """
    # Rows without names are no table; beside named columns they are the index that pandas writes.
    blocks = [
        block._replace(columns={n: column for n, column in block.columns.items() if n != PLAIN})
        for block in read_blocks(source, form)
    ]
    codes = [_code_values(block.columns, source) for block in blocks]
    if not codes:
        raise ValueError(f"{source}: expected a row an item with its id and code, got none")
    lengths = {part.shape[1] for part in codes}
    if len(lengths) > 1:
        raise ValueError(f"{source}: codes of different lengths: {sorted(lengths)}")
    return _ids_of(blocks, source), np.concatenate(codes)


def _ids_of(blocks: Sequence[Block], source: str) -> np.ndarray:
    values = [value for block in blocks for value in _id_values(block, source)]
    if all(block.typed for block in blocks):
        return id_array(values, name=source)
    texts = [str(value) for value in values]
    if all(map(_WHOLE_NUMBER.fullmatch, texts)):
        return id_array([int(text) for text in texts], name=source)
    return id_array(texts, name=source)


def id_blocks(arguments: Sequence[str], source: str | None, like: np.ndarray) -> Iterator[Any]:
    """Go through ids given as arguments (- is standard input), or else those of a file.

    Parameters
    ----------
    arguments, source : one of them is given.
    like : (N,) ids of a catalogue, whose kind numbers are read as.
    """
    if source is None and list(arguments) != ["-"]:
        yield ids_like(arguments, like)
        return
    for block in read_blocks(source or "-"):
        yield ids_like(_id_values(block, source or "-"), like)


def ids_like(values: Iterable[Any], like: np.ndarray) -> np.ndarray:
    """Return ids of a catalogue's kind: texts become numbers where its ids are numbers.

    Raises
    ------
    ValueError
        if a text is no number where the catalogue's ids are.

    Examples
    --------
    >>> ids_like(["7", "12"], np.array([7])), ids_like(["7"], id_array(["7"])).tolist()
    (array([ 7, 12]), ['7'])
    """
    given = list(values)
    if like.dtype.kind == "i":
        wrong = next((v for v in given if isinstance(v, str) and not _is_number(v)), None)
        if wrong is not None:
            raise ValueError(f"ids: this catalogue's ids are int, got {wrong!r}")
        given = [int(value) if isinstance(value, str) else value for value in given]
    ids = id_array(given)
    return ids if len(ids) else ids.astype(np.int64 if like.dtype.kind == "i" else STRINGS)


def code_blocks(arguments: Sequence[str], source: str | None) -> Iterator[np.ndarray]:
    """Go through codes (n, P) int64 given as arguments (- is standard input), or of a file."""
    if source is None and list(arguments) != ["-"]:
        yield parse_codes(arguments, "codes")
        return
    where = "standard input" if source in (None, "-") else str(source)
    for block in read_blocks(source or "-"):
        yield _code_values(block.columns, where)


def parse_codes(values: Sequence[Any], name: str) -> np.ndarray:
    """Return codes (n, P) int64 of texts, such as <a_12><b_7> or 12,7, or of lists of int.

    Raises
    ------
    ValueError
        if one is none of these, or they are not of one length.

    Examples
    --------
    >>> parse_codes(["<a_12><b_7>", "<a_0><b_1>"], "codes").tolist()
    [[12, 7], [0, 1]]
    >>> parse_codes(["12,7"], "codes").tolist(), parse_codes([[12, 7]], "codes").tolist()
    ([[12, 7]], [[12, 7]])
    """
    if not len(values):
        return np.zeros((0, 0), dtype=np.int64)
    if all(isinstance(value, str) and value.startswith("<") for value in values):
        # How many codes a level has is for the tokenizer to check.
        vocabulary = Vocabulary((2**31,) * max(1, values[0].count("<")))
        return _named(name, vocabulary.from_strings, values).astype(np.int64)
    rows = [_row(value, name) for value in values]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(f"{name}: codes of different lengths: {sorted(lengths)}")
    return np.array(rows, dtype=np.int64)


def _row(value: Any, name: str) -> list[int]:
    if isinstance(value, str) and _CODES.fullmatch(value):
        return [int(part) for part in value.split(",")]
    if isinstance(value, list) and value and all(_is_code(part) for part in value):
        return value
    raise ValueError(f"{name}: expected codes such as <a_12><b_7> or 12,7, got {value!r}")


def _is_code(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _named(name: str, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _id_values(block: Block, source: str) -> list[Any]:
    columns = block.columns
    if PLAIN in columns:
        return columns[PLAIN]
    found = [name for name in ID_COLUMNS if name in columns]
    if len(found) != 1:
        raise ValueError(f"{source}: expected a column item_id or id, got {list(columns)}")
    return columns[found[0]]


def _code_values(columns: dict[str, list[Any]], source: str) -> np.ndarray:
    for name in (PLAIN, "code"):
        if name in columns:
            return parse_codes(columns[name], source)
    levels = [name for name in columns if _LEVEL_COLUMN.fullmatch(name)]
    expected = [f"code_{level_name(level)}" for level in range(len(levels))]
    if not levels or set(levels) != set(expected):
        raise ValueError(f"{source}: expected code, or code_a, code_b, ..., got {list(columns)}")
    rows = zip(*(columns[name] for name in expected), strict=True)
    return parse_codes([",".join(map(str, row)) for row in rows], source)


def _npy(path: Path) -> Iterator[Block]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ValueError(f"{path}: not a .npy file without Python objects: {error}") from None
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuU":
        raise ValueError(
            f"{path}: expected ids (n,) or codes (n, P), got {array.dtype} of shape {array.shape}"
        )
    name = PLAIN if array.ndim == 1 else "code"
    for start in range(0, len(array), BLOCK_ROWS):
        yield Block({name: array[start : start + BLOCK_ROWS].tolist()}, typed=True)


def _parquet(path: Path) -> Iterator[Block]:
    pa = import_pyarrow()
    from pyarrow.parquet import ParquetFile

    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BLOCK_ROWS):
                yield Block(batch.to_pydict(), typed=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a parquet file, or damaged: {error}") from None


def _text(path: Path, read: Any) -> Iterator[Block]:
    try:
        with _opened(path) as file:
            yield from read(file, str(path))
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not a text file, or damaged: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield file


def _lines(file: IO[str], name: str) -> Iterator[Block]:
    """Read lines as they are; the first one may say that they are JSON objects."""
    first = next(iter(file), None)
    if first is None:
        return
    lines = itertools.chain([first], file)
    if first.startswith("{"):
        yield from _json_lines(lines, name)
        return
    while chunk := list(itertools.islice(lines, BLOCK_ROWS)):
        yield Block({PLAIN: [line.rstrip("\r\n") for line in chunk]}, typed=False)


def _json_lines(file: Iterable[str], name: str) -> Iterator[Block]:
    numbered = enumerate(file, start=1)
    while chunk := list(itertools.islice(numbered, BLOCK_ROWS)):
        rows = [_json(line, f"{name}, line {number}") for number, line in chunk]
        if not all(isinstance(row, dict) for row in rows):
            yield Block({PLAIN: rows}, typed=True)
            continue
        names = dict.fromkeys(key for row in rows for key in row)
        yield Block({key: [row.get(key) for row in rows] for key in names}, typed=True)


def _json(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON: {error}") from None


def _csv(file: IO[str], name: str) -> Iterator[Block]:
    rows = csv.reader(file, strict=True)
    try:
        head = next(rows, [])
        if len(set(head)) < len(head):
            raise ValueError(f"{name}: a column occurs twice among {head}")
        while chunk := list(itertools.islice(rows, BLOCK_ROWS)):
            other = next((row for row in chunk if len(row) != len(head)), None)
            if other is not None:
                raise ValueError(f"{name}: expected the columns {head} in every row, got {other}")
            columns = map(list, zip(*chunk, strict=True))
            yield Block(dict(zip(head, columns, strict=True)), typed=False)
    except csv.Error as error:
        raise ValueError(f"{name}, line {rows.line_num}: not CSV: {error}") from None


def _is_number(text: str) -> bool:
    return _WHOLE_NUMBER.fullmatch(text) is not None
