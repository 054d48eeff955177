"""Hit rate, NDCG and reciprocal rank over the full catalogue, one target a user.

Ties are counted against the recommender: a target that shares its score with other items is
ranked after all of them. A model that gives two items one score gains nothing by it.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from recmodels.data import Held
from recmodels.ranking import Scorer
from semantic_ids.progress import progress_bar


@dataclass(frozen=True, repr=False)
class Metrics:
    """Averages over users, of one target each.

    Attributes
    ----------
    users : number of users.
    hr_1, hr_5, hr_10 : share of users whose target is among the first 1, 5, 10.
    ndcg_5, ndcg_10 : mean of `1 / log2(1 + rank)`, 0 beyond the first 5, 10; with one target a
        user the ideal gain is 1.
    mrr : mean of `1 / rank`, without a cut.
    tied : number of users whose target shares its score with another item.

    Examples
    --------
    >>> Metrics.from_ranks([1, 3, 20, 4])
    Metrics(users=4, hr_1=0.2500, hr_5=0.7500, hr_10=0.7500, ndcg_5=0.4827, ndcg_10=0.4827, \
mrr=0.4083, tied=0)
    """

    users: int
    hr_1: float
    hr_5: float
    hr_10: float
    ndcg_5: float
    ndcg_10: float
    mrr: float
    tied: int

    @classmethod
    def from_ranks(cls, ranks: ArrayLike, tied: int = 0) -> "Metrics":
        """Average over users the measures of their targets' ranks.

        Parameters
        ----------
        ranks : (U,) int, rank of each user's target, from 1.
        tied : number of users whose target is tied.

        Raises
        ------
        ValueError
            if there is no user, or a rank is below 1.
        """
        ranks = np.asarray(ranks)
        if ranks.ndim != 1 or not len(ranks) or ranks.dtype.kind not in "iu" or ranks.min() < 1:
            raise ValueError(
                "ranks: expected one integer rank of at least 1 a user, for at least one user; "
                f"got {ranks.dtype} of shape {ranks.shape}"
                + (f", least {ranks.min()}" if ranks.size else "")
            )
        gains = 1 / np.log2(1 + ranks)
        return cls(
            users=len(ranks),
            hr_1=float((ranks <= 1).mean()),
            hr_5=float((ranks <= 5).mean()),
            hr_10=float((ranks <= 10).mean()),
            ndcg_5=float(np.where(ranks <= 5, gains, 0).mean()),
            ndcg_10=float(np.where(ranks <= 10, gains, 0).mean()),
            mrr=float((1 / ranks).mean()),
            tied=tied,
        )

    def to_dict(self) -> dict[str, int | float]:
        """Return the measures by name, in full precision, for a table or a JSON file."""
        return asdict(self)

    def __repr__(self) -> str:
        """Show every measure to four places."""
        shown = (
            f"{name}={value}" if isinstance(value, int) else f"{name}={value:.4f}"
            for name, value in self.to_dict().items()
        )
        return f"Metrics({', '.join(shown)})"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found, user by user.

    Attributes
    ----------
    metrics : the averages.
    ranks : (U,) int64, rank of each user's target, read-only.
    tied_users : (U,) bool, read-only, True where the target shares its score.
    """

    metrics: Metrics
    ranks: np.ndarray
    tied_users: np.ndarray

    def hits(self, k: int) -> np.ndarray:
        """Say for each user whether the target is among the first k: (U,) bool."""
        return self.ranks <= k


class Difference(NamedTuple):
    """A mean difference over users and the standard error of it."""

    mean: float
    standard_error: float


def target_ranks(scores: np.ndarray, targets: ArrayLike) -> np.ndarray:
    """Rank each user's target among all items, ties counted against it.

    The rank is 1, and 1 for every item that scores higher, and 1 for every other item that scores
    the same.

    Parameters
    ----------
    scores : (n, N) float, a score of each item for each user; higher is better.
    targets : (n,) int, the target's column for each user.

    Returns
    -------
    (n,) int64

    Raises
    ------
    ValueError
        if a score is not finite, naming the first user row and item column; if a target is not a
        column of `scores`; or if the shapes do not belong together.

    Examples
    --------
    >>> target_ranks(np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5]]), [2, 0])
    array([2, 3])
    """
    scores = np.asarray(scores)
    if scores.ndim != 2:
        raise ValueError(f"scores: expected two dimensions (users, items), got {scores.shape}")
    items = scores.shape[1]
    targets = _checked_targets(targets, items)
    _check_scores(scores, (len(targets), items))
    return _ranks(scores, targets)[0]


