"""Beam search: against a naive one over lists of prefixes, and against scoring every item."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recmodels.beam_search import beam_search
from semantic_ids import CodeTrie


class Gains:
    """What each code adds after each prefix, for each user, from tables of random numbers."""

    def __init__(self, users, sizes, seed):
        generator = torch.Generator().manual_seed(seed)
        self.tables = [
            torch.randn(users, *sizes[: level + 1], generator=generator)
            for level in range(len(sizes))
        ]

    def __call__(self, prefixes):
        users = torch.arange(len(prefixes))[:, None].expand(prefixes.shape[:2])
        return self.tables[prefixes.shape[2]][(users, *prefixes.unbind(2))]

    def of(self, user, code):
        score = np.float32(0)
        for level, table in enumerate(self.tables[: len(code)]):
            score += table[(user, *code[: level + 1])].numpy()
        return score


@st.composite
def catalogues(draw):
    sizes = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    code = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    codes = draw(st.lists(code, min_size=1, max_size=20, unique=True))
    users = draw(st.integers(1, 4))
    return codes, sizes, users, Gains(users, sizes, draw(st.integers(0, 2**31)))


def naive(codes, user, beams, gains):
    """Lengthen the best prefixes by every code that an item has there, and keep the best."""
    kept = [()]
    for level in range(len(codes[0])):
        longer = {code[: level + 1] for code in codes if code[:level] in kept}
        kept = sorted(longer, key=lambda prefix: -gains.of(user, prefix))[:beams]
    return [codes.index(code) for code in kept], [gains.of(user, code) for code in kept]


@given(catalogues(), st.integers(1, 25))
def test_it_finds_what_a_naive_search_finds(case, beams):
    codes, sizes, users, gains = case
    found = beam_search(CodeTrie.of(codes, sizes), users, beams, gains)
    assert found.rows.dtype == np.int64
    assert found.scores.dtype == np.float32
    assert found.rows.shape == (users, min(beams, len(codes)))
    for user in range(users):
        rows, scores = naive(codes, user, beams, gains)
        assert found.rows[user].tolist() == rows
        assert found.scores[user].tolist() == scores


@given(catalogues())
def test_with_as_many_beams_as_items_it_scores_every_item(case):
    codes, sizes, users, gains = case
    found = beam_search(CodeTrie.of(codes, sizes), users, len(codes), gains)
    for user in range(users):
        scores = np.array([gains.of(user, code) for code in codes])
        assert found.rows[user].tolist() == np.argsort(-scores, kind="stable").tolist()


@pytest.mark.parametrize("beams", [6, 50])
def test_of_equal_scores_the_lowest_row_comes_first(beams):
    codes = [[1, 1], [0, 2], [2, 0], [0, 0], [1, 0], [2, 2]]
    found = beam_search(
        CodeTrie.of(codes, (3, 3)), 2, beams, lambda prefixes: torch.zeros(*prefixes.shape[:2], 3)
    )
    assert found.rows.tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def test_a_narrow_search_misses_what_begins_badly():
    gains = [torch.tensor([1.0, 0.0]), torch.tensor([[0.5, 0.0], [0.0, 9.0]])]

    def step(prefixes):
        level = prefixes.shape[2]
        return gains[0].expand(1, 1, 2) if level == 0 else gains[1][prefixes[..., 0]]

    trie = CodeTrie.of([[0, 0], [0, 1], [1, 1]], (2, 2))
    assert beam_search(trie, 1, 1, step).rows.tolist() == [[0]]
    assert beam_search(trie, 1, 2, step).rows.tolist() == [[2, 0]]
