"""A catalogue with what is known of its items and of their users."""

from dataclasses import dataclass

import numpy as np

from recmodels.data.histories import Histories
from recmodels.data.split import Split
from semantic_ids import Features
from semantic_ids.ids import as_ids


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A catalogue of N items, with what is known of them and of their users.

    Parameters
    ----------
    name : what to call it in a table.
    ids : N distinct str or int.
    features : of the N items: Features that carry the same ids, or whatever `Features.of` takes;
        None where there are none.
    histories : U histories of item rows, oldest first, or a list of such rows a user; None where
        there are no sequences.
    users : U ids, None for a user without one; also where only unordered sets are known of them.
        If left out, no user of the histories has one.
    titles : N texts, empty where an item has none; None where no item has one.
    categories : the same, each item's path in one text.
    dropped_users : how many users were left out for having too few items.

    Raises
    ------
    TypeError
        if a part is of another kind.
    ValueError
        if the parts do not fit together: other lengths, other ids, ids that repeat, or an item in
        a history that is not a row of the catalogue.

    Examples
    --------
    >>> features = Features({"text": np.eye(3)}, ids=["a", "b", "c"])
    >>> Dataset("toy", features.ids, features, Histories.of([[0, 2, 1]]), users=("ann",))
    Dataset('toy': 3 items; text 3; 1 users, 3 interactions)
    """

    name: str
    ids: np.ndarray
    features: Features | None = None
    histories: Histories | None = None
    users: tuple[str | None, ...] = ()
    titles: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    dropped_users: int = 0

    def __post_init__(self) -> None:
        """Read the parts, and check that they fit together."""
        self._read()
        if len(np.unique(self.ids)) < self.size:
            raise ValueError("ids: some repeat; every item needs an id of its own")
        for name, value in (
            ("features", self.features),
            ("titles", self.titles),
            ("categories", self.categories),
        ):
            if value is not None and len(value) != self.size:
                raise ValueError(
                    f"{name}: expected one for each of {self.size} ids, got {len(value)}"
                )
        if self.features is not None:
            _check_same_ids(self.features, self.ids)
        if self.histories is not None:
            _check_histories(self.histories, self.users, self.size)

    def _read(self) -> None:
        ids = as_ids(self.ids)
        features, histories, users = self.features, self.histories, self.users or ()
        if features is not None and not isinstance(features, Features):
            features = Features.of(features, ids)
        if histories is not None and not isinstance(histories, Histories):
            try:
                histories = Histories.of(histories)
            except (TypeError, ValueError) as error:
                raise type(error)(
                    f"histories: rows of the catalogue are expected: {error}"
                ) from None
        if histories is not None and not len(users):
            users = (None,) * len(histories)
        for name, value in (
            ("ids", ids),
            ("features", features),
            ("histories", histories),
            ("users", tuple(users)),
        ):
            object.__setattr__(self, name, value)

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self.ids)

    def split(self) -> Split:
        """Hold out each user's last two items, one by one; see `Split.leave_one_out`.

        Raises
        ------
        ValueError
            if there are no histories, or a user has fewer than 3 items.
        """
        if self.histories is None:
            raise ValueError(f"dataset: {self.name!r} has no histories to split")
        return Split.leave_one_out(self.histories, self.size, ids=self.ids)

    def __repr__(self) -> str:
        """Name it and count what it holds."""
        parts = [f"{self.size:,} items"]
        if self.features is not None:
            arrays = self.features.modalities.items()
            parts.append(", ".join(" ".join(map(str, (k, *a.shape[1:]))) for k, a in arrays))
        if self.histories is not None:
            count = len(self.histories.items)
            parts.append(f"{len(self.histories):,} users, {count:,} interactions")
        if self.dropped_users:
            parts.append(f"{self.dropped_users:,} users dropped")
        return f"Dataset({self.name!r}: {'; '.join(parts)})"


def _check_same_ids(features: Features, ids: np.ndarray) -> None:
    own = features.ids
    if own is None or own.dtype.kind != ids.dtype.kind or not np.array_equal(own, ids):
        raise ValueError(
            "features: expected the ids of the dataset, in its order, "
            f"got {'none' if own is None else 'others'}; "
            "give them as Features(..., ids=ids)"
        )


def _check_histories(histories: Histories, users: tuple[str | None, ...], size: int) -> None:
    if len(users) != len(histories):
        raise ValueError(
            f"users: expected one for each of {len(histories)} histories, got {len(users)}"
        )
    if len(histories.items) and histories.items.max() >= size:
        raise ValueError(
            f"histories: item {histories.items.max()} is not in the catalogue; "
            f"expected 0 to {size - 1}"
        )
