"""What every resolver promises, and what each adds to it, against naive twins."""

import importlib
import itertools
import math
import pkgutil
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import CollisionError, NearestFree, Resolver, RQKMeans, Suffix, resolvers
from semantic_ids.resolvers.nearest_free import stable_matching

for module in pkgutil.iter_modules(resolvers.__path__):
    importlib.import_module(f"{resolvers.__name__}.{module.name}")

RESOLVERS = sorted((cls() for cls in Resolver.__subclasses__()), key=lambda spec: spec.kind)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([(1,), (7,), (2, 2), (3, 4), (2, 3, 2), (5, 1, 4), (6, 6), (4, 4, 4)])

every_resolver = pytest.mark.parametrize("resolver", RESOLVERS, ids=lambda spec: spec.kind)


@dataclass
class Problem:
    """Items with content codes, and what every code would cost each item."""

    codes: np.ndarray
    ids: np.ndarray
    sizes: tuple[int, ...]
    table: np.ndarray  # (N, number of codes) squared errors, codes in ascending order
    counts: np.ndarray  # (N,) how popular each item is

    @classmethod
    def random(cls, seed, sizes, n, *, few_errors=False):
        rng = np.random.default_rng(seed)
        codes = np.stack([rng.integers(size, size=n) for size in sizes], axis=1).astype(np.int32)
        table = rng.random((n, math.prod(sizes)))
        if few_errors:
            table = table.round(1)
        ids = rng.permutation(10 * n)[:n] - 5 * n
        return cls(codes, ids, sizes, table, rng.integers(0, 4, size=n))

    @property
    def every_code(self):
        return np.array(list(itertools.product(*map(range, self.sizes))), dtype=np.int32)

    @property
    def own(self):
        """Place of each content code among all codes."""
        return np.ravel_multi_index(tuple(self.codes.T), self.sizes)

    @property
    def errors(self):
        return self.table[np.arange(len(self.table)), self.own]

    def candidates(self, rows, m):
        order = np.argsort(self.table[rows], axis=1, kind="stable")[:, :m]
        return self.every_code[order], np.take_along_axis(self.table[rows], order, axis=1)

    def rows(self, index):
        parts = (self.codes, self.ids, self.table, self.counts)
        codes, ids, table, counts = (part[index] for part in parts)
        return Problem(codes, ids, self.sizes, table, counts)

    def resolve(self, resolver):
        return resolver.resolve(
            self.codes,
            self.ids,
            self.sizes,
            candidates=self.candidates,
            errors=self.errors,
            **priority(resolver, self.counts),
        )


def priority(resolver, counts):
    return {"priority": counts} if getattr(resolver, "needs_priority", False) else {}


def at_most(sizes, most=40):
    return st.integers(1, min(most, math.prod(sizes)))


@st.composite
def problems(draw):
    sizes = draw(SIZES)
    few_errors = draw(st.booleans())
    return Problem.random(draw(SEEDS), sizes, draw(at_most(sizes)), few_errors=few_errors)


def fitted_problem(x, spec, resolver):
    """Resolve the codes of real codebooks; return content and unique codes."""
    fitted = spec.fit(x)

    def resolve(rows):
        content = fitted.encode(x[rows])
        return content, resolver.resolve(
            content,
            rows,
            fitted.codebook_sizes,
            candidates=lambda some, m: fitted.candidates(x[rows][some], m),
            errors=fitted.errors(x[rows], content)[:, -1],
            **priority(resolver, rows % 5),
        )

    return resolve


def is_bijection(unique, sizes):
    in_range = (unique >= 0).all() and (unique < np.array(sizes)).all()
    return in_range and len(np.unique(unique, axis=0)) == len(unique)


def alone(codes):
    counts = Counter(map(tuple, codes.tolist()))
    return np.array([counts[tuple(code)] == 1 for code in codes.tolist()])


def keeps(unique, content):
    """Whether each item kept its content code, with 0 at a position that was added."""
    extended = np.zeros_like(unique)
    extended[:, : content.shape[1]] = content
    return (unique == extended).all(axis=1)


