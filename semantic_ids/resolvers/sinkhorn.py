"""Sinkhorn: colliding items are spread over the last level by entropic optimal transport."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from semantic_ids.codes import code_keys
from semantic_ids.resolvers.base import Candidates, Resolver
from semantic_ids.resolvers.collisions import split
from semantic_ids.resolvers.nearest_free import FIRST_CANDIDATES, nearest_free
from semantic_ids.resolvers.offers import stable_matching


class Sinkhorn(Resolver):
    """Keep all levels but the last: spread the colliding items of a prefix over its free codes.

    Of the items with one content code the nearest keeps it. The others of one prefix (all levels
    but the last) and its free codes, as far as these are among the items' 32 best, get the
    transport plan that minimises the squared error less epsilon times the entropy, one unit an
    item and at most one a code. Item and code with the largest share go together first; items
    that are left go to codes of other prefixes as in `NearestFree`.

    Parameters
    ----------
    epsilon : weight of the entropy, in units of half the range of a prefix's errors.
    iterations : how often the plan's rows and columns are scaled.

    Notes
    -----
    LC-Rec (arXiv 2311.09049) and LETTER assign the last level anew by such a plan, with this
    epsilon and number of iterations, but ask for equal shares of all codes, which sends a single
    item anywhere, and repeat it until hardly any items collide.

    Examples
    --------
    >>> from semantic_ids import RQKMeans
    >>> vectors = np.random.default_rng(0).normal(size=(500, 2))
    >>> fitted = RQKMeans(levels=2, codebook_size=32).fit(vectors)
    >>> codes = fitted.encode(vectors)
    >>> unique = Sinkhorn().resolve(
    ...     codes, np.arange(500), fitted.codebook_sizes,
    ...     candidates=lambda rows, m: fitted.candidates(vectors[rows], m),
    ...     errors=fitted.errors(vectors, codes)[:, -1])
    >>> len(np.unique(codes, axis=0)) < len(np.unique(unique, axis=0)) == 500
    True
    """

    kind: Literal["sinkhorn"] = "sinkhorn"
    epsilon: float = Field(default=0.003, gt=0)
    iterations: int = Field(default=50, ge=1)
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
            raise TypeError("Sinkhorn needs candidates and errors")
        movers, space = split(codes, ids, sizes, errors, taken)
        unique = codes.copy()
        if not len(movers):
            return unique
        named, costs = candidates(movers, min(FIRST_CANDIDATES, math.prod(sizes)))
        keys = code_keys(named.reshape(-1, len(sizes)), sizes).reshape(costs.shape)
        same_prefix = (named[:, :, :-1] == codes[movers, None, :-1]).all(axis=2)
        free = space.room(keys.ravel()).reshape(keys.shape) > 0
        row, place = np.nonzero(same_prefix & free)
        prefix = np.unique(code_keys(codes[movers, :-1], sizes[:-1]), return_inverse=True)[1]
        column = np.unique(keys[row, place], return_inverse=True)[1]
        plan = self._plan(row, column, costs[row, place], prefix[row])
        order = np.lexsort((column, -plan, row))
        row, place, column = row[order], place[order], column[order]
        accepted = stable_matching(row, column, -plan[order], len(movers))
        matched, left = np.flatnonzero(accepted >= 0), movers[accepted < 0]
        pairs = row[accepted[matched]], place[accepted[matched]]
        unique[movers[matched]] = named[pairs]
        space = space.and_also(keys[pairs])
        unique[left] = nearest_free(left, space, candidates, errors)[0]
        return unique

    def _plan(
        self, row: np.ndarray, column: np.ndarray, cost: np.ndarray, prefix: np.ndarray
    ) -> np.ndarray:
        """Return the logarithm of the plan's E entries, sorted by row."""
        if not len(row):
            return np.zeros(0)
        by_row, by_column = _Segments(row), _Segments(column)
        logits = -_scaled(cost, prefix) / self.epsilon
        weights = np.zeros(len(logits))  # of each entry's column; at most 0: a code may be left
        for _ in range(self.iterations):
            rows_scaled = logits - by_row.log_sums(logits + weights)
            weights = np.minimum(-by_column.log_sums(rows_scaled), 0)
        return logits + weights - by_row.log_sums(logits + weights)


class _Segments:
    """Entries grouped by a number each has."""

    def __init__(self, number: np.ndarray) -> None:
        self._order = np.argsort(number, kind="stable")
        _, self._starts, self._group = np.unique(
            number[self._order], return_index=True, return_inverse=True
        )

    def log_sums(self, logarithms: np.ndarray) -> np.ndarray:
        """Return, for each entry, the logarithm of the sum over its group."""
        ordered = logarithms[self._order]
        largest = np.maximum.reduceat(ordered, self._starts)
        shifted = np.exp(ordered - largest[self._group])
        sums = largest + np.log(np.add.reduceat(shifted, self._starts))
        result = np.empty_like(logarithms)
        result[self._order] = sums[self._group]
        return result


def _scaled(cost: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Shift and scale each group's costs to lie between -1 and 1."""
    group = np.unique(group, return_inverse=True)[1]
    low, high = np.full(group.max() + 1, np.inf), np.full(group.max() + 1, -np.inf)
    np.minimum.at(low, group, cost)
    np.maximum.at(high, group, cost)
    half = (high - low) / 2
    return (cost - (low + half)[group]) / np.where(half > 0, half, 1)[group]
