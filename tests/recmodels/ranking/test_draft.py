"""Draft-then-verify against exact rankings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recmodels.ranking import TopK, draft_then_verify, top_k

FEW_VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 1.0, 2.0])


def verifier(exact):
    return lambda users, rows: exact[users[:, None], rows]


@st.composite
def cheap_and_exact(draw):
    shape = draw(st.tuples(st.integers(0, 5), st.integers(1, 15)))
    return [draw(hnp.arrays(np.float32, shape, elements=FEW_VALUES)) for _ in range(2)]


@given(cheap_and_exact(), st.data())
def test_the_best_of_a_draft_by_exact_scores(scores, data):
    cheap, exact = scores
    items = cheap.shape[1]
    drafted = data.draw(st.integers(1, items))
    m = data.draw(st.integers(1, drafted))
    k = data.draw(st.integers(1, m))
    draft = top_k(cheap, drafted)
    top = draft_then_verify(draft, verifier(exact), k, m=m, block=data.draw(st.integers(1, 3)))
    for user in range(len(cheap)):
        rows = sorted(draft.rows[user, :m].tolist(), key=lambda row: (-exact[user, row], row))[:k]
        assert top.rows[user].tolist() == rows
        assert np.array_equal(top.scores[user], exact[user, rows])


@given(cheap_and_exact(), st.data())
def test_a_draft_of_all_items_loses_nothing(scores, data):
    cheap, exact = scores
    items = cheap.shape[1]
    k = data.draw(st.integers(1, items))
    top, expected = draft_then_verify(top_k(cheap, items), verifier(exact), k), top_k(exact, k)
    assert np.array_equal(top.rows, expected.rows)
    assert np.array_equal(top.scores, expected.scores)


@given(cheap_and_exact(), st.data())
def test_overlap_with_the_exact_best_never_falls_as_the_draft_grows(scores, data):
    cheap, exact = scores
    items = cheap.shape[1]
    k = data.draw(st.integers(1, items))
    best, draft, before = top_k(exact, k).rows, top_k(cheap, items), np.zeros(len(cheap))
    for m in range(k, items + 1):
        rows = draft_then_verify(draft, verifier(exact), k, m=m).rows
        overlap = (rows[:, :, None] == best[:, None]).any(axis=2).sum(axis=1)
        assert (overlap >= before).all()
        before = overlap
    assert (before == k).all()


def test_missing_items_of_a_draft_are_not_verified():
    draft = TopK(np.array([[4, -1, -1], [0, 3, -1]]), np.zeros((2, 3)))

    def verify(users, rows):
        assert rows.tolist() == [[4, 0, 0], [0, 3, 0]]
        return np.array([[1.0, 9.0, np.nan], [2.0, 3.0, 9.0]])

    top = draft_then_verify(draft, verify, 2)
    assert top.rows.tolist() == [[4, -1], [3, 0]]
    assert top.scores.tolist() == [[1.0, -np.inf], [3.0, 2.0]]


@pytest.mark.parametrize(
    ("k", "options", "message"),
    [
        (1, {"m": 0}, r"m=0 .* 3"),
        (1, {"m": 4}, r"m=4 .* 3"),
        (3, {"m": 2}, r"k=3 .* 2"),
        (0, {}, r"k=0 .* 3"),
        (1, {"block": 0}, "block=0"),
    ],
)
def test_other_numbers_are_refused(k, options, message):
    with pytest.raises(ValueError, match=message):
        draft_then_verify(top_k(np.zeros((2, 5)), 3), verifier(np.zeros((2, 5))), k, **options)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 2)), r"verify: expected floats of shape \(2, 3\)"),
        (np.zeros((2, 3), dtype=int), "got int64"),
        (np.array([[0, 0, 0], [0, 0, np.nan]]), "NaN for user 1, item row 2"),
    ],
)
def test_other_answers_of_verify_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        draft_then_verify(top_k(np.zeros((2, 5)), 3), lambda users, rows: value, 1)
