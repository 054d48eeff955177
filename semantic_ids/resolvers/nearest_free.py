"""NearestFree: items that collide move to the nearest code that nobody has."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from semantic_ids.resolvers.base import Candidates, Resolver, buckets
from semantic_ids.resolvers.collisions import CodeSpace, split
from semantic_ids.resolvers.offers import Offers, stable_matching

#: Codes that are named for an item at first, and doubled where none of them is left for it.
FIRST_CANDIDATES = 32
#: Free codes of them that are kept for an item that has no equal.
_FIRST_OFFERS = 4
#: Items whose candidates are searched together.
_BLOCK_MOVERS = 1 << 14
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
    Items with the same error and the same first candidates, at the same errors, are taken for
    equal: where candidates run out, one of them is asked for more, on behalf of all. So
    thousands of copies of one item cost little more than one.

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
    lists = _Lists(movers, space, candidates, errors)
    offers = lists.offers(np.arange(len(movers)))
    while True:
        slot, room = offers.slots(space)
        accepted = stable_matching(offers.mover, slot, offers.cost, len(movers), room=room)
        waiting = np.flatnonzero(accepted < 0)
        if not len(waiting):
            return offers.code[accepted], offers.cost[accepted]
        lists.reach_further(waiting)
        held = offers.at(accepted[accepted >= 0])
        more = lists.offers(waiting).better_than(held, space)
        offers = offers.still_open(accepted).and_also(more)
        offers = offers.at(np.argsort(offers.mover, kind="stable"))


class _Lists:
    """The free codes that each mover goes through, and how far into them it is.

    Movers that are equal share a list, once it is longer than the first, and go through
    different parts of it.
    """

    def __init__(
        self, movers: np.ndarray, space: CodeSpace, candidates: Candidates, errors: np.ndarray
    ) -> None:
        self._movers, self._space = movers, space
        self._candidates, self._errors = candidates, errors
        self._total, self._number = math.prod(space.sizes), len(movers)
        self._own = np.arange(len(movers))
        self._widths = np.full(len(movers), min(FIRST_CANDIDATES, self._total))
        self._lists, self._kinds = self._first_lists()
        self._skip, self._reach = _shares(self._kinds, space.capacity)

    def _first_lists(self) -> tuple[Offers, np.ndarray]:
        """Return the beginning of each mover's first list, and which movers are equal.

        Few movers get beyond it, and those who do ask again: so memory does not grow with all
        that was named. Movers that may have equals keep whole lists, which these share.
        """
        parts, lists = [], []
        may_have_equals = _shared(self._errors[self._movers])
        for start in range(0, len(self._movers), _BLOCK_MOVERS):
            block = np.arange(start, min(start + _BLOCK_MOVERS, len(self._movers)))
            rows = self._movers[block]
            codes, costs = self._candidates(rows, int(self._widths[start]))
            costs = costs - self._errors[rows, None]
            offers = Offers.of(block, codes, costs, self._space)
            place = np.arange(len(offers.mover)) - np.searchsorted(offers.mover, offers.mover)
            late = (place >= _FIRST_OFFERS) & ~may_have_equals[offers.mover]
            self._widths[offers.mover[late]] = 0
            parts.append(offers.at(np.flatnonzero(~late)))
            shared = may_have_equals[block]
            lists.append((codes[shared], costs[shared]))
        codes, costs = (np.concatenate(found) for found in zip(*lists, strict=True))
        kinds = np.arange(len(self._movers))
        alike = np.flatnonzero(may_have_equals)
        kinds[alike] = len(kinds) + _kinds(self._errors[self._movers[alike]], codes, costs)
        return Offers.joined(parts), kinds

    def offers(self, movers: np.ndarray) -> Offers:
        """Return the part of their lists that some movers go through now."""
        skip, reach = self._skip[movers], self._reach[movers]
        return self._lists.cut(self._own[movers], movers, skip, reach)

    def reach_further(self, waiting: np.ndarray) -> None:
        """Give movers twice as much to go through, and longer lists where these end."""
        lengths = np.bincount(self._lists.mover, minlength=self._number)[self._own[waiting]]
        skip, reach = self._skip[waiting], self._reach[waiting]
        at_the_end = waiting[skip + reach >= lengths]
        whole = self._widths[at_the_end] == self._total
        self._check(at_the_end[whole])
        # Those whose part of the list is still to come need not reach further into it.
        offered = waiting[skip < lengths]
        self._reach[offered] = np.minimum(2 * self._reach[offered], _ALL)
        # Movers that are equal as far as the first lists go may differ after all.
        self._skip[at_the_end[whole]], self._reach[at_the_end[whole]] = 0, _ALL
        short = at_the_end[~whole]
        widths = self._widths[short]
        for width in np.unique(widths).tolist():
            longer = max(2 * width, FIRST_CANDIDATES)
            self._lengthen(short[widths == width], min(longer, self._total))

    def _lengthen(self, movers: np.ndarray, width: int) -> None:
        """Ask for more candidates; one of several equal movers is asked for all."""
        _, first, which = np.unique(self._kinds[movers], return_index=True, return_inverse=True)
        asked = self._movers[movers[first]]
        codes, costs = self._candidates(asked, width)
        numbers = self._number + np.arange(len(asked))
        named = Offers.of(numbers, codes, costs - self._errors[asked, None], self._space)
        self._lists = self._lists.and_also(named)
        self._own[movers], self._widths[movers] = self._number + which, width
        self._number += len(asked)

    def _check(self, movers: np.ndarray) -> None:
        """Refuse movers that went through a list of all codes, from end to end, and have none."""
        left = (self._skip[movers] == 0) & (self._reach[movers] == _ALL)
        if left.any():
            raise ValueError(
                f"candidates: {left.sum():,} items are left without a free code, though all "
                f"{self._total:,} were asked for; expected every code in each list"
            )


def _shared(values: np.ndarray) -> np.ndarray:
    """Say which values occur more than once, (n,) bool."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    return count[which] > 1


def _kinds(errors: np.ndarray, codes: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Number movers, (n,) int64: one number for those whose error and first list are the same."""
    if not len(errors):
        return np.zeros(0, dtype=np.int64)
    lists = [errors[:, None], costs, codes.reshape(len(errors), -1)]
    whole = np.concatenate(lists, axis=1, dtype=np.float64)
    rows = whole.view(f"V{whole.itemsize * whole.shape[1]}").ravel()
    return np.unique(rows, return_inverse=True)[1]


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
