"""What is built of interactions: right by a double loop, and blind to what is held out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recmodels.data import Histories, Split
from recmodels.data.structure import (
    cooccurrence_graph,
    cooccurrence_vectors,
    interaction_counts,
    interaction_vectors,
    side_of,
)

SIZE = 30


def histories(seed, users=40):
    rng = np.random.default_rng(seed)
    return [rng.integers(SIZE, size=rng.integers(3, 12)).tolist() for _ in range(users)]


def split_of(sequences):
    return Split.leave_one_out(Histories.of(sequences), size=SIZE)


def everything(split):
    side = side_of(split, width=6, window=3)
    return [
        side.collaborative,
        side.counts,
        side.graph.toarray(),
        interaction_vectors(split, width=6),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_last_two_items_of_each_user_leave_no_trace(seed):
    sequences = histories(seed)
    rng = np.random.default_rng(seed + 100)
    others = [[*items[:-2], *rng.integers(SIZE, size=2).tolist()] for items in sequences]
    assert others != sequences
    for one, other in zip(
        everything(split_of(sequences)), everything(split_of(others)), strict=True
    ):
        assert one.tobytes() == other.tobytes()


def test_an_item_of_the_training_part_leaves_its_trace():
    sequences = histories(0)
    others = [[(items[0] + 1) % SIZE, *items[1:]] for items in sequences]
    for one, other in zip(
        everything(split_of(sequences)), everything(split_of(others)), strict=True
    ):
        assert not np.array_equal(one, other)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), window=st.integers(1, 12))
def test_the_graph_counts_pairs_as_a_double_loop_does(seed, window):
    sequences = histories(seed, users=8)
    expected = np.zeros((SIZE, SIZE))
    for items in sequences:
        known = items[:-2]
        for i, first in enumerate(known):
            for second in known[i + 1 : i + 1 + window]:
                if first != second:
                    expected[first, second] += 1
                    expected[second, first] += 1
    graph = cooccurrence_graph(split_of(sequences), window=window)
    assert np.array_equal(graph.toarray(), expected)


def test_counts_are_those_of_the_training_histories():
    split = split_of([[4, 4, 2, 1, 1], [2, 4, 9, 9]])
    expected = np.zeros(SIZE)
    expected[[2, 4]] = [2, 3]
    assert np.array_equal(interaction_counts(split), expected)


def test_vectors_of_pairs_decompose_their_positive_mutual_information():
    split = split_of(histories(1, users=200))
    graph = cooccurrence_graph(split).toarray()
    rows = graph.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        information = np.maximum(np.log(graph * graph.sum() / (rows * rows.T)), 0)
    values = np.linalg.svd(information, compute_uv=False)
    vectors = cooccurrence_vectors(split, width=SIZE).astype(np.float64)
    # U sqrt(s): its Gram matrix is diagonal with s, its other one is the polar factor of PPMI.
    assert np.allclose(vectors.T @ vectors, np.diag(values), atol=1e-4)
    assert np.allclose((vectors @ vectors.T) @ (vectors @ vectors.T), information @ information.T,
                       atol=1e-3)  # fmt: skip


def test_vectors_of_interactions_decompose_the_matrix_of_items_and_users():
    sequences = histories(2, users=50)
    matrix = np.zeros((SIZE, 50))
    for user, items in enumerate(sequences):
        matrix[items[:-2], user] = 1
    vectors = interaction_vectors(split_of(sequences), width=SIZE).astype(np.float64)
    gram = vectors @ vectors.T
    assert np.allclose(gram @ gram, matrix @ matrix.T, atol=1e-3)


def test_items_bought_together_are_near_each_other():
    rng = np.random.default_rng(0)
    sequences = [(10 * rng.integers(3) + rng.integers(10, size=10)).tolist() for _ in range(300)]
    group = np.arange(SIZE) // 10
    for vectors in (
        cooccurrence_vectors(split_of(sequences), width=3),
        interaction_vectors(split_of(sequences), width=3),
    ):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = unit @ unit.T
        same = group[:, None] == group
        assert cosines[same].min() > cosines[~same].max()


def test_an_item_that_nobody_has_gets_zeros():
    split = split_of([[0, 1, 2, 3, 4]] * 4)
    side = side_of(split, width=2)
    assert not side.collaborative[10].any()
    assert side.counts[10] == 0
    assert not interaction_vectors(split, width=2)[10].any()


def test_histories_that_are_all_held_out_give_nothing():
    side = side_of(split_of([[0, 1, 2, 3][:3]]), width=2)
    assert not side.graph.toarray().any()
    assert not side.collaborative.any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "width: expected 1 to 30, got 0"),
        ({"width": 31}, "width: expected 1 to 30, got 31"),
        ({"window": 0}, "window: expected at least 1, got 0"),
    ],
)
def test_figures_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        side_of(split_of(histories(0)), **{"width": 2} | fields)
