"""Masks: what every kind keeps to, and that each draws its masks uniformly."""

from collections import Counter
from itertools import combinations, groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import chisquare

from recmodels.masking import (
    KINDS,
    MaskMix,
    draw_amounts,
    draw_masks,
    multi_region_mask,
    random_mask,
    span_mask,
    tail_mask,
)

ALL = MaskMix(span=1, tail=1, multi_region=1, random=1)


def place(kind, lengths, amounts, width, seed, regions=3):
    rng = np.random.default_rng(seed)
    if kind == "span":
        return span_mask(lengths, amounts, width, rng)
    if kind == "tail":
        return tail_mask(lengths, amounts, width)
    if kind == "multi_region":
        return multi_region_mask(lengths, amounts, width, rng, regions=regions)
    return random_mask(lengths, amounts, width, rng)


def runs_of(row):
    return sum(masked for masked, _ in groupby(list(row)))


def masks_with_runs(n, k, runs):
    """Every mask of k of n items that forms so many runs, by trying all."""
    rows = [tuple(i in chosen for i in range(n)) for chosen in combinations(range(n), k)]
    return [row for row in rows if runs_of(row) == runs]


def p_value(drawn, possible):
    """Chi-square of the drawn rows against equal shares of the possible ones."""
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= set(possible)
    return chisquare([counts[row] for row in possible]).pvalue


@st.composite
def batches(draw):
    """Lengths, an amount for each, a width and a seed."""
    lengths = draw(st.lists(st.integers(2, 14), max_size=12))
    amounts = [draw(st.integers(1, n - 1)) for n in lengths]
    width = max(lengths, default=2) + draw(st.integers(0, 3))
    return lengths, amounts, width, draw(st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("kind", KINDS)
@given(batch=batches())
def test_every_kind_masks_the_amount_inside_the_history(kind, batch):
    lengths, amounts, width, seed = batch
    masked = place(kind, lengths, amounts, width, seed)
    assert masked.shape == (len(lengths), width)
    assert masked.dtype == bool
    assert masked.sum(axis=1).tolist() == amounts
    for row, n in zip(masked, lengths, strict=True):
        assert not row[: width - n].any()
        assert not row[width - n :].all()


@given(batches())
def test_tail_is_the_suffix(batch):
    lengths, amounts, width, _ = batch
    for row, k in zip(tail_mask(lengths, amounts, width), amounts, strict=True):
        assert row[width - k :].all()


@given(batches())
def test_span_is_one_run(batch):
    lengths, amounts, width, seed = batch
    for row in place("span", lengths, amounts, width, seed):
        assert runs_of(row) == 1


@given(batches(), st.integers(2, 5))
def test_multi_region_has_as_many_runs_as_fit(batch, regions):
    lengths, amounts, width, seed = batch
    masked = place("multi_region", lengths, amounts, width, seed, regions)
    for row, n, k in zip(masked, lengths, amounts, strict=True):
        assert runs_of(row) == min(regions, k, n - k + 1)


@given(
    lengths=st.lists(st.integers(2, 14), max_size=20),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_a_fixed_share_gives_its_rounded_amount(lengths, share, seed):
    amounts = draw_amounts(lengths, MaskMix(low=share, high=share), np.random.default_rng(seed))
    expected = []
    for n in lengths:
        amount = max(1, round(share * n))
        if n >= 3:
            amount = max(2, amount)
        expected.append(min(amount, n - 1))
    assert amounts.tolist() == expected
    assert amounts.dtype == np.int64


def test_shares_are_uniform_between_their_bounds():
    amounts = draw_amounts([100] * 20_000, MaskMix(low=0.2, high=0.6), np.random.default_rng(1))
    # Shares from 0.2 to 0.205 round to 20, from 0.205 to 0.215 to 21, ..., from 0.595 on to 60.
    shares = np.array([0.5] + [1.0] * 39 + [0.5]) / 40
    counts = [int((amounts == k).sum()) for k in range(20, 61)]
    assert sum(counts) == len(amounts)
    assert chisquare(counts, shares * len(amounts)).pvalue > 0.001


@given(
    lengths=st.lists(st.integers(2, 30), max_size=30),
    weights=st.tuples(*[st.integers(0, 3)] * 4).filter(any),
    regions=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_drawn_masks_are_of_the_kind_that_they_name(lengths, weights, regions, seed):
    mix = MaskMix(**dict(zip(KINDS, weights, strict=True)), regions=regions)
    masks = draw_masks(lengths, 30, mix, np.random.default_rng(seed))
    assert masks.masked.shape == (len(lengths), 30)
    assert masks.kinds.dtype == np.int8
    assert masks.masked.sum(axis=1).tolist() == masks.amounts.tolist()
    unwanted = 0
    for row, n, kind, k in zip(masks.masked, lengths, masks.kinds, masks.amounts, strict=True):
        assert not row[: 30 - n].any()
        assert 1 <= k < n
        name = KINDS[kind]
        if name == "span":
            assert runs_of(row) == 1
        elif name == "tail":
            assert row[30 - k :].all()
        elif name == "multi_region":
            assert runs_of(row) == min(regions, k, n - k + 1) >= 2
        unwanted += not weights[kind]
    assert unwanted <= masks.fallbacks


def test_short_histories_fall_back_to_random_and_are_counted():
    mix = MaskMix(span=0, tail=0, multi_region=1, random=0)
    masks = draw_masks([2, 3, 2, 9, 2], 9, mix, np.random.default_rng(0))
    assert [KINDS[kind] for kind in masks.kinds] == [
        "random",
        "multi_region",
        "random",
        "multi_region",
        "random",
    ]
    assert masks.fallbacks == 3


def test_only_multi_region_falls_back():
    mix = MaskMix(span=1, tail=1, multi_region=0, random=1)
    assert draw_masks([2] * 50, 4, mix, np.random.default_rng(0)).fallbacks == 0


def test_equal_generators_draw_equal_masks():
    lengths = np.random.default_rng(3).integers(2, 20, 100)
    first, second = (draw_masks(lengths, 20, ALL, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.masked, second.masked)
    assert np.array_equal(first.kinds, second.kinds)
    assert np.array_equal(first.amounts, second.amounts)


def test_one_generator_draws_new_masks_each_time():
    rng = np.random.default_rng(7)
    first, second = (draw_masks([20] * 50, 20, ALL, rng) for _ in range(2))
    assert not np.array_equal(first.masked, second.masked)


def test_mixes_that_differ_in_weights_mask_equal_amounts():
    lengths = np.random.default_rng(3).integers(2, 20, 100)
    mixes = [MaskMix(**{name: float(name == kind) for name in KINDS}) for kind in KINDS]
    amounts = [draw_masks(lengths, 20, mix, np.random.default_rng(5)).amounts for mix in mixes]
    for other in amounts[1:]:
        assert np.array_equal(other, amounts[0])


def test_kinds_are_drawn_by_their_weights():
    mix = MaskMix(span=1, tail=2, multi_region=3, random=4)
    kinds = draw_masks([6] * 20_000, 6, mix, np.random.default_rng(0)).kinds
    counts = np.bincount(kinds, minlength=4)
    assert chisquare(counts, np.array([0.1, 0.2, 0.3, 0.4]) * 20_000).pvalue > 0.001


# Rows of other lengths in the batch show that each row's draw keeps to its own bounds.
def draw_many(kind, n, k, regions=3, seed=0, repeats=20_000):
    lengths = np.tile([n, 2, 9], repeats)
    amounts = np.tile([k, 1, 5], repeats)
    return place(kind, lengths, amounts, 9, seed, regions)[::3, 9 - n :]


def test_every_place_of_a_span_is_equally_likely():
    assert p_value(draw_many("span", 8, 3), masks_with_runs(8, 3, 1)) > 0.001


@pytest.mark.parametrize(("n", "k"), [(7, 3), (5, 4), (2, 1)])
def test_every_random_mask_is_equally_likely(n, k):
    possible = [tuple(i in chosen for i in range(n)) for chosen in combinations(range(n), k)]
    assert p_value(draw_many("random", n, k), possible) > 0.001


@pytest.mark.parametrize(
    ("n", "k", "regions", "runs"),
    [(7, 4, 3, 3), (7, 4, 2, 2), (8, 3, 5, 3), (6, 4, 3, 3), (5, 4, 3, 2), (4, 2, 3, 2)],
)
def test_every_multi_region_mask_is_equally_likely(n, k, regions, runs):
    possible = masks_with_runs(n, k, runs)
    drawn = draw_many("multi_region", n, k, regions)
    if len(possible) == 1:
        assert set(map(tuple, drawn.tolist())) == set(possible)
    else:
        assert p_value(drawn, possible) > 0.001


def test_probabilities_are_normalised_weights():
    assert MaskMix(span=2, tail=6, multi_region=0, random=0).probabilities.tolist() == [
        0.25,
        0.75,
        0,
        0,
    ]
    assert MaskMix(**dict.fromkeys(KINDS, 1e308)).probabilities.tolist() == [0.25] * 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"span": -1}, "greater than or equal to 0"),
        ({"tail": float("nan")}, "greater than or equal to 0|finite"),
        ({"tail": float("inf")}, "finite"),
        ({"span": 0, "tail": 0, "multi_region": 0, "random": 0}, "all weights are 0"),
        ({"low": 0}, "greater than 0"),
        ({"high": 1}, "less than 1"),
        ({"low": 0.5, "high": 0.4}, r"low=0.5 should be <= high=0.4"),
        ({"regions": 1}, "greater than or equal to 2"),
        ({"spam": 1}, "Extra inputs"),
    ],
)
def test_a_wrong_mix_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        MaskMix(**fields)


