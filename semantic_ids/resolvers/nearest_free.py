"""NearestFree: items that collide move to the nearest code that nobody has."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from semantic_ids.codes import code_keys
from semantic_ids.errors import CollisionError
from semantic_ids.resolvers.base import Candidates, Resolver, buckets, id_ranks

#: Codes that are named for an item at first, and doubled where none of them is left for it.
_CANDIDATES = 32


class NearestFree(Resolver):
    """Keep the code length: move colliding items to free codes that add little squared error.

    Of the items with one content code, the one nearest to what the code decodes to keeps it.
    The others take free codes: all pairs of such an item and a free code among its candidates
    are gone through in increasing (added squared error, id), and a pair is taken if both sides
    are still without the other. An item whose candidates run out gets more, down to all codes.

    Examples
    --------
    >>> from semantic_ids import RQKMeans
    >>> vectors = np.zeros((300, 2))
    >>> fitted = RQKMeans(levels=2, codebook_size=20).fit(vectors)
    >>> codes = fitted.encode(vectors)
    >>> unique = NearestFree().resolve(
    ...     codes, np.arange(300), fitted.codebook_sizes,
    ...     candidates=lambda rows, m: fitted.candidates(vectors[rows], m),
    ...     errors=fitted.errors(vectors, codes)[:, -1])
    >>> len(np.unique(codes, axis=0)), len(np.unique(unique, axis=0))
    (1, 300)
    """

    kind: Literal["nearest-free"] = "nearest-free"
    needs_vectors: ClassVar[bool] = True

    @property
    def added_sizes(self) -> tuple[int, ...]:
        """No position is added."""
        return ()

    def resolve(
        self,
        codes: np.ndarray,
        ids: np.ndarray,
        sizes: tuple[int, ...],
        *,
        candidates: Candidates | None = None,
        errors: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return unique codes (N, L); see `Resolver.resolve`."""
        if candidates is None or errors is None:
            raise TypeError("NearestFree needs candidates and errors")
        total = math.prod(sizes)
        if len(codes) > total:
            raise CollisionError(
                f"{len(codes):,} items, but only {total:,} codes (codebook sizes {list(sizes)}); "
                "choose more levels or larger codebooks"
            )
        ranks = id_ranks(ids)
        order, place = buckets(code_keys(codes, sizes), errors, ranks)
        movers = order[place > 0]
        movers = movers[np.argsort(ranks[movers])]  # a smaller index is a smaller id
        unique = codes.copy()
        if len(movers):
            taken = np.sort(code_keys(codes[order[place == 0]], sizes))
            unique[movers] = _free_codes(movers, taken, sizes, candidates, errors)
        return unique


def _free_codes(
    movers: np.ndarray,
    taken: np.ndarray,
    sizes: tuple[int, ...],
    candidates: Candidates,
    errors: np.ndarray,
) -> np.ndarray:
    """Return a free code for each of the rows `movers`, (n, L) int32."""
    waiting, width, offers = np.arange(len(movers)), _CANDIDATES, None
    while True:
        codes, costs = candidates(movers[waiting], min(width, math.prod(sizes)))
        named = _Offers.of(waiting, codes, costs - errors[movers[waiting], None], taken, sizes)
        offers = named if offers is None else offers.followed_by(named)
        accepted = stable_matching(offers.mover, offers.slot, offers.cost, len(movers))
        waiting = np.flatnonzero(accepted < 0)
        if not len(waiting):
            return offers.code[accepted]
        width *= 2


@dataclass(frozen=True)
class _Offers:
    """E free codes that items may take, grouped by item, each item's best first."""

    mover: np.ndarray  # (E,) int64
    code: np.ndarray  # (E, L) int32
    key: np.ndarray  # (E,)
    cost: np.ndarray  # (E,) float64, added squared error

    @classmethod
    def of(
        cls,
        movers: np.ndarray,
        codes: np.ndarray,
        costs: np.ndarray,
        taken: np.ndarray,
        sizes: tuple[int, ...],
    ) -> Self:
        """Make offers of each mover's candidates (n, m, L), leaving out taken codes."""
        flat = codes.reshape(-1, codes.shape[2])
        keys = code_keys(flat, sizes)
        at = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
        free = taken[at] != keys
        mover = np.repeat(movers, codes.shape[1])
        return cls(mover[free], flat[free], keys[free], costs.ravel()[free])

    def followed_by(self, more: "_Offers") -> "_Offers":
        """Append offers to each item's list; what it was offered before is not repeated."""
        mover, code, key, cost = (
            np.concatenate([getattr(self, name), getattr(more, name)])
            for name in ("mover", "code", "key", "cost")
        )
        slot = np.unique(key, return_inverse=True)[1]
        _, first = np.unique(mover * (slot.max(initial=0) + 1) + slot, return_index=True)
        first = np.sort(first)
        order = first[np.argsort(mover[first], kind="stable")]
        return _Offers(mover[order], code[order], key[order], cost[order])

    @property
    def slot(self) -> np.ndarray:
        """Number each distinct code, (E,) int64."""
        return np.unique(self.key, return_inverse=True)[1]


def stable_matching(
    mover: np.ndarray, slot: np.ndarray, cost: np.ndarray, movers: int
) -> np.ndarray:
    """Match movers to slots by deferred acceptance (Gale and Shapley, 1962).

    Every mover proposes to the first slot of its list, all at once; a slot holds on to the
    proposal with the smallest (cost, mover) and the others go on to their next slot. Where each
    list is sorted by cost this equals going through all pairs in increasing (cost, mover) and
    taking each whose two sides are free.

    Parameters
    ----------
    mover, slot, cost : (E,) the pairs, grouped by mover, in each mover's order of preference.
    movers : number of movers.

    Returns
    -------
    accepted : (movers,) int64, the pair each mover ends up with, -1 for none.

    Examples
    --------
    >>> stable_matching(np.array([0, 0, 1]), np.array([5, 6, 5]), np.array([.2, .3, .1]), 2)
    array([1, 2])
    """
    stops = np.searchsorted(mover, np.arange(movers), side="right")
    upcoming = np.searchsorted(mover, np.arange(movers))
    held = np.full(slot.max(initial=-1) + 1, -1)
    seeking = np.arange(movers)
    while len(seeking := seeking[upcoming[seeking] < stops[seeking]]):
        proposals = upcoming[seeking]
        upcoming[seeking] += 1
        holders = held[np.unique(slot[proposals])]
        contenders = np.concatenate([proposals, holders[holders >= 0]])
        order, place = buckets(slot[contenders], cost[contenders], mover[contenders])
        winners = contenders[order[place == 0]]
        held[slot[winners]] = winners
        seeking = mover[contenders[order[place > 0]]]
    accepted = np.full(movers, -1)
    held = held[held >= 0]
    accepted[mover[held]] = held
    return accepted
