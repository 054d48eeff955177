"""Balanced assignment: equal columns, and the plan of an independent solver."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from semantic_ids.quantizers.neural.balance import balanced_choice, transport_plan


def distances(seed, rows, entries):
    return np.random.default_rng(seed).random((rows, entries)) ** 2


@given(seed=st.integers(0, 2**32 - 1), per_entry=st.integers(1, 6), entries=st.integers(2, 6))
def test_the_plan_is_the_naive_one(seed, per_entry, entries):
    d = distances(seed, per_entry * entries, entries)
    scaled = (d - (d.max() + d.min()) / 2) / ((d.max() - d.min()) / 2)
    kernel = np.exp(-scaled / 0.2)
    for _ in range(30):
        kernel *= per_entry / kernel.sum(axis=0)
        kernel /= kernel.sum(axis=1, keepdims=True)
    plan = transport_plan(torch.from_numpy(d), 0.2, 30).exp().numpy()
    assert np.allclose(plan, kernel, rtol=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
def test_rows_and_columns_have_their_sums(seed):
    plan = transport_plan(torch.from_numpy(distances(seed, 24, 4)), 0.3, 200).exp().numpy()
    assert plan.sum(axis=1) == pytest.approx(np.ones(24))
    assert plan.sum(axis=0) == pytest.approx(np.full(4, 6.0), rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_small_epsilon_is_close_to_the_optimal_balanced_assignment(seed):
    d = distances(seed, 40, 4)
    slots = np.repeat(np.arange(4), 10)
    rows, columns = linear_sum_assignment(d[:, slots])
    best = d[rows, slots[columns]].sum()
    chosen = balanced_choice(torch.from_numpy(d), 0.01, iterations=1000).numpy()
    assert d[np.arange(40), chosen].sum() <= best * 1.02
    assert np.bincount(chosen, minlength=4).max() <= 12


def test_all_rows_beside_one_entry_are_spread_out():
    points = torch.linspace(0, 1, 64)[:, None]
    entries = torch.tensor([[0.5], [5.0], [6.0], [7.0]])
    d = (points - entries.T).square()
    assert torch.equal(d.argmin(dim=1).bincount(minlength=4), torch.tensor([64, 0, 0, 0]))
    counts = balanced_choice(d, 0.003).bincount(minlength=4)
    assert counts.min() >= 12


def test_equal_distances_are_no_trouble():
    assert torch.isfinite(transport_plan(torch.ones(6, 3), 0.003, 50)).all()
