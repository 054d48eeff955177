"""Level by level through the prefixes of the catalogue, with the best few kept at each level."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recmodels.ranking.ragged import side_by_side
from recmodels.ranking.top import TopK, top_k
from semantic_ids import CodeTrie

#: Log-probabilities (u, b, K_l) of the codes that may follow prefixes (u, b, l) int64 of the
#: users (u,) int64.
Step = Callable[[np.ndarray, np.ndarray], np.ndarray]


class _Beams(NamedTuple):
    """The prefixes kept for each of u users, in the order of codes.

    A user with fewer has some of no use among them.

    Attributes
    ----------
    nodes : (u, b) int64, the trie's node of each; -1 if of no use.
    scores : (u, b) float, the sum of log-probabilities; then minus infinity.
    prefixes : (u, b, l) int64, its codes; then 0.
    """

    nodes: np.ndarray
    scores: np.ndarray
    prefixes: np.ndarray


def beam_search(
    step: Step, trie: CodeTrie, n: int, k: int, *, beams: int, block: int = 256
) -> TopK:
    """Find items of high score for each user, code by code, keeping the best prefixes.

    An item's score is the sum of the log-probabilities of its codes, each given those before it.
    Only prefixes of the catalogue go on, so every item that is found exists; but an item whose
    prefix was not among the best at some level is lost, whatever its other codes would have
    brought. With as many beams as items none is, and the result is that of scoring them all.

    Parameters
    ----------
    step : what knows the log-probabilities: takes prefixes (u, b, l) int64 and the users (u,)
        int64 they belong to, and returns (u, b, K_l) float, for l from 0 to P - 1. Minus infinity
        rules a code out. For a user with fewer than b prefixes, the rest are zeros, and what is
        returned for them is not looked at.
    trie : of the catalogue's unique codes.
    n : number of users; they are numbered from 0.
    k : items a user, 1 to N.
    beams : prefixes kept at each level, at least k. Of equal scores the first in the order of
        codes is kept.
    block : users worked on together.

    Returns
    -------
    TopK
        of equal scores the lowest row first. A user who can reach fewer than k items has row -1
        at minus infinity in the places that are left.

    Raises
    ------
    ValueError
        if k, beams or block is out of range, or `step` returns another shape, NaN or infinity.

    Notes
    -----
    At most P calls of `step` a block of users, with up to `beams` prefixes a user. Beyond what
    `step` returns, some 60 bytes are held for each code that may follow a prefix of the block.

    Examples
    --------
    >>> trie = CodeTrie.of([[0, 0], [1, 1], [0, 1]], sizes=[2, 2])
    >>> first = np.log([0.55, 0.45])
    >>> then = np.log([[0.9, 0.1], [0.5, 0.5]])
    >>> def step(prefixes, users):
    ...     if prefixes.shape[2] == 0:
    ...         return np.broadcast_to(first, (*prefixes.shape[:2], 2))
    ...     return then[prefixes[:, :, 0]]
    >>> top = beam_search(step, trie, n=1, k=2, beams=2)
    >>> top.rows, np.exp(top.scores).round(3)
    (array([[0, 1]]), array([[0.495, 0.225]]))
    """
    if not 1 <= k <= len(trie):
        raise ValueError(f"k={k} should be between 1 and the number of items, {len(trie)}")
    if beams < k:
        raise ValueError(f"beams={beams} should be at least k={k}")
    if block < 1:
        raise ValueError(f"block={block} should be at least 1 user")
    parts = [
        _search(step, trie, np.arange(start, min(start + block, n)), k, beams)
        for start in range(0, n, block)
    ]
    if not parts:
        return TopK(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
    return TopK(*map(np.concatenate, zip(*parts, strict=True)))


def _search(step: Step, trie: CodeTrie, users: np.ndarray, k: int, beams: int) -> TopK:
    """Go through all levels with some users."""
    u = len(users)
    held = _Beams(
        trie.root(u)[:, None], np.zeros((u, 1), np.float32), np.zeros((u, 1, 0), np.int64)
    )
    for level in range(len(trie.sizes)):
        logp = _checked(step(held.prefixes, users), (*held.nodes.shape, trie.sizes[level]), level)
        # In the order of users, then of prefixes, then of codes.
        mask = trie.mask(held.nodes, level)
        user, beam, code = np.unravel_index(np.flatnonzero(mask), mask.shape)
        if not len(user):
            return TopK(np.full((u, k), -1), np.full((u, k), -np.inf, held.scores.dtype))
        score = held.scores[user, beam] + _finite(logp[user, beam, code], level)
        if level == len(trie.sizes) - 1:
            rows = trie.rows_at(trie.step(held.nodes[user, beam], code))
            return _best_items(user, rows, score, u, k)
        held = _extended(trie, held, user, beam, code, score, beams)
    raise AssertionError("a trie has at least one level")


def _extended(
    trie: CodeTrie,
    held: _Beams,
    user: np.ndarray,
    beam: np.ndarray,
    code: np.ndarray,
    score: np.ndarray,
    beams: int,
) -> _Beams:
    """Keep the best of all ways to go on, in the order in which they come."""
    wide, place = side_by_side(user, score, len(held.nodes))
    best = top_k(wide, min(beams, wide.shape[1])).rows
    best.sort(axis=1)
    scores = np.take_along_axis(wide, best, axis=1)
    gone = np.isneginf(scores)
    # Those of no use stand for the first way of all, and are blotted out afterwards.
    way = np.where(gone, 0, np.take_along_axis(place, best, axis=1))
    users = np.arange(len(best))[:, None]
    nodes = trie.step(held.nodes[user[way], beam[way]], code[way])
    prefixes = np.concatenate([held.prefixes[users, beam[way]], code[way][..., None]], axis=2)
    return _Beams(np.where(gone, -1, nodes), scores, np.where(gone[..., None], 0, prefixes))


def _best_items(user: np.ndarray, rows: np.ndarray, score: np.ndarray, users: int, k: int) -> TopK:
    """Return the k best items of each user, of equal ones the lowest row."""
    order = np.lexsort((rows, user))
    wide, place = side_by_side(user[order], score[order], users)
    if wide.shape[1] < k:
        wide = np.pad(wide, ((0, 0), (0, k - wide.shape[1])), constant_values=-np.inf)
        place = np.pad(place, ((0, 0), (0, k - place.shape[1])))
    top = top_k(wide, k)
    found = rows[order][np.take_along_axis(place, top.rows, axis=1)]
    return TopK(np.where(np.isneginf(top.scores), -1, found), top.scores)


def _checked(logp: np.ndarray, shape: tuple[int, ...], level: int) -> np.ndarray:
    logp = np.asarray(logp)
    if logp.shape != shape or logp.dtype.kind != "f":
        raise ValueError(
            f"step: expected floats of shape {shape} at level {level}, "
            f"got {logp.dtype} of shape {logp.shape}"
        )
    return logp


def _finite(logp: np.ndarray, level: int) -> np.ndarray:
    # True for NaN too, which is below nothing.
    if not (logp < np.inf).all():
        raise ValueError(f"step: expected numbers below infinity at level {level}, got others")
    return logp
