"""Interactions as RecBole's .inter files and LC-Rec's .inter.json files hold them."""

from pathlib import Path

from recmodels.data.interactions import Interactions
from recmodels.data.jsonl import is_int, parse, short
from semantic_ids.interop import read_recbole_inter


def read_recbole(path: str | Path) -> Interactions:
    """Read the users, items and timestamps of a .inter file of RecBole.

    Returns
    -------
    interactions : of one user at one time, or where there are no timestamps, in the order of the
        file. Ids are int if every one is a whole number, else str.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is no such file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tea.inter"
    ...     _ = path.write_text("user_id:token\\titem_id:token\\nann\\tx\\nann\\ty\\n")
    ...     read_recbole(path)
    Interactions(2 of 1 users with 2 items)
    """
    users, items, times = read_recbole_inter(path)
    return Interactions.of(users, items, times)


def read_lcrec(path: str | Path) -> Interactions:
    """Read a .inter.json of LC-Rec, LETTER or MQL4GRec: ``{"0": [7, 3, ...], ...}``.

    Returns
    -------
    interactions : users and items by their numbers in the file; the lists are oldest first.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is no such file, or a user or an item is no number; the message names the user.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "Tea.inter.json"
    ...     _ = path.write_text('{"0": [7, 3], "1": [3]}')
    ...     [row.tolist() for row in read_lcrec(path).histories]
    [[1, 0], [0]]
    """
    path = Path(path)
    users: list[int] = []
    items: list[int] = []
    for user, history in parse(str(path), path.read_bytes()).items():
        if not (user.isascii() and user.isdigit()):
            raise ValueError(f"{path}: user {short(user)}, expected a number")
        if not isinstance(history, list) or not all(is_int(item) and item >= 0 for item in history):
            raise ValueError(f"{path}: user {short(user)} has {short(history)}, expected numbers")
        users += [int(user)] * len(history)
        items += history
    if not items:
        raise ValueError(f"{path}: names no item")
    return Interactions.of(users, items)
