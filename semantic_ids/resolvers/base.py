"""The resolver stage: content codes become unique codes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from semantic_ids.spec import StageSpec

#: ``candidates(rows, m)`` names the best m codes of some rows: codes (n, m', L) int32, best
#: first, and their squared errors (n, m') float64, with m' = m or the number of all codes.
Candidates = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Resolver(StageSpec, ABC):
    """A way to give every item a code of its own; stateless.

    The contract: distinct codes, none of them taken; the result does not depend on the order of
    the items (ties go by id, ascending); items whose content code is theirs alone and free keep
    it. A subclass declares its `kind`, by which it is found.

    Examples
    --------
    >>> Resolver.parse({"kind": "suffix"}).added_sizes
    (256,)
    """

    group: ClassVar[str] = "semantic_ids.resolvers"
    #: Whether `resolve` needs vectors, by way of candidates and errors.
    needs_vectors: ClassVar[bool]
    #: Whether `resolve` needs priority.
    needs_priority: ClassVar[bool] = False

    @property
    @abstractmethod
    def added_sizes(self) -> tuple[int, ...]:
        """Sizes of the positions that it adds after the content code; often none."""

    @abstractmethod
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
        """Return unique codes (N, P) int32, P = L + added positions.

        Parameters
        ----------
        codes : (N, L) int32 content codes.
        ids : (N,) distinct ids.
        sizes : codebook sizes of the L levels.
        candidates : best codes of given rows, on demand; required where `needs_vectors`.
        errors : (N,) float64, squared error of each content code; required where
            `needs_vectors`.
        priority : (N,) counts, such as how often each item was bought; required where
            `needs_priority`.
        taken : (T, P) unique codes of earlier items, which nobody may get; None for none.

        Raises
        ------
        CollisionError
            if no code, or no value of an added position, is left for an item.
        TypeError
            if something that it needs is missing.
        """


def buckets(keys: np.ndarray, *tie_breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order items by key, then by the tie breaks, and number them within equal keys.

    Returns
    -------
    order : (N,) int64, rows with equal keys side by side.
    place : (N,) int64, 0, 1, 2, ... within each run of equal keys, along `order`.

    Examples
    --------
    >>> order, place = buckets(np.array([7, 3, 7]), np.array([2, 0, 1]))
    >>> order.tolist(), place.tolist()
    ([1, 2, 0], [0, 0, 1])
    """
    order = np.lexsort((*tie_breaks[::-1], keys))
    ordered = keys[order]
    first = np.concatenate(([True], ordered[1:] != ordered[:-1])) if len(keys) else ordered == 0
    starts = np.flatnonzero(first)
    lengths = np.diff(np.concatenate((starts, [len(keys)])))
    return order, np.arange(len(keys)) - np.repeat(starts, lengths)


def id_ranks(ids: np.ndarray) -> np.ndarray:
    """Return each id's place in ascending order, (N,) int64."""
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[np.argsort(ids, kind="stable")] = np.arange(len(ids))
    return ranks


def spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the numbers start, ..., start + length - 1 of each pair, one run after another.

    Examples
    --------
    >>> spans(np.array([10, 0]), np.array([2, 3])).tolist()
    [10, 11, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    return np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)
