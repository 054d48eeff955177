"""Sinkhorn: colliding items spread over the free codes of their prefix."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from semantic_ids import CollisionError, NearestFree, RQKMeans
from semantic_ids.resolvers.sinkhorn import Sinkhorn

SEEDS = st.integers(0, 2**32 - 1)


def resolve(resolver, codes, table, sizes, ids=None):
    every = np.array(list(itertools.product(*map(range, sizes))), dtype=np.int32)
    own = np.ravel_multi_index(tuple(codes.T), sizes)

    def candidates(rows, m):
        order = np.argsort(table[rows], axis=1, kind="stable")[:, :m]
        return every[order], np.take_along_axis(table[rows], order, axis=1)

    return resolver.resolve(
        codes,
        np.arange(len(codes)) if ids is None else ids,
        sizes,
        candidates=candidates,
        errors=table[np.arange(len(codes)), own],
    )


def random_items(seed, sizes, n):
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(size, size=n) for size in sizes], axis=1).astype(np.int32)
    return codes, rng.random((n, math.prod(sizes)))


@given(
    seed=SEEDS,
    sizes=st.sampled_from([(1,), (7,), (2, 3), (3, 8), (2, 3, 4), (6, 6)]),
    epsilon=st.sampled_from([1e-6, 0.003, 1.0, 100.0]),
    iterations=st.sampled_from([1, 50]),
    data=st.data(),
)
def test_every_item_gets_a_code_of_its_own(seed, sizes, epsilon, iterations, data):
    n = data.draw(st.integers(1, math.prod(sizes)))
    codes, table = random_items(seed, sizes, n)
    unique = resolve(Sinkhorn(epsilon=epsilon, iterations=iterations), codes, table, sizes)
    assert len(np.unique(unique, axis=0)) == n
    assert (unique >= 0).all()
    assert (unique < np.array(sizes)).all()


@given(seed=SEEDS, n=st.integers(2, 8))
def test_items_stay_under_their_prefix_while_it_has_room(seed, n):
    # 4 prefixes of 8 codes: no item sees more than 32 codes, and each prefix has room for n.
    codes, table = random_items(seed, (4, 8), n)
    assert np.array_equal(resolve(Sinkhorn(), codes, table, (4, 8))[:, 0], codes[:, 0])


def test_what_a_prefix_has_no_room_for_goes_elsewhere():
    codes, table = np.zeros((5, 2), dtype=np.int32), np.random.default_rng(0).random((5, 9))
    unique = resolve(Sinkhorn(), codes, table, (3, 3))
    assert (unique[:, 0] == 0).sum() == 3
    assert len(np.unique(unique, axis=0)) == 5


def test_the_item_with_less_to_lose_makes_way():
    # The last two like code 1 best; one of them finds code 2 nearly as good, the other does not.
    codes = np.zeros((3, 1), dtype=np.int32)
    table = np.array([[0, 9, 9, 9], [0, 1, 1.1, 9], [0, 1.05, 9, 9]])
    assert resolve(NearestFree(), codes, table, (4,))[:, 0].tolist() == [0, 1, 2]
    assert resolve(Sinkhorn(), codes, table, (4,))[:, 0].tolist() == [0, 2, 1]


@given(seed=SEEDS, n=st.integers(3, 6))
def test_with_little_entropy_the_plan_is_the_best_assignment(seed, n):
    # One prefix, of which the first item keeps its code; no other assignment is nearly as good.
    rng = np.random.default_rng(seed)
    codes, table = np.zeros((n, 1), dtype=np.int32), rng.random((n, n))
    table[0, 0] = -1
    sums = {
        order: table[np.arange(1, n), list(order)].sum()
        for order in itertools.permutations(range(1, n))
    }
    best, second = sorted(sums, key=sums.__getitem__)[:2]
    assume(sums[second] - sums[best] > 0.1)
    unique = resolve(Sinkhorn(epsilon=0.005, iterations=1000), codes, table, (n,))
    assert unique[:, 0].tolist() == [0, *best]


def test_real_codebooks(tiny):
    x = tiny[:500]
    fitted = RQKMeans(levels=3, codebook_size=16, iterations=5).fit(x)
    content = fitted.encode(x)
    errors = fitted.errors(x, content)[:, -1]
    unique = Sinkhorn().resolve(
        content,
        np.arange(len(x)),
        fitted.codebook_sizes,
        candidates=lambda rows, m: fitted.candidates(x[rows], m),
        errors=errors,
    )
    assert len(np.unique(unique, axis=0)) == len(x)
    moved = (unique != content).any(axis=1)
    assert (unique[moved, :2] == content[moved, :2]).all(axis=1).mean() > 0.5


def test_candidates_and_errors_are_needed():
    with pytest.raises(TypeError, match="Sinkhorn needs candidates and errors"):
        Sinkhorn().resolve(np.zeros((2, 1), dtype=np.int32), np.arange(2), (2,))


def test_more_items_than_codes_are_refused():
    codes, table = random_items(0, (2, 2), 5)
    with pytest.raises(CollisionError, match="5 items, but only 4 codes"):
        resolve(Sinkhorn(), codes, table, (2, 2))


@pytest.mark.parametrize("fields", [{"epsilon": 0}, {"iterations": 0}])
def test_fields_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Sinkhorn(**fields)
