"""Optimal: of all ways to make colliding items unique, the one that adds least squared error."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from semantic_ids.codes import code_keys
from semantic_ids.resolvers.assignment import Edges, auction, cheapest_matching
from semantic_ids.resolvers.base import Candidates, Resolver, id_ranks
from semantic_ids.resolvers.collisions import CodeSpace, split
from semantic_ids.resolvers.nearest_free import FIRST_CANDIDATES, nearest_free
from semantic_ids.resolvers.offers import Offers


@dataclass(frozen=True)
class OptimalReport:
    """What `Optimal` did.

    Attributes
    ----------
    moved : items whose unique code is not their content code.
    added_error : by how much the squared error of all items grew.
    nearest_free_error : by how much it would have grown with `NearestFree`.
    exact_components : groups of items competing for codes that were solved exactly.
    auction_components : groups that were too large for it, and went to an auction.
    gap : added_error is at most this much above the least possible; 0 without auctions.
    """

    moved: int
    added_error: float
    nearest_free_error: float
    exact_components: int
    auction_components: int
    gap: float


class Optimal(Resolver):
    """Keep the code length: move colliding items so that the squared error grows least.

    All items that collide compete at once. Each may take its content code, a free one among its
    32 best codes, or the code that `NearestFree` gives it; one item of each bucket keeps the
    content code. Of all assignments that these choices allow, the one with the smallest sum of
    squared errors is taken, so it is never worse than `NearestFree`.

    Parameters
    ----------
    largest_component : items that compete with each other, directly or by way of others, up to
        which the assignment is exact. More are assigned by an auction.
    tolerance : how far an auction should at most end above the least possible, as a share of
        the squared error that `NearestFree` adds for its items; the report tells how far it may.

    References
    ----------
    R. Jonker and A. Volgenant, A shortest augmenting path algorithm for dense and sparse linear
    assignment problems, Computing 38, 1987. D. P. Bertsekas, The auction algorithm, Annals of
    Operations Research 14, 1988.

    Examples
    --------
    >>> from semantic_ids import RQKMeans
    >>> vectors = np.random.default_rng(0).normal(size=(500, 2))
    >>> fitted = RQKMeans(levels=2, codebook_size=32).fit(vectors)
    >>> codes = fitted.encode(vectors)
    >>> unique, report = Optimal().resolve_with_report(
    ...     codes, np.arange(500), fitted.codebook_sizes,
    ...     candidates=lambda rows, m: fitted.candidates(vectors[rows], m),
    ...     errors=fitted.errors(vectors, codes)[:, -1])
    >>> len(np.unique(unique, axis=0)), report.added_error < report.nearest_free_error
    (500, True)
    """

    kind: Literal["optimal"] = "optimal"
    largest_component: int = Field(default=10_000, ge=1)
    tolerance: float = Field(default=1e-3, gt=0, lt=1)
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
        return self.resolve_with_report(
            codes, ids, sizes, candidates=candidates, errors=errors, taken=taken
        )[0]

    def resolve_with_report(
        self,
        codes: np.ndarray,
        ids: np.ndarray,
        sizes: tuple[int, ...],
        *,
        candidates: Candidates | None = None,
        errors: np.ndarray | None = None,
        taken: np.ndarray | None = None,
    ) -> tuple[np.ndarray, OptimalReport]:
        """Return unique codes (N, L) and how good they are; see `Resolver.resolve`."""
        if candidates is None or errors is None:
            raise TypeError("Optimal needs candidates and errors")
        movers, space = split(codes, ids, sizes, errors, taken)
        unique = codes.copy()
        if not len(movers):
            return unique, OptimalReport(0, 0.0, 0.0, 0, 0, 0.0)
        rows = np.flatnonzero(np.isin(code_keys(codes, sizes), code_keys(codes[movers], sizes)))
        rows = rows[np.argsort(id_ranks(ids)[rows])]
        choices = _choices(codes, rows, movers, space, candidates, errors).without_hopeless()
        component = Edges(choices.row, choices.column, choices.added).components()
        edges = choices.edges(component)
        chosen, gap = self._assign(edges, component, choices)
        unique[rows] = choices.code[chosen]
        large = np.bincount(component) > self.largest_component
        return unique, OptimalReport(
            moved=int((unique != codes).any(axis=1).sum()),
            added_error=float(choices.added[chosen].sum()),
            nearest_free_error=float(choices.added[choices.nearest].sum()),
            exact_components=int((~large).sum()),
            auction_components=int(large.sum()),
            gap=gap,
        )

    def _assign(
        self, edges: Edges, component: np.ndarray, choices: "_Choices"
    ) -> tuple[np.ndarray, float]:
        """Return the edge that each item takes, and how far that may be from the best."""
        sizes = np.bincount(component)
        large = sizes > self.largest_component
        chosen = choices.nearest.copy()
        rows = np.flatnonzero(~large[component])
        if len(rows):
            part, source = edges.of_rows(rows)
            chosen[rows] = source[cheapest_matching(part, _renumbered(component[rows]))]
        bound = np.zeros(len(sizes))
        rows = np.flatnonzero(large[component])
        if len(rows):
            part, source = edges.of_rows(rows)
            numbers = _renumbered(component[rows])
            mean = np.bincount(component, np.abs(choices.added[choices.nearest])) / sizes
            waste = self.tolerance * np.where(mean > 0, mean, 1)[component[rows]]
            bought, bound[large] = auction(part, numbers, waste)
            chosen[rows] = source[bought]
        before = np.bincount(component, edges.cost[choices.nearest])
        after = np.bincount(component, edges.cost[chosen])
        chosen = np.where((after < before)[component], chosen, choices.nearest)
        return chosen, float(np.maximum(np.minimum(before, after) - bound, 0)[large].sum())


def _renumbered(numbers: np.ndarray) -> np.ndarray:
    return np.unique(numbers, return_inverse=True)[1]


@dataclass(frozen=True)
class _Choices:
    """E pairs of one of n colliding items and a code that it may take, by (item, code).

    Attributes
    ----------
    row : (E,) int64, the item.
    column : (E,) int64, a number of the code.
    code : (E, L) int32.
    added : (E,) float64, by how much the squared error would grow.
    content : (E,) bool, whether it is the item's content code.
    nearest : (n,) the pair that `NearestFree` chooses.
    """

    row: np.ndarray
    column: np.ndarray
    code: np.ndarray
    added: np.ndarray
    content: np.ndarray
    nearest: np.ndarray

    def without_hopeless(self) -> Self:
        """Leave out pairs that add more than a code which only this item may take."""
        private = (np.bincount(self.column)[self.column] == 1) & ~self.content
        least = np.full(len(self.nearest), np.inf)
        np.minimum.at(least, self.row[private], self.added[private])
        least = least[self.row]
        keep = self.content | (self.added < least) | (private & (self.added == least))
        keep[self.nearest] = True
        kept = {
            name: getattr(self, name)[keep]
            for name in ("row", "column", "code", "added", "content")
        }
        return type(self)(**kept, nearest=(np.cumsum(keep) - 1)[self.nearest])

    def edges(self, component: np.ndarray) -> Edges:
        """Return the pairs with costs that make exactly one item keep each content code.

        A matching that leaves a content code out becomes cheaper by giving it to an item of its
        bucket, if the reward for that exceeds any error that is added in the component.
        """
        of_pair = component[self.row]
        largest = np.zeros(component.max() + 1)
        np.maximum.at(largest, of_pair, np.abs(self.added))
        reward = np.where(largest > 0, 2 * largest, 1)[of_pair]
        return Edges(self.row, self.column, self.added - np.where(self.content, reward, 0))


def _choices(
    codes: np.ndarray,
    rows: np.ndarray,
    movers: np.ndarray,
    space: CodeSpace,
    candidates: Candidates,
    errors: np.ndarray,
) -> _Choices:
    """Gather the content code, the free candidates and the nearest free code of each row."""
    place = np.full(len(codes), -1)
    place[rows] = np.arange(len(rows))
    named, costs = candidates(rows, min(FIRST_CANDIDATES, math.prod(space.sizes)))

    def known(some: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        if m == costs.shape[1]:
            return named[place[some]], costs[place[some]]
        return candidates(some, m)

    moved, moved_added = nearest_free(movers, space, known, errors)
    offers = Offers.of(np.arange(len(rows)), named, costs - errors[rows, None], space)
    keys = code_keys(codes[rows], space.sizes)
    moves = np.isin(rows, movers)
    # Where the content code is taken already, nobody of the bucket keeps it.
    home = np.flatnonzero(np.isin(keys, keys[~moves]))
    row = np.concatenate([home, offers.mover, place[movers]])
    code = np.concatenate([codes[rows[home]], offers.code, moved])
    added = np.concatenate([np.zeros(len(home)), offers.cost, moved_added])
    column = np.unique(
        np.concatenate([keys[home], offers.key, code_keys(moved, space.sizes)]),
        return_inverse=True,
    )[1]
    pairs = row * (column.max() + 1) + column
    pair, first = np.unique(pairs, return_index=True)
    own = np.empty(len(rows), dtype=np.int64)
    own[home] = np.arange(len(home))
    own[place[movers]] = np.arange(len(row) - len(movers), len(row))
    return _Choices(
        row[first],
        column[first],
        code[first],
        added[first],
        content=first < len(home),
        nearest=np.searchsorted(pair, pairs[own]),
    )