def test_a_mix_is_a_value():
    mix = MaskMix(tail=2)
    assert mix == MaskMix.model_validate_json(mix.model_dump_json())
    with pytest.raises(ValidationError, match="frozen"):
        mix.tail = 3


def test_short_histories_are_refused_by_row():
    with pytest.raises(ValueError, match=r"2 of 4 .*row 1 has 1, row 3 has 0.*leave shorter"):
        draw_masks([5, 1, 2, 0], 8, MaskMix(), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"row 0 has 1"):
        draw_amounts([1], MaskMix(), np.random.default_rng(0))


def test_the_names_of_many_rows_are_cut_short():
    with pytest.raises(ValueError, match=r"9 of 9 .*row 4 has 1, \.\.\.\)"):
        draw_amounts([1] * 9, MaskMix(), np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("lengths", "amounts", "message"),
    [
        ([3, 9], [1, 1], r"row 1 has 9.*width=8"),
        ([3, 4], [1, 4], r"amounts.*row 1 has 4"),
        ([3, 4], [0, 1], r"amounts.*row 0 has 0"),
        ([3, 1], [1, 1], r"lengths.*row 1 has 1"),
        ([3, 4], [1], "1 came for 2"),
        ([3.0], [1], "float64"),
        ([[3]], [1], r"shape \(1, 1\)"),
    ],
)
def test_every_kind_refuses_wrong_input(kind, lengths, amounts, message):
    with pytest.raises(ValueError, match=message):
        place(kind, lengths, amounts, 8, seed=0)


def test_multi_region_of_one_region_is_refused():
    with pytest.raises(ValueError, match="regions=1 should be >= 2"):
        place("multi_region", [5], [2], 8, seed=0, regions=1)
