"""A cheap score names a few items, an exact one ranks them."""

from collections.abc import Callable

import numpy as np

from recmodels.ranking.top import TopK, top_k

#: Exact scores (u, m) of rows (u, m) int64 for the users (u,) int64.
Verify = Callable[[np.ndarray, np.ndarray], np.ndarray]


def draft_then_verify(
    draft: TopK, verify: Verify, k: int, *, m: int | None = None, block: int = 256
) -> TopK:
    """Find the best of the drafted items by their exact scores.

    With all items drafted, the result is the exact ranking. The more are, the more of the exact
    k best are found: those that were drafted are never lost.

    Parameters
    ----------
    draft : at least m items of each user, best first, by a score that is cheap: that of
        `best_of_levels` or `best_of_products`, say. Row -1 where a user has fewer.
    verify : takes users (u,) int64, counted from 0, and rows (u, m) int64, ascending, and returns
        exact scores (u, m) float. In place of a missing item it gets row 0, whose score is not
        looked at.
    k : items a user, 1 to m.
    m : how many of the draft are verified; all if left out.
    block : users whose items are verified together.

    Returns
    -------
    TopK
        with the exact scores; of equal ones the lowest row wins. Where a user's draft holds
        fewer than k items, the rest are row -1 at minus infinity.

    Raises
    ------
    ValueError
        if k, m or block is out of range, or `verify` returns another shape or NaN.

    References
    ----------
    For a closed catalogue this takes the place of the tree of drafts that speculative decoding
    verifies (Parallel Decoding via Hidden Transfer, arXiv 2404.12022).

    Examples
    --------
    >>> cheap = np.array([[0.2475, 0.2475, 0.3025]])
    >>> exact = np.array([[0.45, 0.45, 0.10]])
    >>> draft_then_verify(
    ...     top_k(cheap, 3), lambda users, rows: exact[users[:, None], rows], k=2)
    TopK(rows=array([[0, 1]]), scores=array([[0.45, 0.45]]))
    """
    users, drafted = draft.rows.shape
    if m is None:
        m = int(drafted)
    if not 1 <= m <= drafted:
        raise ValueError(f"m={m} should be between 1 and the items of the draft, {drafted}")
    if not 1 <= k <= m:
        raise ValueError(f"k={k} should be between 1 and the items that are verified, {m}")
    if block < 1:
        raise ValueError(f"block={block} should be at least 1 user")
    # In ascending order, so that a tie goes to the lowest row; the missing ones come last.
    rows = np.sort(draft.rows[:, :m].astype(np.int64).view(np.uint64), axis=1).view(np.int64)
    parts = [
        _verified(verify, np.arange(start, min(start + block, users)), rows, k)
        for start in range(0, users, block)
    ]
    if not parts:
        return TopK(np.zeros((0, k), np.int64), np.zeros((0, k), draft.scores.dtype))
    return TopK(*map(np.concatenate, zip(*parts, strict=True)))


def _verified(verify: Verify, users: np.ndarray, rows: np.ndarray, k: int) -> TopK:
    rows = rows[users]
    missing = rows < 0
    scores = np.asarray(verify(users, np.where(missing, 0, rows)))
    if scores.shape != rows.shape or scores.dtype.kind != "f":
        raise ValueError(
            f"verify: expected floats of shape {rows.shape}, "
            f"got {scores.dtype} of shape {scores.shape}"
        )
    wrong = np.isnan(scores) & ~missing
    if wrong.any():
        user, column = np.argwhere(wrong)[0].tolist()
        raise ValueError(f"verify: NaN for user {users[user]}, item row {rows[user, column]}")
    top = top_k(np.where(missing, -np.inf, scores).astype(scores.dtype), k)
    return TopK(np.take_along_axis(rows, top.rows, axis=1), top.scores)
