"""The best of an array of scores."""

from typing import NamedTuple

import numpy as np


class TopK(NamedTuple):
    """The best items of each user, best first.

    Attributes
    ----------
    rows : (n, k) int64, row numbers of the items; -1, after all others, where a user has fewer.
    scores : (n, k), their scores, in the dtype they came in; minus infinity for row -1.
    """

    rows: np.ndarray
    scores: np.ndarray


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
