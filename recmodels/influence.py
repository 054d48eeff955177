"""Which items of a history a recommendation rests on: leave each out, and score again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from recmodels.data import Histories


@dataclass(frozen=True, eq=False, repr=False)
class Influence:
    """How the score of one item changes with what the history lacks.

    Attributes
    ----------
    item : row of the item that is scored.
    score : with the whole history.
    history : (T,) int32, the rows of the history, oldest first.
    drops : (T,) float64, by how much the score falls without each of them; below zero where it
        rises.
    """

    item: int
    score: float
    history: np.ndarray
    drops: np.ndarray

    @property
    def ranked(self) -> np.ndarray:
        """Positions in the history (T,), those first without which the score falls the most."""
        return np.argsort(-self.drops, kind="stable")

    def __repr__(self) -> str:
        """Show the positions that matter the most."""
        shown = [
            f"  {self.drops[place]:+.4g} by item {self.history[place]} at position {place}"
            for place in self.ranked[:5]
        ]
        more = ["  ..."] * (len(self.history) > 5)
        return "\n".join([f"item {self.item} scores {self.score:.4g}", *shown, *more])


def influence(scores: Callable[[Histories], np.ndarray], history: ArrayLike, row: int) -> Influence:
    """Score an item for a history, and for the history without each of its items.

    Parameters
    ----------
    scores : scores the catalogue for n histories, (n, N) float: the `scores` of a recommender. It
        is called once, for T + 1 histories; the one without its only item is empty.
    history : (T,) item rows, oldest first.
    row : of the item whose score is explained, 0 to N - 1.

    Returns
    -------
    Influence

    Raises
    ------
    ValueError
        if the history is not of item rows, what `scores` returns is not (T + 1, N), or the row
        is out of range.

    Notes
    -----
    Holds (T + 1) * N scores. An item that comes twice is left out one position at a time.

    Examples
    --------
    >>> def scores(histories):  # how often the history holds each of four items
    ...     return np.array([np.bincount(h, minlength=4) for h in histories], dtype=np.float32)
    >>> influence(scores, [3, 1, 2], row=1)
    item 1 scores 1
      +1 by item 1 at position 1
      +0 by item 3 at position 0
      +0 by item 2 at position 2
    """
    whole = Histories.of([history])[0]
    length = len(whole)
    found = np.asarray(scores(with_and_without(whole)))
    if found.ndim != 2 or len(found) != length + 1:
        raise ValueError(f"scores: expected shape ({length + 1}, N), got {found.shape}")
    if not 0 <= row < found.shape[1]:
        raise ValueError(f"row={row} should be between 0 and {found.shape[1] - 1}")
    column = found[:, row].astype(np.float64)
    return Influence(int(row), float(column[0]), whole, column[0] - column[1:])


def with_and_without(history: ArrayLike) -> Histories:
    """Return a history of T items, and then T histories that lack one of them each.

    Examples
    --------
    >>> [rows.tolist() for rows in with_and_without([3, 1, 2])]
    [[3, 1, 2], [1, 2], [3, 2], [3, 1]]
    """
    whole = Histories.of([history])[0]
    length = len(whole)
    # Every history without one position, one below another, and the whole one before them.
    others = np.broadcast_to(whole, (length, length))[~np.eye(length, dtype=bool)]
    lengths = np.array([length] + [length - 1] * length)
    return Histories(np.concatenate([whole, others]), np.append(0, np.cumsum(lengths)))
