"""Evaluation against hand-computed values and a double loop."""

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recmodels import evaluation
from recmodels.data import Held, Histories
from recmodels.evaluation import Metrics, evaluate, evaluation_of, target_ranks


class Table:
    """Scores from a table: a history is one item, which is the row to return."""

    def __init__(self, table):
        self.table = table
        self.blocks = []

    @property
    def size(self):
        return self.table.shape[1]

    def scores(self, histories):
        self.blocks.append(len(histories))
        return self.table[[history[0] for history in histories]]


def held_of(targets):
    return Held(Histories.of([[user] for user in range(len(targets))]), targets)


def rank_by_loop(scores, target):
    rank = 1
    for item, score in enumerate(scores):
        if item != target and score >= scores[target]:
            rank += 1
    return rank


@st.composite
def scored(draw):
    """Scores with many ties, and a target a user."""
    users, items = draw(st.integers(1, 12)), draw(st.integers(1, 15))
    values = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 0.75])
    scores = draw(hnp.arrays(np.float32, (users, items), elements=values))
    targets = draw(hnp.arrays(np.int32, users, elements=st.integers(0, items - 1)))
    return scores, targets


@given(scored())
def test_ranks_are_those_of_a_double_loop(case):
    scores, targets = case
    ranks = target_ranks(scores, targets)
    assert ranks.dtype == np.int64
    assert ranks.tolist() == [
        rank_by_loop(row, target) for row, target in zip(scores, targets, strict=True)
    ]


@given(scored(), st.integers(1, 15))
def test_evaluation_does_not_depend_on_the_block(case, block):
    scores, targets = case
    recommender = Table(scores)
    result = evaluate(recommender, held_of(targets), block=block, progress=False)
    assert max(recommender.blocks) <= block
    assert np.array_equal(result.ranks, target_ranks(scores, targets))
    tied = [np.sum(row == row[target]) > 1 for row, target in zip(scores, targets, strict=True)]
    assert result.tied_users.tolist() == tied
    assert result.metrics == Metrics.from_ranks(result.ranks, tied=sum(tied))


def test_a_block_has_no_more_scores_than_memory_should(monkeypatch):
    monkeypatch.setattr(evaluation, "_SCORES", 10)
    recommender = Table(np.arange(12, dtype=np.float32).reshape(3, 4))
    evaluate(recommender, held_of([0, 1, 2]), progress=False)
    assert recommender.blocks == [2, 1]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_metrics_are_means_over_users(ranks):
    metrics = Metrics.from_ranks(ranks)
    users = len(ranks)
    assert metrics.users == users
    for name, k in [("hr_1", 1), ("hr_5", 5), ("hr_10", 10)]:
        assert getattr(metrics, name) == pytest.approx(sum(rank <= k for rank in ranks) / users)
    for name, k in [("ndcg_5", 5), ("ndcg_10", 10)]:
        gains = [1 / log2(1 + rank) for rank in ranks if rank <= k]
        assert getattr(metrics, name) == pytest.approx(sum(gains) / users)
    assert metrics.mrr == pytest.approx(sum(1 / rank for rank in ranks) / users)


def test_metrics_by_hand():
    metrics = Metrics.from_ranks([1, 3, 7, 100], tied=2)
    assert metrics.to_dict() == {
        "users": 4,
        "hr_1": 0.25,
        "hr_5": 0.5,
        "hr_10": 0.75,
        "ndcg_5": (1 + 1 / 2) / 4,
        "ndcg_10": pytest.approx((1 + 1 / 2 + 1 / 3) / 4),
        "mrr": pytest.approx((1 + 1 / 3 + 1 / 7 + 1 / 100) / 4),
        "tied": 2,
    }


def test_metrics_print_to_four_places():
    assert repr(Metrics.from_ranks([1, 2], tied=1)) == (
        "Metrics(users=2, hr_1=0.5000, hr_5=1.0000, hr_10=1.0000, ndcg_5=0.8155, "
        "ndcg_10=0.8155, mrr=0.7500, tied=1)"  # 1 / log2(3) is 0.6309
    )


