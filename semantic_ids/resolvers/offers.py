"""Free codes on offer to items, and who gets which by deferred acceptance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from semantic_ids.codes import code_keys
from semantic_ids.resolvers.base import buckets, spans
from semantic_ids.resolvers.collisions import CodeSpace


@dataclass(frozen=True)
class Offers:
    """E free codes that items may take, grouped by item, each item's best first."""

    mover: np.ndarray  # (E,) int64
    code: np.ndarray  # (E, L) int32
    key: np.ndarray  # (E,)
    cost: np.ndarray  # (E,) float64, added squared error

    @classmethod
    def of(cls, movers: np.ndarray, codes: np.ndarray, costs: np.ndarray, space: CodeSpace) -> Self:
        """Make offers of each mover's candidates (n, m, L), leaving out codes without room."""
        flat = codes.reshape(-1, codes.shape[2])
        keys = code_keys(flat, space.sizes)
        free = np.flatnonzero(space.room(keys) > 0)
        mover = np.repeat(movers, codes.shape[1])
        return cls(mover[free], flat[free], keys[free], costs.ravel()[free])

    def cut(
        self, which: np.ndarray, movers: np.ndarray, skip: np.ndarray, reach: np.ndarray
    ) -> Self:
        """Offer `movers` part of the list of number `which`, past the first `skip`."""
        starts = np.searchsorted(self.mover, which) + skip
        stops = np.searchsorted(self.mover, which, side="right")
        lengths = np.clip(stops - starts, 0, reach)
        at = spans(starts, lengths)
        mover = np.repeat(movers, lengths)
        return type(self)(mover, self.code[at], self.key[at], self.cost[at])

    def and_also(self, more: "Offers") -> "Offers":
        """Put offers to others behind these."""
        return Offers.joined([self, more])

    @classmethod
    def joined(cls, parts: "Sequence[Offers]") -> "Offers":
        """Put offers to different movers one after another."""
        return cls(
            np.concatenate([part.mover for part in parts]),
            np.concatenate([part.code for part in parts]),
            np.concatenate([part.key for part in parts]),
            np.concatenate([part.cost for part in parts]),
        )

    def at(self, index: np.ndarray) -> "Offers":
        """Return some of the offers."""
        return Offers(self.mover[index], self.code[index], self.key[index], self.cost[index])

    def still_open(self, accepted: np.ndarray) -> "Offers":
        """Leave out what was refused: all before the offer that each mover holds, if any.

        A code that refused an item is held by others who go first, and will be.
        """
        held = accepted[self.mover]
        return self.at(np.flatnonzero((held >= 0) & (np.arange(len(held)) >= held)))

    def better_than(self, held: "Offers", space: CodeSpace) -> "Offers":
        """Leave out codes whose room is taken up by others who hold them and go first."""
        if not len(held.mover):
            return self
        order, place = buckets(held.key, held.cost, held.mover)
        last = np.flatnonzero(np.append(place[1:] == 0, True))
        worst = held.at(order[last])
        full = place[last] + 1 >= space.room(worst.key)
        at = np.minimum(np.searchsorted(worst.key, self.key), len(last) - 1)
        refused = (
            (worst.key[at] == self.key)
            & full[at]
            & (
                (worst.cost[at] < self.cost)
                | ((worst.cost[at] == self.cost) & (worst.mover[at] < self.mover))
            )
        )
        return self.at(np.flatnonzero(~refused))

    def slots(self, space: CodeSpace) -> tuple[np.ndarray, np.ndarray]:
        """Number each distinct code, (E,) int64, and say how much room each has."""
        keys, slot = np.unique(self.key, return_inverse=True)
        return slot, space.room(keys)


def stable_matching(
    mover: np.ndarray,
    slot: np.ndarray,
    cost: np.ndarray,
    movers: int,
    *,
    room: np.ndarray | None = None,
) -> np.ndarray:
    """Match movers to slots by deferred acceptance (Gale and Shapley, 1962).

    Every mover proposes to the first slot of its list, all at once; a slot holds on to as many
    proposals as it has room for, those with the smallest (cost, mover), and the others go on to
    their next slot. Where each list is sorted by cost this equals going through all pairs in
    increasing (cost, mover) and taking each whose mover is free and whose slot has room.

    Parameters
    ----------
    mover, slot, cost : (E,) the pairs, grouped by mover, in each mover's order of preference.
    movers : number of movers.
    room : (S,) how many movers each slot can take; 1 each if left out.

    Returns
    -------
    accepted : (movers,) int64, the pair each mover ends up with, -1 for none.

    Examples
    --------
    >>> pairs = np.array([0, 0, 1]), np.array([1, 0, 1]), np.array([0.2, 0.3, 0.1])
    >>> stable_matching(*pairs, 2)
    array([1, 2])
    >>> stable_matching(*pairs, 2, room=np.array([1, 2]))
    array([0, 2])
    """
    stops = np.searchsorted(mover, np.arange(movers), side="right")
    upcoming = np.searchsorted(mover, np.arange(movers))
    asked = np.bincount(slot)
    room = np.minimum(asked, 1 if room is None else room[: len(asked)])
    first = np.cumsum(room) - room  # where the pairs that a slot holds begin
    held = np.full(room.sum(), -1)
    seeking = np.arange(movers)
    while len(seeking := seeking[upcoming[seeking] < stops[seeking]]):
        proposals = upcoming[seeking]
        upcoming[seeking] += 1
        slots = np.unique(slot[proposals])
        holders = held[spans(first[slots], room[slots])]
        contenders = np.concatenate([proposals, holders[holders >= 0]])
        order, place = buckets(slot[contenders], cost[contenders], mover[contenders])
        contenders = contenders[order]
        fits = place < room[slot[contenders]]
        winners = contenders[fits]
        held[first[slot[winners]] + place[fits]] = winners
        seeking = mover[contenders[~fits]]
    accepted = np.full(movers, -1)
    held = held[held >= 0]
    accepted[mover[held]] = held
    return accepted
