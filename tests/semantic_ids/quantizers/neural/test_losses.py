"""Losses: naive sums, and gradients that go where they should."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.quantizers.neural.losses import (
    codebook_loss,
    commitment_loss,
    reconstruction_loss,
)


def tensors(seed, levels, rows, width):
    rng = np.random.default_rng(seed)
    return [
        [torch.tensor(rng.normal(size=(rows, width)), requires_grad=True) for _ in range(levels)]
        for _ in range(2)
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_both_losses_are_the_mean_squared_gap_of_levels_rows_and_columns(seed, levels, rows, width):
    vectors, entries = tensors(seed, levels, rows, width)
    naive = 0.0
    for vector, entry in zip(vectors, entries, strict=True):
        for a, b in zip(vector.flatten().tolist(), entry.flatten().tolist(), strict=True):
            naive += (a - b) ** 2 / (levels * rows * width)
    assert codebook_loss(vectors, entries).item() == pytest.approx(naive)
    assert commitment_loss(vectors, entries).item() == pytest.approx(naive)
    assert reconstruction_loss(vectors[0], vectors[0] + 2).item() == pytest.approx(4)


def test_each_loss_moves_one_side_only():
    vectors, entries = tensors(0, 2, 3, 4)
    codebook_loss(vectors, entries).backward()
    assert all(vector.grad is None for vector in vectors)
    assert all((entry.grad != 0).all() for entry in entries)
    vectors, entries = tensors(0, 2, 3, 4)
    commitment_loss(vectors, entries).backward()
    assert all(entry.grad is None for entry in entries)
    assert all((vector.grad != 0).all() for vector in vectors)
