"""What a recommender over colliding codes would be said to reach by comparing strings.

Papers whose items share codes often count a hit where the code that is written equals the
target's: an item then answers for all that have its code. This ranks codes rather than items, a
code by its best item, to show how much such a figure promises too much.
"""

import numpy as np

from recmodels.data import Held, Histories
from recmodels.evaluation import Metrics, evaluate
from recmodels.ranking import Scorer


class ByCode:
    """Scores each distinct code by the best of its items.

    Parameters
    ----------
    recommender : scores the items.
    codes : (N, L) int, their codes.
    """

    def __init__(self, recommender: Scorer, codes: np.ndarray) -> None:
        self._recommender = recommender
        _, self.code_of_item = np.unique(codes, axis=0, return_inverse=True)
        self._order = np.argsort(self.code_of_item, kind="stable")
        sizes = np.bincount(self.code_of_item)
        self._starts = np.append(0, np.cumsum(sizes)[:-1])

    @property
    def size(self) -> int:
        """Number of distinct codes."""
        return len(self._starts)

    def scores(self, histories: Histories) -> np.ndarray:
        """Score each code for histories of items, (n, codes)."""
        ordered = self._recommender.scores(histories)[:, self._order]
        return np.maximum.reduceat(ordered, self._starts, axis=1)


def by_string(recommender: Scorer, codes: np.ndarray, held: Held) -> Metrics:
    """Measure a recommender by the codes of its items.

    Examples
    --------
    >>> from recmodels.baselines import Popularity
    >>> from recmodels.data import Split
    >>> split = Split.leave_one_out(Histories.of([[0, 1, 2], [2, 1, 0]]), size=3)
    >>> all_the_same = np.zeros((3, 2), dtype=int)
    >>> by_string(Popularity.fit(split), all_the_same, split.test).hr_1
    1.0
    """
    matching = ByCode(recommender, codes)
    return evaluate(
        matching, Held(held.histories, matching.code_of_item[held.targets]), progress=False
    ).metrics
