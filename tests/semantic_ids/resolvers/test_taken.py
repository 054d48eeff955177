"""Earlier items keep their codes: nobody who comes later is given one."""

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import CollisionError, NearestFree, RQKMeans, Suffix
from semantic_ids.resolvers.optimal import Optimal
from semantic_ids.resolvers.popularity import Popularity
from semantic_ids.resolvers.sinkhorn import Sinkhorn

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([(7,), (2, 3), (3, 4), (2, 3, 2), (6, 6), (4, 4, 4)])
SAME_LENGTH = [NearestFree(), Optimal(), Optimal(largest_component=1), Sinkhorn()]
COUNTING = [Suffix(), Popularity()]

every_resolver = pytest.mark.parametrize("resolver", SAME_LENGTH + COUNTING, ids=repr)
same_length = pytest.mark.parametrize("resolver", SAME_LENGTH, ids=repr)


@dataclass
class Arrivals:
    """Items that arrive, what every code would cost each, and codes that are taken."""

    codes: np.ndarray
    ids: np.ndarray
    sizes: tuple[int, ...]
    table: np.ndarray  # (N, number of codes) squared errors, codes in ascending order
    counts: np.ndarray
    taken: np.ndarray | None

    @classmethod
    def random(cls, seed, resolver, sizes, *, full=False):
        """Some items and some taken codes of this resolver; as many as there is room for."""
        rng = np.random.default_rng(seed)
        total = math.prod(sizes)
        before = int(rng.integers(0, total))
        n = total - before if full else int(rng.integers(1, total - before + 1))
        every = all_codes(sizes)
        if resolver.added_sizes:
            added = rng.integers(3, size=(total, 1))
            every = np.concatenate([every, added], axis=1).astype(np.int32)
        codes = np.stack([rng.integers(size, size=n) for size in sizes], axis=1).astype(np.int32)
        taken = rng.permutation(every)[:before]
        ids = rng.permutation(10 * n)[:n]
        return cls(codes, ids, sizes, rng.random((n, total)), rng.integers(4, size=n), taken)

    @property
    def errors(self):
        own = np.ravel_multi_index(tuple(self.codes.T), self.sizes)
        return self.table[np.arange(len(self.table)), own]

    def candidates(self, rows, m):
        order = np.argsort(self.table[rows], axis=1, kind="stable")[:, :m]
        return all_codes(self.sizes)[order], np.take_along_axis(self.table[rows], order, axis=1)

    def rows(self, index):
        parts = (self.codes, self.ids, self.table, self.counts)
        codes, ids, table, counts = (part[index] for part in parts)
        return Arrivals(codes, ids, self.sizes, table, counts, self.taken)

    def resolve(self, resolver):
        return resolver.resolve(
            self.codes,
            self.ids,
            self.sizes,
            candidates=self.candidates,
            errors=self.errors,
            priority=self.counts,
            taken=self.taken,
        )


def all_codes(sizes):
    return np.array(list(itertools.product(*map(range, sizes))), dtype=np.int32)


def tuples(codes):
    return list(map(tuple, codes.tolist()))


@every_resolver
@given(seed=SEEDS, sizes=SIZES)
def test_taken_codes_are_given_to_nobody(resolver, seed, sizes):
    problem = Arrivals.random(seed, resolver, sizes)
    unique = tuples(problem.resolve(resolver))
    assert len(set(unique)) == len(unique)
    assert not set(unique) & set(tuples(problem.taken))


@every_resolver
@given(seed=SEEDS, sizes=SIZES)
def test_an_item_alone_keeps_its_content_code_if_it_is_free(resolver, seed, sizes):
    problem = Arrivals.random(seed, resolver, sizes)
    content, taken = tuples(problem.codes), set(tuples(problem.taken))
    zeros = (0,) * len(resolver.added_sizes)
    for code, unique in zip(content, tuples(problem.resolve(resolver)), strict=True):
        if content.count(code) == 1 and code + zeros not in taken:
            assert unique == code + zeros


@same_length
@given(seed=SEEDS, sizes=SIZES)
def test_one_item_of_a_bucket_keeps_the_content_code_if_it_is_free(resolver, seed, sizes):
    problem = Arrivals.random(seed, resolver, sizes)
    unique = problem.resolve(resolver)
    kept = tuples(unique[(unique == problem.codes).all(axis=1)])
    assert sorted(kept) == sorted(set(tuples(problem.codes)) - set(tuples(problem.taken)))


@every_resolver
@given(seed=SEEDS, sizes=SIZES)
def test_the_order_of_items_and_taken_codes_does_not_matter(resolver, seed, sizes):
    problem = Arrivals.random(seed, resolver, sizes)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(problem.ids))
    turned = replace(problem.rows(order), taken=rng.permutation(problem.taken))
    assert np.array_equal(turned.resolve(resolver), problem.resolve(resolver)[order])


@every_resolver
@given(seed=SEEDS, sizes=SIZES)
def test_no_codes_taken_is_the_same_as_none(resolver, seed, sizes):
    problem = replace(Arrivals.random(seed, resolver, sizes), taken=None)
    positions = len(sizes) + len(resolver.added_sizes)
    nothing = replace(problem, taken=np.zeros((0, positions), dtype=np.int32))
    assert np.array_equal(problem.resolve(resolver), nothing.resolve(resolver))


