"""NearestFree: items that collide move to the nearest code that nobody has."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from semantic_ids.codes import check_codes, code_keys
from semantic_ids.errors import CollisionError
from semantic_ids.resolvers.base import Candidates, Resolver, buckets, id_ranks, spans

#: Codes that are named for an item at first, and doubled where none of them is left for it.
FIRST_CANDIDATES = 32
#: As far as any list goes.
_ALL = int(np.iinfo(np.int32).max)


class NearestFree(Resolver):
    """Keep the code length: move colliding items to free codes that add little squared error.

    Of the items with one content code, the one nearest to what the code decodes to keeps it.
    The others take free codes: all pairs of such an item and a free code among its candidates
    are gone through in increasing (added squared error, id), and a pair is taken if both sides
    are still without the other. An item whose candidates run out gets more, down to all codes.

    Parameters
    ----------
    capacity : items that may share a code. More than 1 gives small buckets instead of unique
        codes, for those who call the resolver on its own; a catalogue needs 1.

    Notes
    -----
    Where candidates run out for very many items, those with the same content code, error and
    first candidates are taken for equal: one of them is asked for further candidates, for all.

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
    capacity: int = Field(default=1, ge=1)
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
        priority: np.ndarray | None = None,
        taken: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return unique codes (N, L); see `Resolver.resolve`."""
        if candidates is None or errors is None:
            raise TypeError("NearestFree needs candidates and errors")
        movers, space = split(codes, ids, sizes, errors, taken, capacity=self.capacity)
        unique = codes.copy()
        unique[movers] = nearest_free(movers, space, candidates, errors)[0]
        return unique


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
    keys, ranks = code_keys(codes, sizes), id_ranks(ids)
    order, place = buckets(keys, errors, ranks)
    stays = place < before.room(keys[order])
    movers = order[~stays]
    movers = movers[np.argsort(ranks[movers])]  # a smaller index is a smaller id
    held = np.concatenate([np.repeat(before.keys, before.counts), keys[order[stays]]])
    return movers, CodeSpace.of(sizes, held, capacity)


def _check_room(items: int, taken: int, sizes: tuple[int, ...], capacity: int) -> None:
    total = math.prod(sizes)
    if items + taken > total * capacity:
        others = f" and {taken:,} codes taken" if taken else ""
        limit = f" for {capacity} items each" if capacity > 1 else ""
        raise CollisionError(
            f"{items:,} items{others}, but only {total:,} codes{limit} "
            f"(codebook sizes {list(sizes)}); choose more levels or larger codebooks"
        )


def nearest_free(
    movers: np.ndarray, space: CodeSpace, candidates: Candidates, errors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find each mover a free code, going through all pairs in increasing (added error, id).

    Parameters
    ----------
    movers : (n,) rows, by ascending id.
    space : which codes are held.
    candidates : best codes of given rows.
    errors : (N,) squared error of each row's content code.

    Returns
    -------
    codes : (n, L) int32.
    added : (n,) float64, by how much the squared error grows.

    Raises
    ------
    ValueError
        if there are free codes that `candidates` does not name.
    """
    if not len(movers):
        return np.zeros((0, len(space.sizes)), dtype=np.int32), np.zeros(0)
    everyone, total = np.arange(len(movers)), math.prod(space.sizes)
    width = min(FIRST_CANDIDATES, total)
    codes, costs = candidates(movers, width)
    costs = costs - errors[movers, None]
    kinds = _kinds(errors[movers], codes, costs)
    skip, reach = _shares(kinds, space.capacity)
    lists, number, own = Offers.of(everyone, codes, costs, space), len(movers), everyone.copy()
    widths = np.full(len(movers), width)
    offers = lists.cut(own, everyone, skip, reach)
    while True:
        slot, room = offers.slots(space)
        accepted = stable_matching(offers.mover, slot, offers.cost, len(movers), room=room)
        waiting = np.flatnonzero(accepted < 0)
        if not len(waiting):
            return offers.code[accepted], offers.cost[accepted]
        lengths = np.bincount(lists.mover, minlength=number)
        at_the_end = waiting[skip[waiting] + reach[waiting] >= lengths[own[waiting]]]
        _check_lists(at_the_end[(widths == total)[at_the_end]], skip, reach, total)
        # Those whose part of the list is still to come need not reach further into it.
        offered = waiting[skip[waiting] < lengths[own[waiting]]]
        reach[offered] = np.minimum(2 * reach[offered], _ALL)
        whole = widths[at_the_end] == total
        # Movers that are equal as far as the first lists go may differ after all.
        skip[at_the_end[whole]], reach[at_the_end[whole]] = 0, _ALL
        if not whole.all():
            short, width = at_the_end[~whole], min(2 * width, total)
            # Equal movers share one longer list.
            _, first, which = np.unique(kinds[short], return_index=True, return_inverse=True)
            asked = movers[short[first]]
            codes, costs = candidates(asked, width)
            named = number + np.arange(len(asked))
            lists = lists.and_also(Offers.of(named, codes, costs - errors[asked, None], space))
            own[short], widths[short] = number + which, width
            number += len(asked)
        more = lists.cut(own[waiting], waiting, skip[waiting], reach[waiting])
        offers = offers.followed_by(more)


def _check_lists(done: np.ndarray, skip: np.ndarray, reach: np.ndarray, total: int) -> None:
    """Refuse movers that went through a list of all codes, from end to end, and have none."""
    left = done[(skip[done] == 0) & (reach[done] == _ALL)]
    if len(left):
        raise ValueError(
            f"candidates: {len(left):,} items are left without a free code, though all {total:,} "
            "were asked for; expected every code in each list"
        )


def _kinds(errors: np.ndarray, codes: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Give movers one number, (n,) int64, whose error and first candidates are all the same."""
    kinds = np.arange(len(errors))
    _, error, count = np.unique(errors, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(count[error] > 1)
    if len(alike):
        lists = [errors[alike, None], costs[alike], codes[alike].reshape(len(alike), -1)]
        whole = np.concatenate(lists, axis=1, dtype=np.float64)
        rows = whole.view(f"V{whole.itemsize * whole.shape[1]}").ravel()
        kinds[alike] = len(errors) + np.unique(rows, return_inverse=True)[1]
    return kinds


def _shares(kinds: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Say which part of its list of free codes each mover needs at first.

    Of equal movers each is passed over, at every code, for those with smaller ids. So these fill
    the first codes of their list, and mover number p of them need not ask for the first
    p // capacity.

    Returns
    -------
    skip : (n,) how many codes to leave out.
    reach : (n,) how many to go through from there; all where a mover has no equal.
    """
    order, place = buckets(kinds)
    skip = np.empty_like(kinds)
    skip[order] = place // capacity
    _, kind, count = np.unique(kinds, return_inverse=True, return_counts=True)
    return skip, np.where(count[kind] > 1, FIRST_CANDIDATES, _ALL)


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
        return Offers(
            np.concatenate([self.mover, more.mover]),
            np.concatenate([self.code, more.code]),
            np.concatenate([self.key, more.key]),
            np.concatenate([self.cost, more.cost]),
        )

    def followed_by(self, more: "Offers") -> "Offers":
        """Append offers to each item's list; what it was offered before is not repeated."""
        both = self.and_also(more)
        slot = np.unique(both.key, return_inverse=True)[1]
        _, first = np.unique(both.mover * (slot.max(initial=0) + 1) + slot, return_index=True)
        first = np.sort(first)
        order = first[np.argsort(both.mover[first], kind="stable")]
        return Offers(both.mover[order], both.code[order], both.key[order], both.cost[order])

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