# --- the contract: a resolver in a file of `semantic_ids.resolvers` is tested by being there


def test_resolvers_of_the_package_are_found():
    assert {NearestFree(), Suffix()} <= set(RESOLVERS)


@every_resolver
@given(problem=problems())
def test_any_codes_become_distinct_valid_codes(resolver, problem):
    unique = problem.resolve(resolver)
    assert unique.dtype == np.int32
    assert is_bijection(unique, problem.sizes + resolver.added_sizes)


@every_resolver
@given(problem=problems())
def test_an_item_alone_keeps_its_content_code(resolver, problem):
    unique = problem.resolve(resolver)
    assert keeps(unique, problem.codes)[alone(problem.codes)].all()


@every_resolver
@given(problem=problems())
def test_one_item_of_each_bucket_keeps_the_content_code(resolver, problem):
    kept = problem.codes[keeps(problem.resolve(resolver), problem.codes)].tolist()
    assert sorted(kept) == sorted(map(list, set(map(tuple, problem.codes.tolist()))))


@every_resolver
@given(problem=problems(), seed=SEEDS)
def test_the_order_of_the_items_does_not_matter(resolver, problem, seed):
    order = np.random.default_rng(seed).permutation(len(problem.ids))
    turned = problem.rows(order).resolve(resolver)
    assert np.array_equal(turned, problem.resolve(resolver)[order])


@every_resolver
@given(problem=problems())
def test_content_codes_are_left_as_they_were(resolver, problem):
    before = problem.codes.copy()
    problem.resolve(resolver)
    assert np.array_equal(problem.codes, before)


@every_resolver
def test_string_ids_settle_ties_as_their_order_does(resolver):
    problem = Problem.random(0, (3, 3), 9, few_errors=True)
    by_number = problem.resolve(resolver)
    problem.ids = np.array([f"{name + 100:03d}" for name in problem.ids.tolist()])
    assert np.array_equal(problem.resolve(resolver), by_number)


@every_resolver
def test_code_spaces_beyond_64_bits(resolver):
    sizes, n = (2**20,) * 4, 50
    codes = np.full((n, 4), 2**20 - 1, dtype=np.int32)
    codes[-1] = 0

    def candidates(rows, m):
        named = np.repeat(codes[rows][:, None], m, axis=1)
        named[:, :, -1] -= np.where(named[:, :, -1] > 0, np.arange(m), -np.arange(m))
        return named, np.tile(np.arange(m, dtype=np.float64), (len(rows), 1))

    unique = resolver.resolve(
        codes,
        np.arange(n),
        sizes,
        candidates=candidates,
        errors=np.zeros(n),
        **priority(resolver, -np.arange(n)),
    )
    assert is_bijection(unique, sizes + resolver.added_sizes)
    assert keeps(unique, codes)[[0, -1]].all()


@every_resolver
@pytest.mark.parametrize("sizes", [(8, 8, 8), (18, 17), (300,)])
def test_codes_of_real_codebooks(resolver, tiny, sizes):
    items = len(tiny)
    sizes = tuple(min(size, items) for size in sizes)
    rows = np.arange(min(items, math.prod(sizes)))
    spec = RQKMeans(levels=len(sizes), codebook_size=sizes, iterations=5)
    resolve = fitted_problem(tiny, spec, resolver)
    content, unique = resolve(rows)
    assert is_bijection(unique, sizes + resolver.added_sizes)
    assert keeps(unique, content)[alone(content)].all()
    order = np.random.default_rng(0).permutation(rows)
    assert np.array_equal(resolve(order)[1], unique[order])


@every_resolver
def test_equal_rows_get_codes_of_their_own(resolver):
    x = np.full((300, 4), 0.1)
    spec = RQKMeans(levels=2, codebook_size=20)
    if "max_suffix" in type(resolver).model_fields:
        resolver = resolver.model_copy(update={"max_suffix": 300})
    content, unique = fitted_problem(x, spec, resolver)(np.arange(300))
    assert len(np.unique(content, axis=0)) == 1
    assert is_bijection(unique, spec.codebook_sizes + resolver.added_sizes)


