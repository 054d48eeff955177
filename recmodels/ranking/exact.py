"""The best items of the whole catalogue, scored in blocks of users and items."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import from_numpy
from torch.nn.functional import embedding_bag

from recmodels.data import Histories
from recmodels.ranking.running import Running
from recmodels.ranking.seen import add_to_seen, check_seen
from recmodels.ranking.top import TopK

#: Users whose scores are worked on together: their part of level logits stays in the cache.
_USERS = 128
_BLOCK = 1 << 20

Score = Callable[[slice], np.ndarray]


def best_of_products(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    *,
    block: int = _BLOCK,
    seen: Histories | None = None,
    bonus: float = -np.inf,
) -> TopK:
    """Find the items whose vectors have the largest products with each user's.

    Parameters
    ----------
    queries : (n, w) float, a vector for each user.
    items : (N, w) float, a vector for each item; may be mapped from a file.
    k : items a user, 1 to N.
    block : scores held at a time, where k is not more than `block / 128`.
    seen : the n users' items that are scored otherwise; by default none are.
    bonus : what each time that an item is seen adds to its score; by default it is left out.

    Returns
    -------
    TopK
        as `top_k(queries @ items.T, k)`, up to the rounding of products, which may differ with
        the shape of a block; of equal scores the lowest row wins. A user with fewer than k items
        that are not left out has row -1 at minus infinity in the places that are left.

    Raises
    ------
    ValueError
        if the arrays are not finite floats of one width, k or `block` is out of range, a product
        overflows to NaN, `seen` is of other users or items, or `bonus` is no number below
        infinity.

    Notes
    -----
    `O(n N w)`. Beyond the arguments and the result it holds 8 bytes a score of the block, in
    float32, or up to 36 where most items are better than those before them.

    Examples
    --------
    >>> items = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> best_of_products(np.array([[1.0, 1.0]]), items, k=2)
    TopK(rows=array([[2, 0]]), scores=array([[1.4, 1. ]]))
    >>> best_of_products(np.array([[1.0, 1.0]]), items, k=2, seen=Histories.of([[2]])).rows
    array([[0, 1]])
    """
    queries, items = _floats("queries", queries), _floats("items", items)
    if queries.shape[1] != items.shape[1]:
        raise ValueError(
            f"queries are {queries.shape[1]} wide and items {items.shape[1]}: expected one width"
        )
    for name, array in (("queries", queries), ("items", items)):
        for rows in _slices(len(array), 1 + _BLOCK // max(1, array.shape[1])):
            if not np.isfinite(array[rows]).all():
                raise ValueError(f"{name}: expected finite numbers, got others")
    dtype = np.result_type(queries, items, np.float32)

    def score(users: slice) -> Score:
        of = queries[users].astype(dtype)
        return lambda block: of @ items[block].astype(dtype, copy=False).T

    return _best(score, len(queries), len(items), k, dtype, block, seen, bonus)


def best_of_levels(
    logits: Sequence[np.ndarray],
    codes: np.ndarray,
    k: int,
    *,
    block: int = _BLOCK,
    seen: Histories | None = None,
) -> TopK:
    """Find the items whose codes have the largest sums of level logits.

    The score of an item with the codes c is `sum_l logits[l][user, c[l]]`: log-probabilities of
    codes that are independent, given the user, make it the item's. One pass of a model scores
    the whole catalogue, and every item that is found exists.

    Parameters
    ----------
    logits : P arrays (n, K_l) float, for each user a number for each code of level l; not NaN,
        and below infinity. `np.split` makes them of one array (n, sum of K_l).
    codes : (N, P) int, the codes of each item, ``0 <= codes[:, l] < K_l``.
    k : items a user, 1 to N.
    block : scores held at a time, where k is not more than `block / 128`.
    seen : the n users' items that are left out; by default all are ranked.

    Returns
    -------
    TopK
        as `top_k` of all scores, in the dtype of the logits, float32 at least; of equal scores
        the lowest row wins. With `seen`, what scores minus infinity is left out too, and a user
        with fewer than k other items has row -1 at minus infinity in the places that are left.

    Raises
    ------
    ValueError
        if an array has another shape or kind or holds NaN or infinity, a code is out of range, k
        or `block` is, or `seen` is of other users or items.

    Notes
    -----
    `O(n N P)`. Beyond the arguments and the result it holds 8 bytes a score of the block, in
    float32, or up to 36 where most items are better than those before them; and 4 bytes a code.

    References
    ----------
    The score is that of RPG (Generating Long Semantic IDs in Parallel for Recommendation, KDD
    2025), which takes the mean of the same log-probabilities.

    Examples
    --------
    >>> logits = [np.log([[0.55, 0.45]]), np.log([[0.45, 0.55]])]
    >>> codes = np.array([[0, 0], [1, 1], [0, 1]])
    >>> top = best_of_levels(logits, codes, k=3)
    >>> top.rows, np.exp(top.scores).round(4)
    (array([[2, 0, 1]]), array([[0.3025, 0.2475, 0.2475]]))
    """
    parts = [_floats(f"logits[{level}]", part) for level, part in enumerate(logits)]
    _check_levels(parts)
    tokens = from_numpy(_tokens(codes, [part.shape[1] for part in parts]))
    dtype = np.result_type(*parts, np.float32)

    def score(users: slice) -> Score:
        # One row a code and one column a user: an item is a sum of whole rows of memory.
        columns = np.concatenate([part[users] for part in parts], axis=1, dtype=dtype)
        table = from_numpy(np.ascontiguousarray(columns.T))
        return lambda block: embedding_bag(tokens[block], table, mode="sum").numpy().T

    return _best(score, len(parts[0]), len(tokens), k, dtype, block, seen)


def _best(
    score: Callable[[slice], Score],
    users: int,
    items: int,
    k: int,
    dtype: np.dtype,
    block: int,
    seen: Histories | None,
    bonus: float = -np.inf,
) -> TopK:
    """Rank the items for each user by scores (u, I) that `score(users)(items)` makes anew."""
    if not 1 <= k <= items:
        raise ValueError(f"k={k} should be between 1 and the number of items, {items}")
    if block < 1:
        raise ValueError(f"block={block} should be at least 1 score")
    if not bonus < np.inf:
        raise ValueError(f"bonus={bonus} should be a number below infinity")
    if seen is not None:
        check_seen(seen, users, items)
    rows = np.empty((users, k), dtype=np.int64)
    scores = np.empty((users, k), dtype=dtype)
    for few in _slices(users, min(_USERS, block)):
        score_of, best = score(few), Running(few.stop - few.start, k, dtype)
        hidden = None if seen is None else seen.take(np.arange(few.start, few.stop))
        for some in _slices(items, max(k, block // (few.stop - few.start))):
            values = score_of(some)
            if hidden is not None:
                add_to_seen(values, hidden, bonus, first=some.start)
            best.add(values)
        rows[few], scores[few] = best.top
    if seen is not None:
        rows[scores == -np.inf] = -1
    return TopK(rows, scores)


def _slices(count: int, size: int) -> Iterator[slice]:
    """Split a number of rows into slices of at most `size`."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _floats(name: str, values: np.ndarray) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(
            f"{name}: expected a 2-D float array, got {array.dtype} of shape {array.shape}"
        )
    return array


def _check_levels(parts: Sequence[np.ndarray]) -> None:
    if not parts:
        raise ValueError("logits: expected an array for each level, got none")
    for level, part in enumerate(parts):
        if len(part) != len(parts[0]):
            raise ValueError(
                f"logits[{level}] is of {len(part)} users and logits[0] of {len(parts[0])}"
            )
        # True for NaN too, which is below nothing.
        if not (part < np.inf).all():
            raise ValueError(f"logits[{level}]: expected numbers below infinity, got others")


def _tokens(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return codes as rows of the tables of all levels, one below another: (N, P) int32."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] != len(sizes) or codes.dtype.kind not in "iu":
        raise ValueError(
            f"codes: expected integers of shape (N, {len(sizes)}), a column for each level, "
            f"got {codes.dtype} of shape {codes.shape}"
        )
    wrong = (codes < 0) | (codes >= np.array(sizes))
    if wrong.any():
        row, level = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"codes: row {row} has code {codes[row, level]} at level {level}, expected 0 to "
            f"{sizes[level] - 1}"
        )
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add(codes, offsets, dtype=np.int32, casting="unsafe")
