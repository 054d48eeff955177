"""CodeTable: ids and codes as files of other projects hold them, checked."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from semantic_ids.codes import check_codes, code_sizes, side_by_side
from semantic_ids.ids import check_unique, id_array
from semantic_ids.vocabulary import level_name

# One spelling a number: "7" and "07" are two ids, so only one of them can be the number 7.
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")


class CodeTable(NamedTuple):
    """What `Tokenizer.from_codes` takes: ids and the codes that belong to them.

    Attributes
    ----------
    ids : (N,) distinct, int64 or numpy strings.
    codes : (N, L) int32; several items may have one code.

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> Tokenizer.from_codes(*code_table(["a", "b"], [[0, 1], [2, 0]]))
    Tokenizer(2 items, codes of 3 positions [3, 2, 256])
    """

    ids: np.ndarray
    codes: np.ndarray


def code_table(ids: Any, codes: Any) -> CodeTable:
    """Check ids and codes; None stands for row numbers.

    Raises
    ------
    TypeError, ValueError
        if they are not distinct ids and as many codes (N, L), N >= 1, of 0 to 2**31 - 1.

    Examples
    --------
    >>> code_table(None, [[5, 0]])
    CodeTable(ids=array([0]), codes=array([[5, 0]], dtype=int32))
    """
    checked = side_by_side(codes)
    checked = check_codes(checked, code_sizes(checked, None))
    names = id_array(np.arange(len(checked)) if ids is None else ids)
    if len(names) != len(checked):
        raise ValueError(f"ids: {len(names)} ids for {len(checked)} codes")
    check_unique(names)
    return CodeTable(names, checked)


def ids_of_text(texts: Sequence[str]) -> np.ndarray:
    """Return ids that a file spells out: int64 if every one is a whole number, else strings.

    Examples
    --------
    >>> ids_of_text(["0", "12"]), ids_of_text(["0", "012"]).tolist()
    (array([ 0, 12]), ['0', '012'])
    """
    if all(map(_WHOLE_NUMBER.fullmatch, texts)):
        numbers = [int(text) for text in texts]
        if all(-(2**63) <= number < 2**63 for number in numbers):
            return id_array(numbers)
    return id_array(list(texts))


def column_names(levels: int) -> list[str]:
    """Name the columns of a table of codes by the letters of their levels.

    Examples
    --------
    >>> column_names(2)
    ['code_a', 'code_b']
    """
    return [f"code_{level_name(level)}" for level in range(levels)]


def code_columns(names: Sequence[str], *, name: str) -> list[str]:
    """Find the columns `code_a`, `code_b`, ... among those of a file, in order of their levels.

    Raises
    ------
    ValueError
        if there is none, or a level is left out.
    """
    found = {column for column in names if re.fullmatch("code_[a-z]+", column)}
    expected = column_names(len(found))
    if not found or found != set(expected):
        raise ValueError(
            f"{name}: expected columns code_a, code_b, ..., one a level, got {list(names)}"
        )
    return expected


def parse_column(texts: Sequence[str], parse: Callable[[str], int | None]) -> np.ndarray:
    """Read a column of codes; each distinct text is looked at once.

    Parameters
    ----------
    texts : of n items.
    parse : returns the code that a text stands for, None if it stands for none.

    Returns
    -------
    codes : (n,) int64, -1 where a text stands for none.
    """
    of: Mapping[str, int | None] = {text: parse(text) for text in set(texts)}
    numbers = {text: -1 if code is None else code for text, code in of.items()}
    return np.fromiter(map(numbers.__getitem__, texts), dtype=np.int64, count=len(texts))