@every_resolver
def test_no_items_no_codes(resolver):
    problem = Problem.random(0, (3, 3), 1).rows(np.zeros(0, dtype=np.int64))
    assert problem.resolve(resolver).shape == (0, 2 + len(resolver.added_sizes))


@every_resolver
def test_a_resolver_is_read_back_from_its_fields(resolver):
    assert Resolver.parse(resolver.model_dump(mode="json")) == resolver


# --- NearestFree


def naive_nearest_free(problem):
    """Go through all pairs of a mover and a free code, by (added error, id)."""
    items = range(len(problem.codes))
    own, errors, table = problem.own, problem.errors, problem.table
    keeper = {}
    for item in sorted(items, key=lambda i: (errors[i], problem.ids[i])):
        keeper.setdefault(own[item], item)
    pairs = [
        (table[item, code] - errors[item], problem.ids[item], table[item, code], code, item)
        for item in items
        if keeper[own[item]] != item
        for code in range(table.shape[1])
        if code not in keeper
    ]
    chosen, taken = {item: code for code, item in keeper.items()}, set()
    for _, _, _, code, item in sorted(pairs):
        if item not in chosen and code not in taken:
            chosen[item] = code
            taken.add(code)
    return problem.every_code[[chosen[item] for item in items]]


@given(
    seed=SEEDS,
    sizes=st.sampled_from([(7,), (2, 2), (3, 4), (2, 3, 2), (8, 4)]),
    few_errors=st.booleans(),
    data=st.data(),
)
def test_nearest_free_is_the_naive_greedy(seed, sizes, few_errors, data):
    n = data.draw(at_most(sizes))
    problem = Problem.random(seed, sizes, n, few_errors=few_errors)
    assert np.array_equal(problem.resolve(NearestFree()), naive_nearest_free(problem))


@given(seed=SEEDS, sizes=st.sampled_from([(40,), (8, 9), (4, 4, 5)]), few_errors=st.booleans())
def test_nearest_free_is_the_naive_greedy_where_candidates_run_out(seed, sizes, few_errors):
    # All items like the same few codes, and there are more items than first candidates.
    problem = Problem.random(seed, sizes, math.prod(sizes) - seed % 3, few_errors=few_errors)
    problem.table = problem.table * 0.01 + np.random.default_rng(seed).random(math.prod(sizes))
    assert np.array_equal(problem.resolve(NearestFree()), naive_nearest_free(problem))


@given(seed=SEEDS)
def test_the_item_nearest_to_its_reconstruction_keeps_the_code(seed):
    problem = Problem.random(seed, (2, 3), 6)
    kept = keeps(problem.resolve(NearestFree()), problem.codes)
    for code in set(problem.own):
        bucket = np.flatnonzero(problem.own == code)
        nearest = bucket[problem.errors[bucket].argmin()]
        assert kept[bucket].tolist() == [item == nearest for item in bucket]


def test_of_equally_near_items_the_smallest_id_keeps_the_code():
    problem = Problem.random(0, (2, 3), 5)
    problem.codes[:] = 0
    problem.table[:] = 1.0
    problem.ids = np.array([4, -7, 9, 0, 2])
    unique = problem.resolve(NearestFree())
    assert unique[np.argsort(problem.ids)].tolist() == problem.every_code[:5].tolist()


@given(seed=SEEDS, sizes=SIZES)
def test_as_many_items_as_codes(seed, sizes):
    problem = Problem.random(seed, sizes, math.prod(sizes))
    unique = problem.resolve(NearestFree())
    assert sorted(unique.tolist()) == problem.every_code.tolist()


