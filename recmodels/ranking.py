"""From scores of the whole catalogue to the best items of each user."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from recmodels.data import Histories

ItemId = str | int


class Scorer(Protocol):
    """What an evaluator needs of a recommender: a score of every item for every history.

    The scores of a history depend on that history alone, but for the rounding of its matrix
    products, which may differ with the batch. They are finite, and higher is better.
    """

    @property
    def size(self) -> int:
        """Number of items N that are scored."""
        ...

    def scores(self, histories: Histories) -> np.ndarray:
        """Score the whole catalogue for each of n histories: (n, N) float32, to be read only."""
        ...


class TopK(NamedTuple):
    """The best items of each user, best first.

    Attributes
    ----------
    rows : (n, k) int64, row numbers of the items.
    scores : (n, k), their scores, in the dtype they came in.
    """

    rows: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Recommendations:
    """The best k items of each of n users, by id, best first.

    Attributes
    ----------
    ids : n tuples of k item ids.
    scores : (n, k) float, the score of each.

    Raises
    ------
    ValueError
        if `ids` and `scores` are not of one shape.

    Examples
    --------
    >>> top = top_k(np.array([[0.5, 0.25, 2.0]]), k=2)
    >>> recommendations = Recommendations.of(np.array(["ring", "vase", "lamp"]), top)
    >>> recommendations.ids
    (('lamp', 'ring'),)
    >>> recommendations
    Recommendations of 2 items for 1 user
      0: 'lamp' (2), 'ring' (0.5)
    """

    ids: tuple[tuple[ItemId, ...], ...]
    scores: np.ndarray

    def __post_init__(self) -> None:
        """Refuse ids and scores that do not belong together."""
        if self.scores.ndim != 2 or len(self.ids) != len(self.scores):
            raise ValueError(f"ids of {len(self.ids)} users came with scores {self.scores.shape}")
        for user, ids in enumerate(self.ids):
            if len(ids) != self.scores.shape[1]:
                raise ValueError(
                    f"ids[{user}]: {len(ids)} ids came with {self.scores.shape[1]} scores"
                )

    @classmethod
    def of(cls, item_ids: np.ndarray, top: TopK) -> "Recommendations":
        """Return the ids of ranked rows.

        Parameters
        ----------
        item_ids : (N,) int or str, the id of each row of the catalogue.
        top : what `top_k` found.
        """
        return cls(tuple(map(tuple, item_ids[top.rows].tolist())), top.scores)

    def __len__(self) -> int:
        """Number of users."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Show the first items of the first users."""
        users, k = self.scores.shape
        lines = [f"Recommendations of {_count(k, 'item')} for {_count(users, 'user')}"]
        for user, (ids, scores) in enumerate(zip(self.ids[:5], self.scores, strict=False)):
            shown = [f"{id!r} ({score:.4g})" for id, score in zip(ids[:5], scores, strict=False)]
            lines.append(f"  {user}: " + ", ".join(shown + ["..."] * (k > 5)))
        return "\n".join(lines + ["  ..."] * (users > 5))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def top_k(scores: np.ndarray, k: int) -> TopK:
    """Find the k best items of each user, best first; of equal scores the lowest row wins.

    Parameters
    ----------
    scores : (n, N) float, a score of each item for each user; infinities are ordered, NaN refused.
    k : items a user, 1 to N.

    Returns
    -------
    TopK
        rows (n, k) int64 and their scores (n, k).

    Raises
    ------
    ValueError
        if `scores` is not a 2-D float array or holds NaN, or k is not within 1 and N.

    Notes
    -----
    The result is that of a stable sort of every row, cut at k, in `O(n (N + k log k))`: a
    partition finds the k-th best score, and the places that the better items leave go to the
    lowest rows among those that equal it.

    Examples
    --------
    >>> top = top_k(np.array([[1.0, 3.0, 2.0, 3.0, 2.0]]), k=3)
    >>> top.rows
    array([[1, 3, 2]])
    >>> top.scores
    array([[3., 3., 2.]])
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise ValueError(
            f"scores: expected a 2-D float array, got {scores.dtype} of shape {scores.shape}"
        )
    users, items = scores.shape
    if not 1 <= k <= items:
        raise ValueError(f"k={k} should be between 1 and the number of items, {items}")
    if np.isnan(scores).any():
        user, item = np.argwhere(np.isnan(scores))[0].tolist()
        raise ValueError(f"scores: NaN for user row {user}, item column {item}")

    cut = np.partition(scores, items - k, axis=1)[:, items - k, None]
    above = scores > cut
    level = scores == cut
    places = k - np.count_nonzero(above, axis=1, keepdims=True)
    kept = above | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= places))
    rows = np.nonzero(kept)[1].reshape(users, k)
    best = np.take_along_axis(scores, rows, axis=1)
    # `rows` ascend within a user, so a stable sort leaves equal scores with the lowest row first.
    order = np.argsort(-best, axis=1, kind="stable")
    return TopK(np.take_along_axis(rows, order, axis=1), np.take_along_axis(best, order, axis=1))
