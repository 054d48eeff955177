from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import RQKMeans, Tokenizer, comparison
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


# --- neighbours


def vectors(n=60, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 5))
    x[n - 12 :] = x[0]  # more equal items than an item has neighbours
    return x


def fitted(levels, ids=None, n=60):
    return Tokenizer.fit(vectors(n), ids=ids, quantizer=RQKMeans(levels=levels, codebook_size=16))


def naive_neighbours(tokenizer, item, others, k):
    """The k others nearest to an item, by what their codes decode to; in order of `others`."""
    decode = tokenizer._fitted.codec.quantizer.decode
    point, points = (decode(tokenizer.encode(i)).astype(np.float64) for i in (item, others))
    distances = ((point - points) ** 2).sum(axis=1)
    order = sorted(range(len(others)), key=lambda i: (distances[i], i))
    return [others[i] for i in order if others[i] != item][:k]


@pytest.mark.parametrize("k", [1, 4, 10, 100])
def test_overlap_equals_a_loop_over_items(k):
    first = fitted(3)
    second = first.refit(vectors(60, seed=1)[10:], ids=np.arange(10, 60)[::-1]).tokenizer
    common = list(range(10, 60))
    shares = []
    for item in common:
        one, other = (set(naive_neighbours(t, item, common, k)) for t in (first, second))
        assert len(one) == len(other) == min(k, 49)
        shares.append(len(one & other) / len(one))
    found = first.compare(second, k=k)
    assert found.neighbour_overlap == pytest.approx(np.mean(shares))
    assert f"{np.mean(shares):.1%} of {k} nearest neighbours" in str(found)


def test_the_same_tokenizer_has_the_same_neighbours():
    tokenizer = fitted(2)
    assert tokenizer.compare(tokenizer).neighbour_overlap == 1
    codes = Tokenizer.from_codes(None, tokenizer.content_codes)
    assert codes.compare(codes).neighbour_overlap == 1
    renamed = Tokenizer.from_codes(None, 15 - tokenizer.content_codes, codebook_sizes=[16, 16])
    assert codes.compare(renamed).neighbour_overlap == 1
    assert 0 < tokenizer.compare(renamed).neighbour_overlap < 1


def test_many_items_are_sampled(monkeypatch):
    first, second = fitted(2), fitted(3)
    every = first.compare(second).neighbour_overlap
    monkeypatch.setattr(comparison, "_SAMPLE", 40)
    some = first.compare(second).neighbour_overlap
    assert some == first.compare(second).neighbour_overlap
    assert some == pytest.approx(every, abs=0.2)


def test_too_little_to_compare():
    one, other = Tokenizer.from_codes(["a", "b"], [[0], [1]]), Tokenizer.from_codes(["b"], [[0]])
    assert one.compare(other).neighbour_overlap is None
    assert "neighbours" not in str(one.compare(other))
    with pytest.raises(ValueError, match="k=0: expected at least 1"):
        one.compare(one, k=0)
