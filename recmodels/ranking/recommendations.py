"""Ranked items by id, as they are shown to people and services."""

from dataclasses import dataclass

import numpy as np

from recmodels.ranking.top import TopK

ItemId = str | int


@dataclass(frozen=True, eq=False, repr=False)
class Recommendations:
    """The best k items of each of n users, by id, best first.

    Attributes
    ----------
    ids : n tuples of k item ids, or fewer, where a user has fewer items to be recommended.
    scores : (n, k) float, the score of each; minus infinity where there is no item.

    Raises
    ------
    ValueError
        if there is an id without a score, or a score above minus infinity without an id.

    Examples
    --------
    >>> from recmodels.ranking import top_k
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
            if len(ids) > self.scores.shape[1] or (self.scores[user, len(ids) :] > -np.inf).any():
                raise ValueError(
                    f"ids[{user}]: {len(ids)} ids came with {self.scores.shape[1]} scores"
                )

    @classmethod
    def of(cls, item_ids: np.ndarray, top: TopK) -> "Recommendations":
        """Return the ids of ranked rows.

        Parameters
        ----------
        item_ids : (N,) int or str, the id of each row of the catalogue.
        top : the best items of each user; those of row -1 are none.
        """
        ids = item_ids[top.rows].tolist()
        counts = np.count_nonzero(top.rows >= 0, axis=1).tolist()
        return cls(tuple(tuple(row[:n]) for row, n in zip(ids, counts, strict=True)), top.scores)

    def __len__(self) -> int:
        """Number of users."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Show the first items of the first users."""
        users, k = self.scores.shape
        lines = [f"Recommendations of {_count(k, 'item')} for {_count(users, 'user')}"]
        for user, (ids, scores) in enumerate(zip(self.ids[:5], self.scores, strict=False)):
            shown = [f"{id!r} ({score:.4g})" for id, score in zip(ids[:5], scores, strict=False)]
            lines.append(f"  {user}: " + ", ".join(shown + ["..."] * (len(ids) > 5)))
        return "\n".join(lines + ["  ..."] * (users > 5))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
