"""The ways of ranking beside each other, by a recommender whose probabilities are known."""

import numpy as np
import pytest

from recmodels.ranking import beam_search, best_of_levels, draft_then_verify, top_k
from semantic_ids import CodeTrie

USERS, ITEMS = 60, 1000


def test_one_pass_scores_equal_a_double_loop(planted):
    logits = planted.level_logits()
    top = best_of_levels(logits, planted.codes, 20)
    for user in range(0, USERS, 10):
        scores = [
            sum(float(part[user, c]) for part, c in zip(logits, code, strict=True))
            for code in planted.codes.tolist()
        ]
        order = sorted(range(ITEMS), key=lambda row: -scores[row])
        assert np.allclose(top.scores[user], [scores[row] for row in order[:20]], rtol=0, atol=1e-5)
        assert np.allclose(top.scores[user], np.array(scores)[top.rows[user]], rtol=0, atol=1e-5)


def test_every_item_that_is_found_exists_once(planted):
    draft = best_of_levels(planted.level_logits(), planted.codes, 50)
    beams = beam_search(planted.step, planted.trie, USERS, 20, beams=20)
    for top in (draft, beams, draft_then_verify(draft, planted.verify, 20)):
        assert ((top.rows >= 0) & (top.rows < ITEMS)).all()
        assert all(len(set(rows)) == len(rows) for rows in top.rows.tolist())


def test_verifying_all_items_loses_nothing_and_more_are_never_worse(planted):
    exact = top_k(np.log(planted.probabilities), 5)
    draft = best_of_levels(planted.level_logits(), planted.codes, ITEMS)
    overlaps = []
    for m in (5, 10, 20, 50, 100, 300, ITEMS):
        top = draft_then_verify(draft, planted.verify, 5, m=m)
        overlaps.append((top.rows[:, :, None] == exact.rows[:, None]).any(axis=2).sum(axis=1))
    assert (np.diff(overlaps, axis=0) >= 0).all()
    assert np.array_equal(top.rows, exact.rows)
    assert np.array_equal(top.scores, exact.scores)


def test_beams_as_many_as_items_lose_nothing(planted):
    few = 6
    top = beam_search(planted.step, planted.trie, few, 5, beams=ITEMS)
    exact = top_k(np.log(planted.probabilities[:few]), 5)
    assert np.array_equal(top.rows, exact.rows)
    assert np.allclose(top.scores, exact.scores, rtol=0, atol=1e-5)


def test_one_forward_for_a_draft_one_to_verify_and_one_a_level_for_beams(planted):
    logits = planted.level_logits()
    draft = best_of_levels(logits, planted.codes, 50)
    assert planted.forwards == 1
    draft_then_verify(draft, planted.verify, 5)
    assert planted.forwards == 2
    beam_search(planted.step, planted.trie, USERS, 5, beams=20)
    assert planted.forwards == 2 + planted.codes.shape[1]


def test_what_independent_levels_miss_is_found_by_verifying_and_by_beams(planted, request):
    """Of liked items that share codes most are found at once, of others a quarter."""
    logits = planted.level_logits()
    alone = planted.recall(best_of_levels(logits, planted.codes, 5).rows)
    verified = {
        m: planted.recall(
            draft_then_verify(best_of_levels(logits, planted.codes, m), planted.verify, 5).rows
        )
        for m in (20, 50)
    }
    beams = beam_search(planted.step, planted.trie, USERS, 5, beams=20)
    assert planted.recall(beams.rows) == 1
    if "share" in request.node.callspec.id:
        assert 0.65 < alone < 0.9
        assert verified[20] == verified[50] == 1
    else:
        assert 0.15 < alone < 0.35
        assert 0.45 < verified[20] < 0.7 < verified[50] < 0.95


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_item_between_two_good_ones(m):
    """A = (0, 0) and B = (1, 1) at .45 each and C = (0, 1) at .10: independent levels prefer C."""
    codes, probabilities = np.array([[0, 0], [1, 1], [0, 1]]), np.array([[0.45, 0.45, 0.10]])
    logits = [np.log([[0.55, 0.45]]), np.log([[0.45, 0.55]])]
    draft = best_of_levels(logits, codes, 3)
    assert draft.rows.tolist() == [[2, 0, 1]]
    assert np.exp(draft.scores) == pytest.approx(np.array([[0.3025, 0.2475, 0.2475]]))

    def verify(users, rows):
        return np.log(probabilities[users[:, None], rows])

    def step(prefixes, users):
        if prefixes.shape[2] == 0:
            return np.log([[[0.55, 0.45]]])
        then = np.where(prefixes == 0, [0.45 / 0.55, 0.10 / 0.55], [1e-9, 1.0])
        return np.log(then)

    best = draft_then_verify(draft, verify, 1, m=m).rows[0, 0]
    assert best == (2 if m == 1 else 0)
    trie = CodeTrie.of(codes, [2, 2])
    assert beam_search(step, trie, 1, 3, beams=3).rows.tolist() == [[0, 1, 2]]
