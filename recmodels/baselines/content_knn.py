"""Recommend what is like the items of a history, by what is known of their content."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recmodels.baselines.history_matrix import history_matrix
from recmodels.data import Histories, Split
from recmodels.data.split import check_split
from semantic_ids import Features
from semantic_ids.fusers.standardise import Standard


@dataclass(frozen=True, eq=False, repr=False)
class ContentKNN:
    """A recommender that scores an item by its cosine with the mean of a history's features.

    Of several modalities, each with its columns at mean 0 and deviation 1, an item's score is the
    mean of its cosines in those that both the item and the history have. A history has a modality
    if one of its items has; the others play no part in its mean there.

    Nothing is learnt from what people did: items that nobody took yet are scored like any other.

    Attributes
    ----------
    vectors : by modality, the standardised rows (N, d_m) float32, 0 where missing; read-only.
    present : (N, M) bool, which item has which modality; read-only.

    Notes
    -----
    The cosine of a vector of zeros is 0. So is the score of an item that has no modality in
    common with a history, since a cosine of 0 is what standardised vectors that have nothing to
    do with each other have on average. Empty histories get 0 for every item: the evaluator ranks
    their targets last.

    An item that occurs twice in a history counts twice in its mean.

    Examples
    --------
    >>> from recmodels.data import Histories, Split
    >>> split = Split.leave_one_out(Histories.of([[0, 1, 2]]), size=3)
    >>> knn = ContentKNN.fit(split, Features(np.array([[3.0, 1.0], [3.0, 0.0], [-6.0, -1.0]])))
    >>> knn.scores(Histories.of([[0], []])).argsort(axis=1)
    array([[2, 1, 0],
           [0, 1, 2]])
    """

    vectors: Mapping[str, np.ndarray]
    present: np.ndarray

    @classmethod
    def fit(cls, split: Split, features: Features) -> "ContentKNN":
        """Standardise the features of all items.

        Parameters
        ----------
        split : of the same items; only their number is read.
        features : of the N items, in the order of the split's rows; no raw text.

        Raises
        ------
        TypeError
            if a modality is raw text.
        ValueError
            if there is not one row an item, in the order of the split, or no item has a modality.
        """
        check_split(split)
        if len(features) != split.size:
            raise ValueError(
                f"features: expected one row for each of {split.size} items, got {len(features)}"
            )
        split.test.check_order("features", features.ids)
        vectors = {
            name: Standard.of(features, name).forward(*features.modality(name))
            for name in features.modalities
        }
        present = features.present.copy()
        for array in (present, *vectors.values()):
            array.setflags(write=False)
        return cls(vectors, present)

    @property
    def size(self) -> int:
        """Number of items N that are scored."""
        return len(self.present)

    def scores(self, histories: Histories) -> np.ndarray:
        """Compare all items with the mean of each history.

        Parameters
        ----------
        histories : n histories.

        Returns
        -------
        (n, N) float32, from -1 to 1 but for rounding.

        Raises
        ------
        ValueError
            if an item is not one of the catalogue.
        """
        occurrences = history_matrix(histories, self.size).astype(np.float32)
        present = self.present.astype(np.float32)
        scores = np.zeros((len(histories), self.size), dtype=np.float32)
        for rows in self.vectors.values():
            # The sum points where the mean does; rows of zeros, the missing ones, add nothing.
            scores += _unit(occurrences @ rows) @ _unit(rows).T
        in_common = np.minimum(occurrences @ present, 1) @ present.T
        scores /= np.maximum(in_common, 1)
        return scores

    def __repr__(self) -> str:
        """Name what is compared."""
        return f"ContentKNN({self.size} items; {', '.join(self.vectors)})"


def _unit(rows: np.ndarray) -> np.ndarray:
    """Bring rows to length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
