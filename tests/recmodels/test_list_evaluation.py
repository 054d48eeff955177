"""Evaluating lists: against the evaluation of full scores, cut at k."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import Held, Histories
from recmodels.evaluation import evaluate
from recmodels.list_evaluation import evaluate_lists
from recmodels.ranking import TopK, top_k


class Table:
    """Scores from a table, in full and as lists: a history is one item, the row to return."""

    def __init__(self, table):
        self.table = table
        self.blocks = []

    @property
    def size(self):
        return self.table.shape[1]

    def scores(self, histories):
        return self.table[[history[0] for history in histories]]

    def top_k(self, histories, k):
        self.blocks.append(len(histories))
        return top_k(self.scores(histories), k)


def held_of(targets):
    return Held(Histories.of([[user] for user in range(len(targets))]), targets)


@st.composite
def cases(draw):
    """Scores with or without ties, targets, and how long lists are."""
    users, items = draw(st.integers(1, 10)), draw(st.integers(1, 15))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.permuted(np.tile(np.arange(items), (users, 1)), axis=1).astype(np.float32)
    if draw(st.booleans()):
        scores //= 3
    return scores, rng.integers(items, size=users), draw(st.integers(1, items))


@given(cases(), st.integers(1, 4))
def test_ranks_are_those_of_a_loop_over_the_list(case, block):
    scores, targets, k = case
    table = Table(scores)
    result = evaluate_lists(table, held_of(targets), k=k, block=block, progress=False)
    assert max(table.blocks) <= block
    lists = top_k(scores, k)
    for user, target in enumerate(targets):
        rank, tied = scores.shape[1], False
        for row, score in zip(lists.rows[user], lists.scores[user], strict=True):
            if row == target:
                rank = sum(other >= score for other in lists.scores[user])
                tied = sum(other == score for other in lists.scores[user]) > 1
        assert result.ranks[user] == rank
        assert result.tied_users[user] == tied
    assert result.metrics.tied == sum(result.tied_users)


@given(cases())
def test_up_to_k_it_is_the_evaluation_of_all_items(case):
    scores, targets, k = case
    scores = scores.argsort(axis=1).argsort(axis=1).astype(np.float32)  # no ties
    whole = evaluate(Table(scores), held_of(targets), progress=False)
    lists = evaluate_lists(Table(scores), held_of(targets), k=k, progress=False)
    assert lists.ranks.tolist() == [rank if rank <= k else scores.shape[1] for rank in whole.ranks]
    assert lists.metrics.mrr <= whole.metrics.mrr
    if k >= 10:
        assert lists.metrics.ndcg_10 == whole.metrics.ndcg_10


def lists_of(rows, scores):
    class Lists:
        size = 5

        def top_k(self, histories, k):
            return TopK(np.array(rows), np.array(scores))

    return Lists()


@pytest.mark.parametrize(
    ("rows", "scores", "message"),
    [
        ([[0, 1], [2, 5]], [[1.0, 0.5]] * 2, "user row 1 has an item that is not one of 5"),
        ([[0, -1], [2, 3]], [[1.0, 0.5]] * 2, "user row 0 has an item that is not one of 5"),
        ([[0, 1], [2, 2]], [[1.0, 0.5]] * 2, "user row 1 has an item twice"),
        ([[0, 1], [2, 3]], [[1.0, 0.5], [1.0, -np.inf]], "user row 1 has a score that is not"),
        ([[0, 1], [2, 3]], [[0.5, 1.0], [1.0, 0.5]], "user row 0 has scores that rise"),
        ([[0], [2]], [[1.0], [1.0]], r"expected shape \(2, 2\)"),
    ],
)
def test_lists_that_are_none_are_refused(rows, scores, message):
    with pytest.raises(ValueError, match=message):
        evaluate_lists(lists_of(rows, scores), held_of([0, 1]), k=2, progress=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 0}, "k=0 should be between 1 and the number of items, 4"),
        ({"k": 5}, "k=5"),
        ({"block": 0}, "block=0"),
        ({"held": held_of([0, 4])}, "user row 1 has item 4, which is not one of 4"),
        ({"held": held_of([])}, "at least one user"),
    ],
)
def test_what_cannot_be_asked_is_refused(fields, message):
    table = Table(np.zeros((2, 4), dtype=np.float32))
    asked = {"held": held_of([0, 1]), "k": 2, "progress": False} | fields
    with pytest.raises(ValueError, match=message):
        evaluate_lists(table, **asked)


def test_the_bar_counts_users(capsys):
    table = Table(np.zeros((5, 4), dtype=np.float32))
    evaluate_lists(table, held_of([0] * 5), k=2, block=2, progress=True)
    assert "5/5" in capsys.readouterr().err