def test_candidates_are_widened_for_those_who_have_none_left():
    problem, asked = Problem.random(0, (200,), 150), []
    problem.codes[:] = 3
    problem.table[:] = np.arange(200.0)

    def candidates(rows, m):
        asked.append((len(rows), m))
        return problem.candidates(rows, m)

    unique = NearestFree().resolve(
        problem.codes, problem.ids, problem.sizes, candidates=candidates, errors=problem.errors
    )
    # All are equal: after their first 32 one is asked for what the others want too.
    assert asked == [(149, 32), (1, 64), (1, 128), (1, 200)]
    assert sorted(unique[:, 0].tolist()) == list(range(150))


def test_more_items_than_codes_are_refused():
    problem = Problem.random(0, (2, 2), 5)
    with pytest.raises(CollisionError, match=r"5 items, but only 4 codes .*\[2, 2\].*more levels"):
        problem.resolve(NearestFree())


def test_nearest_free_asks_for_candidates_and_errors():
    problem = Problem.random(0, (2, 2), 3)
    with pytest.raises(TypeError, match="candidates and errors"):
        NearestFree().resolve(problem.codes, problem.ids, problem.sizes)


def test_moved_items_of_real_codebooks_take_their_best_free_codes(tiny):
    # 16 codes, 16 items: every item sees every code, so the naive greedy is the oracle.
    x = tiny[:16]
    fitted = RQKMeans(levels=2, codebook_size=4).fit(x)
    content = fitted.encode(x)
    problem = Problem(content, np.arange(16), (4, 4), np.empty((16, 16)), np.zeros(16))
    sums = sum(
        book.astype(np.float64)[problem.every_code[:, level]]
        for level, book in enumerate(fitted.codebooks)
    )
    problem.table = ((x.astype(np.float64)[:, None] - sums) ** 2).sum(axis=2)
    unique = fitted_problem(x, fitted.spec, NearestFree())(np.arange(16))[1]
    assert np.array_equal(unique, naive_nearest_free(problem))


# --- the matching


@given(seed=SEEDS, movers=st.integers(0, 12), slots=st.integers(1, 12), few=st.booleans())
def test_stable_matching_is_the_naive_greedy(seed, movers, slots, few):
    rng = np.random.default_rng(seed)
    pairs = [
        (int(cost * 4) / 4 if few else cost, mover, slot)
        for mover in range(movers)
        for slot, cost in enumerate(rng.random(slots))
        if rng.random() < 0.6
    ]
    pairs.sort(key=lambda pair: (pair[1], pair[0]))  # each list by cost
    cost, mover, slot = np.array(pairs).reshape(-1, 3).T
    accepted = stable_matching(mover.astype(np.int64), slot.astype(np.int64), cost, movers)

    expected, taken = np.full(movers, -1), set()
    for place in sorted(range(len(pairs)), key=lambda p: (cost[p], mover[p], p)):
        if expected[int(mover[place])] < 0 and slot[place] not in taken:
            expected[int(mover[place])] = place
            taken.add(slot[place])
    assert np.array_equal(accepted, expected)


# --- Suffix


@given(problem=problems())
def test_suffix_counts_by_id(problem):
    unique = problem.resolve(Suffix())
    assert np.array_equal(unique[:, :-1], problem.codes)
    seen = Counter()
    for row in np.argsort(problem.ids):
        code = tuple(problem.codes[row].tolist())
        assert unique[row, -1] == seen[code]
        seen[code] += 1


@pytest.mark.parametrize("shared", [1, 2, 5])
def test_a_bucket_as_large_as_the_suffix_is_the_largest(shared):
    codes = np.zeros((shared + 1, 2), dtype=np.int32)
    codes[-1] = 1
    ids = np.arange(shared + 1)
    assert Suffix(max_suffix=shared).resolve(codes, ids, (2, 2))[:, -1].max() == shared - 1
    codes[-1] = 0
    message = rf"max_suffix={shared}: {shared + 1} items share .* max_suffix >= {shared + 1}"
    with pytest.raises(CollisionError, match=message):
        Suffix(max_suffix=shared).resolve(codes, ids, (2, 2))


def test_a_suffix_has_at_least_one_value():
    with pytest.raises(ValueError, match="max_suffix"):
        Suffix(max_suffix=0)
