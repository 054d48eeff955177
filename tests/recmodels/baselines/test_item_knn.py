"""Item neighbours, against naive double loops and scikit-learn."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from recmodels.baselines import ItemKNN, item_knn
from recmodels.baselines.history_matrix import history_matrix
from recmodels.data import Histories, Split
from recmodels.evaluation import evaluate

SIZE = 7
ITEM = st.integers(0, SIZE - 1)
SEQUENCES = st.lists(st.lists(ITEM, min_size=3, max_size=9), min_size=1, max_size=10)
ASKED = st.lists(st.lists(ITEM, max_size=6), min_size=1, max_size=5)
RECENCY = st.sampled_from([0.25, 0.7, 1.0])


def split_of(sequences):
    return Split.leave_one_out(Histories.of(sequences), size=SIZE)


def similarities_by_loop(sequences, k):
    """Who has both, among all pairs of items, and of each row only the k best."""
    had = [set(sequence[:-2]) for sequence in sequences]
    rows = np.zeros((SIZE, SIZE))
    for i in range(SIZE):
        found = {}
        for j in range(SIZE):
            both = sum(i in items and j in items for items in had)
            if i != j and both:
                alone = [sum(item in items for items in had) for item in (i, j)]
                found[j] = both / sqrt(alone[0] * alone[1])
        for j in sorted(found, key=lambda item: (-found[item], item))[:k]:
            rows[i, j] = found[j]
    return rows


@given(SEQUENCES, st.integers(1, SIZE + 2))
def test_neighbours_are_those_of_a_double_loop(sequences, k):
    found = ItemKNN.fit(split_of(sequences), k=k).similarities
    assert found.dtype == np.float32
    assert np.array_equal(found.toarray(), similarities_by_loop(sequences, k).astype(np.float32))
    assert np.diff(found.indptr).max() <= k
    assert found.has_sorted_indices


@given(SEQUENCES, ASKED, st.integers(1, SIZE), RECENCY)
def test_scores_are_sums_over_the_history(sequences, asked, k, recency):
    rows = similarities_by_loop(sequences, k)
    scores = ItemKNN.fit(split_of(sequences), k=k, recency=recency).scores(Histories.of(asked))
    assert scores.dtype == np.float32
    for history, found in zip(asked, scores, strict=True):
        expected = np.zeros(SIZE)
        for age, item in enumerate(reversed(history)):
            expected += recency**age * rows[item]
        assert np.allclose(found, expected, atol=1e-6)


@given(SEQUENCES)
def test_with_every_neighbour_it_is_the_cosine_of_who_has_what(sequences):
    split = split_of(sequences)
    had = history_matrix(split.train, SIZE).toarray() > 0
    expected = cosine_similarity(had.T.astype(float))
    np.fill_diagonal(expected, 0)
    assert np.allclose(ItemKNN.fit(split, k=SIZE).similarities.toarray(), expected, atol=1e-6)


@given(SEQUENCES, st.integers(1, 4), st.integers(1, 4))
def test_neighbours_do_not_depend_on_the_block(sequences, k, block):
    whole = ItemKNN.fit(split_of(sequences), k=k).similarities.toarray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_knn, "_BLOCK_ITEMS", block)
        in_blocks = ItemKNN.fit(split_of(sequences), k=k).similarities.toarray()
    assert np.array_equal(whole, in_blocks)


@given(SEQUENCES, ASKED, RECENCY)
def test_scores_do_not_depend_on_the_batch(sequences, asked, recency):
    knn = ItemKNN.fit(split_of(sequences), k=3, recency=recency)
    together = knn.scores(Histories.of(asked))
    for row, history in zip(together, asked, strict=True):
        assert np.array_equal(knn.scores(Histories.of([history]))[0], row)


@given(st.lists(st.lists(ITEM, max_size=8), max_size=6), RECENCY)
def test_a_history_matrix_is_that_of_a_loop(sequences, recency):
    expected = np.zeros((len(sequences), SIZE))
    for user, sequence in enumerate(sequences):
        for place, item in enumerate(sequence):
            expected[user, item] += recency ** (len(sequence) - 1 - place)
    found = history_matrix(Histories.of(sequences), SIZE, recency=recency)
    assert np.allclose(found.toarray(), expected)
    assert found.nnz == np.count_nonzero(expected)


def test_the_order_of_a_history_counts_only_with_recency():
    split = split_of([[0, 1, 6, 6], [2, 3, 6, 6]])
    forth, back = Histories.of([[0, 2]]), Histories.of([[2, 0]])
    plain, recent = ItemKNN.fit(split), ItemKNN.fit(split, recency=0.5)
    assert np.array_equal(plain.scores(forth), plain.scores(back))
    assert recent.scores(forth)[0, [1, 3]].tolist() == [0.5, 1.0]
    assert recent.scores(back)[0, [1, 3]].tolist() == [1.0, 0.5]


def test_histories_that_say_nothing_get_zeros():
    knn = ItemKNN.fit(split_of([[0, 1, 6, 6]]))
    scores = knn.scores(Histories.of([[], [5]]))
    assert scores.tolist() == [[0.0] * SIZE] * 2


def test_items_bought_together_are_recommended():
    rng = np.random.default_rng(0)
    sequences = [(3 * (user % 2) + rng.integers(3, size=6)).tolist() for user in range(200)]
    split = split_of(sequences)
    # Three items of a group, of which a history's own have no similarity with themselves.
    assert evaluate(ItemKNN.fit(split), split.test, progress=False).metrics.hr_5 > 0.99
    assert np.all(evaluate(ItemKNN.fit(split), split.test, progress=False).ranks <= 3)


def test_it_cannot_be_changed():
    knn = ItemKNN.fit(split_of([[0, 1, 6, 6]]))
    for array in (knn.similarities.data, knn.similarities.indices, knn.similarities.indptr):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert repr(knn) == "ItemKNN(7 items, 2 neighbours)"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 0}, "k=0 should be >= 1"),
        ({"recency": 0.0}, "recency=0.0 should be above 0 and at most 1"),
        ({"recency": 1.5}, "recency=1.5"),
        ({"recency": float("nan")}, "recency=nan"),
    ],
)
def test_figures_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ItemKNN.fit(split_of([[0, 1, 6, 6]]), **fields)


def test_an_item_of_no_catalogue_is_refused():
    with pytest.raises(ValueError, match="item 7 is not in the catalogue; expected 0 to 6"):
        ItemKNN.fit(split_of([[0, 1, 6, 6]])).scores(Histories.of([[1], [7]]))
