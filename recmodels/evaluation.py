"""Hit rate, NDCG and reciprocal rank over the full catalogue, one target a user.

Ties are counted against the recommender: a target that shares its score with other items is
ranked after all of them. A model that gives two items one score gains nothing by it.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from recmodels.data import Held
from recmodels.ranking import Scorer
from semantic_ids.progress import progress_bar

#: Users scored at a time, and scores, unless the caller says how many users.
_USERS, _SCORES = 1024, 1 << 24


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


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        """Show the averages; the rest is as long as there are users."""
        return f"Evaluation({self.metrics!r})"

    def hits(self, k: int) -> np.ndarray:
        """Say for each user whether the target is among the first k: (U,) bool."""
        return self.ranks <= k

    def restricted(self, users: ArrayLike) -> "Evaluation":
        """Return the evaluation of some of the users; the ranks stay those among all items.

        Parameters
        ----------
        users : (U,) bool, True for those that are kept.

        Raises
        ------
        ValueError
            if it is not one bool a user, or nobody is left.

        Examples
        --------
        How are targets ranked that nobody had in training?

        >>> from recmodels.baselines import Popularity
        >>> from recmodels.data import Histories, Split
        >>> histories = Histories.of([[0, 1, 0, 1], [1, 1, 2, 0], [0, 1, 1, 2]])
        >>> split = Split.leave_one_out(histories, size=3)
        >>> popularity = Popularity.fit(split)
        >>> cold = popularity.counts[split.test.targets] == 0
        >>> evaluate(popularity, split.test, progress=False).restricted(cold).ranks
        array([3])
        """
        users = np.asarray(users)
        if users.dtype != bool or users.shape != self.ranks.shape:
            raise ValueError(
                f"users: expected bool of shape {self.ranks.shape}, "
                f"got {users.dtype} of shape {users.shape}"
            )
        if not users.any():
            raise ValueError(f"users: none of {len(users)} is left")
        return evaluation_of(self.ranks[users], self.tied_users[users])


def evaluation_of(ranks: np.ndarray, tied_users: np.ndarray) -> Evaluation:
    """Average ranks that are known already, and keep them; both arrays become read-only.

    Parameters
    ----------
    ranks : (U,) int64, rank of each user's target, from 1.
    tied_users : (U,) bool, True where the target shares its score.

    Raises
    ------
    ValueError
        if there is no user, or a rank is below 1.

    Examples
    --------
    >>> evaluation_of(np.array([1, 4]), np.array([False, True])).metrics.hr_1
    0.5
    """
    metrics = Metrics.from_ranks(ranks, tied=int(tied_users.sum()))
    ranks.setflags(write=False)
    tied_users.setflags(write=False)
    return Evaluation(metrics, ranks, tied_users)


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
    recommender: Scorer,
    held: Held,
    *,
    among: ArrayLike | None = None,
    block: int | None = None,
    progress: bool | None = None,
) -> Evaluation:
    """Rank every held-out target among the whole catalogue, or among some of its items.

    Items of the history are ranked like any other.

    Parameters
    ----------
    recommender : what scores the catalogue for histories.
    held : histories and the target of each.
    among : (m,) int, the items that are ranked, such as those that nobody had in training; every
        target is one of them. None ranks all. Figures among fewer items are larger: name the
        items beside them.
    block : users scored at a time, at least 1; by default 1,024, or as many as make some 16
        million scores, if these are fewer.
    progress : True shows a bar, False hides it, None shows it in a terminal only.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError
        if `held` is no Held.
    ValueError
        if there is no user, a target is not an item of the recommender, or not one of `among`,
        the recommender has its items in another order than those of `held`,
        `among` names no item, one twice or one that is none, or the scores are of another shape
        than (users, `recommender.size`) or not finite, naming the first.

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

    Cold targets among cold items:

    >>> cold = np.flatnonzero(Popularity.fit(split).counts == 0)
    >>> asked = split.validation.take(np.flatnonzero(np.isin(split.validation.targets, cold)))
    >>> evaluate(Popularity.fit(split), asked, among=cold, progress=False).ranks
    array([1])
    """
    if not isinstance(held, Held):
        raise TypeError(
            f"held: expected a Held, such as dataset.split().test, got a {type(held).__name__}"
        )
    users, size = len(held.histories), recommender.size
    if block is None:
        block = min(_USERS, max(1, _SCORES // max(1, size)))
    if block < 1:
        raise ValueError(f"block={block} should be >= 1")
    targets = _checked_targets(held.targets, size)
    # A fitted model goes by its own ids in evaluate(dataset), in whatever order they are.
    own = getattr(recommender, "ids", None)
    held.check_order("recommender", None if callable(own) else own)
    if among is not None:
        among = _checked_items(among, size)
        targets = _places(targets, among)
    ranks = np.empty(users, dtype=np.int64)
    tied = np.empty(users, dtype=bool)
    with progress_bar(total=users, description="evaluating", progress=progress) as bar:
        for start in range(0, users, block):
            part = np.arange(start, min(start + block, users))
            scores = recommender.scores(held.histories.take(part))
            _check_scores(scores, (len(part), size), first_user=start)
            shown = scores if among is None else scores[:, among]
            ranks[part], tied[part] = _ranks(shown, targets[part])
            bar.update(len(part))
    return evaluation_of(ranks, tied)


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


def _checked_items(items: ArrayLike, size: int) -> np.ndarray:
    """Return items in ascending order."""
    items = np.asarray(items)
    if items.ndim != 1 or not len(items) or items.dtype.kind not in "iu":
        raise ValueError(
            "among: expected the rows of one item or more, "
            f"got {items.dtype} of shape {items.shape}"
        )
    found, counts = np.unique(items, return_counts=True)
    if found[0] < 0 or found[-1] >= size:
        wrong = found[0] if found[0] < 0 else found[-1]
        raise ValueError(f"among: {wrong} is not one of {size} items")
    if counts.max() > 1:
        raise ValueError(f"among: item {found[counts.argmax()]} is named more than once")
    return found


def _places(targets: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return where each target stands among ascending items; refuse one that does not."""
    missing = ~np.isin(targets, items)
    if missing.any():
        user = int(missing.argmax())
        raise ValueError(
            f"among: the target of user row {user}, item {targets[user]}, is not one of the "
            f"{len(items)} items; leave such users out, with held.take"
        )
    return np.searchsorted(items, targets)
