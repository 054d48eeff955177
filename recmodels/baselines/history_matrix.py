"""Histories as a sparse matrix: one row a user, one column an item."""

from typing import TYPE_CHECKING

import numpy as np

from recmodels.data import Histories

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def history_matrix(histories: Histories, size: int, *, recency: float = 1.0) -> "csr_array":
    """Add up how much each item counts in each history.

    Parameters
    ----------
    histories : n histories.
    size : number of items N of the catalogue.
    recency : what an occurrence counts is multiplied by this for each item that came after it.

    Returns
    -------
    matrix : (n, N) float64; at recency 1 how often each item occurs.

    Raises
    ------
    ValueError
        if an item is not one of the catalogue.

    Examples
    --------
    >>> history_matrix(Histories.of([[2, 0, 2], []]), size=3, recency=0.5).toarray()
    array([[0.5 , 0.  , 1.25],
           [0.  , 0.  , 0.  ]])
    """
    from scipy.sparse import csr_array

    check_items(histories, size)
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    after = histories.offsets[1:][users] - np.arange(1, len(users) + 1)
    places = users, histories.items
    return csr_array((recency ** after.astype(float), places), shape=(len(histories), size))


def check_items(histories: Histories, size: int) -> None:
    """Refuse histories with an item that is not one of a catalogue of `size`.

    Raises
    ------
    ValueError
        naming the item.
    """
    if len(histories.items) and histories.items.max() >= size:
        raise ValueError(
            f"histories: item {histories.items.max()} is not in the catalogue; "
            f"expected 0 to {size - 1}"
        )
