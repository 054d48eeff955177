"""NearestFree with room for several items a code, and many equal items."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import CollisionError, NearestFree
from semantic_ids.resolvers.nearest_free import stable_matching

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([(7,), (2, 3), (3, 4), (2, 3, 2), (6, 6)])
CAPACITIES = st.integers(1, 4)


def random_items(seed, sizes, n, *, few_errors=False, kinds=None):
    """Content codes, and squared errors (n, number of codes); `kinds` different items at most."""
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(size, size=n) for size in sizes], axis=1).astype(np.int32)
    table = rng.random((n, math.prod(sizes)))
    kind = rng.integers(min(kinds, n), size=n) if kinds else np.arange(n)
    return codes[kind], table.round(1)[kind] if few_errors else table[kind]


def all_codes(sizes):
    return np.array(list(itertools.product(*map(range, sizes))), dtype=np.int32)


def resolve(resolver, codes, table, sizes, *, taken=None, asked=None):
    own = np.ravel_multi_index(tuple(codes.T), sizes)

    def candidates(rows, m):
        if asked is not None:
            asked.append((len(rows), m))
        order = np.argsort(table[rows], axis=1, kind="stable")[:, :m]
        return all_codes(sizes)[order], np.take_along_axis(table[rows], order, axis=1)

    return resolver.resolve(
        codes,
        np.arange(len(codes)),
        sizes,
        candidates=candidates,
        errors=table[np.arange(len(codes)), own],
        taken=taken,
    )


def naive(codes, table, sizes, capacity, taken):
    """Keep the nearest items, then go through all pairs by (added error, id)."""
    own = np.ravel_multi_index(tuple(codes.T), sizes)
    errors = table[np.arange(len(codes)), own]
    room = [capacity] * table.shape[1]
    for code in np.ravel_multi_index(tuple(taken.T), sizes):
        room[code] -= 1
    chosen = {}
    for item in sorted(range(len(codes)), key=lambda i: (errors[i], i)):
        if room[own[item]]:
            chosen[item] = own[item]
            room[own[item]] -= 1
    pairs = [
        (table[item, code] - errors[item], item, table[item, code], code)
        for item in set(range(len(codes))) - set(chosen)
        for code in range(table.shape[1])
    ]
    for _, item, _, code in sorted(pairs):
        if item not in chosen and room[code]:
            chosen[item] = code
            room[code] -= 1
    return all_codes(sizes)[[chosen[item] for item in range(len(codes))]]


@given(seed=SEEDS, sizes=SIZES, capacity=CAPACITIES, few=st.booleans(), data=st.data())
def test_it_is_the_naive_greedy(seed, sizes, capacity, few, data):
    room = math.prod(sizes) * capacity
    before = data.draw(st.integers(0, room - 1))
    n = data.draw(st.integers(1, min(60, room - before)))
    kinds = data.draw(st.sampled_from([None, 1, 3]))
    codes, table = random_items(seed, sizes, n, few_errors=few, kinds=kinds)
    every = np.repeat(all_codes(sizes), capacity, axis=0)
    taken = np.random.default_rng(seed).permutation(every)[:before]
    found = resolve(NearestFree(capacity=capacity), codes, table, sizes, taken=taken)
    assert np.array_equal(found, naive(codes, table, sizes, capacity, taken))


@given(seed=SEEDS, sizes=SIZES, capacity=CAPACITIES)
def test_as_many_items_as_there_is_room_for(seed, sizes, capacity):
    codes, table = random_items(seed, sizes, math.prod(sizes) * capacity)
    found = resolve(NearestFree(capacity=capacity), codes, table, sizes)
    assert set(Counter(map(tuple, found.tolist())).values()) == {capacity}
    codes, table = random_items(seed, sizes, len(codes) + 1)
    with pytest.raises(CollisionError, match=f"{len(codes)} items, but only"):
        resolve(NearestFree(capacity=capacity), codes, table, sizes)


def test_buckets_within_the_capacity_stay_together():
    codes = np.array([[0], [0], [0], [4], [4]], dtype=np.int32)
    table = np.tile([0.0, 1, 2, 3, 4], (5, 1))
    assert np.array_equal(resolve(NearestFree(capacity=3), codes, table, (5,)), codes)
    assert resolve(NearestFree(capacity=2), codes, table, (5,))[:, 0].tolist() == [0, 0, 1, 4, 4]


def test_a_code_has_room_for_one_item_at_least():
    with pytest.raises(ValueError, match="capacity"):
        NearestFree(capacity=0)


def test_candidates_that_leave_codes_out_are_reported():
    codes, named = np.zeros((3, 1), dtype=np.int32), np.array([[[0], [1]]] * 3, dtype=np.int32)
    with pytest.raises(ValueError, match="1 items are left without a free code, though all 4"):
        NearestFree().resolve(
            codes,
            np.arange(3),
            (4,),
            candidates=lambda rows, m: (named[rows], np.ones((len(rows), 2))),
            errors=np.zeros(3),
        )


# --- the matching


@given(seed=SEEDS, movers=st.integers(0, 12), slots=st.integers(1, 8), few=st.booleans())
def test_a_slot_holds_the_best_proposals_it_has_room_for(seed, movers, slots, few):
    rng = np.random.default_rng(seed)
    room = rng.integers(1, 4, size=slots)
    pairs = [
        (int(cost * 4) / 4 if few else cost, mover, slot)
        for mover in range(movers)
        for slot, cost in enumerate(rng.random(slots))
        if rng.random() < 0.6
    ]
    pairs.sort(key=lambda pair: (pair[1], pair[0]))
    cost, mover, slot = np.array(pairs).reshape(-1, 3).T
    accepted = stable_matching(
        mover.astype(np.int64), slot.astype(np.int64), cost, movers, room=room
    )
    expected, left = np.full(movers, -1), room.copy()
    for place in sorted(range(len(pairs)), key=lambda p: (cost[p], mover[p], p)):
        if expected[int(mover[place])] < 0 and left[int(slot[place])]:
            expected[int(mover[place])] = place
            left[int(slot[place])] -= 1
    assert np.array_equal(accepted, expected)


# --- equal items


@given(seed=SEEDS, sizes=st.sampled_from([(40,), (8, 9), (4, 4, 5)]), capacity=st.integers(1, 2))
def test_equal_items_share_their_lists(seed, sizes, capacity):
    # All items like the same codes, so that the 32 first candidates run out.
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, math.prod(sizes) * capacity + 1))
    codes, table = random_items(seed, sizes, n, kinds=int(rng.integers(1, 5)))
    table = table * 0.01 + rng.random(math.prod(sizes))
    found = resolve(NearestFree(capacity=capacity), codes, table, sizes)
    nothing = np.zeros((0, len(sizes)), dtype=np.int32)
    assert np.array_equal(found, naive(codes, table, sizes, capacity, nothing))


def test_one_of_many_equal_items_is_asked_for_further_candidates():
    n, sizes, asked = 3000, (60, 60), []
    codes = np.zeros((n, 2), dtype=np.int32)
    table = np.broadcast_to(np.arange(3600.0), (n, 3600))
    found = resolve(NearestFree(), codes, table, sizes, asked=asked)
    assert found.tolist() == all_codes(sizes)[:n].tolist()
    widths = [32, 64, 128, 256, 512, 1024, 2048, 3600]
    assert asked == [(2999 if m == 32 else 1, m) for m in widths]
