"""Leaving out the items that a user has seen already, or scoring them otherwise."""

import numpy as np

from recmodels.data import Histories
from recmodels.ranking.top import TopK


def add_to_seen(scores: np.ndarray, histories: Histories, bonus: float, *, first: int = 0) -> None:
    """Add a bonus, in place, to the scores of each user's items for each time they occur.

    Parameters
    ----------
    scores : (n, I) float, of the items `first` to `first + I - 1`.
    histories : of the n users; items outside this block play no part.
    bonus : minus infinity leaves the items out.
    first : row of the first item.

    Raises
    ------
    ValueError
        if there are not as many histories as rows of scores.

    Examples
    --------
    >>> scores = np.array([[0.5, 0.25, 2.0]])
    >>> add_to_seen(scores, Histories.of([[2, 0, 2]]), -0.5)
    >>> scores
    array([[0.  , 0.25, 1.  ]])
    """
    _check_users("scores", len(scores), histories)
    if not bonus:
        return
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    column = histories.items.astype(np.int64) - first
    inside = (column >= 0) & (column < scores.shape[1])
    np.add.at(scores, (users[inside], column[inside]), scores.dtype.type(bonus))


def drop_seen(top: TopK, histories: Histories, k: int) -> TopK:
    """Return the first k items of each user that are not in the user's history.

    Ask for as many more items than k as a user has seen, and k are left.

    Parameters
    ----------
    top : (n, m) items, best first; row -1 where a user has none.
    histories : of the n users.
    k : items to keep of each user, 1 to m.

    Returns
    -------
    TopK
        of k columns; where fewer are left, the rest are row -1 at minus infinity.

    Raises
    ------
    ValueError
        if there are not as many histories as users, or k is not within 1 and m.

    Examples
    --------
    >>> top = TopK(np.array([[4, 7, 1]]), np.array([[3.0, 2.0, 1.0]]))
    >>> drop_seen(top, Histories.of([[7]]), k=2).rows
    array([[4, 1]])
    """
    _check_users("top", len(top.rows), histories)
    if not 1 <= k <= top.rows.shape[1]:
        raise ValueError(f"k={k} should be between 1 and the items of top, {top.rows.shape[1]}")
    gone = (top.rows < 0) | _is_seen(top.rows, histories)
    kept = np.argsort(gone, axis=1, kind="stable")[:, :k]
    gone, rows, scores = (np.take_along_axis(array, kept, axis=1) for array in (gone, *top))
    return TopK(np.where(gone, -1, rows), np.where(gone, -np.inf, scores).astype(scores.dtype))


def check_seen(seen: Histories, users: int, items: int) -> None:
    """Refuse histories of other users, or with items that are not in the catalogue."""
    _check_users("seen", users, seen)
    if len(seen.items) and seen.items.max() >= items:
        raise ValueError(f"seen: item row {seen.items.max()} is none of the {items} items")


def _check_users(name: str, users: int, histories: Histories) -> None:
    if len(histories) != users:
        raise ValueError(f"{name}: {users} users came with {len(histories)} histories")


def _is_seen(rows: np.ndarray, histories: Histories) -> np.ndarray:
    """Say which items of each user (n, m) are in the user's history; of row -1, anything."""
    width = 1 + max(histories.items.max(initial=0), rows.max(initial=0))
    users = np.arange(len(rows))
    seen = np.repeat(users, histories.lengths) * width + histories.items
    return np.isin(users[:, None] * width + rows, seen)
