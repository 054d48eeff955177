"""Interactions: who used which item when, before it is cut into histories."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from recmodels.data.dataset import Dataset
from recmodels.data.histories import Histories
from recmodels.data.split import Held, Split
from semantic_ids.ids import id_array


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """E interactions of U users with N items, by user, and each user's oldest first.

    Made by `Interactions.of`, or by a reader such as `read_amazon`.

    Parameters
    ----------
    users : (E,) int64, row of each interaction's user, ascending.
    items : (E,) int64, row of its item.
    times : (E,) float64, when it was, ascending for each user.
    user_ids, item_ids : (U,) and (N,), int64 or numpy strings, ascending; each has interactions.

    Examples
    --------
    >>> seen = Interactions.of(["bob", "ann", "bob"], ["x", "y", "z"], times=[5, 1, 2])
    >>> seen
    Interactions(3 of 2 users with 3 items)
    >>> [seen.item_ids[row].tolist() for row in seen.histories]
    [['y'], ['z', 'x']]
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray

    @classmethod
    def of(cls, users: Any, items: Any, times: Any = None) -> Self:
        """Number users and items by their ids, and put interactions in order.

        Those of one user at one time keep the order that they come in. Other programs may break
        such ties another way, and then hold out other items.

        Parameters
        ----------
        users, items : (E,) ids, str or int.
        times : (E,) finite numbers of any unit; None where the order they come in is that of time.

        Raises
        ------
        TypeError, ValueError
            if they are not valid, or not as many of each, or there is none.
        """
        names, things = id_array(users, name="users"), id_array(items, name="items")
        when = np.arange(len(names)) if times is None else np.asarray(times)
        if when.ndim != 1 or when.dtype.kind not in "iuf" or not np.isfinite(when).all():
            raise ValueError(
                f"times: expected finite numbers (E,), got {when.dtype} of shape {when.shape}"
            )
        if not len(names) == len(things) == len(when):
            raise ValueError(
                f"expected as many users as items and times, got {len(names)}, {len(things)} "
                f"and {len(when)}"
            )
        if not len(names):
            raise ValueError("users: expected at least one interaction")
        user_ids, user_rows = np.unique(names, return_inverse=True)
        item_ids, item_rows = np.unique(things, return_inverse=True)
        when = when.astype(np.float64)
        order = np.lexsort((when, user_rows))  # stable: ties keep their order
        return cls(user_rows[order], item_rows[order], when[order], user_ids, item_ids)

    def __len__(self) -> int:
        """Number of interactions."""
        return len(self.users)

    def __repr__(self) -> str:
        """Count users and items."""
        return (
            f"Interactions({len(self):,} of {len(self.user_ids):,} users "
            f"with {len(self.item_ids):,} items)"
        )

    @property
    def histories(self) -> Histories:
        """The item rows of every user, oldest first."""
        return _histories(self.users, self.items, len(self.user_ids))

    def k_core(self, users: int = 5, items: int = 5) -> Self:
        """Keep users and items that have enough interactions with each other.

        Whoever has too few is left out, which may leave others with too few, until nobody has:
        what remains is the largest part in which all have enough. Repeats count each time.

        Parameters
        ----------
        users, items : interactions that a user and an item need; 0 and 1 keep all.

        Raises
        ------
        ValueError
            if nothing remains.

        Examples
        --------
        >>> seen = Interactions.of([1, 1, 2, 2, 3], ["x", "y", "x", "y", "z"])
        >>> seen.k_core(users=2, items=2)
        Interactions(4 of 2 users with 2 items)
        """
        kept, last = np.ones(len(self), dtype=bool), 0
        while kept.sum() != last:
            last = kept.sum()
            of_user = np.bincount(self.users[kept], minlength=len(self.user_ids))
            of_item = np.bincount(self.items[kept], minlength=len(self.item_ids))
            kept &= (of_user[self.users] >= users) & (of_item[self.items] >= items)
        if not last:
            raise ValueError(
                f"no user is left with {users} interactions with items that have {items}; "
                "ask for fewer"
            )
        return self._only(kept)

    def of_items(self, ids: Any) -> Self:
        """Keep the interactions with some of the items, and the users who have any.

        Parameters
        ----------
        ids : of the items, str or int as in `item_ids`; others than those are passed over.

        Raises
        ------
        ValueError
            if nothing remains.

        Examples
        --------
        >>> Interactions.of(["ann", "bob"], ["x", "y"]).of_items(["y", "z"])
        Interactions(1 of 1 users with 1 items)
        """
        wanted = set(ids)
        known = np.array([name in wanted for name in self.item_ids.tolist()], dtype=bool)
        kept = known[self.items]
        if not kept.any():
            raise ValueError(f"ids: none of the {len(self.item_ids)} items is among them")
        return self._only(kept)

    def _only(self, kept: np.ndarray) -> Self:
        """Keep some interactions, with the users and items that they are of."""
        user_rows, numbers = np.unique(self.users[kept], return_inverse=True)
        item_rows, item_numbers = np.unique(self.items[kept], return_inverse=True)
        return type(self)(
            numbers,
            item_numbers,
            self.times[kept],
            self.user_ids[user_rows],
            self.item_ids[item_rows],
        )

    def dataset(self, name: str) -> Dataset:
        """Return a catalogue of these items, without features, and its users' histories."""
        users = tuple(map(str, self.user_ids.tolist()))
        return Dataset(name, self.item_ids, histories=self.histories, users=users)

    def split_by_time(self, validation: float, test: float) -> Split:
        """Split at two moments: nothing is learnt from that came later than what is asked.

        Parameters
        ----------
        validation, test : times at which the two parts begin.

        Returns
        -------
        split : `train` is what came before `validation`. `validation` asks for each user's first
            item from then on and before `test`, after all that user had before it; `test` for the
            first from `test` on. Users without a history are not asked, and those without
            anything before `validation` are not in `train`. (`Split.leave_one_out` of `histories`
            asks every user for the last item instead, whenever that was.)

        Raises
        ------
        ValueError
            if `test` is not after `validation`, or a part is empty.

        Examples
        --------
        >>> seen = Interactions.of([1, 1, 1, 2], [7, 8, 9, 8], times=[1, 2, 3, 1])
        >>> split = seen.split_by_time(validation=2, test=3)
        >>> [row.tolist() for row in split.train], split.validation.targets, split.test.targets
        ([[0], [1]], array([1], dtype=int32), array([2], dtype=int32))
        """
        if not validation < test:
            raise ValueError(f"test={test} should be after validation={validation}")
        train = self._before(validation)
        split = Split(
            size=len(self.item_ids),
            train=train.take(np.flatnonzero(train.lengths)),
            validation=self._first(validation, test),
            test=self._first(test, np.inf),
        )
        for name, part in (("train", split.train), ("validation", split.validation)):
            if not len(part):
                raise ValueError(f"validation={validation}: nothing is left for {name}")
        if not len(split.test):
            raise ValueError(f"test={test}: nothing is left for test")
        return split

    def _before(self, time: float) -> Histories:
        past = self.times < time
        return _histories(self.users[past], self.items[past], len(self.user_ids))

    def _first(self, start: float, end: float) -> Held:
        """Ask for each user's first item of a span of time, after all that came before."""
        past = self._before(start)
        lengths = np.bincount(self.users, minlength=len(self.user_ids))
        asked = np.flatnonzero((past.lengths > 0) & (past.lengths < lengths))
        first = (np.cumsum(lengths) - lengths + past.lengths)[asked]
        inside = self.times[first] < end
        return Held(past.take(asked[inside]), self.items[first[inside]])


def _histories(users: np.ndarray, items: np.ndarray, count: int) -> Histories:
    offsets = np.append(0, np.cumsum(np.bincount(users, minlength=count)))
    return Histories(items, offsets)
