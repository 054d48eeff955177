"""Ragged lists of scores as a matrix."""

import numpy as np


def side_by_side(user: np.ndarray, score: np.ndarray, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of each user in a row, and where in the list each came from.

    Parameters
    ----------
    user : (m,) int, ascending: whose score each is.
    score : (m,) float.
    users : how many there are, u.

    Returns
    -------
    wide, place : (u, most) float and int64. A user who has fewer scores than the most, or than
        one, has minus infinity and place 0 at the end.

    Examples
    --------
    >>> wide, place = side_by_side(np.array([0, 1, 1]), np.array([0.5, 1.5, 2.5]), users=2)
    >>> wide
    array([[ 0.5, -inf],
           [ 1.5,  2.5]])
    >>> place
    array([[0, 0],
           [1, 2]])
    """
    counts = np.bincount(user, minlength=users)
    filled = np.arange(max(1, counts.max(initial=0))) < counts[:, None]
    wide = np.full(filled.shape, -np.inf, dtype=score.dtype)
    place = np.zeros(filled.shape, dtype=np.int64)
    wide[filled] = score
    place[filled] = np.arange(len(score))
    return wide, place
