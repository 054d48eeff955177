"""Ranking against full sorts and double loops."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recmodels.ranking import Recommendations, TopK, top_k

FEW_VALUES = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1.0, 2.0, np.inf])


def sorted_rows(scores, k):
    """The oracle: sort each user by descending score, then by row."""
    rows = np.arange(scores.shape[1])
    best = [np.lexsort((rows, -user))[:k] for user in scores]
    return np.array(best, dtype=np.int64).reshape(len(scores), k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_top_k_is_the_head_of_a_full_sort(dtype, data):
    shape = data.draw(st.tuples(st.integers(0, 5), st.integers(1, 20)))
    scores = data.draw(hnp.arrays(dtype, shape, elements=FEW_VALUES))
    k = data.draw(st.integers(1, shape[1]))
    top = top_k(scores, k)
    expected = sorted_rows(scores, k)
    assert top.rows.dtype == np.int64
    assert top.scores.dtype == dtype
    assert np.array_equal(top.rows, expected)
    assert np.array_equal(top.scores, np.take_along_axis(scores, expected, axis=1))


def test_top_k_of_many_items():
    scores = np.random.default_rng(0).normal(size=(20, 3000)).astype(np.float32).round(2)
    assert np.array_equal(top_k(scores, 100).rows, sorted_rows(scores, 100))


def test_top_k_leaves_its_input_alone():
    scores = np.random.default_rng(0).random((3, 8))
    before = scores.copy()
    top_k(scores, 3)
    assert np.array_equal(scores, before)


@pytest.mark.parametrize("k", [0, -1, 6])
def test_top_k_refuses_k_with_both_numbers(k):
    with pytest.raises(ValueError, match=rf"k={k} .* 5"):
        top_k(np.zeros((2, 5)), k)


def test_top_k_refuses_nan_by_place():
    scores = np.zeros((3, 4))
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match="NaN for user row 1, item column 2"):
        top_k(scores, 2)


@pytest.mark.parametrize("scores", [np.zeros(4), np.zeros((2, 4), dtype=int)])
def test_top_k_refuses_other_arrays(scores):
    with pytest.raises(ValueError, match="2-D float array"):
        top_k(scores, 2)


@pytest.mark.parametrize(
    "item_ids",
    [
        np.array([10, 20, 30]),
        np.array(["a", "bb", "ccc"]),
        np.array(["a", "bb", "ccc"], dtype=np.dtypes.StringDType(coerce=False)),
    ],
)
def test_recommendations_hold_plain_ids(item_ids):
    top = TopK(np.array([[2, 0], [1, 2]]), np.array([[3.0, 1.0], [2.0, 1.0]]))
    recommendations = Recommendations.of(item_ids, top)
    ids = item_ids.tolist()
    assert recommendations.ids == ((ids[2], ids[0]), (ids[1], ids[2]))
    assert {type(id) for user in recommendations.ids for id in user} == {type(ids[0])}
    assert recommendations.scores is top.scores
    assert len(recommendations) == 2


def test_recommendations_are_frozen():
    recommendations = Recommendations(((1,),), np.zeros((1, 1)))
    with pytest.raises(FrozenInstanceError):
        recommendations.ids = ()  # type: ignore[misc]


def test_recommendations_print_their_head():
    ids = tuple(tuple(range(7)) for _ in range(6))
    lines = repr(Recommendations(ids, np.zeros((6, 7)))).splitlines()
    assert lines[0] == "Recommendations of 7 items for 6 users"
    assert lines[1] == "  0: 0 (0), 1 (0), 2 (0), 3 (0), 4 (0), ..."
    assert lines[-1] == "  ..."
    assert len(lines) == 1 + 5 + 1


@pytest.mark.parametrize(
    ("ids", "shape", "message"),
    [
        (((1, 2),), (2, 2), "ids of 1 users"),
        (((1, 2), (3,)), (2, 2), r"ids\[1\]: 1 ids came with 2 scores"),
        ((), (0,), "ids of 0 users"),
    ],
)
def test_recommendations_of_two_shapes_are_refused(ids, shape, message):
    with pytest.raises(ValueError, match=message):
        Recommendations(ids, np.zeros(shape))
