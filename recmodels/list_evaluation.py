"""Evaluating recommenders that return their best items only, not a score of every item."""

from typing import Protocol

import numpy as np

from recmodels.data import Held, Histories
from recmodels.evaluation import Evaluation, evaluation_of
from recmodels.ranking import TopK
from semantic_ids.progress import progress_bar


class Lister(Protocol):
    """What an evaluator needs of a recommender that returns lists, such as one that generates.

    The items of a list are distinct, their scores are finite and do not rise.
    """

    @property
    def size(self) -> int:
        """Number of items N that lists are made of."""
        ...

    def top_k(self, histories: Histories, k: int) -> TopK:
        """Return the best k items for each of n histories, best first."""
        ...


def evaluate_lists(
    recommender: Lister,
    held: Held,
    *,
    k: int = 10,
    block: int = 1024,
    progress: bool | None = None,
) -> Evaluation:
    """Rank every held-out target within the recommender's list of k items.

    A target that is not in the list is ranked last, N: so HR and NDCG up to k are those of the
    whole catalogue, and beyond k, as the MRR, they are at most what a full ranking would have.
    Items of the history are ranked like any other.

    Parameters
    ----------
    recommender : what returns lists.
    held : histories and the target of each.
    k : items of a list, 1 to N; 10 at least for all measures of `Metrics`.
    block : users asked for at a time, at least 1.
    progress : True shows a bar, False hides it, None shows it in a terminal only.

    Returns
    -------
    Evaluation
        ties within the list count against the recommender, as in `evaluate`; those with items
        outside the list are not known.

    Raises
    ------
    ValueError
        if there is no user, `k` is out of range, a target is not an item of the recommender, or a
        list is of another shape, names an item that is none or one twice, or has scores that are
        not finite or rise.

    Examples
    --------
    >>> class Always:
    ...     size = 5
    ...     def top_k(self, histories, k):
    ...         rows = np.tile([3, 1, 4], (len(histories), 1))
    ...         return TopK(rows, np.tile([0.9, 0.5, 0.5], (len(histories), 1)))
    >>> held = Held(Histories.of([[0], [0], [0]]), [3, 1, 2])
    >>> evaluate_lists(Always(), held, k=3, progress=False).ranks
    array([1, 3, 5])
    """
    users, size = len(held), recommender.size
    if block < 1:
        raise ValueError(f"block={block} should be >= 1")
    if not 1 <= k <= size:
        raise ValueError(f"k={k} should be between 1 and the number of items, {size}")
    outside = np.flatnonzero(held.targets >= size)
    if len(outside):
        raise ValueError(
            f"targets: user row {outside[0]} has item {held.targets[outside[0]]}, "
            f"which is not one of {size} items"
        )
    ranks = np.empty(users, dtype=np.int64)
    tied = np.empty(users, dtype=bool)
    with progress_bar(total=users, description="evaluating", progress=progress) as bar:
        for start in range(0, users, block):
            part = np.arange(start, min(start + block, users))
            top = recommender.top_k(held.histories.take(part), k)
            _check_lists(top, (len(part), k), size, first_user=start)
            ranks[part], tied[part] = _list_ranks(top, held.targets[part], size)
            bar.update(len(part))
    return evaluation_of(ranks, tied)


def _list_ranks(top: TopK, targets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks and whether the target is tied within its list."""
    at = top.rows == targets[:, None]
    listed = at.any(axis=1)
    own = np.take_along_axis(top.scores, at.argmax(axis=1)[:, None], axis=1)
    at_least = np.count_nonzero(top.scores >= own, axis=1)
    equal = np.count_nonzero(top.scores == own, axis=1)
    return np.where(listed, at_least, size), listed & (equal > 1)


def _check_lists(top: TopK, shape: tuple[int, int], size: int, first_user: int) -> None:
    if top.rows.shape != shape or top.scores.shape != shape:
        raise ValueError(
            f"lists: expected shape {shape} (users, k), "
            f"got rows {top.rows.shape} and scores {top.scores.shape}"
        )
    ordered = np.sort(top.rows, axis=1)
    for what, wrong in (
        (f"an item that is not one of {size}", (top.rows < 0) | (top.rows >= size)),
        ("an item twice", ordered[:, 1:] == ordered[:, :-1]),
        ("a score that is not finite", ~np.isfinite(top.scores)),
        ("scores that rise", top.scores[:, 1:] > top.scores[:, :-1]),
    ):
        if wrong.any():
            user = first_user + int(wrong.any(axis=1).argmax())
            raise ValueError(f"lists: user row {user} has {what}")
