"""What ranking asks of a recommender."""

from typing import Protocol

import numpy as np

from recmodels.data import Histories


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
