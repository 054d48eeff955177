"""Overlap: what data sets to learn from share with the one to be judged on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recmodels.data.dataset import Dataset
from recmodels.data.histories import Histories
from semantic_ids.id_index import IdIndex


@dataclass(frozen=True, repr=False)
class Overlap:
    """What a source shared with a target.

    Attributes
    ----------
    source, target : their names.
    users : users of the target that the source had too; they are removed.
    events : interactions that went with them.
    held_out : those of them that are the very item which the target holds out of that user, for
        validation or the test.
    unnamed_users : users of the source without an id; they are kept, nobody knows who they are.
    items : ids that are in both catalogues; they are kept. Row numbers are not counted: equal
        ones say nothing.
    """

    source: str
    target: str
    users: int
    events: int
    held_out: int
    unnamed_users: int
    items: int

    def __repr__(self) -> str:
        """Say it in a line."""
        return (
            f"Overlap({self.source!r} with {self.target!r}: {self.users:,} users and their "
            f"{self.events:,} events removed, {self.held_out:,} of them held out in the target; "
            f"{self.items:,} items in both; {self.unnamed_users:,} users without an id)"
        )


def without_overlap(
    sources: Sequence[Dataset], target: Dataset
) -> tuple[tuple[Dataset, ...], tuple[Overlap, ...]]:
    """Remove the users of a target from the data sets to pretrain on.

    A user that is in both is removed from the source with all interactions: so what the target
    holds out of that user cannot be learnt there, nor what the user did around that time. Which
    users go does not depend on the target's histories.

    Users and items are told by their ids, which have to be of one numbering: where a data set
    numbers its users anew, equal ids are an accident. That a source is the target under other
    ids, or another cut of the same records, cannot be seen here; do not name such a one.

    Parameters
    ----------
    sources : data sets with histories.
    target : with histories of 3 items a user at least.

    Returns
    -------
    sources : the same, without the target's users.
    overlaps : what each shared with the target.

    Raises
    ------
    ValueError
        if one has no histories, or a user of the target has fewer than 3 items.

    Examples
    --------
    >>> from recmodels.data import synthetic_catalogue
    >>> source, target = synthetic_catalogue(60, users=9), synthetic_catalogue(60, users=4)
    >>> (rest,), (overlap,) = without_overlap([source], target)
    >>> rest.users, overlap.users, overlap.items
    (('U00004', 'U00005', 'U00006', 'U00007', 'U00008'), 4, 60)
    """
    target.split()  # refuses what cannot be a target
    found = [_without(source, target) for source in sources]
    return tuple(source for source, _ in found), tuple(overlap for _, overlap in found)


def _without(source: Dataset, target: Dataset) -> tuple[Dataset, Overlap]:
    histories, theirs = _histories(source), _histories(target)
    row_of: dict[str | None, int] = {user: row for row, user in enumerate(target.users)}
    row_of[None] = -1
    rows = np.array([row_of.get(user, -1) for user in source.users], dtype=np.int64)
    shared, kept = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
    gone = histories.take(shared)
    named = source.ids.dtype.kind == target.ids.dtype.kind == "T"
    rest = replace(
        source, histories=histories.take(kept), users=tuple(source.users[row] for row in kept)
    )
    return rest, Overlap(
        source=source.name,
        target=target.name,
        users=len(shared),
        events=len(gone.items),
        held_out=_held_out(source, target, gone, theirs.take(rows[shared])) if named else 0,
        unnamed_users=sum(user is None for user in source.users),
        items=int((IdIndex.of(target.ids).find(source.ids) >= 0).sum()) if named else 0,
    )


def _held_out(source: Dataset, target: Dataset, ours: Histories, theirs: Histories) -> int:
    """Count events of users in the source that are among the last two in the target."""
    users = np.repeat(np.arange(len(ours)), ours.lengths)
    ends = theirs.offsets[1:]
    items = source.ids[ours.items]
    same = [items == target.ids[theirs.items[ends - back]][users] for back in (1, 2)]
    return int((same[0] | same[1]).sum())


def _histories(dataset: Dataset) -> Histories:
    if dataset.histories is None:
        raise ValueError(f"dataset: {dataset.name!r} has no histories")
    return dataset.histories
