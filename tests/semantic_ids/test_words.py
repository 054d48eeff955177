"""Log-odds against the formulas written out word by word."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.words import Terms, log_odds, words

COUNTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 400)), min_size=2, max_size=8)


def naive(inside, outside):
    """Monroe, Colaresi and Quinn: log-odds in either text, over the root of the variances."""
    n_in, n_out, strength = sum(inside), sum(outside), 500
    scores = []
    for a, b in zip(inside, outside, strict=True):
        alpha = strength * (a + b) / (n_in + n_out) if n_in + n_out else 0
        if alpha in (0, strength):
            scores.append(0.0)
            continue
        odds_in = (a + alpha) / (n_in + strength - a - alpha)
        odds_out = (b + alpha) / (n_out + strength - b - alpha)
        variance = 1 / (a + alpha) + 1 / (b + alpha)
        scores.append((math.log(odds_in) - math.log(odds_out)) / math.sqrt(variance))
    return scores


@given(COUNTS)
def test_scores_equal_the_formulas(counts):
    inside, outside = zip(*counts, strict=True)
    assert log_odds(np.array(inside), np.array(outside)) == pytest.approx(naive(inside, outside))


def test_frequent_words_of_both_texts_and_rare_words_count_for_little():
    """The inside has 100 words, the outside 10,000."""
    everywhere, typical, single, lost = log_odds(
        np.array([50, 30, 1, 19]), np.array([5000, 20, 0, 4980])
    )
    assert abs(everywhere) < 0.5
    assert typical > 5
    assert 0 < single < typical / 5  # by its share alone it would be the most typical of all
    assert lost < -2


def test_terms_are_counted_once_an_item():
    terms = Terms.of(["Tea tea TEA", "Milk, tea", None], [("Drinks",), ("Drinks", "Dairy"), ()])
    counts = dict(zip(terms.names, terms.counts(np.arange(3)).tolist(), strict=True))
    assert counts == {"tea": 2, "milk": 1, "Drinks": 2, "Dairy": 1}
    first = dict(zip(terms.names, terms.counts(np.array([0])).tolist(), strict=True))
    assert first == {"tea": 1, "milk": 0, "Drinks": 1, "Dairy": 0}


def test_words_have_two_letters_and_no_digits():
    assert list(words("Émile's Glue-Stick 3x 500ml A 12")) == ["émile's", "glue-stick", "ml"]


def test_what_marks_some_items():
    titles = ["red paint"] * 9 + ["red brush"] * 9 + ["blue brush"] * 30
    terms = Terms.of(titles, [()] * 48)
    assert terms.marking(np.arange(9), np.arange(9, 48))[0] == "paint"
    assert terms.marking(np.arange(18), np.arange(18, 48))[0] == "red"
    assert terms.marking(np.arange(48), np.arange(0)) == ()
    assert terms.marking(np.arange(1), np.arange(1, 48)) == ()  # one item shares nothing
    assert Terms.of([None], [()]).marking(np.arange(1), np.arange(0)) == ()
    assert terms.marking(np.arange(18), np.arange(18, 48), most=1) == ("red",)
