"""Leave-one-out: what is trained on, what is chosen by, what is reported."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from recmodels.data.histories import Histories, row_array
from semantic_ids.ids import as_ids


@dataclass(frozen=True, eq=False)
class Held:
    """What a recommender is asked: U histories, and the item that follows each.

    Parameters
    ----------
    histories : what may be shown, one a user.
    targets : (U,) int32, the row of the item that came next.
    ids : N distinct str or int, the items that rows stand for, by which `evaluate` knows a
        recommender of another catalogue; None where they are not known.

    Raises
    ------
    ValueError
        if there is not one target a history, or a row has no id.

    Examples
    --------
    >>> held = Held(Histories.of([[3, 1], [4]]), [1, 5])
    >>> len(held), held.targets
    (2, array([1, 5], dtype=int32))
    """

    histories: Histories
    targets: np.ndarray
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Copy and check the targets."""
        object.__setattr__(self, "targets", row_array("targets", self.targets))
        if len(self.targets) != len(self.histories):
            raise ValueError(
                f"targets: expected one for each of {len(self.histories)} histories, "
                f"got {len(self.targets)}"
            )
        if self.ids is not None:
            object.__setattr__(self, "ids", as_ids(self.ids))
            most = max(self.histories.items.max(initial=0), self.targets.max(initial=0))
            if most >= len(self.ids):
                raise ValueError(f"ids: there is none of item {most}, only {len(self.ids)}")

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.targets)

    def check_order(self, name: str, ids: Any) -> None:
        """Refuse what has other items, or has them in another order, where both have ids.

        Parameters
        ----------
        name : what has them, for the error.
        ids : str or int, its items', of which those that come after all of `self.ids` do not
            matter; or None.

        Raises
        ------
        ValueError
            naming the first row that differs.

        Examples
        --------
        >>> held = Held(Histories.of([[1]]), [0], ids=np.array([7, 8]))
        >>> held.check_order("features", np.array([7, 8, 9]))
        >>> held.check_order("features", np.array([8, 7]))
        Traceback (most recent call last):
        ...
        ValueError: features: row 0 is item 8, but 7 in the split: give its items in that order
        """
        if ids is None or self.ids is None or ids is self.ids:
            return
        first = as_ids(ids, name=f"{name}.ids")[: len(self.ids)]
        if len(first) < len(self.ids) or first.dtype.kind != self.ids.dtype.kind:
            raise ValueError(f"{name}: its items are not those of the split")
        if len(other := np.flatnonzero(first != self.ids)):
            raise ValueError(
                f"{name}: row {other[0]} is item {first[other[0]]}, but {self.ids[other[0]]} in "
                "the split: give its items in that order"
            )

    def take(self, users: Any) -> Self:
        """Return the questions of some users, in the order asked for; see `Histories.take`.

        Examples
        --------
        >>> Held(Histories.of([[3, 1], [4]]), [1, 5]).take([1]).targets
        array([5], dtype=int32)
        """
        histories = self.histories.take(users)
        return type(self)(histories, self.targets[np.asarray(users, dtype=np.int64)], self.ids)


@dataclass(frozen=True, eq=False)
class Split:
    """Interactions in three parts: to train on, to choose by, to report.

    Whatever is built from interactions (a model, a popularity count, an item graph, a
    collaborative vector) takes a `Split` and reads `train` alone. Choices are made on
    `validation`. `test` is for the last figure.

    Parameters
    ----------
    size : number of items in the catalogue.
    train : the histories that may be learnt from.
    validation : what choices such as early stopping are measured on.
    test : what is reported.

    Raises
    ------
    ValueError
        if an item is not a row of the catalogue.

    Examples
    --------
    >>> split = Split.leave_one_out(Histories.of([[3, 1, 4, 1], [5, 2, 0]]), size=6)
    >>> [row.tolist() for row in split.train]
    [[3, 1], [5]]
    >>> split.validation.targets, split.test.targets
    (array([4, 2], dtype=int32), array([1, 0], dtype=int32))
    >>> [row.tolist() for row in split.test.histories]
    [[3, 1, 4], [5, 2]]
    """

    size: int
    train: Histories
    validation: Held
    test: Held

    def __post_init__(self) -> None:
        """Check that every item is in the catalogue."""
        parts = {
            "train": self.train.items,
            "validation": self.validation.histories.items,
            "validation targets": self.validation.targets,
            "test": self.test.histories.items,
            "test targets": self.test.targets,
        }
        for name, rows in parts.items():
            if len(rows) and rows.max() >= self.size:
                raise ValueError(
                    f"{name}: item {rows.max()} is not in the catalogue; "
                    f"expected 0 to {self.size - 1} (size={self.size})"
                )

    @classmethod
    def leave_one_out(
        cls, histories: Histories, size: int, *, ids: np.ndarray | None = None
    ) -> Self:
        """Hold out each user's last item for the test, the one before it for validation.

        Users keep their order in all three parts.

        Parameters
        ----------
        histories : complete histories, at least 3 items each.
        size : number of items in the catalogue.
        ids : of these items, kept with what is held out; see `Held`.

        Returns
        -------
        split : `train` is ``items[:-2]`` of each user; `validation` asks for ``items[-2]`` after
            ``items[:-2]``; `test` asks for ``items[-1]`` after ``items[:-1]``.

        Raises
        ------
        ValueError
            if a user has fewer than 3 items, or an item is not a row of the catalogue.
        """
        check_lengths(histories)
        ends = histories.offsets[1:]
        train = histories.drop_last(2)
        return cls(
            size=size,
            train=train,
            validation=Held(train, histories.items[ends - 2], ids),
            test=Held(histories.drop_last(1), histories.items[ends - 1], ids),
        )


def check_lengths(histories: Histories) -> None:
    """Refuse users of whom two items cannot be held out and one be left."""
    short = np.flatnonzero(histories.lengths < 3)
    if len(short):
        raise ValueError(
            f"histories: leave-one-out needs 3 items a user, but {len(short)} of "
            f"{len(histories)} users have fewer (first: user {short[0]} "
            f"with {histories.lengths[short[0]]}); leave them out"
        )


def check_split(split: object) -> None:
    """Refuse what is no split, such as the data set that one is made of."""
    if not isinstance(split, Split):
        raise TypeError(
            f"split: expected a Split, such as dataset.split(), got a {type(split).__name__}"
        )
