"""Exact ranking in blocks against all scores at once and against double loops."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recmodels.data import Histories
from recmodels.ranking import best_of_levels, best_of_products, top_k
from recmodels.ranking.running import Running

BLOCKS = st.integers(1, 60)


def assert_same(top, expected):
    assert top.rows.dtype == np.int64
    assert np.array_equal(top.rows, expected.rows)
    assert np.array_equal(top.scores, expected.scores)


def looped_sums(logits, codes):
    """The oracle: the sum of level logits for every user and item, one by one, in float64."""
    return np.array(
        [
            [
                sum(float(part[user, c]) for part, c in zip(logits, code, strict=True))
                for code in codes
            ]
            for user in range(len(logits[0]))
        ]
    ).reshape(len(logits[0]), len(codes))


def draw_codes(rng, items, sizes):
    return np.stack([rng.integers(0, size, items) for size in sizes], axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_products_are_ranked_as_all_at_once_on_every_tie(dtype, data):
    users, items, width = data.draw(
        st.tuples(st.integers(0, 6), st.integers(1, 30), st.integers(1, 3))
    )
    small = st.integers(-2, 2).map(float)  # so that sums are exact, and many are equal
    queries = data.draw(hnp.arrays(dtype, (users, width), elements=small))
    vectors = data.draw(hnp.arrays(dtype, (items, width), elements=small))
    k = data.draw(st.integers(1, items))
    top = best_of_products(queries, vectors, k, block=data.draw(BLOCKS))
    assert top.scores.dtype == dtype
    assert_same(top, top_k(queries @ vectors.T, k))


@given(data=st.data())
def test_sums_of_levels_are_ranked_as_all_at_once_on_every_tie(data):
    users, items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 30))
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    values = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
    logits = [data.draw(hnp.arrays(np.float32, (users, size), elements=values)) for size in sizes]
    codes = np.stack(
        [data.draw(hnp.arrays(np.int32, items, elements=st.integers(0, s - 1))) for s in sizes], 1
    )
    k = data.draw(st.integers(1, items))
    top = best_of_levels(logits, codes, k, block=data.draw(BLOCKS))
    assert_same(top, top_k(looped_sums(logits, codes), k))


@pytest.mark.parametrize("order", ["C", "F"])
@given(data=st.data())
def test_running_best_is_that_of_all_blocks_side_by_side(order, data):
    users, items = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 60))
    few = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf])
    scores = data.draw(hnp.arrays(np.float32, (users, items), elements=few))
    cuts = sorted(data.draw(st.sets(st.integers(1, items), max_size=5)) - {items})
    k = data.draw(st.integers(1, items))
    best = Running(users, k, np.float32)
    for block in np.split(scores, cuts, axis=1):
        best.add(np.array(block, order=order))
    assert_same(best.top, top_k(scores, k))


@pytest.mark.parametrize("trend", [-1.0, 0.0, 1.0])
def test_many_users_and_items(trend):
    """Rising scores make every block full of better items, falling ones none."""
    rng = np.random.default_rng(0)
    queries = np.append(rng.integers(-3, 4, (300, 4)), np.ones((300, 1)), axis=1)
    vectors = np.append(rng.integers(-3, 4, (3000, 4)), trend * np.arange(3000)[:, None], axis=1)
    top = best_of_products(queries, vectors, 20, block=1 << 14)
    assert_same(top, top_k(queries @ vectors.T, 20))


def test_items_may_be_mapped_from_a_file_of_halves(tmp_path):
    rng = np.random.default_rng(0)
    queries, vectors = (rng.integers(-3, 4, (size, 4)).astype(np.float16) for size in (5, 90))
    np.save(tmp_path / "items.npy", vectors)
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    top = best_of_products(queries, mapped, 7, block=64)
    assert top.scores.dtype == np.float32
    assert_same(top, top_k(queries.astype(np.float32) @ vectors.astype(np.float32).T, 7))


def test_sums_of_levels_equal_a_double_loop():
    rng = np.random.default_rng(0)
    sizes = [8, 5, 7, 6]
    logits = [rng.normal(size=(20, size)).astype(np.float32) for size in sizes]
    codes = draw_codes(rng, 150, sizes)
    scores = looped_sums(logits, codes)
    top = best_of_levels(logits, codes, 150, block=500)
    assert np.allclose(np.take_along_axis(scores, top.rows, axis=1), top.scores, rtol=0, atol=1e-5)
    assert np.array_equal(np.sort(top.rows, axis=1), np.broadcast_to(np.arange(150), (20, 150)))
    assert (np.diff(top.scores, axis=1) <= 0).all()


def test_one_array_of_logits_is_split_by_level():
    rng = np.random.default_rng(0)
    logits, codes = rng.normal(size=(5, 9)), draw_codes(rng, 40, [4, 5])
    parts = np.split(logits, [4], axis=1)
    assert_same(best_of_levels(parts, codes, 3), top_k(looped_sums(parts, codes), 3))


@pytest.mark.parametrize("of", ["products", "levels"])
def test_memory_grows_with_the_block_and_not_with_the_scores(of):
    rng, users, items, block = np.random.default_rng(0), 1000, 20_000, 1 << 16
    if of == "products":
        arguments = rng.random((users, 4), np.float32), rng.random((items, 4), np.float32)
    else:
        codes = draw_codes(rng, items, [8, 8]).astype(np.int32)
        arguments = [rng.random((users, 8), np.float32) for _ in range(2)], codes
    rank = best_of_products if of == "products" else best_of_levels
    rank(*arguments, 10, block=block)  # what is imported or cached on the way is not counted
    tracemalloc.start()
    try:
        rank(*arguments, 10, block=block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    results, tokens = users * 10 * (8 + 4), 2 * items * (8 + 8 + 4)
    assert peak < 40 * block + results + tokens
    assert peak < users * items * 4 / 10


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_seen_items_are_left_out(block):
    rng = np.random.default_rng(0)
    queries, vectors = rng.integers(-2, 3, (2, 30, 2)).astype(np.float32)
    seen = Histories.of([rng.choice(30, size=rng.integers(0, 31)) for _ in queries])
    scores = queries @ vectors.T
    top = best_of_products(queries, vectors, 12, block=block, seen=seen)
    for user, history in enumerate(seen):
        order = np.lexsort((np.arange(30), -scores[user]))
        left = [row for row in order.tolist() if row not in history][:12]
        rest = 12 - len(left)
        assert top.rows[user].tolist() == left + [-1] * rest
        assert top.scores[user].tolist() == scores[user, left].tolist() + [-np.inf] * rest


@pytest.mark.parametrize("bonus", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_seen_items_have_a_bonus_for_each_time(block, bonus):
    rng = np.random.default_rng(0)
    queries, vectors = rng.integers(-2, 3, (2, 30, 2)).astype(np.float32)
    seen = Histories.of([rng.integers(0, 30, size=rng.integers(0, 20)) for _ in queries])
    scores = queries @ vectors.T
    for user, history in enumerate(seen):
        for item in history:
            scores[user, item] += bonus
    top = best_of_products(queries, vectors, 12, block=block, seen=seen, bonus=bonus)
    expected = top_k(scores, 12)
    assert np.array_equal(top.rows, expected.rows)
    assert np.array_equal(top.scores, expected.scores)


@pytest.mark.parametrize("bonus", [np.nan, np.inf])
def test_a_bonus_is_a_number_below_infinity(bonus):
    with pytest.raises(ValueError, match=f"bonus={bonus}"):
        best_of_products(np.zeros((1, 2)), np.zeros((3, 2)), 1, bonus=bonus)


def test_items_seen_are_left_out_of_sums_of_levels():
    logits = [np.array([[0.0, 1.0]])]
    top = best_of_levels(logits, np.array([[0], [1]]), 2, seen=Histories.of([[1]]))
    assert top.rows.tolist() == [[0, -1]]


@pytest.mark.parametrize(
    ("queries", "items", "message"),
    [
        (np.zeros((2, 3)), np.zeros((4, 2)), "3 wide and items 2"),
        (np.zeros((2, 2), dtype=int), np.zeros((4, 2)), "queries: expected a 2-D float array"),
        (np.zeros((2, 2)), np.zeros(4), "items: expected a 2-D float array"),
        (np.full((2, 2), np.nan), np.zeros((4, 2)), "queries: expected finite"),
        (np.zeros((2, 2)), np.full((4, 2), np.inf), "items: expected finite"),
    ],
)
def test_other_vectors_are_refused(queries, items, message):
    with pytest.raises(ValueError, match=message):
        best_of_products(queries, items, 1)


def test_products_that_overflow_to_nan_are_refused_by_place():
    items = np.full((9, 2), 3e38, dtype=np.float32)
    items[6, 1] *= -1
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(ValueError, match="NaN for user row 0, item row 6"),
    ):
        best_of_products(np.full((1, 2), 10, dtype=np.float32), items, 2, block=4)


@pytest.mark.parametrize("k", [0, 5])
def test_k_is_refused_with_both_numbers(k):
    with pytest.raises(ValueError, match=rf"k={k} .* 4"):
        best_of_products(np.zeros((2, 2)), np.zeros((4, 2)), k)


def test_an_empty_block_is_refused():
    with pytest.raises(ValueError, match="block=0"):
        best_of_products(np.zeros((2, 2)), np.zeros((4, 2)), 1, block=0)


@pytest.mark.parametrize(
    ("logits", "codes", "message"),
    [
        ([], [[0]], "logits: expected an array for each level"),
        ([np.zeros((1, 2)), np.zeros((2, 2))], [[0, 0]], r"logits\[1\] is of 2 users"),
        ([np.zeros((1, 2)), np.full((1, 2), np.inf)], [[0, 0]], r"logits\[1\]: .* below infinity"),
        ([np.zeros((1, 2)), np.full((1, 2), np.nan)], [[0, 0]], r"logits\[1\]: .* below infinity"),
        ([np.zeros((1, 2))], [[0, 0]], r"codes: expected integers of shape \(N, 1\)"),
        ([np.zeros((1, 2))], [[0.0]], "codes: expected integers"),
        ([np.zeros((1, 2)), np.zeros((1, 3))], [[1, 2], [1, 3]], "row 1 has code 3 at level 1"),
        ([np.zeros((1, 2))], [[-1]], "row 0 has code -1"),
    ],
)
def test_other_levels_are_refused(logits, codes, message):
    with pytest.raises(ValueError, match=message):
        best_of_levels(logits, np.array(codes), 1)


@pytest.mark.parametrize(
    ("seen", "message"),
    [([[0]], "2 users came with 1"), ([[0], [4]], "item row 4 is none of the 4")],
)
def test_histories_of_others_are_refused(seen, message):
    with pytest.raises(ValueError, match=message):
        best_of_products(np.zeros((2, 2)), np.zeros((4, 2)), 1, seen=Histories.of(seen))
