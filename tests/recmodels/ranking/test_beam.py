"""Beam search against a loop over prefixes and against scoring every item."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.ranking import beam_search, top_k
from semantic_ids import CodeTrie


class Tables:
    """Log-probabilities drawn for every user and prefix; whole numbers, so many are equal."""

    def __init__(self, users, sizes, seed, values):
        rng = np.random.default_rng(seed)
        self.levels = [
            rng.choice(values, size=(users, *sizes[: level + 1])).astype(np.float32)
            for level in range(len(sizes))
        ]

    def step(self, prefixes, users):
        level = prefixes.shape[2]
        index = (users[:, None], *np.moveaxis(prefixes, 2, 0))
        found = self.levels[level][index]
        return np.broadcast_to(found, (*prefixes.shape[:2], found.shape[-1]))

    def scores(self, codes):
        """The score of every item for every user, (users, N)."""
        return sum(table[:, *codes[:, : level + 1].T] for level, table in enumerate(self.levels))

    def score(self, user, prefix):
        return sum(
            float(t[(user, *prefix[: level + 1])])
            for level, t in enumerate(self.levels[: len(prefix)])
        )


def looped_search(tables, codes, user, k, beams):
    """The oracle: one user, one prefix at a time."""
    row_of = {tuple(code): row for row, code in enumerate(codes.tolist())}
    kept = [()]
    for level in range(codes.shape[1]):
        ways = sorted({code[: level + 1] for code in row_of if code[:level] in kept})
        scored = [(tables.score(user, way), way) for way in ways]
        scored = [pair for pair in scored if pair[0] > -np.inf]
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        if level < codes.shape[1] - 1:
            kept = {way for _, way in scored[:beams]}
    found = sorted((-score, row_of[way]) for score, way in scored)[:k]
    rest = k - len(found)
    return [row for _, row in found] + [-1] * rest, [-s for s, _ in found] + [-np.inf] * rest


def draw_codes(seed, sizes, items):
    chosen = np.random.default_rng(seed).permutation(np.prod(sizes))[:items]
    return np.stack(np.unravel_index(chosen, sizes), axis=1)


SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)
SEED = st.integers(0, 2**32 - 1)
VALUES = st.sampled_from([[0, -1], [0, -1, -2, -3], [0, -np.inf], [-1, -2, -np.inf, -np.inf]])


@given(data=st.data(), sizes=SIZES, seed=SEED, values=VALUES, users=st.integers(0, 4))
def test_search_is_that_of_a_loop_over_prefixes(data, sizes, seed, values, users):
    items = data.draw(st.integers(1, int(np.prod(sizes))))
    codes, tables = draw_codes(seed, sizes, items), Tables(users, sizes, seed, values)
    k = data.draw(st.integers(1, min(items, 6)))
    beams = data.draw(st.integers(k, k + 3))
    block = data.draw(st.integers(1, 4))
    top = beam_search(tables.step, CodeTrie.of(codes, sizes), users, k, beams=beams, block=block)
    assert top.rows.shape == top.scores.shape == (users, k)
    assert top.rows.dtype == np.int64
    for user in range(users):
        rows, scores = looped_search(tables, codes, user, k, beams)
        assert top.rows[user].tolist() == rows
        assert top.scores[user].tolist() == scores


@given(sizes=SIZES, seed=SEED, k=st.integers(1, 5), data=st.data())
def test_as_many_beams_as_items_rank_the_whole_catalogue(sizes, seed, k, data):
    items = data.draw(st.integers(1, int(np.prod(sizes))))
    k = min(k, items)
    codes, tables = draw_codes(seed, sizes, items), Tables(3, sizes, seed, [0, -1, -2])
    top = beam_search(tables.step, CodeTrie.of(codes, sizes), 3, k, beams=items)
    expected = top_k(tables.scores(codes), k)
    assert np.array_equal(top.rows, expected.rows)
    assert np.array_equal(top.scores, expected.scores)


def test_only_prefixes_of_the_catalogue_are_asked_for():
    sizes = [5, 5, 5]
    codes, tables = draw_codes(1, sizes, 30), Tables(4, sizes, 1, [0, -1, -2])
    known = {tuple(code[:level]) for code in codes.tolist() for level in range(3)}
    asked = []

    def step(prefixes, users):
        assert prefixes.shape[0] == len(users)
        assert prefixes.shape[1] <= 7
        asked.extend(tuple(prefix) for user in prefixes.tolist() for prefix in user)
        return tables.step(prefixes, users)

    beam_search(step, CodeTrie.of(codes, sizes), 4, 5, beams=7)
    assert set(asked) <= known


def test_a_lost_prefix_loses_its_items():
    """The best item lies under the worse of two first codes."""
    trie = CodeTrie.of([[0, 0], [0, 1], [1, 0]], sizes=[2, 2])

    def step(prefixes, users):
        if prefixes.shape[2] == 0:
            return np.log([[[0.6, 0.4]]])
        return np.log(np.where(prefixes == 0, [0.5, 0.5], [1 - 1e-9, 1e-9]))

    assert beam_search(step, trie, 1, 1, beams=1).rows.tolist() == [[0]]
    assert beam_search(step, trie, 1, 1, beams=2).rows.tolist() == [[2]]


def test_of_equal_prefixes_the_first_in_the_order_of_codes_is_kept():
    """Also where the other one goes on from a prefix that was better so far."""
    trie = CodeTrie.of([[1, 1, 0], [1, 0, 0], [0, 0, 0]], sizes=[2, 2, 1])
    levels = [np.array([-1.0, 0.0]), np.array([[0.0, -9.0], [0.0, -1.0]]), np.zeros((2, 2, 1))]

    def step(prefixes, users):
        found = levels[prefixes.shape[2]][tuple(np.moveaxis(prefixes, 2, 0))]
        return np.broadcast_to(found, (*prefixes.shape[:2], found.shape[-1]))

    top = beam_search(step, trie, 1, 2, beams=2)
    assert top.rows.tolist() == [[1, 2]]
    assert top.scores.tolist() == [[0, -1]]


def test_users_do_not_meet_in_a_block():
    sizes = [6, 6, 6]
    codes, tables = draw_codes(2, sizes, 100), Tables(9, sizes, 2, [0, -1, -2, -np.inf])
    trie = CodeTrie.of(codes, sizes)
    one, many = (beam_search(tables.step, trie, 9, 4, beams=6, block=b) for b in (1, 9))
    assert np.array_equal(one.rows, many.rows)
    assert np.array_equal(one.scores, many.scores)


TRIE = CodeTrie.of([[0, 0], [1, 1], [0, 1]], sizes=[2, 3])


@pytest.mark.parametrize(
    ("k", "beams", "block", "message"),
    [
        (0, 5, 1, r"k=0 .* 3"),
        (4, 5, 1, r"k=4 .* 3"),
        (3, 2, 1, "beams=2 .* k=3"),
        (1, 1, 0, "block=0"),
    ],
)
def test_other_numbers_are_refused(k, beams, block, message):
    with pytest.raises(ValueError, match=message):
        beam_search(lambda prefixes, users: np.zeros(0), TRIE, 1, k, beams=beams, block=block)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((1, 1, 3)), r"expected floats of shape \(1, 1, 2\) at level 0"),
        (np.zeros((1, 1, 2), dtype=int), "got int64"),
        (np.full((1, 1, 2), np.nan), "below infinity at level 0"),
        (np.full((1, 1, 2), np.inf), "below infinity at level 0"),
    ],
)
def test_other_answers_of_step_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        beam_search(lambda prefixes, users: value, TRIE, 1, 1, beams=1)


def test_answers_of_step_for_codes_that_are_not_allowed_play_no_part():
    def step(prefixes, users):
        answer = np.zeros((*prefixes.shape[:2], TRIE.sizes[prefixes.shape[2]]))
        if prefixes.shape[2]:
            answer[..., 2] = np.nan  # no item has code 2
        return answer

    assert sorted(itertools.chain(*beam_search(step, TRIE, 1, 3, beams=3).rows.tolist())) == [
        0,
        1,
        2,
    ]
