"""index.json: the file of codes that LC-Rec, LETTER, MQL4GRec and MiniOneRec share.

One JSON object, ``{"0": ["<a_12>", "<b_7>"], ...}``: a key for each item, and its tokens, lettered
by their level. Those projects look items up by ``str(number)``, the number being that of their
``.inter.json``; so they need int ids. MQL4GRec keeps two such files of the same items and writes
the letters of pictures as capitals, ``<A_12>``. MiniOneRec's tasks about titles take the first
three tokens of an item for its whole code: fit three levels for it, without a suffix.
"""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from semantic_ids.interop.table import CodeTable, code_table, ids_of_text, parse_column
from semantic_ids.vocabulary import level_name

_TOKEN = re.compile(r"<([a-z]+|[A-Z]+)_(0|[1-9][0-9]{0,9})>")


def write_index_json(path: str | Path, ids: Any, codes: Any, *, capitals: bool = False) -> None:
    """Write codes as an index.json.

    Parameters
    ----------
    path : file to write; LC-Rec looks for ``NAME.index.json``.
    ids : N distinct str or int; None for row numbers.
    codes : (N, L) int.
    capitals : whether levels have capital letters, as MQL4GRec's codes of pictures.

    Raises
    ------
    TypeError, ValueError
        if ids or codes are not valid.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "Tea.index.json"
    ...     write_index_json(path, None, [[12, 7], [3, 9]])
    ...     path.read_text(), read_index_json(path).codes.tolist()
    ('{"0": ["<a_12>", "<b_7>"], "1": ["<a_3>", "<b_9>"]}', [[12, 7], [3, 9]])
    """
    table = code_table(ids, codes)
    columns = [
        _tokens(column, _letters(level, capitals)) for level, column in enumerate(table.codes.T)
    ]
    rows = np.stack(columns, axis=1).tolist()
    text = json.dumps(dict(zip(map(str, table.ids.tolist()), rows, strict=True)))
    Path(path).write_text(text, encoding="utf-8")


def read_index_json(path: str | Path) -> CodeTable:
    """Read an index.json, whichever of those projects wrote it.

    Returns
    -------
    table : in the order of the file. Ids are int if every key is a whole number, else str.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is no such file, a key occurs twice, codes differ in length, or a token is not the
        next level's; the error names the item.
    """
    path = Path(path)
    keys, rows = _read(path)
    levels = len(rows[0])
    flat = list(itertools.chain.from_iterable(rows))
    capitals = flat[0][1:2].isupper()
    codes = np.empty((len(rows), levels), dtype=np.int64)
    for level in range(levels):
        letters = _letters(level, capitals)
        tokens = flat[level::levels]
        codes[:, level] = parse_column(tokens, lambda token, of=letters: _code(token, of))
        wrong = np.flatnonzero(codes[:, level] < 0)
        if len(wrong):
            row = wrong[0]
            raise ValueError(
                f"{path}: item {keys[row]!r} has {tokens[row]!r} at level {level}, "
                f"expected a token such as <{letters}_0>"
            )
    try:
        return code_table(ids_of_text(keys), codes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return keys and lists of tokens, all of one length."""
    try:
        # Objects become tuples of pairs, in which a key that occurs twice is not lost.
        pairs = json.loads(path.read_bytes(), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON: {error}") from None
    if not isinstance(pairs, tuple) or not pairs:
        raise ValueError(f'{path}: expected an object {{"0": ["<a_12>", "<b_7>"], ...}}')
    levels = None
    for key, row in pairs:
        if not isinstance(row, list) or not row or not all(isinstance(at, str) for at in row):
            raise ValueError(f"{path}: item {key!r} has {row!r:.80}, expected a list of tokens")
        levels = levels or len(row)
        if len(row) != levels:
            raise ValueError(
                f"{path}: item {key!r} has {len(row)} tokens, expected {levels} as "
                f"{pairs[0][0]!r} has"
            )
    keys, rows = zip(*pairs, strict=True)
    return list(keys), list(rows)


def _letters(level: int, capitals: bool) -> str:
    return level_name(level).upper() if capitals else level_name(level)


def _tokens(codes: np.ndarray, letters: str) -> np.ndarray:
    """Name the codes (n,) of one level; each distinct code once."""
    distinct, place = np.unique(codes, return_inverse=True)
    names = [f"<{letters}_{code}>" for code in distinct.tolist()]
    return np.array(names, dtype=object)[place]


def _code(token: str, letters: str) -> int | None:
    match = _TOKEN.fullmatch(token)
    return int(match[2]) if match and match[1] == letters else None
