"""Optimal against all assignments, against another solver, and beside NearestFree."""

import itertools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from semantic_ids import CollisionError, NearestFree, RQKMeans
from semantic_ids.resolvers import assignment
from semantic_ids.resolvers.assignment import Edges, auction, cheapest_matching
from semantic_ids.resolvers.optimal import Optimal

SEEDS = st.integers(0, 2**32 - 1)
SMALL = st.sampled_from([(4,), (7,), (2, 2), (2, 4), (2, 2, 2)])
SEEN_WHOLE = st.sampled_from([(7,), (32,), (3, 4), (5, 6), (2, 4, 4)])  # 32 codes at most
SEEN_IN_PART = st.sampled_from([(60,), (9, 9), (4, 5, 6)])


@dataclass
class Problem:
    """Items, what every code would cost each, and taken codes."""

    codes: np.ndarray
    ids: np.ndarray
    sizes: tuple[int, ...]
    table: np.ndarray  # (N, number of codes) squared errors, codes in ascending order
    taken: np.ndarray

    @classmethod
    def random(cls, seed, sizes, *, most, few_errors=False, crowded=False):
        rng = np.random.default_rng(seed)
        total = math.prod(sizes)
        before = int(rng.integers(0, total))
        n = int(rng.integers(1, min(most, total - before) + 1))
        codes = np.stack([rng.integers(size, size=n) for size in sizes], axis=1).astype(np.int32)
        if crowded:
            codes[:] = codes[rng.integers(min(n, 3), size=n)]
        table = rng.random((n, total))
        if few_errors:
            table = table.round(1)
        taken = rng.permutation(all_codes(sizes))[:before]
        return cls(codes, rng.permutation(n), sizes, table, taken)

    @property
    def own(self):
        return np.ravel_multi_index(tuple(self.codes.T), self.sizes)

    @property
    def errors(self):
        return self.table[np.arange(len(self.codes)), self.own]

    def candidates(self, rows, m):
        order = np.argsort(self.table[rows], axis=1, kind="stable")[:, :m]
        return all_codes(self.sizes)[order], np.take_along_axis(self.table[rows], order, axis=1)

    def resolve(self, resolver):
        return resolver.resolve(self.codes, self.ids, self.sizes, **self.others())

    def report(self, **fields):
        return Optimal(**fields).resolve_with_report(
            self.codes, self.ids, self.sizes, **self.others()
        )

    def others(self):
        return {"candidates": self.candidates, "errors": self.errors, "taken": self.taken}

    def added(self, unique):
        place = np.ravel_multi_index(tuple(unique.T), self.sizes)
        return (self.table[np.arange(len(place)), place] - self.errors).sum()

    def allowed(self, *, seen=None):
        """For each item the codes it may take, and the content codes that one of them must.

        Free codes are among the `seen` best of the item, or what NearestFree gives it.
        """
        taken = set(np.ravel_multi_index(tuple(self.taken.T), self.sizes).tolist())
        shared, own = Counter(self.own.tolist()), self.own.tolist()
        free = set(range(self.table.shape[1])) - taken - set(own)
        choices = [
            {code} if shared[code] == 1 and code not in taken else free | ({code} - taken)
            for code in own
        ]
        if seen is not None:
            best = np.argsort(self.table, axis=1, kind="stable")[:, :seen]
            given = np.ravel_multi_index(tuple(self.resolve(NearestFree()).T), self.sizes)
            for item, codes in enumerate(choices):
                codes &= {own[item], given[item], *best[item].tolist()}
        return choices, set(own) - taken


def all_codes(sizes):
    return np.array(list(itertools.product(*map(range, sizes))), dtype=np.int32)


def brute_force(problem):
    """The least error that any allowed assignment adds, by trying them all."""
    choices, wanted = problem.allowed()
    n = len(choices)
    return min(
        sum(problem.table[item, code] for item, code in enumerate(picked)) - problem.errors.sum()
        for picked in itertools.permutations(range(problem.table.shape[1]), n)
        if wanted <= set(picked) and all(c in allowed for c, allowed in zip(picked, choices))  # noqa: B905
    )


def other_solver(problem, *, seen=None):
    """The same by a dense solver: what is not allowed costs much, a content code is rewarded."""
    choices, wanted = problem.allowed(seen=seen)
    cost = np.full(problem.table.shape, 1e6)
    for item, allowed in enumerate(choices):
        cost[item, list(allowed)] = problem.table[item, list(allowed)]
    cost[:, list(wanted)] -= 1e3
    rows, columns = linear_sum_assignment(cost)
    assert cost[rows, columns].max() < 1e3
    return problem.table[rows, columns].sum() - problem.errors.sum()


