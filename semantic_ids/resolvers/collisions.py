"""Who keeps a content code and who has to move, and which codes are held."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from semantic_ids.codes import check_codes, code_keys
from semantic_ids.errors import CollisionError
from semantic_ids.resolvers.base import buckets, id_ranks


@dataclass(frozen=True)
class CodeSpace:
    """Which codes are held, by how many items.

    Attributes
    ----------
    sizes : codebook sizes.
    keys : (C,) keys of the codes that are held, distinct, ascending.
    counts : (C,) int64, by how many items.
    capacity : items that a code has room for.
    """

    sizes: tuple[int, ...]
    keys: np.ndarray
    counts: np.ndarray
    capacity: int = 1

    @classmethod
    def of(cls, sizes: tuple[int, ...], keys: np.ndarray, capacity: int = 1) -> Self:
        """Count the items with each key."""
        return cls(sizes, *np.unique(keys, return_counts=True), capacity)

    def and_also(self, keys: np.ndarray) -> Self:
        """Return the space after more items took codes, which nobody had."""
        order = np.argsort(np.concatenate([self.keys, keys]), kind="stable")
        counts = np.concatenate([self.counts, np.ones(len(keys), dtype=np.int64)])
        return type(self)(
            self.sizes, np.concatenate([self.keys, keys])[order], counts[order], self.capacity
        )

    def room(self, keys: np.ndarray) -> np.ndarray:
        """Return how many more items codes can take, (n,) int64."""
        if not len(self.keys):
            return np.full(len(keys), self.capacity)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.capacity - np.where(self.keys[at] == keys, self.counts[at], 0)


def split(
    codes: np.ndarray,
    ids: np.ndarray,
    sizes: tuple[int, ...],
    errors: np.ndarray,
    taken: np.ndarray | None,
    *,
    capacity: int = 1,
) -> tuple[np.ndarray, CodeSpace]:
    """Tell the items that keep their content code, the nearest of each, from those that move.

    Returns
    -------
    movers : rows that need another code, by ascending id.
    space : the codes of all others, and those taken.

    Raises
    ------
    CollisionError
        if there are fewer codes than items.
    """
    taken = np.zeros((0, len(sizes)), dtype=np.int32) if taken is None else taken
    taken = check_codes(taken, sizes, name="taken")
    _check_room(len(codes), len(taken), sizes, capacity)
    before = CodeSpace.of(sizes, code_keys(taken, sizes), capacity)
    keys = code_keys(codes, sizes)
    # Few items meet another one, or a code that is taken: only these need an order.
    crowded = _crowded(keys, before.keys)
    ranks = id_ranks(ids[crowded])
    order, place = buckets(keys[crowded], errors[crowded], ranks)
    leaves = order[place >= before.room(keys[crowded[order]])]
    movers = crowded[leaves[np.argsort(ranks[leaves])]]  # a smaller index is a smaller id
    stays = np.ones(len(keys), dtype=bool)
    stays[movers] = False
    held = np.concatenate([np.repeat(before.keys, before.counts), keys[stays]])
    return movers, CodeSpace.of(sizes, held, capacity)


def _crowded(keys: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return the items (n,) whose key another item has, or is among those taken."""
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    shared = np.append(same, False) | np.append(False, same)
    if len(taken):
        shared |= np.isin(ordered, taken)
    return order[shared] if len(keys) else order


def _check_room(items: int, taken: int, sizes: tuple[int, ...], capacity: int) -> None:
    total = math.prod(sizes)
    if items + taken > total * capacity:
        others = f" and {taken:,} codes taken" if taken else ""
        limit = f" for {capacity} items each" if capacity > 1 else ""
        raise CollisionError(
            f"{items:,} items{others}, but only {total:,} codes{limit} "
            f"(codebook sizes {list(sizes)}); choose more levels or larger codebooks"
        )
