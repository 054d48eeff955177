"""The best of an array against a full sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recmodels.ranking import top_k

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