# --- the least error


@settings(max_examples=60)
@given(seed=SEEDS, sizes=SMALL, few=st.booleans(), crowded=st.booleans())
def test_no_assignment_adds_less(seed, sizes, few, crowded):
    problem = Problem.random(seed, sizes, most=5, few_errors=few, crowded=crowded)
    assert problem.added(problem.resolve(Optimal())) == pytest.approx(brute_force(problem))


@given(seed=SEEDS, sizes=SEEN_WHOLE, few=st.booleans(), crowded=st.booleans())
def test_another_solver_finds_nothing_better(seed, sizes, few, crowded):
    problem = Problem.random(seed, sizes, most=32, few_errors=few, crowded=crowded)
    assert problem.added(problem.resolve(Optimal())) == pytest.approx(other_solver(problem))


@given(
    seed=SEEDS,
    sizes=SEEN_IN_PART,
    most=st.sampled_from([4, 20, 100]),
    few=st.booleans(),
    crowded=st.booleans(),
)
def test_another_solver_finds_nothing_better_among_32_candidates(seed, sizes, most, few, crowded):
    problem = Problem.random(seed, sizes, most=most, few_errors=few, crowded=crowded)
    found = problem.added(problem.resolve(Optimal()))
    assert found == pytest.approx(other_solver(problem, seen=32))


@given(seed=SEEDS, sizes=SEEN_WHOLE | SEEN_IN_PART, few=st.booleans(), crowded=st.booleans())
@pytest.mark.parametrize("largest_component", [1, 4, 10_000])
def test_it_is_never_worse_than_nearest_free(largest_component, seed, sizes, few, crowded):
    problem = Problem.random(seed, sizes, most=80, few_errors=few, crowded=crowded)
    optimal = problem.resolve(Optimal(largest_component=largest_component))
    assert problem.added(optimal) <= problem.added(problem.resolve(NearestFree())) + 1e-9


def test_it_beats_the_greedy_way():
    # The second item adds least at code 1, which leaves the third with a code that is far.
    codes, table = np.zeros((3, 1), dtype=np.int32), np.full((3, 4), 9.0)
    table[0, 0], table[1, [0, 1, 2]], table[2, [0, 1]] = 0, (0.1, 0.2, 0.3), (0.1, 0.21)
    nothing = np.zeros((0, 1), dtype=np.int32)
    problem = Problem(codes, np.arange(3), (4,), table, nothing)
    assert problem.resolve(NearestFree())[:, 0].tolist() == [0, 1, 2]
    assert problem.resolve(Optimal())[:, 0].tolist() == [0, 2, 1]


def test_another_item_than_the_nearest_may_keep_the_content_code():
    codes = np.zeros((2, 1), dtype=np.int32)
    table = np.array([[0.1, 0.2, 5.0], [0.2, 3.0, 4.0]])
    nothing = np.zeros((0, 1), dtype=np.int32)
    problem = Problem(codes, np.arange(2), (3,), table, nothing)
    assert problem.resolve(NearestFree())[:, 0].tolist() == [0, 1]
    assert problem.resolve(Optimal())[:, 0].tolist() == [1, 0]


# --- the contract, where auctions are held


@given(seed=SEEDS, sizes=SEEN_WHOLE | SEEN_IN_PART, few=st.booleans(), crowded=st.booleans())
@pytest.mark.parametrize("largest_component", [1, 3])
def test_auctions_keep_the_contract(largest_component, seed, sizes, few, crowded):
    problem = Problem.random(seed, sizes, most=80, few_errors=few, crowded=crowded)
    unique = problem.resolve(Optimal(largest_component=largest_component))
    places = np.ravel_multi_index(tuple(unique.T), sizes).tolist()
    assert len(set(places)) == len(places)
    choices, wanted = problem.allowed()
    assert all(place in allowed for place, allowed in zip(places, choices, strict=True))
    assert wanted <= set(places)


