"""Atomic files of RecBole: tab-separated columns under a header that says their types.

``NAME.item`` holds items and what is known of them, here their codes, ``NAME.inter`` who used
which item when (https://recbole.io/docs/user_guide/data/atomic_files.html). RecBole reads them
with pandas, and so would lose some ids, or take them for missing ones; those are refused.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semantic_ids.ids import id_array
from semantic_ids.interop.table import (
    CodeTable,
    code_columns,
    code_table,
    column_names,
    ids_of_text,
    parse_column,
)

TYPES = ("token", "token_seq", "float", "float_seq")

# What pandas' read_csv takes for a missing value.
_MISSING = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
_PADDING = "[PAD]"  # RecBole's own token number 0
_BREAKS = re.compile('[\t\n\r"]')
_CODE = re.compile(r"0|[1-9][0-9]{0,9}")


class InterFile(NamedTuple):
    """Who used which item when, in the order of the file.

    Attributes
    ----------
    users, items : (E,) ids, int64 or numpy strings.
    timestamps : (E,) float64; None where the file has none.
    """

    users: np.ndarray
    items: np.ndarray
    timestamps: np.ndarray | None


def write_recbole_item(path: str | Path, ids: Any, codes: Any) -> None:
    """Write codes as the columns of a .item file, each of type token.

    Parameters
    ----------
    path : file to write; RecBole looks for ``NAME/NAME.item``.
    ids : N distinct str or int; None for row numbers.
    codes : (N, L) int, one column `code_a`, `code_b`, ... a level.

    Raises
    ------
    TypeError, ValueError
        if ids or codes are not valid, or RecBole would not read an id as it stands.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tea.item"
    ...     write_recbole_item(path, ["x", "y"], [[12, 7], [3, 9]])
    ...     print(path.read_text().expandtabs(16), end="")
    ...     read_recbole_item(path).ids.tolist()
    item_id:token   code_a:token    code_b:token
    x               12              7
    y               3               9
    ['x', 'y']
    """
    table = code_table(ids, codes)
    columns = {"item_id:token": _tokens(table.ids, "ids")}
    for name, column in zip(column_names(table.codes.shape[1]), table.codes.T, strict=True):
        columns[f"{name}:token"] = list(map(str, column.tolist()))
    _write(path, columns)


def read_recbole_item(path: str | Path) -> CodeTable:
    """Read `item_id` and the columns `code_a`, `code_b`, ... of a .item file.

    Returns
    -------
    table : in the order of the file. Ids are int if every one is a whole number, else str.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is no such file, an id occurs twice, or a code is none; the error names the line.
    """
    columns = _read(Path(path))
    ids = _column(path, columns, "item_id")
    names = code_columns(list(columns), name=str(path))
    codes = np.empty((len(ids), len(names)), dtype=np.int64)
    for level, name in enumerate(names):
        texts = columns[name]
        codes[:, level] = parse_column(texts, lambda t: int(t) if _CODE.fullmatch(t) else None)
        wrong = np.flatnonzero(codes[:, level] < 0)
        if len(wrong):
            raise ValueError(
                f"{path}, line {wrong[0] + 2}: {name} is {texts[wrong[0]]!r}, expected a code"
            )
    try:
        return code_table(ids_of_text(ids), codes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_recbole_inter(
    path: str | Path, users: Any, items: Any, timestamps: Any | None = None
) -> None:
    """Write interactions as a .inter file, in order of time.

    RecBole orders a user's interactions by time, which it holds in 32 bits: of today's seconds
    some two minutes are one number. Those it leaves in the order of the file.

    Parameters
    ----------
    path : file to write; RecBole looks for ``NAME/NAME.inter``.
    users, items : (E,) ids, str or int.
    timestamps : (E,) numbers; where None, the column is left out and the order is that given.

    Raises
    ------
    TypeError, ValueError
        if the lengths differ, a time is not finite, or RecBole would not read an id as it stands.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tea.inter"
    ...     write_recbole_inter(path, [7, 7], ["x", "y"], [0, 1])
    ...     read_recbole_inter(path).timestamps
    array([0., 1.])
    """
    columns = {
        "user_id:token": _tokens(id_array(users, name="users"), "users"),
        "item_id:token": _tokens(id_array(items, name="items"), "items"),
    }
    if timestamps is not None:
        times = np.asarray(timestamps)
        if times.ndim != 1 or times.dtype.kind not in "iuf" or not np.isfinite(times).all():
            raise ValueError(
                f"timestamps: expected finite numbers (E,), got {times.dtype} of shape "
                f"{times.shape}"
            )
        columns["timestamp:float"] = list(map(repr, times.tolist()))
    lengths = {name.partition(":")[0]: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected as many users as items and timestamps, got {lengths}")
    if timestamps is not None:
        order = np.argsort(np.asarray(timestamps), kind="stable").tolist()
        columns = {name: [column[row] for row in order] for name, column in columns.items()}
    _write(path, columns)


def read_recbole_inter(path: str | Path) -> InterFile:
    """Read users, items and, if there are any, timestamps of a .inter file.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is no such file, or a timestamp is no finite number.
    """
    columns = _read(Path(path))
    users, items = (_column(path, columns, name) for name in ("user_id", "item_id"))
    times = None
    if "timestamp" in columns:
        try:
            times = np.array(columns["timestamp"], dtype=np.float64)
        except ValueError as error:
            raise ValueError(f"{path}: timestamp: {error}") from None
        wrong = np.flatnonzero(~np.isfinite(times))
        if len(wrong):
            raise ValueError(f"{path}, line {wrong[0] + 2}: timestamp is {times[wrong[0]]}")
    return InterFile(ids_of_text(users), ids_of_text(items), times)


def _tokens(ids: np.ndarray, name: str) -> list[str]:
    """Spell ids out; refuse what pandas and RecBole do not read back."""
    texts = list(map(str, ids.tolist()))
    lost = sorted({*_MISSING, _PADDING} & set(texts))
    lost = lost or list(filter(_BREAKS.search, texts))[:1]
    if lost:
        raise ValueError(f"{name}: RecBole cannot read {lost[0]!r} as an id; rename it")
    return texts


def _write(path: str | Path, columns: Mapping[str, Sequence[str]]) -> None:
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    text = "".join("\t".join(row) + "\n" for row in rows)
    Path(path).write_text(text, encoding="utf-8", newline="\n")


def _read(path: Path) -> dict[str, list[str]]:
    """Return the columns of an atomic file by name."""
    try:
        # Not splitlines, which also breaks at characters that an id may hold.
        header, *lines = path.read_bytes().decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8: {error}") from None
    fields = [field.partition(":") for field in header.split("\t")]
    names = [name for name, _, _ in fields]
    if any(not name or of not in TYPES for name, _, of in fields) or len(set(names)) < len(names):
        raise ValueError(
            f"{path}: expected a header of distinct NAME:TYPE, tab-separated, where TYPE is one "
            f"of {', '.join(TYPES)}; got {header[:80]!r}"
        )
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ValueError(f"{path}: no line after the header")
    rows = [line.split("\t") for line in lines]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(row)} fields, expected {len(names)} as in the header"
            )
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _column(path: str | Path, columns: Mapping[str, list[str]], name: str) -> list[str]:
    if name not in columns:
        raise ValueError(f"{path}: no column {name!r} among {list(columns)}")
    return columns[name]
