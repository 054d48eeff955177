"""Batches of history windows, of few distinct shapes."""

import numpy as np

from recmodels.data.histories import Histories

#: Batches whose rows are sorted by length together: enough to even out lengths, few enough to
#: leave the order random.
_SORTED_TOGETHER = 32


def prefix_ends(histories: Histories, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Name every prefix of every history that has at least `least` items.

    Returns
    -------
    users : (n,) int64, whose history it is.
    ends : (n,) int64, how many of its items the prefix holds.

    Examples
    --------
    >>> users, ends = prefix_ends(Histories.of([[7, 8, 9], [5], [6, 4]]))
    >>> users.tolist(), ends.tolist()
    ([0, 0, 2], [2, 3, 2])
    """
    counts = np.maximum(histories.lengths - least + 1, 0)
    users = np.repeat(np.arange(len(histories)), counts)
    starts = np.cumsum(counts) - counts
    return users, np.arange(counts.sum()) - np.repeat(starts, counts) + least


def windows(histories: Histories, users: np.ndarray, ends: np.ndarray, width: int) -> np.ndarray:
    """Return the last `width` items of each prefix, (n, width) int32, right-aligned, -1 before.

    Parameters
    ----------
    histories : of U users.
    users, ends : (n,) int, as `prefix_ends` names them.
    width : number of columns.

    Examples
    --------
    >>> windows(Histories.of([[7, 8, 9]]), np.array([0, 0]), np.array([1, 3]), 2)
    array([[-1,  7],
           [ 8,  9]], dtype=int32)
    """
    starts = histories.offsets[users][:, None]
    index = starts + ends[:, None] - width + np.arange(width)
    return np.where(index >= starts, histories.items[np.maximum(index, 0)], -1).astype(np.int32)


def length_batches(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Shuffle rows into batches whose rows are of similar length.

    Parameters
    ----------
    lengths : (n,) length of each row.
    batch_size : rows of a batch; the last ones may have fewer.

    Returns
    -------
    batches : index arrays that together hold every row once, in random order.

    Examples
    --------
    >>> batches = length_batches(np.array([5, 1, 5, 1]), 2, np.random.default_rng(0))
    >>> sorted(sorted(batch.tolist()) for batch in batches)
    [[0, 2], [1, 3]]
    """
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * _SORTED_TOGETHER):
        chunk = order[start : start + batch_size * _SORTED_TOGETHER]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[at : at + batch_size] for at in range(0, len(chunk), batch_size)]
    return [batches[at] for at in rng.permutation(len(batches))]


def bucket_width(longest: int, most: int) -> int:
    """Round a width up to an even number from 4, beyond 12 to a multiple of 4, or to `most`.

    A CPU prepares some matrix kernels anew for each shape that it meets: shapes should recur.

    Examples
    --------
    >>> [bucket_width(longest, 51) for longest in (1, 5, 13, 49)]
    [4, 6, 16, 51]
    """
    step = 2 if longest <= 12 else 4
    return min(max(4, -(-longest // step) * step), most)
