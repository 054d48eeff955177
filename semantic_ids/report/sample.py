"""Sample: the items that a page names, where it cannot name all."""

import numpy as np

#: Neighbours in code order that are drawn together, so that a named item has some beside it.
RUN = 5


def sample_runs(order: np.ndarray, most: int, *, seed: int = 0) -> np.ndarray:
    """Return rows of at most `most` items, in code order: all of them, or whole runs at random.

    Every item has the same chance to be drawn.

    Parameters
    ----------
    order : (N,) int64, the rows in code order.
    most : how many rows at most; the last run may have fewer than the others.
    seed : where the random numbers begin.

    Examples
    --------
    >>> sample_runs(np.arange(4)[::-1], 10).tolist()
    [3, 2, 1, 0]
    >>> len(sample_runs(np.arange(1000), 20))
    20
    """
    if len(order) <= most:
        return order
    runs = -(-len(order) // RUN)
    drawn = np.random.default_rng(seed).choice(runs, size=most // RUN, replace=False)
    places = (np.sort(drawn)[:, None] * RUN + np.arange(RUN)).ravel()
    return order[places[places < len(order)]]
