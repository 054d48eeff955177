"""Recommend what the same people took beside the items of a history."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recmodels.baselines.history_matrix import history_matrix
from recmodels.data import Histories, Split
from recmodels.data.split import check_split

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Items whose co-occurrences with all others are counted together.
_BLOCK_ITEMS = 1024


@dataclass(frozen=True, eq=False, repr=False)
class ItemKNN:
    """A recommender that adds up, over the items of a history, how similar others are to them.

    Two items are as similar as the cosine of who has them in training:
    ``users of both / sqrt(users of one * users of the other)``, however often a user has an item.
    Each item passes its similarity on to its k nearest neighbours only (Deshpande and Karypis,
    "Item-based top-N recommendation algorithms", ACM TOIS 22, 2004, without their normalisation
    of neighbourhoods).

    Attributes
    ----------
    similarities : sparse (N, N) float32; row i holds the k nearest neighbours of item i, at most,
        never the item itself. Its arrays are read-only.
    recency : what an item of a history counts is multiplied by this for each item after it.

    Notes
    -----
    Fitting takes memory for the co-occurrences of one block of items, and for `N * k`
    similarities. Of equally similar items the lowest rows are the neighbours.

    An item that occurs twice in a history counts twice. Histories without an item that has
    neighbours, such as empty ones, get 0 for every item: the evaluator ranks their targets last.

    Examples
    --------
    >>> from recmodels.data import Histories, Split
    >>> histories = Histories.of([[0, 1, 3, 3], [0, 1, 2, 3, 3], [2, 0, 3, 3]])
    >>> knn = ItemKNN.fit(Split.leave_one_out(histories, size=4), k=1)
    >>> knn.similarities.toarray().round(2)  # 0 is with 1 as often as with 2: the lower row wins
    array([[0.  , 0.82, 0.  , 0.  ],
           [0.82, 0.  , 0.  , 0.  ],
           [0.82, 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.  ]], dtype=float32)
    >>> knn.scores(Histories.of([[1, 2], []])).round(2)
    array([[1.63, 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.  ]], dtype=float32)
    """

    similarities: "csr_array"
    recency: float = 1.0

    @classmethod
    def fit(cls, split: Split, *, k: int = 100, recency: float = 1.0) -> "ItemKNN":
        """Find each item's neighbours in `split.train`; what is held out is not looked at.

        Parameters
        ----------
        split : what to learn from.
        k : most neighbours of an item, at least 1.
        recency : see `ItemKNN`; above 0 and at most 1, where 1 ignores the order.

        Raises
        ------
        ValueError
            if `k` or `recency` is out of range.
        """
        from scipy.sparse import csr_array, vstack

        check_split(split)
        if k < 1:
            raise ValueError(f"k={k} should be >= 1")
        if not 0 < recency <= 1:
            raise ValueError(f"recency={recency} should be above 0 and at most 1")
        users = history_matrix(split.train, split.size)
        users.data[:] = 1.0
        items = csr_array(users.T)
        counts = np.diff(items.indptr).astype(np.float64)
        similarities = csr_array(
            vstack(
                [
                    _nearest(
                        csr_array(items[start : start + _BLOCK_ITEMS] @ users), start, counts, k
                    )
                    for start in range(0, split.size, _BLOCK_ITEMS)
                ]
            )
        )
        for array in (similarities.data, similarities.indices, similarities.indptr):
            array.setflags(write=False)
        return cls(similarities, recency)

    @property
    def size(self) -> int:
        """Number of items N that are scored."""
        return len(self.similarities.indptr) - 1

    def scores(self, histories: Histories) -> np.ndarray:
        """Add up the similarities to each history's items.

        Parameters
        ----------
        histories : n histories.

        Returns
        -------
        (n, N) float32

        Raises
        ------
        ValueError
            if an item is not one of the catalogue.
        """
        from scipy.sparse import csr_array

        weights = history_matrix(histories, self.size, recency=self.recency)
        return csr_array(weights @ self.similarities, dtype=np.float32).toarray()

    def __repr__(self) -> str:
        """Show how much was found."""
        return f"ItemKNN({self.size} items, {self.similarities.nnz} neighbours)"


def _nearest(together: "csr_array", start: int, counts: np.ndarray, k: int) -> "csr_array":
    """Return the k most similar items of each of a block of items, as sparse rows of float32.

    Parameters
    ----------
    together : (b, N), users that each item of the block shares with each item.
    start : the block's first item.
    counts : (N,) users of each item.
    """
    from scipy.sparse import csr_array

    pairs = together.tocoo()
    others = pairs.row + start != pairs.col
    rows, columns, both = pairs.row[others], pairs.col[others], pairs.data[others]
    values = both / np.sqrt(counts[rows + start] * counts[columns])
    order = np.lexsort((columns, -values, rows))
    rows = rows[order]
    kept = order[np.arange(len(rows)) - np.searchsorted(rows, rows) < k]
    nearest = csr_array(
        (values[kept].astype(np.float32), (pairs.row[others][kept], columns[kept])),
        shape=together.shape,
    )
    nearest.sort_indices()
    return nearest
