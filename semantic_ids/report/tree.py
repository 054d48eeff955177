"""Tree: the prefixes of unique codes that lie above most items."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semantic_ids.codes import code_keys


@dataclass(frozen=True, eq=False)
class CodeTree:
    """Prefixes of unique codes, the one above most items first; none before its parent.

    What lies below a prefix of a single item is left out: the prefix stands for the item.

    Attributes
    ----------
    depths : (n,) int64, number of codes in each prefix, from 1.
    codes : (n,) int64, the last of them.
    parents : (n,) int64, the place of the prefix without its last code; -1 for none.
    items : (n,) int64, items under each prefix.
    firsts : (n,) int64, the row of the item that comes first under it in code order.
    total : prefixes that there are, those that did not fit included.
    """

    depths: np.ndarray
    codes: np.ndarray
    parents: np.ndarray
    items: np.ndarray
    firsts: np.ndarray
    total: int

    def __len__(self) -> int:
        return len(self.depths)


def code_tree(codes: np.ndarray, sizes: Sequence[int], most: int) -> CodeTree:
    """Return the tree of unique codes.

    Parameters
    ----------
    codes : (N, P) int32 distinct codes, N >= 1.
    sizes : number of codes at each position.
    most : prefixes to keep, those above most items.

    Examples
    --------
    >>> tree = code_tree(np.array([[5, 0], [5, 1], [2, 0]]), (9, 9), most=10)
    >>> tree.codes.tolist(), tree.parents.tolist(), tree.items.tolist()
    ([5, 2, 0, 1], [-1, -1, 0, 0], [2, 1, 1, 1])
    """
    order = np.argsort(code_keys(codes, sizes), kind="stable")
    ordered = codes[order]
    begins = np.zeros(len(codes), dtype=bool)
    begins[0] = True
    # The prefix so far of each item, in code order, and the items under it.
    above, items_above = np.full(len(codes), -1), np.full(len(codes), len(codes) + 1)
    levels, total = [], 0
    for level in range(len(sizes)):
        begins[1:] |= ordered[1:, level] != ordered[:-1, level]
        starts = np.flatnonzero(begins)
        items = np.diff(np.append(starts, len(codes)))
        parents = above[starts]
        # A prefix of one item has one below it, of the same item.
        kept = items_above[starts] > 1
        places = np.where(kept, total + np.cumsum(kept) - 1, parents)
        above, items_above = np.repeat(places, items), np.repeat(items, items)
        total += int(kept.sum())
        levels.append(
            np.stack(
                [
                    np.full(len(starts), level + 1),
                    ordered[starts, level],
                    parents,
                    items,
                    order[starts],
                ]
            )[:, kept]
        )
    return _largest(np.concatenate(levels, axis=1), most)


def _largest(columns: np.ndarray, most: int) -> CodeTree:
    # A parent has no fewer items than its child and comes before it: the sort is stable.
    chosen = np.argsort(-columns[3], kind="stable")[:most]
    places = np.full(columns.shape[1] + 1, -1)
    places[chosen] = np.arange(len(chosen))
    depths, codes, parents, items, firsts = columns[:, chosen]
    return CodeTree(depths, codes, places[parents], items, firsts, columns.shape[1])