@same_length
@given(seed=SEEDS, sizes=SIZES)
def test_as_many_items_as_free_codes(resolver, seed, sizes):
    problem = Arrivals.random(seed, resolver, sizes, full=True)
    together = tuples(problem.resolve(resolver)) + tuples(problem.taken)
    assert sorted(together) == tuples(all_codes(sizes))


@same_length
def test_one_item_more_than_free_codes_is_refused(resolver):
    problem = Arrivals.random(0, resolver, (3, 4), full=True)
    codes = np.concatenate([problem.codes, problem.codes[:1]])
    table = np.concatenate([problem.table, problem.table[:1]])
    ids, counts = np.arange(len(codes)), np.zeros(len(codes))
    crowd = Arrivals(codes, ids, (3, 4), table, counts, problem.taken)
    message = rf"{len(codes)} items and {len(problem.taken)} codes taken, but only 12 codes"
    with pytest.raises(CollisionError, match=message):
        crowd.resolve(resolver)


@pytest.mark.parametrize("resolver", [Suffix(max_suffix=3), Popularity(max_suffix=3)], ids=repr)
def test_a_content_code_whose_values_are_all_taken_is_refused(resolver):
    taken = np.array([[5, 0], [5, 2], [6, 0]])
    codes, counts = np.full((2, 1), 5, dtype=np.int32), np.zeros(2)
    assert resolver.resolve(
        codes[:1], np.arange(1), (9,), priority=counts[:1], taken=taken
    ).tolist() == [[5, 1]]
    with pytest.raises(CollisionError, match="max_suffix=3: 4 items share one content code"):
        resolver.resolve(codes, np.arange(2), (9,), priority=counts, taken=taken)


@every_resolver
def test_taken_codes_out_of_range_are_refused(resolver):
    problem = Arrivals.random(0, resolver, (3, 4))
    problem.taken = np.array([[0, 4] + [0] * len(resolver.added_sizes)])
    with pytest.raises(ValueError, match="taken: row 0 has 4 at level 1"):
        problem.resolve(resolver)


@every_resolver
def test_later_items_find_their_place_beside_earlier_ones(resolver, tiny):
    x = tiny[:400]
    spec = RQKMeans(levels=2, codebook_size=24, iterations=5)
    fitted = spec.fit(x)
    content, taken = fitted.encode(x), None
    for some in np.array_split(np.random.default_rng(0).permutation(len(x)), 3):
        unique = resolver.resolve(
            content[some],
            some,
            spec.codebook_sizes,
            candidates=lambda rows, m, some=some: fitted.candidates(x[some][rows], m),
            errors=fitted.errors(x[some], content[some])[:, -1],
            priority=some,
            taken=taken,
        )
        taken = unique if taken is None else np.concatenate([taken, unique])
    assert len(set(tuples(taken))) == len(x)


@given(seed=SEEDS, sizes=SIZES)
def test_suffixes_are_the_smallest_that_are_free(seed, sizes):
    problem = Arrivals.random(seed, Suffix(), sizes)
    problem.codes[len(problem.codes) // 2 :] = problem.codes[0]  # one large bucket
    unique = problem.resolve(Suffix())
    held = defaultdict(set)
    for *code, suffix in problem.taken.tolist():
        held[tuple(code)].add(suffix)
    for row in np.argsort(problem.ids):
        code = tuple(problem.codes[row].tolist())
        expected = next(value for value in itertools.count() if value not in held[code])
        held[code].add(expected)
        assert unique[row].tolist() == [*code, expected]


@pytest.mark.parametrize("resolver", COUNTING, ids=repr)
def test_suffixes_in_code_spaces_beyond_64_bits(resolver):
    sizes = (2**20,) * 4
    codes = np.full((3, 4), 2**20 - 1, dtype=np.int32)
    taken = np.array([[2**20 - 1] * 4 + [1], [0] * 4 + [0]])
    unique = resolver.resolve(codes, np.arange(3), sizes, priority=np.zeros(3), taken=taken)
    assert unique[:, -1].tolist() == [0, 2, 3]


@given(seed=SEEDS, sizes=SIZES)
def test_nearest_free_is_the_naive_greedy_beside_taken_codes(seed, sizes):
    problem = Arrivals.random(seed, NearestFree(), sizes)
    content, taken = tuples(problem.codes), set(tuples(problem.taken))
    every = tuples(all_codes(sizes))
    keeper = {}
    for item in sorted(range(len(content)), key=lambda i: (problem.errors[i], problem.ids[i])):
        if content[item] not in taken:
            keeper.setdefault(content[item], item)
    pairs = [
        (problem.table[item, place] - problem.errors[item], problem.ids[item], item, code)
        for item in range(len(content))
        if keeper.get(content[item]) != item
        for place, code in enumerate(every)
        if code not in keeper and code not in taken
    ]
    chosen = {item: code for code, item in keeper.items()}
    for _, _, item, code in sorted(pairs):
        if item not in chosen and code not in chosen.values():
            chosen[item] = code
    assert tuples(problem.resolve(NearestFree())) == [chosen[i] for i in range(len(content))]
