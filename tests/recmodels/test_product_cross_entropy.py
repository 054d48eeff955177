"""The cross-entropy of products, and its gradients, against torch's own in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from recmodels import product_cross_entropy as module
from recmodels.product_cross_entropy import product_cross_entropy


def loop_in_float64(asked, answering, targets, seen, bonus):
    """A loop over rows and what each has seen."""
    asked, answering, bonus = (
        t.detach().double().requires_grad_() for t in (asked, answering, bonus)
    )
    losses = []
    for row, target in enumerate(targets.tolist()):
        times = torch.zeros(len(answering), dtype=torch.float64)
        for item in seen[row].tolist():
            if item >= 0:
                times[item] += 1
        scores = answering @ asked[row] + bonus * times
        losses.append(scores.logsumexp(0) - scores[target])
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss, asked.grad, answering.grad, bonus.grad


def vectors(rows, items, width, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randn(rows, width, generator=generator) * scale
    answering = torch.randn(items, width, generator=generator)
    targets = torch.randint(items, (rows,), generator=generator)
    return asked.requires_grad_(), answering.requires_grad_(), targets


def in_float64(asked, answering, targets):
    asked, answering = (t.detach().double().requires_grad_() for t in (asked, answering))
    loss = functional.cross_entropy(asked @ answering.T, targets)
    loss.backward()
    return loss, asked.grad, answering.grad


def close(found, expected):
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 9), st.integers(1, 300))
def test_loss_and_gradients(rows, items, width, scores):
    asked, answering, targets = vectors(rows, items, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.SCORES_AT_A_TIME, "cpu", scores)
        loss = product_cross_entropy(asked, answering, targets)
    (3 * loss).backward()
    expected, to_asked, to_answering = in_float64(asked, answering, targets)
    close(loss, expected)
    close(asked.grad, 3 * to_asked)
    close(answering.grad, 3 * to_answering)


@given(
    st.integers(1, 12), st.integers(1, 9), st.integers(0, 6), st.integers(1, 60), st.floats(-9, 9)
)
def test_what_was_seen_has_a_bonus(rows, items, width, scores, bonus):
    asked, answering, targets = vectors(rows, items, 4)
    generator = torch.Generator().manual_seed(1)
    seen = torch.randint(-2, items, (rows, width), generator=generator)
    extra = torch.tensor(bonus, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.SCORES_AT_A_TIME, "cpu", scores)
        loss = product_cross_entropy(asked, answering, targets, seen=seen, bonus=extra)
    loss.backward()
    found = loss, asked.grad, answering.grad, extra.grad
    for one, other in zip(
        found, loop_in_float64(asked, answering, targets, seen, extra), strict=True
    ):
        close(one, other)


def test_scores_far_apart_stay_finite():
    """The right item's chance is below the smallest float32."""
    asked, answering, targets = vectors(20, 50, 8, scale=200.0)
    loss = product_cross_entropy(asked, answering, targets)
    loss.backward()
    expected, to_asked, to_answering = in_float64(asked, answering, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(asked.grad.double(), to_asked, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(answering.grad.double(), to_answering, rtol=1e-3, atol=1e-3)


def test_only_what_is_wanted_gets_a_gradient():
    asked, answering, targets = vectors(5, 7, 3)
    fixed = answering.detach()
    product_cross_entropy(asked, fixed, targets).backward()
    close(asked.grad, in_float64(asked, fixed, targets)[1])
    bonus = torch.tensor(0.5, requires_grad=True)
    seen = torch.zeros(5, 1, dtype=torch.int64)
    product_cross_entropy(asked.detach(), fixed, targets, seen=seen, bonus=bonus).backward()
    close(bonus.grad, loop_in_float64(asked, fixed, targets, seen, bonus)[3])
    with torch.no_grad():
        assert not product_cross_entropy(asked, answering, targets).requires_grad


def test_bfloat16_is_close():
    asked, answering, targets = vectors(30, 40, 16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = product_cross_entropy(asked, answering, targets)
    loss.backward()
    expected, to_asked, to_answering = in_float64(asked, answering, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    for found, wanted in ((asked.grad, to_asked), (answering.grad, to_answering)):
        assert (found - wanted).norm() < 0.03 * wanted.norm()


def test_autocast_leaves_float64_alone():
    asked, answering, targets = vectors(30, 40, 16)
    asked, answering = asked.detach().double(), answering.detach().double()
    with torch.autocast("cpu", torch.bfloat16):
        loss = product_cross_entropy(asked, answering, targets)
    assert loss.item() == product_cross_entropy(asked, answering, targets).item()