def evaluate(
    recommender: Scorer, held: Held, *, block: int = 1024, progress: bool | None = None
) -> Evaluation:
    """Rank every held-out target among the whole catalogue.

    Items of the history are ranked like any other.

    Parameters
    ----------
    recommender : what scores the catalogue for histories.
    held : histories and the target of each.
    block : users scored at a time, at least 1.
    progress : True shows a bar, False hides it, None shows it in a terminal only.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        if there is no user, a target is not an item of the recommender, or it returns scores of
        another shape than (users, `recommender.size`) or that are not finite, naming the first.

    Notes
    -----
    Holds the scores of one block at a time, `block * N` float32.

    Examples
    --------
    >>> from recmodels.baselines import Popularity
    >>> from recmodels.data import Histories, Split
    >>> histories = Histories.of([[0, 1, 0, 1], [1, 1, 2, 0]])
    >>> split = Split.leave_one_out(histories, size=3)
    >>> evaluate(Popularity.fit(split), split.test, progress=False).ranks
    array([1, 2])
    """
    if block < 1:
        raise ValueError(f"block={block} should be >= 1")
    users, size = len(held.histories), recommender.size
    targets = _checked_targets(held.targets, size)
    ranks = np.empty(users, dtype=np.int64)
    tied = np.empty(users, dtype=bool)
    with progress_bar(total=users, description="evaluating", progress=progress) as bar:
        for start in range(0, users, block):
            part = np.arange(start, min(start + block, users))
            scores = recommender.scores(held.histories.take(part))
            _check_scores(scores, (len(part), size), first_user=start)
            ranks[part], tied[part] = _ranks(scores, targets[part])
            bar.update(len(part))
    ranks.setflags(write=False)
    tied.setflags(write=False)
    return Evaluation(Metrics.from_ranks(ranks, tied=int(tied.sum())), ranks, tied)


def paired_difference(a: ArrayLike, b: ArrayLike) -> Difference:
    """Compare two recommenders on the same users.

    Parameters
    ----------
    a, b : (U,) bool or float, a measure of each user under either, in the same order: hits
        (`Evaluation.hits(10)`), gains or reciprocal ranks. U is at least 2.

    Returns
    -------
    Difference
        mean of `a - b`, and the standard error of that mean over users: the sample standard
        deviation of the differences over `sqrt(U)`.

    Raises
    ------
    ValueError
        if they are not of one 1-D shape, or there are fewer than two users.

    Notes
    -----
    Pairing removes what users have in common: two recommenders hit mostly the same easy users, so
    this error is smaller than that of two separate averages. It says how far the result would
    move with other users, and nothing of other seeds.

    Examples
    --------
    >>> difference = paired_difference([True, True, False, True], [True, False, False, False])
    >>> difference.mean, round(difference.standard_error, 4)
    (0.5, 0.2887)
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"expected one value a user in both, got shapes {a.shape} and {b.shape}")
    if len(a) < 2:
        raise ValueError(f"a standard error needs at least 2 users, got {len(a)}")
    differences = a - b
    return Difference(
        mean=float(differences.mean()),
        standard_error=float(differences.std(ddof=1) / np.sqrt(len(differences))),
    )


def _ranks(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks and whether the target is tied."""
    own = np.take_along_axis(scores, targets[:, None], axis=1)
    # The target itself is among those that score at least its score: it is the 1 of the rank.
    at_least = np.count_nonzero(scores >= own, axis=1)
    equal = np.count_nonzero(scores == own, axis=1)
    return at_least.astype(np.int64), equal > 1


def _check_scores(scores: np.ndarray, shape: tuple[int, int], first_user: int = 0) -> None:
    if scores.shape != shape:
        raise ValueError(f"scores: expected shape {shape} (users, items), got {scores.shape}")
    finite = np.isfinite(scores)
    if not finite.all():
        user, item = np.argwhere(~finite)[0].tolist()
        raise ValueError(
            f"scores: {scores[user, item]} for user row {first_user + user}, item column {item}; "
            "every score must be finite"
        )


def _checked_targets(targets: ArrayLike, size: int) -> np.ndarray:
    targets = np.asarray(targets)
    if targets.ndim != 1 or (targets.size and targets.dtype.kind not in "iu"):
        raise ValueError(
            f"targets: expected a 1-D array of integers, got {targets.dtype} {targets.shape}"
        )
    outside = (targets < 0) | (targets >= size)
    if outside.any():
        user = int(outside.argmax())
        raise ValueError(
            f"targets: user row {user} has item {targets[user]}, which is not one of {size} items"
        )
    return targets.astype(np.int64)
