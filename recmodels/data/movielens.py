"""MovieLens: one rating a line, in the three spellings of its releases."""

import re
from pathlib import Path

import numpy as np

from recmodels.data.interactions import Interactions

_HEADER = "userId,movieId,rating,timestamp"
_NUMBER = re.compile("[0-9]{1,18}")


def read_movielens(path: str | Path) -> Interactions:
    """Read who rated which film when.

    Parameters
    ----------
    path : ``u.data`` of ml-100k (tabs), ``ratings.dat`` of ml-1m and ml-10m (``::``), or
        ``ratings.csv`` of later releases (a header, commas).

    Returns
    -------
    interactions : all ratings, with int ids. Of one user in one second, which is common here, in
        the order of the file.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if a line is no such rating; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "ratings.dat"
    ...     _ = path.write_text("1::1193::5::978300760\\n1::661::3::978302109\\n")
    ...     read_movielens(path)
    Interactions(2 of 1 users with 2 items)
    """
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected digits and separators: {error}") from None
    first = 1 if lines[:1] == [_HEADER] else 0
    if len(lines) == first:
        raise ValueError(f"{path}: holds no ratings; expected one a line")
    separator = "," if first else "::" if "::" in lines[0] else "\t"
    rows = [line.split(separator) for line in lines[first:]]
    for number, row in enumerate(rows, start=first + 1):
        if len(row) != 4 or not all(_NUMBER.fullmatch(row[place]) for place in (0, 1, 3)):
            raise ValueError(
                f"{path}, line {number}: {lines[number - 1][:80]!r}, expected user, item, rating "
                f"and time, separated by {separator!r}"
            )
    users, items, _, times = zip(*rows, strict=True)
    return Interactions.of(*(np.array(column, dtype=np.int64) for column in (users, items, times)))