def test_an_evaluation_by_hand():
    table = np.array([[0.9, 0.1, 0.5], [0.5, 0.5, 0.2], [0.3, 0.2, 0.1]], dtype=np.float32)
    result = evaluate(Table(table), held_of([0, 1, 2]), progress=False)
    assert result.ranks.tolist() == [1, 2, 3]
    assert result.tied_users.tolist() == [False, True, False]
    assert result.metrics.tied == 1
    assert result.metrics.users == 3
    assert result.hits(2).tolist() == [True, True, False]


def test_items_of_one_score_gain_nothing():
    result = evaluate(Table(np.zeros((2, 40), dtype=np.float32)), held_of([0, 39]), progress=False)
    assert result.ranks.tolist() == [40, 40]
    assert result.metrics.hr_10 == 0


def test_an_evaluation_cannot_be_changed():
    result = evaluate(Table(np.eye(3, dtype=np.float32)), held_of([0, 1, 2]), progress=False)
    with pytest.raises(ValueError, match="read-only"):
        result.ranks[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        result.tied_users[0] = True


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_named(value):
    table = np.zeros((5, 4), dtype=np.float32)
    table[3, 2] = table[4, 0] = value
    with pytest.raises(ValueError, match="user row 3, item column 2"):
        target_ranks(table, [0] * 5)
    with pytest.raises(ValueError, match="user row 3, item column 2"):
        evaluate(Table(table), held_of([0] * 5), block=2, progress=False)


@pytest.mark.parametrize("wrong", [np.zeros((2, 4)), np.zeros((3, 5)), np.zeros(3)])
def test_scores_of_another_shape_are_refused(wrong):
    recommender = Table(np.zeros((3, 4)))
    recommender.scores = lambda histories: wrong
    with pytest.raises(ValueError, match=r"expected shape \(3, 4\)"):
        evaluate(recommender, held_of([0, 1, 2]), progress=False)


def test_targets_out_of_range_are_refused():
    with pytest.raises(ValueError, match="user row 1 has item 4, which is not one of 4"):
        evaluate(Table(np.zeros((2, 4))), held_of([0, 4]), progress=False)
    with pytest.raises(ValueError, match="user row 1 has item -1"):
        target_ranks(np.zeros((2, 4)), [0, -1])


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.zeros((2, 4)), [0], r"expected shape \(1, 4\)"),
        (np.zeros(4), [0], "two dimensions"),
        (np.zeros((1, 4)), [0.0], "integers"),
        (np.zeros((1, 4)), [[0]], "1-D"),
    ],
)
def test_ranks_refuse_what_does_not_fit(scores, targets, message):
    with pytest.raises(ValueError, match=message):
        target_ranks(scores, targets)


def test_no_user_and_no_block_are_refused():
    with pytest.raises(ValueError, match="at least one user"):
        evaluate(Table(np.zeros((0, 4))), held_of([]), progress=False)
    with pytest.raises(ValueError, match="block=0"):
        evaluate(Table(np.zeros((1, 4))), held_of([0]), block=0, progress=False)


@pytest.mark.parametrize("ranks", [[], [0], [1, -2], [1.5], [[1]]])
def test_ranks_that_are_none_are_refused(ranks):
    with pytest.raises(ValueError, match="ranks"):
        Metrics.from_ranks(ranks)


