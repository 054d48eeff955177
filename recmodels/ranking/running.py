"""The best items so far, while scores come in blocks of items."""

import numpy as np

from recmodels.ranking.ragged import side_by_side
from recmodels.ranking.top import TopK, top_k

#: Where more than one score in so many is a hit, `top_k` picks those that matter.
_SPARSE = 8


class Running:
    """The k best items so far of each of u users; blocks of items come in the order of rows.

    The result is that of `top_k` over all blocks side by side. A later row loses every tie, so
    only scores above a user's k-th best are looked at: nearly always few, found in one pass.

    Parameters
    ----------
    users, k : how many.
    dtype : of the scores.

    Examples
    --------
    >>> best = Running(1, k=2, dtype=np.float32)
    >>> for block in ([[1, 3, 2]], [[3, 0]]):
    ...     best.add(np.array(block, dtype=np.float32))
    >>> best.top.rows
    array([[1, 3]])
    """

    def __init__(self, users: int, k: int, dtype: np.dtype | type) -> None:
        self._k = k
        self._items = 0
        self._best = TopK(np.zeros((users, 0), np.int64), np.zeros((users, 0), dtype))

    @property
    def top(self) -> TopK:
        """The best items so far: all, if they are fewer than k."""
        return self._best

    def add(self, scores: np.ndarray) -> None:
        """Take the scores of the next I items, (u, I) in either memory order, neither of them 0.

        Raises
        ------
        ValueError
            if a score is NaN.
        """
        # The minimum tells whether there is a NaN without an array of answers.
        if np.isnan(scores.min()):
            user, item = np.argwhere(np.isnan(scores))[0].tolist()
            raise ValueError(f"scores: NaN for user row {user}, item row {self._items + item}")
        few = scores.shape[1] // _SPARSE
        if not self._items and few >= self._k:
            # A full sort of a part sets the bar for the rest.
            self._add(scores[:, :few])
            self._add(scores[:, few:])
        else:
            self._add(scores)

    def _add(self, scores: np.ndarray) -> None:
        if self._items < self._k:
            user, item = _picked(scores, self._k)
        else:
            user, item = _places(scores > self._best.scores[:, -1:])
            if len(user) > scores.size // _SPARSE:
                user, item = _picked(scores, self._k)
        if len(user):
            # Equal scores come in the order of their rows, as `top_k` needs them.
            wide, place = side_by_side(user, scores[user, item], len(scores))
            values = np.concatenate([self._best.scores, wide], axis=1)
            rows = np.concatenate([self._best.rows, (self._items + item)[place]], axis=1)
            best, values = top_k(values, min(self._k, self._items + scores.shape[1]))
            self._best = TopK(np.take_along_axis(rows, best, axis=1), values)
        self._items += scores.shape[1]


def _places(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of what is True in a contiguous mask, by row.

    `np.nonzero` of a matrix takes ten times as long as of a flat array.
    """
    if mask.flags.c_contiguous:
        return np.divmod(np.flatnonzero(mask), mask.shape[1])
    column, row = np.divmod(np.flatnonzero(mask.T), len(mask))
    by_row = np.argsort(row, kind="stable")
    return row[by_row], column[by_row]


def _picked(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return user and item of the k best scores of each user, or of all."""
    users, items = scores.shape
    k = min(k, items)
    return np.repeat(np.arange(users), k), top_k(np.ascontiguousarray(scores), k).rows.ravel()
