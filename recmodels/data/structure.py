"""What interactions say about items: vectors, a graph, counts, from the training part alone."""

from typing import TYPE_CHECKING

import numpy as np

from recmodels.data.split import Split
from semantic_ids import Side

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def side_of(split: Split, *, width: int = 64, window: int = 5, seed: int = 0) -> Side:
    """Build what a tokenizer may learn from interactions.

    Only ``split.train`` is read: what is held out leaves no trace in the codes.

    Parameters
    ----------
    split : whose items are the rows of the features, in their order.
    width : columns of the collaborative vectors.
    window : how far apart in a history two items may stand to count as neighbours.
    seed : where the random numbers of the decomposition begin.

    Returns
    -------
    side : with `cooccurrence_vectors` as `collaborative`, `cooccurrence_graph` as `graph`,
        `interaction_counts` as `counts`.

    Raises
    ------
    ValueError
        if `width` is not from 1 to the number of items, or `window` is below 1.

    Examples
    --------
    >>> from recmodels.data import Histories, Split
    >>> split = Split.leave_one_out(Histories.of([[0, 1, 2, 3], [0, 1, 3, 2]]), size=4)
    >>> side = side_of(split, width=2)
    >>> side
    Side(4 items; collaborative, graph, counts)
    >>> side.counts.tolist(), side.graph.toarray()[0].tolist()
    ([2.0, 2.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0])
    """
    return Side(
        collaborative=cooccurrence_vectors(split, width=width, window=window, seed=seed),
        graph=cooccurrence_graph(split, window=window),
        counts=interaction_counts(split),
    )


def interaction_counts(split: Split) -> np.ndarray:
    """Count how often each item occurs in the training histories, (N,) int64."""
    return np.bincount(split.train.items, minlength=split.size)


def cooccurrence_graph(split: Split, *, window: int = 5) -> "csr_array":
    """Count how often two items stand at most `window` apart in a training history.

    Returns
    -------
    graph : (N, N) float64, symmetric, nothing on the diagonal.

    Raises
    ------
    ValueError
        if `window` is below 1.
    """
    from scipy.sparse import csr_array

    if window < 1:
        raise ValueError(f"window: expected at least 1, got {window}")
    items = split.train.items
    users = np.repeat(np.arange(len(split.train)), split.train.lengths)
    graph = csr_array((split.size, split.size))
    for gap in range(1, min(window, len(items) - 1) + 1):
        first, second = items[:-gap], items[gap:]
        pairs = (users[:-gap] == users[gap:]) & (first != second)
        places = first[pairs], second[pairs]
        graph += csr_array((np.ones(len(places[0])), places), shape=graph.shape)
    return csr_array(graph + graph.T)


def cooccurrence_vectors(
    split: Split, *, width: int = 64, window: int = 5, seed: int = 0
) -> np.ndarray:
    """Decompose how much more often than by chance items stand near each other.

    The positive pointwise mutual information of `cooccurrence_graph` is cut to its `width`
    largest singular values; an item's vector is its left singular vector times their roots
    (Levy and Goldberg, 2014, which is what item2vec approximates).

    Returns
    -------
    vectors : (N, width) float32; zeros for an item that stands near no other.

    Raises
    ------
    ValueError
        if `width` is not from 1 to the number of items, or `window` is below 1.
    """
    from scipy.sparse import csr_array

    pairs = cooccurrence_graph(split, window=window).tocoo()
    totals = np.bincount(pairs.row, weights=pairs.data, minlength=split.size)
    expected = totals[pairs.row] * totals[pairs.col] / max(totals.sum(), 1.0)
    information = np.maximum(np.log(pairs.data / expected), 0.0)
    matrix = csr_array((information, (pairs.row, pairs.col)), shape=pairs.shape)
    return _decompose(matrix, width, seed)


def interaction_vectors(split: Split, *, width: int = 64, seed: int = 0) -> np.ndarray:
    """Decompose which users have which items in their training histories.

    The item-user matrix of 0 and 1 is cut to its `width` largest singular values; an item's
    vector is its left singular vector times their roots.

    Returns
    -------
    vectors : (N, width) float32; zeros for an item that no history has.

    Raises
    ------
    ValueError
        if `width` is not from 1 to the number of items and of users.
    """
    from scipy.sparse import csr_array

    users = np.repeat(np.arange(len(split.train)), split.train.lengths)
    counts = csr_array(
        (np.ones(len(users)), (split.train.items, users)), shape=(split.size, len(split.train))
    )
    counts.sum_duplicates()
    counts.data[:] = 1.0
    return _decompose(counts, width, seed)


def _decompose(matrix: "csr_array", width: int, seed: int) -> np.ndarray:
    from sklearn.utils.extmath import randomized_svd

    most = min(tuple(matrix.shape or ()))
    if not 1 <= width <= most:
        raise ValueError(f"width: expected 1 to {most}, got {width}")
    left, values, _ = randomized_svd(matrix, width, random_state=seed)
    vectors = (left * np.sqrt(values)).astype(np.float32)
    # Beyond the rank of the matrix, the root of a value that is zero but for rounding is not small.
    vectors[np.asarray(matrix.sum(axis=1)).ravel() == 0] = 0
    return vectors
