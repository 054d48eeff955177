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


class _Ways(NamedTuple):
    """How prefixes go on by one code, in the order of users, then of beams, then of codes.

    Attributes
    ----------
    user, beam, code : (m,) int64, whose and which beam each goes on from, and by which code.
    score : (m,) float, the sum of log-probabilities.
    """

    user: np.ndarray
    beam: np.ndarray
    code: np.ndarray
    score: np.ndarray


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
    P calls of `step` a block of users, with up to `beams` prefixes a user. Beyond what
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
    for _ in trie.sizes[:-1]:
        held = _extended(trie, held, _ways(step, trie, held, users), beams)
    return _best_items(trie, held, _ways(step, trie, held, users), k)


def _ways(step: Step, trie: CodeTrie, held: _Beams, users: np.ndarray) -> _Ways:
    """Return all ways to go on to the next level."""
    level = held.prefixes.shape[2]
    logp = np.asarray(step(held.prefixes, users))
    shape = (*held.nodes.shape, trie.sizes[level])
    if logp.shape != shape or logp.dtype.kind != "f":
        raise ValueError(
            f"step: expected floats of shape {shape} at level {level}, "
            f"got {logp.dtype} of shape {logp.shape}"
        )
    allowed = np.flatnonzero(trie.mask(held.nodes, level))
    user, beam, code = np.unravel_index(allowed, shape)
    added = logp[user, beam, code]
    # True for NaN too, which is below nothing.
    if not (added < np.inf).all():
        raise ValueError(f"step: expected numbers below infinity at level {level}, got others")
    return _Ways(user, beam, code, held.scores[user, beam] + added)


def _extended(trie: CodeTrie, held: _Beams, ways: _Ways, beams: int) -> _Beams:
    """Go the best of the ways, in the order in which they come."""
    wide, place = side_by_side(ways.user, ways.score, len(held.nodes))
    best = top_k(wide, min(beams, wide.shape[1])).rows
    best.sort(axis=1)
    scores, way = np.take_along_axis(wide, best, axis=1), np.take_along_axis(place, best, axis=1)
    # Where there is no way the last one is asked: one of beam 0 and code 0, and of no node.
    none = np.isneginf(scores)
    way[none] = -1
    beam, code = np.append(ways.beam, 0)[way], np.append(ways.code, 0)[way]
    users = np.arange(len(best))[:, None]
    nodes = np.where(none, -1, trie.step(held.nodes[users, beam], code))
    prefixes = np.concatenate([held.prefixes[users, beam], code[..., None]], axis=2)
    prefixes[none] = 0
    return _Beams(nodes, scores, prefixes)


def _best_items(trie: CodeTrie, held: _Beams, ways: _Ways, k: int) -> TopK:
    """Return the k best items that the ways lead to, of equal ones the lowest row."""
    rows = trie.rows_at(trie.step(held.nodes[ways.user, ways.beam], ways.code))
    order = np.lexsort((rows, ways.user))
    wide, place = side_by_side(ways.user[order], ways.score[order], len(held.nodes))
    short = max(0, k - wide.shape[1])
    wide = np.pad(wide, ((0, 0), (0, short)), constant_values=-np.inf)
    place = np.pad(place, ((0, 0), (0, short)))
    best, scores = top_k(wide, k)
    found = np.where(np.isneginf(scores), -1, np.take_along_axis(place, best, axis=1))
    return TopK(np.append(rows[order], -1)[found], scores)