@given(seed=SEEDS, sizes=SEEN_WHOLE | SEEN_IN_PART, few=st.booleans())
@pytest.mark.parametrize("largest_component", [1, 10_000])
def test_the_order_of_the_items_does_not_matter(largest_component, seed, sizes, few):
    problem = Problem.random(seed, sizes, most=80, few_errors=few, crowded=True)
    resolver = Optimal(largest_component=largest_component)
    order = np.random.default_rng(seed).permutation(len(problem.ids))
    turned = Problem(
        problem.codes[order], problem.ids[order], sizes, problem.table[order], problem.taken
    )
    assert np.array_equal(turned.resolve(resolver), problem.resolve(resolver)[order])


@given(seed=SEEDS)
@pytest.mark.parametrize("rows", [1, 7])
def test_which_components_are_matched_together_does_not_matter(rows, seed):
    problem = Problem.random(seed, (4, 5, 6), most=120, few_errors=True)
    problem.taken = problem.taken[:10]
    expected = problem.resolve(Optimal())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "_BLOCK_ROWS", rows)
        assert np.array_equal(problem.resolve(Optimal()), expected)


@given(seed=SEEDS, sizes=SEEN_WHOLE | SEEN_IN_PART)
def test_as_many_items_as_free_codes(seed, sizes):
    problem = Problem.random(seed, sizes, most=math.prod(sizes))
    problem.taken = problem.taken[: math.prod(sizes) - len(problem.codes)]
    free = math.prod(sizes) - len(problem.taken)
    again = np.random.default_rng(seed).integers(len(problem.codes), size=free)
    full = Problem(
        problem.codes[again], np.arange(free), sizes, problem.table[again], problem.taken
    )
    together = np.concatenate([full.resolve(Optimal()), full.taken])
    assert np.array_equal(np.unique(together, axis=0), all_codes(sizes))


def test_more_items_than_free_codes_are_refused():
    problem = Problem.random(0, (2, 2), most=4)
    problem.taken = all_codes((2, 2))[: 5 - len(problem.codes)]
    with pytest.raises(CollisionError, match="codes taken, but only 4 codes"):
        problem.resolve(Optimal())


def test_candidates_and_errors_are_needed():
    with pytest.raises(TypeError, match="Optimal needs candidates and errors"):
        Optimal().resolve(np.zeros((2, 1), dtype=np.int32), np.arange(2), (2,))


# --- the report


@given(seed=SEEDS, sizes=SEEN_WHOLE | SEEN_IN_PART, few=st.booleans())
@pytest.mark.parametrize("largest_component", [1, 4, 10_000])
def test_the_report_tells_what_was_done(largest_component, seed, sizes, few):
    problem = Problem.random(seed, sizes, most=80, few_errors=few)
    unique, report = problem.report(largest_component=largest_component)
    assert np.array_equal(unique, problem.resolve(Optimal(largest_component=largest_component)))
    assert report.moved == (unique != problem.codes).any(axis=1).sum()
    assert report.added_error == pytest.approx(problem.added(unique))
    greedy = problem.added(problem.resolve(NearestFree()))
    assert report.nearest_free_error == pytest.approx(greedy)
    assert report.auction_components == 0 or largest_component < 10_000
    assert report.gap == 0 or report.auction_components > 0


@given(seed=SEEDS, sizes=SEEN_WHOLE | SEEN_IN_PART, few=st.booleans(), crowded=st.booleans())
@pytest.mark.parametrize("tolerance", [0.5, 1e-2, 1e-4])
def test_an_auction_is_within_its_gap(tolerance, seed, sizes, few, crowded):
    problem = Problem.random(seed, sizes, most=80, few_errors=few, crowded=crowded)
    exact = problem.report()[1]
    sold = problem.report(largest_component=1, tolerance=tolerance)[1]
    assert exact.added_error <= sold.added_error + 1e-9
    assert sold.added_error <= exact.added_error + sold.gap + 1e-9


def test_nothing_to_do_is_reported_so():
    problem = Problem.random(0, (7,), most=1)
    problem.taken = problem.taken[:0]
    unique, report = problem.report()
    assert np.array_equal(unique, problem.codes)
    assert (report.moved, report.added_error, report.exact_components, report.gap) == (0, 0, 0, 0)