def test_the_bar_counts_users(capsys):
    evaluate(Table(np.zeros((5, 4), dtype=np.float32)), held_of([0] * 5), block=2, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_no_bar_outside_a_terminal(capsys):
    evaluate(Table(np.zeros((5, 4), dtype=np.float32)), held_of([0] * 5))
    assert capsys.readouterr().err == ""


@given(scored(), st.data())
def test_a_restricted_evaluation_is_that_of_its_users(case, data):
    scores, targets = case
    users = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(targets), max_size=len(targets)))
    )
    whole = evaluate(Table(scores), held_of(targets), progress=False)
    if not users.any():
        with pytest.raises(ValueError, match="users: none of"):
            whole.restricted(users)
        return
    asked = held_of(targets).take(np.flatnonzero(users))
    expected = evaluate(Table(scores), asked, progress=False)
    found = whole.restricted(users)
    assert found.metrics == expected.metrics
    assert np.array_equal(found.ranks, expected.ranks)
    assert np.array_equal(found.tied_users, expected.tied_users)
    with pytest.raises(ValueError, match="read-only"):
        found.ranks[0] = 1


@pytest.mark.parametrize("users", [[0, 1], [True], [[True, False]]])
def test_users_are_told_by_one_bool_each(users):
    result = evaluate(Table(np.eye(2, dtype=np.float32)), held_of([0, 1]), progress=False)
    with pytest.raises(ValueError, match=r"users: expected bool of shape \(2,\)"):
        result.restricted(users)


@given(scored(), st.data())
def test_ranks_among_some_items_are_those_of_a_double_loop(case, data):
    scores, targets = case
    others = data.draw(st.sets(st.integers(0, scores.shape[1] - 1)))
    among = data.draw(st.permutations(sorted({*others, *targets.tolist()})))
    result = evaluate(Table(scores), held_of(targets), among=among, block=3, progress=False)
    for row, target, rank, tied in zip(
        scores, targets, result.ranks, result.tied_users, strict=True
    ):
        assert rank == 1 + sum(row[item] >= row[target] for item in among if item != target)
        assert tied == any(row[item] == row[target] for item in among if item != target)


def test_among_all_items_is_the_whole_catalogue():
    scores = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    held = held_of(np.arange(20))
    whole = evaluate(Table(scores), held, progress=False)
    among = evaluate(Table(scores), held, among=np.arange(30)[::-1], progress=False)
    assert np.array_equal(whole.ranks, among.ranks)


@pytest.mark.parametrize(
    ("among", "message"),
    [
        ([], "rows of one item or more"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([True, False, True, False], "got bool"),
        ([0, 4], "4 is not one of 4 items"),
        ([-1, 0], "-1 is not one of 4 items"),
        ([0, 1, 0], "item 0 is named more than once"),
        ([0, 2], "the target of user row 1, item 1, is not one of the 2 items"),
    ],
)
def test_items_that_cannot_be_ranked_among_are_refused(among, message):
    table = Table(np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match=message):
        evaluate(table, held_of([0, 1]), among=among, progress=False)
    assert not table.blocks


def test_an_evaluation_shows_its_averages_alone():
    found = evaluation_of(np.arange(1, 1001), np.zeros(1000, bool))
    assert repr(found) == f"Evaluation({found.metrics!r})"


@pytest.mark.parametrize(
    "ids", [list, tuple, np.array, lambda ids: np.array(ids, dtype=object), lambda ids: lambda: ids]
)
def test_recommenders_may_have_ids_of_any_kind(ids):
    scores = np.random.default_rng(0).normal(size=(3, 3))
    held = Held(Histories.of([[0], [1], [2]]), [0, 1, 2], ids=["a", "b", "c"])
    own = Table(scores)
    own.ids = ids(["a", "b", "c"])
    assert np.array_equal(evaluate(own, held).ranks, evaluate(Table(scores), held).ranks)
    own.ids = ids(["a", "c", "b"])
    if not callable(own.ids):
        with pytest.raises(ValueError, match="recommender: row 1 is item c, but b in the split"):
            evaluate(own, held)


def test_what_is_held_out_is_needed():
    with pytest.raises(TypeError, match=r"held: expected a Held, .* got a list"):
        evaluate(Table(np.eye(2)), [[0], [1]])
    with pytest.raises(ValueError, match="ids: there is none of item 2, only 2"):
        Held(Histories.of([[0]]), [2], ids=["a", "b"])
