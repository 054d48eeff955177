"""Estimators: values are the entries, gradients those of the closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.functional import jacobian

from semantic_ids.quantizers.neural.estimators import gumbel_choice, rotate, straight_through

seeds = st.integers(0, 2**32 - 1)


def pair(seed, width=5, rows=3):
    rng = np.random.default_rng(seed)
    return (torch.from_numpy(rng.normal(size=(rows, width))) for _ in range(2))


@pytest.mark.parametrize("estimator", [straight_through, rotate])
@given(seed=seeds)
def test_values_are_the_entries(estimator, seed):
    z, q = pair(seed)
    assert torch.allclose(estimator(z, q), q, rtol=0, atol=1e-12)


@given(seed=seeds)
def test_straight_through_is_the_identity_for_gradients(seed):
    z, q = pair(seed, rows=1)
    assert torch.equal(
        jacobian(lambda z: straight_through(z, q)[0], z)[:, 0], torch.eye(5).double()
    )


@given(seed=seeds)
def test_the_jacobian_of_the_rotation_is_the_scaled_rotation_from_vector_to_entry(seed):
    z, q = pair(seed, rows=1)
    turn = jacobian(lambda z: rotate(z, q)[0], z)[:, 0].numpy() / float(q.norm() / z.norm())
    a, b = (v[0].numpy() / np.linalg.norm(v[0].numpy()) for v in (z, q))
    # Rodrigues' formula for the rotation in the plane of a and b, written down on its own.
    cosine = a @ b
    skew = np.outer(b, a) - np.outer(a, b)
    expected = np.eye(5) + skew + skew @ skew / (1 + cosine)
    assert np.allclose(turn, expected, atol=1e-6)
    assert np.allclose(turn @ turn.T, np.eye(5), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1)
    assert np.allclose(turn @ a, b)


@given(seed=seeds)
def test_the_rotation_keeps_the_angle_between_gradient_and_vector(seed):
    """What the method is for: the gradient at z stands to z as the one at q stands to q."""
    z, q = pair(seed)
    z.requires_grad_()
    upstream = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=q.shape))
    rotate(z, q).backward(upstream)
    assert torch.cosine_similarity(z.grad, z).detach().numpy() == pytest.approx(
        torch.cosine_similarity(upstream, q).numpy(), abs=1e-6
    )


@pytest.mark.parametrize(
    ("z", "q"), [([1.0, 0.0], [-1.0, 0.0]), ([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0])]
)
def test_where_no_rotation_is_defined_the_gradient_goes_straight_through(z, q):
    z, q = torch.tensor([z], requires_grad=True), torch.tensor([q])
    values = rotate(z, q)
    values.sum().backward()
    assert torch.equal(values, q)
    assert torch.equal(z.grad, torch.ones(1, 2))


def test_drawn_entries_have_the_probabilities_of_the_scores():
    scores = torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(20_000, 3).clone().requires_grad_()
    torch.manual_seed(0)
    drawn = gumbel_choice(scores)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(drawn.sum(dim=1), torch.ones(20_000))
    # Four standard errors of the share.
    assert drawn.mean(dim=0).tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.015)
    drawn[:, 0].sum().backward()
    assert (scores.grad.abs().sum(dim=1) > 0).all()
