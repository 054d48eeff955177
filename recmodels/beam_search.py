"""Beam search over the codes of a catalogue: whatever comes out is an item."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recmodels.ranking import TopK
from semantic_ids import CodeTrie


def beam_search(trie: CodeTrie, users: int, beams: int, step: Callable[[Tensor], Tensor]) -> TopK:
    """Find items whose codes score best, position by position, for several users at once.

    After each position the `beams` best prefixes of items are kept, or all where there are fewer.
    So with as many beams as items every item is found, in the order of its score; with fewer an
    item is missed whose prefix was not among the best.

    Parameters
    ----------
    trie : of the catalogue.
    users : how many, n.
    beams : prefixes that are kept for each user, at least 1.
    step : is given prefixes (n, b, l) int64 of l codes, b beams a user, and returns what each code
        that may come next adds to a prefix's score, such as its log-probability: (n, b, sizes[l])
        float, finite.

    Returns
    -------
    TopK
        rows (n, m) int64 and their scores (n, m), best first, m the smaller of `beams` and the
        number of items; of found items with equal scores the lowest row comes first.

    Examples
    --------
    >>> trie = CodeTrie.of([[0, 1], [1, 0], [1, 1]], sizes=[2, 2])
    >>> gains = torch.tensor([[[0.5, 0.75]], [[2.0, 1.0]]])  # of codes 0 and 1, by position
    >>> beam_search(trie, 1, 2, lambda prefixes: gains[prefixes.shape[2]].expand(1, -1, 2))
    TopK(rows=array([[1, 2]]), scores=array([[2.75, 1.75]], dtype=float32))
    """
    walk = trie.on("cpu")
    nodes = walk.root(users)[:, None]
    prefixes = nodes.new_zeros((users, 1, 0))
    scores = torch.zeros(users, 1)
    for level, size in enumerate(trie.sizes):
        following = scores[..., None] + step(prefixes)
        following = following.masked_fill(~walk.mask(nodes, level), -torch.inf)
        # Every kept prefix leads on to an item, so there are always as many as are asked for.
        kept = min(beams, trie.starts[level + 2] - trie.starts[level + 1])
        scores, chosen = following.flatten(1).topk(kept)
        parents, codes = chosen // size, chosen % size
        nodes = walk.step(nodes.gather(1, parents), codes)
        before = prefixes.gather(1, parents[..., None].expand(-1, -1, level))
        prefixes = torch.cat([before, codes[..., None]], dim=2)
    rows, found = walk.rows_at(nodes).numpy(), scores.numpy()
    order = np.lexsort((rows, -found), axis=1)
    return TopK(np.take_along_axis(rows, order, axis=1), np.take_along_axis(found, order, axis=1))
