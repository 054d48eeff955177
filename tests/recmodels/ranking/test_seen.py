"""Seen items against loops over users and items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recmodels.data import Histories
from recmodels.ranking import TopK, add_to_seen, drop_seen, top_k

HISTORIES = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=3, max_size=3)


def added(scores, histories, bonus, **part):
    """A copy, with the bonus added."""
    changed = scores.copy()
    add_to_seen(changed, histories, bonus, **part)
    return changed


@given(
    HISTORIES,
    hnp.arrays(np.float32, (3, 10), elements=st.sampled_from([0.0, 1.0, 2.0])),
    st.sampled_from([-np.inf, -1.5, 0.0, 2.0]),
)
def test_each_time_that_an_item_was_seen_counts(histories, scores, bonus):
    found = added(scores, Histories.of(histories), bonus)
    assert found.dtype == np.float32
    for user, history in enumerate(histories):
        for item in range(10):
            expected = scores[user, item]
            for _ in range(history.count(item)):
                expected += bonus
            assert found[user, item] == expected


@given(HISTORIES, st.integers(0, 10), st.integers(0, 10))
def test_a_block_is_a_part_of_the_whole(histories, first, end):
    first, end = sorted((first, end))
    scores, seen = np.zeros((3, 10)), Histories.of(histories)
    block = added(scores[:, first:end], seen, -1.0, first=first)
    assert np.array_equal(block, added(scores, seen, -1.0)[:, first:end])


@given(HISTORIES, st.data())
def test_first_items_that_are_not_seen(histories, data):
    scores = data.draw(hnp.arrays(np.float32, (3, 10), elements=st.sampled_from([0.0, 1.0, 2.0])))
    m = data.draw(st.integers(1, 10))
    k = data.draw(st.integers(1, m))
    top = top_k(scores, m)
    kept = drop_seen(top, Histories.of(histories), k)
    for user, history in enumerate(histories):
        left = [row for row in top.rows[user].tolist() if row not in history][:k]
        rest = k - len(left)
        assert kept.rows[user].tolist() == left + [-1] * rest
        assert kept.scores[user].tolist() == scores[user, left].tolist() + [-np.inf] * rest
    assert kept.scores.dtype == np.float32


def test_missing_items_stay_missing():
    """Row -1 of the second user is not the last item of the first."""
    top = TopK(
        np.array([[9, 3, -1], [2, -1, -1]]), np.array([[2, 1, -np.inf], [2, -np.inf, -np.inf]])
    )
    kept = drop_seen(top, Histories.of([[9], [2]]), k=2)
    assert kept.rows.tolist() == [[3, -1], [-1, -1]]
    assert kept.scores.tolist() == [[1, -np.inf], [-np.inf, -np.inf]]


def test_dropping_equals_hiding_if_enough_items_are_asked_for():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 200))
    seen = Histories.of([rng.choice(200, size=rng.integers(0, 30)) for _ in scores])
    dropped = drop_seen(top_k(scores, 40), seen, 10)
    assert np.array_equal(dropped.rows, top_k(added(scores, seen, -np.inf), 10).rows)


def test_other_histories_and_counts_are_refused():
    top = top_k(np.zeros((2, 3)), 3)
    with pytest.raises(ValueError, match="top: 2 users came with 1 histories"):
        drop_seen(top, Histories.of([[]]), 1)
    with pytest.raises(ValueError, match=r"k=4 .* 3"):
        drop_seen(top, Histories.of([[], []]), 4)
    with pytest.raises(ValueError, match="scores: 2 users came with 1 histories"):
        add_to_seen(np.zeros((2, 3)), Histories.of([[]]), 1.0)
