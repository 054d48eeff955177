"""Leave-one-out influence against scoring one history after another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import Histories
from recmodels.influence import influence

ITEMS = 6


def scores_of(history):
    """Scores of a history that depend on which items it holds, and where."""
    weights = np.random.default_rng(0).integers(-9, 10, (ITEMS, ITEMS))
    recency = 2.0 ** -np.arange(len(history))[::-1]
    return (weights[list(history)] * recency[:, None]).sum(axis=0)


def scores(histories):
    return np.stack([scores_of(history) for history in histories])


@given(st.lists(st.integers(0, ITEMS - 1), max_size=8), st.integers(0, ITEMS - 1))
def test_drops_are_those_of_a_loop_over_positions(history, row):
    found = influence(scores, history, row)
    whole = scores_of(history)[row]
    assert found.score == whole
    assert found.history.tolist() == history
    assert found.drops.tolist() == [
        whole - scores_of(history[:place] + history[place + 1 :])[row]
        for place in range(len(history))
    ]
    assert found.ranked.tolist() == sorted(
        range(len(history)), key=lambda place: -found.drops[place]
    )


def test_all_histories_are_scored_in_one_call():
    calls = []

    def counted(histories):
        calls.append(len(histories))
        return scores(histories)

    influence(counted, [0, 1, 2, 3], 0)
    assert calls == [5]


def test_influence_prints_what_matters_most():
    def count(histories: Histories) -> np.ndarray:
        return np.array([[len(set(history.tolist()))] for history in histories], dtype=np.float32)

    lines = repr(influence(count, [4, 4, 7, 8, 9, 5], 0)).splitlines()
    assert lines[0] == "item 0 scores 5"
    assert lines[1] == "  +1 by item 7 at position 2"
    assert lines[5:] == ["  +0 by item 4 at position 0", "  ..."]


@pytest.mark.parametrize("row", [-1, ITEMS])
def test_a_row_beyond_the_catalogue_is_refused(row):
    with pytest.raises(ValueError, match=rf"row={row} .* 0 and {ITEMS - 1}"):
        influence(scores, [1, 2], row)


@pytest.mark.parametrize("shape", [(2, ITEMS), (3,)])
def test_other_scores_are_refused(shape):
    with pytest.raises(ValueError, match=r"scores: expected shape \(3, N\)"):
        influence(lambda histories: np.zeros(shape), [1, 2], 0)


def test_a_history_of_other_things_is_refused():
    with pytest.raises(ValueError, match="expected integers"):
        influence(scores, ["lamp"], 0)
