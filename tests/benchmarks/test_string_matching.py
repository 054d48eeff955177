"""Codes compared as strings, against a loop over users and items."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import Held, Histories

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from string_matching import by_string


class Fixed:
    """Scores that do not depend on the history."""

    def __init__(self, scores):
        self.size = scores.shape[1]
        self._scores = scores

    def scores(self, histories):
        return self._scores[histories.items]


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 12))
def test_an_item_answers_for_all_that_have_its_code(seed, users, items):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(users * items).reshape(users, items).astype(np.float32)
    codes = rng.integers(0, 2, (items, 2))
    targets = rng.integers(0, items, users)
    held = Held(Histories.of([[user] for user in range(users)]), targets)
    gains = []
    for user, target in enumerate(targets):
        met: list[tuple] = []
        for item in np.argsort(-scores[user]):
            if tuple(codes[item]) not in met:
                met.append(tuple(codes[item]))
        gains.append(1 / (1 + met.index(tuple(codes[target]))))
    assert by_string(Fixed(scores), codes, held).mrr == pytest.approx(np.mean(gains))
