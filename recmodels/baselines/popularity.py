"""Recommend to everybody what was taken most often."""

from dataclasses import dataclass

import numpy as np

from recmodels.data import Histories, Split
from recmodels.data.split import check_split


@dataclass(frozen=True, eq=False, repr=False)
class Popularity:
    """A recommender that scores an item by how often it occurs in the training histories.

    Attributes
    ----------
    counts : (N,) int64, occurrences of each item in training, read-only.

    Notes
    -----
    Counts tie often, and the evaluator counts ties against a recommender: a target is ranked
    after all items of its count. Breaking ties at random would score slightly higher.

    Scores are float32, which tells counts apart up to 2**24.

    Examples
    --------
    >>> from recmodels.data import Histories, Split
    >>> histories = Histories.of([[0, 1, 0, 1], [1, 1, 2, 0]])
    >>> popularity = Popularity.fit(Split.leave_one_out(histories, size=3))
    >>> popularity.counts  # of [0, 1] and [1, 1]: the last two items are held out
    array([1, 3, 0])
    """

    counts: np.ndarray

    @classmethod
    def fit(cls, split: Split) -> "Popularity":
        """Count the items of `split.train`; what is held out is not looked at."""
        check_split(split)
        counts = np.bincount(split.train.items, minlength=split.size).astype(np.int64)
        counts.setflags(write=False)
        return cls(counts)

    @property
    def size(self) -> int:
        """Number of items N that are scored."""
        return len(self.counts)

    def scores(self, histories: Histories) -> np.ndarray:
        """Return the same scores for every history.

        Parameters
        ----------
        histories : n histories, which play no part.

        Returns
        -------
        (n, N) float32, a read-only view of one row
        """
        return np.broadcast_to(self.counts.astype(np.float32), (len(histories), self.size))

    def __repr__(self) -> str:
        """Show how much was counted."""
        return f"Popularity({self.size} items, {self.counts.sum()} interactions)"
