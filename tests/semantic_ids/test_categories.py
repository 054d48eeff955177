"""Agreement of prefixes with categories against counts by hand and scikit-learn."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from semantic_ids import Tokenizer
from semantic_ids.categories import category_agreement, category_labels

ROW = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-1, 3))


@given(st.lists(ROW, min_size=1, max_size=25).filter(lambda rows: max(r[2] for r in rows) >= 0))
def test_figures_are_those_of_the_items_with_a_category(rows):
    table = np.array(rows)
    codes, labels = table[:, :2].astype(np.int32), table[:, 2]
    known = [row for row in rows if row[2] >= 0]
    for depth, found in enumerate(category_agreement(codes, (4, 3), labels), 1):
        prefixes = [str(row[:depth]) for row in known]
        classes = [row[2] for row in known]
        pure = 0
        for prefix in set(prefixes):
            under = [c for p, c in zip(prefixes, classes, strict=True) if p == prefix]
            pure += max(Counter(under).values())
        assert found.purity == pytest.approx(pure / len(known))
        assert found.nmi == pytest.approx(normalized_mutual_info_score(classes, prefixes))
        assert found.ami == pytest.approx(adjusted_mutual_info_score(classes, prefixes), abs=1e-9)


def test_random_codes_agree_no_more_than_by_chance():
    rng = np.random.default_rng(0)
    codes, labels = rng.integers(0, 50, size=(2000, 2)), rng.integers(0, 10, size=2000)
    first, second = category_agreement(codes.astype(np.int32), (50, 50), labels)
    assert abs(first.ami) < 0.01
    assert abs(second.ami) < 0.01
    assert second.nmi > 0.3  # which is why it is not to be trusted
    assert second.purity > 0.5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["b", None, "a", "b"], [0, -1, 1, 0]),
        ([7, 3, np.int64(7), float("nan")], [0, 1, 0, -1]),
        (np.array([5, 5, 2, 1]), [0, 0, 1, 2]),
    ],
)
def test_labels_are_numbered_in_order_of_appearance(given, expected):
    assert category_labels(given, 4).tolist() == expected


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["a"], ValueError, "categories: 1 for 2 items"),
        ([None, None], ValueError, "no item has one"),
        (["a", 1.5], TypeError, r"got 1.5 \(row 1\)"),
        (["a", ["b"]], TypeError, "a str, an int or None"),
        ([True, 1], TypeError, "got True"),
        ("ab", TypeError, "one str or int an item"),
    ],
)
def test_what_is_no_category_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        category_labels(given, 2)


def test_a_tokenizer_says_how_many_items_have_one():
    tokenizer = Tokenizer.from_codes(["x", "y", "z"], [[0, 0], [0, 1], [1, 0]])
    figures = tokenizer.statistics(categories=["tea", "tea", None])
    assert figures.categorised == 2
    assert figures.levels[0].categories.purity == 1
    assert "categories: 2 items have one" in str(figures)
    assert tokenizer.statistics().levels[0].categories is None