def test_real_codebooks(tiny):
    x = tiny[:600]
    fitted = RQKMeans(levels=2, codebook_size=32, iterations=5).fit(x)
    content = fitted.encode(x)
    others = {
        "candidates": lambda rows, m: fitted.candidates(x[rows], m),
        "errors": fitted.errors(x, content)[:, -1],
    }
    ids = np.arange(len(x))
    nearest = NearestFree().resolve(content, ids, (32, 32), **others)
    exact, report = Optimal().resolve_with_report(content, ids, (32, 32), **others)
    sold, auctioned = Optimal(largest_component=1).resolve_with_report(
        content, ids, (32, 32), **others
    )
    errors = [fitted.errors(x, codes)[:, -1].sum() for codes in (content, exact, sold, nearest)]
    assert errors[1] < errors[3]
    assert errors[1] <= errors[2] <= errors[1] + auctioned.gap + 1e-6
    assert report.added_error == pytest.approx(errors[1] - errors[0], abs=1e-6)
    assert auctioned.gap < 0.01 * auctioned.added_error


# --- the solvers


def random_graph(seed, rows, spare, *, density=0.3, few=False):
    """A sparse graph in which every row can be matched."""
    rng = np.random.default_rng(seed)
    columns = rows + spare
    there = rng.random((rows, columns)) < density
    there[np.arange(rows), rng.permutation(columns)[:rows]] = True
    cost = rng.normal(size=(rows, columns))
    cost = cost.round() if few else cost
    row, column = np.nonzero(there)
    return Edges(row, column, cost[row, column]), np.where(there, cost, np.nan)


def least(dense):
    cost = np.where(np.isnan(dense), 1e6, dense)
    return cost[linear_sum_assignment(cost)].sum()


@given(seed=SEEDS, rows=st.integers(1, 30), spare=st.integers(0, 20), few=st.booleans())
def test_the_cheapest_matching_is_another_solvers(seed, rows, spare, few):
    edges, dense = random_graph(seed, rows, spare, few=few)
    chosen = cheapest_matching(edges, edges.components())
    assert edges.row[chosen].tolist() == list(range(rows))
    assert len(set(edges.column[chosen].tolist())) == rows
    assert edges.cost[chosen].sum() == pytest.approx(least(dense))


@given(seed=SEEDS, rows=st.integers(1, 30), spare=st.integers(0, 20), few=st.booleans())
@pytest.mark.parametrize("epsilon", [1e-3, 1.0])
def test_an_auction_is_bounded_from_both_sides(epsilon, seed, rows, spare, few):
    edges, dense = random_graph(seed, rows, spare, few=few)
    chosen, bound = auction(edges, edges.components(), np.full(rows, epsilon))
    assert edges.row[chosen].tolist() == list(range(rows))
    assert len(set(edges.column[chosen].tolist())) == rows
    assert bound.sum() <= least(dense) + 1e-9
    assert least(dense) <= edges.cost[chosen].sum() + 1e-9
    if epsilon == 1e-3:
        assert edges.cost[chosen].sum() <= least(dense) + 0.1


@given(seed=SEEDS, rows=st.integers(1, 30), spare=st.integers(0, 20))
def test_components_are_what_edges_connect(seed, rows, spare):
    edges, _ = random_graph(seed, rows, spare, density=0.02)
    label = np.arange(rows)
    for _ in range(rows):  # rows that share a column take the smaller label
        for column in np.unique(edges.column):
            together = edges.row[edges.column == column]
            label[together] = label[together].min()
    expected = np.unique(label, return_inverse=True)[1]
    found = edges.components()
    pairs = set(zip(expected.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len(set(expected)) == len(set(found))


def test_rows_that_cannot_be_matched_are_refused():
    edges = Edges(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), np.ones(4))
    with pytest.raises(ValueError, match="1 of 3 rows cannot be matched"):
        cheapest_matching(edges, edges.components())


def test_dead_ends_do_not_take_for_ever():
    # The graph of scipy's issue 26147, on which its search for a full matching doubles its time
    # with each step: 60 steps of two rows that both lead to both rows of the next, and to nothing.
    steps = 60
    way = [(step, step + end) for step in range(steps) for end in (0, 1)]
    ladder = [
        (steps + 2 * step + side, steps + 1 + 2 * (step + further) + other)
        for step in range(steps)
        for side in (0, 1)
        for further, other in ((0, side), (1, 0), (1, 1))
        if step + further < steps
    ]
    last = [(3 * steps, 0), (3 * steps, steps + 1), (3 * steps, steps + 2)]
    row, column = np.array(sorted(way + ladder + last)).T
    edges = Edges(row, column, np.random.default_rng(0).random(len(row)))
    chosen = cheapest_matching(edges, edges.components())
    assert len(set(column[chosen].tolist())) == 3 * steps + 1
