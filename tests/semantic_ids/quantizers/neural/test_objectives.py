"""Objectives against loops over rows and pairs in float64."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.quantizers.neural.objectives import (
    compactness,
    decorrelation,
    info_nce,
    modal_reconstruction,
    orthogonality,
    separation,
)

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(2, 9)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(seed=seeds, n=sizes, width=sizes, temperature=st.floats(0.05, 5))
def test_info_nce_is_the_cross_entropy_of_each_row_with_its_own_both_ways(
    seed, n, width, temperature
):
    one, other = normal(seed, n, width), normal(seed + 1, n, width)

    def half(a, b):
        total = 0.0
        for i in range(n):
            scores = [
                a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j]) / temperature
                for j in range(n)
            ]
            top = max(scores)
            total += top + math.log(sum(math.exp(s - top) for s in scores)) - scores[i]
        return total / n

    expected = (half(one, other) + half(other, one)) / 2
    found = info_nce(torch.from_numpy(one), torch.from_numpy(other), temperature)
    assert math.isclose(float(found), expected, rel_tol=1e-6, abs_tol=1e-9)


@given(seed=seeds, n=sizes)
def test_info_nce_knows_no_length(seed, n):
    one, other = torch.from_numpy(normal(seed, n, 4)), torch.from_numpy(normal(seed + 1, n, 4))
    lengths = torch.from_numpy(1 + np.random.default_rng(seed).random((n, 1)))
    assert torch.allclose(info_nce(one * lengths, other * 7), info_nce(one, other))


@given(seed=seeds, n=sizes)
def test_modal_reconstruction_counts_the_rows_that_have_the_modality(seed, n):
    real, made = [normal(seed, n, 3), normal(seed + 1, n, 5)], [normal(2, n, 3), normal(3, n, 5)]
    present = np.random.default_rng(seed).random((n, 2)) < 0.6
    expected = 0.0
    for m in range(2):
        errors = [((made[m][i] - real[m][i]) ** 2).mean() for i in range(n) if present[i, m]]
        expected += (sum(errors) / len(errors) if errors else 0.0) / 2
    found = modal_reconstruction(
        [torch.from_numpy(a) for a in made],
        [torch.from_numpy(a) for a in real],
        torch.from_numpy(present),
    )
    assert math.isclose(float(found), expected, rel_tol=1e-9, abs_tol=1e-12)


@given(seed=seeds, n=st.integers(5, 20), slots=st.integers(2, 4), width=st.integers(1, 4))
def test_decorrelation_is_the_mean_squared_correlation_of_pairs(seed, n, slots, width):
    outputs = normal(seed, n, slots, width)
    total = 0.0
    for a in range(slots):
        for b in range(slots):
            if a != b:
                corr = np.corrcoef(outputs[:, a].T, outputs[:, b].T)[:width, width:]
                total += (corr**2).sum()
    found = float(decorrelation(torch.from_numpy(outputs)))
    assert math.isclose(found, total / (slots * (slots - 1) * width), rel_tol=1e-2)


def test_decorrelation_bears_constant_columns_and_single_rows():
    assert float(decorrelation(torch.ones(5, 2, 3))) == 0
    assert float(decorrelation(torch.randn(1, 2, 3))) == 0
    assert float(decorrelation(torch.randn(5, 1, 3))) == 0


@given(seed=seeds, experts=st.integers(1, 5))
def test_orthogonality_is_the_distance_of_the_gram_matrix_from_identity(seed, experts):
    weights = normal(seed, experts, 3, 4)
    rows = weights.reshape(experts, -1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = ((rows @ rows.T - np.eye(experts)) ** 2).sum()
    found = float(orthogonality([torch.from_numpy(weight) for weight in weights]))
    assert math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)


def test_weights_are_nearly_orthogonal_from_the_start():
    """Why MMQ's term does little: there is next to nothing to penalise."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 64).weight.detach() for _ in range(4)]
    assert float(orthogonality(layers)) < 0.01


@given(seed=seeds, n=sizes, width=sizes)
def test_compactness_is_the_mean_squared_distance(seed, n, width):
    one, other = normal(seed, n, width), normal(seed + 1, n, width)
    expected = sum(((one[i] - other[i]) ** 2).sum() for i in range(n)) / n
    found = float(compactness(torch.from_numpy(one), torch.from_numpy(other)))
    assert math.isclose(found, expected, rel_tol=1e-9)


@given(seed=seeds, entries=sizes, width=st.integers(1, 4))
def test_separation_is_the_mean_over_pairs(seed, entries, width):
    book = normal(seed, entries, width)
    pairs = [
        math.exp(-((book[i] - book[j]) ** 2).sum())
        for i in range(entries)
        for j in range(entries)
        if i != j
    ]
    found = float(separation(torch.from_numpy(book)))
    assert math.isclose(found, sum(pairs) / len(pairs), rel_tol=1e-6, abs_tol=1e-12)


def test_one_entry_is_apart_from_nothing():
    assert float(separation(torch.ones(1, 3))) == 0
