from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import Tokenizer
from semantic_ids.comparison import compare_codes

CODES = st.lists(st.tuples(*(st.integers(0, 3) for _ in range(4))), min_size=1, max_size=15)


@given(CODES)
def test_figures_equal_loops_over_items_and_pairs(rows):
    table = np.array(rows)
    first, second = table[:, :2], table[:, 2:]
    changed, agreement = compare_codes(first, second, (4, 4), (4, 4))
    for level in range(2):
        assert changed[level] == pytest.approx(
            np.mean([a[level] != b[level] for a, b in zip(first, second, strict=True)])
        )
        pairs = list(combinations(range(len(rows)), 2))
        end = level + 1
        one = {p for p in pairs if (first[p[0], :end] == first[p[1], :end]).all()}
        other = {p for p in pairs if (second[p[0], :end] == second[p[1], :end]).all()}
        expected = len(one & other) / len(one | other) if one | other else 1.0
        assert agreement[level] == pytest.approx(expected)


def test_codes_named_anew_agree_wholly():
    codes = np.random.default_rng(0).integers(0, 5, size=(60, 2))
    renamed = 4 - codes
    changed, agreement = compare_codes(codes, renamed, (5, 5), (5, 5))
    assert min(changed) > 0.5
    assert agreement == (1, 1)


def test_only_common_items_are_compared():
    first = Tokenizer.from_codes(["a", "b", "c"], [[0, 1], [1, 1], [2, 0]])
    second = Tokenizer.from_codes(["d", "c", "a"], [[0, 0], [2, 1], [0, 1]])
    comparison = first.compare(second)
    assert (comparison.items, comparison.only_first, comparison.only_second) == (2, 1, 1)
    assert comparison.changed == (0, 0.5)
    assert "2 items in both" in str(comparison)
    assert first.compare(first).changed == (0, 0)
    with pytest.raises(ValueError, match="str against int"):
        first.compare(Tokenizer.from_codes(None, [[0]]))
