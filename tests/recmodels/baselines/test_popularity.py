"""The two baselines that learn next to nothing."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from recmodels.baselines import Popularity, Uniform
from recmodels.data import Held, Histories, Split
from recmodels.evaluation import evaluate

SIZE = 8
ITEM = st.integers(0, SIZE - 1)
SEQUENCES = st.lists(st.lists(ITEM, min_size=3, max_size=9), min_size=1, max_size=10)


def split_of(sequences):
    return Split.leave_one_out(Histories.of(sequences), size=SIZE)


@given(SEQUENCES)
def test_counts_are_those_of_the_training_histories(sequences):
    counted = Counter(item for sequence in sequences for item in sequence[:-2])
    popularity = Popularity.fit(split_of(sequences))
    assert popularity.counts.tolist() == [counted[item] for item in range(SIZE)]
    assert popularity.counts.dtype == np.int64
    assert popularity.size == SIZE


@given(SEQUENCES, st.data())
def test_held_out_items_do_not_leak(sequences, data):
    others = [[*sequence[:-2], data.draw(ITEM), data.draw(ITEM)] for sequence in sequences]
    counts, other_counts = (Popularity.fit(split_of(each)).counts for each in (sequences, others))
    assert np.array_equal(counts, other_counts)


def test_everybody_gets_the_counts():
    popularity = Popularity.fit(split_of([[1, 1, 4, 0, 0], [4, 5, 7, 7]]))
    scores = popularity.scores(Histories.of([[2], [], [0, 0]]))
    assert scores.dtype == np.float32
    assert scores.tolist() == [[0, 2, 0, 0, 2, 1, 0, 0]] * 3


def test_ties_count_against_popularity():
    split = split_of([[1, 2, 0, 3], [1, 2, 0, 1]])
    # Training counts: items 1 and 2 twice each, all others never.
    result = evaluate(Popularity.fit(split), split.test, progress=False)
    assert result.ranks.tolist() == [SIZE, 2]
    assert result.metrics.tied == 2


def test_popularity_cannot_be_changed():
    popularity = Popularity.fit(split_of([[1, 2, 0, 3]]))
    with pytest.raises(ValueError, match="read-only"):
        popularity.counts[0] = 5
    assert repr(popularity) == "Popularity(8 items, 2 interactions)"


@given(st.lists(st.lists(ITEM, max_size=5), max_size=8), st.integers(0, 2**64 - 1))
def test_uniform_scores_do_not_depend_on_the_batch(sequences, seed):
    uniform = Uniform(SIZE, seed)
    together = uniform.scores(Histories.of(sequences))
    assert together.shape == (len(sequences), SIZE)
    assert together.dtype == np.float32
    for row, sequence in zip(together, sequences, strict=True):
        assert np.array_equal(uniform.scores(Histories.of([sequence]))[0], row)


def test_uniform_scores_differ_by_history_order_and_seed():
    histories = Histories.of([[1, 2], [2, 1], [1], [], [1, 0]])
    rows = np.concatenate([Uniform(50, seed).scores(histories) for seed in range(3)])
    assert len(np.unique(rows, axis=0)) == 3 * len(histories)


def test_uniform_ranks_are_uniform():
    rng = np.random.default_rng(0)
    histories = Histories.of([[user] for user in range(4000)])
    held = Held(histories, rng.integers(0, 20, 4000))
    ranks = evaluate(Uniform(20, seed=5), held, progress=False).ranks
    assert chisquare(np.bincount(ranks, minlength=21)[1:]).pvalue > 0.001


@pytest.mark.parametrize(
    "fields", [{"size": 0}, {"size": 3, "seed": -1}, {"size": 3, "seed": 2**64}]
)
def test_uniform_refuses_what_is_out_of_range(fields):
    with pytest.raises(ValueError, match="should be >="):
        Uniform(**fields)
