import numpy as np
import pytest
import torch
from torch import nn

from recmodels import Optimisation
from recmodels.training import seeded, train


def line(slope, optimisation, validate=None, steps=4):
    """Fit one weight to y = slope x; the figure that `validate` sees is the weight."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.zero_()
    x = torch.linspace(-1, 1, 32)[:, None]
    log = train(
        module,
        optimisation,
        steps=steps,
        batches=lambda _: [x] * steps,
        loss=lambda batch: (module(batch) - slope * batch).square().mean(),
        validate=None if validate is None else lambda: validate(module.weight.item()),
        description="line",
        progress=False,
    )
    return module, log


def test_a_line_is_learnt():
    module, log = line(2.0, Optimisation(epochs=60, learning_rate=0.1, weight_decay=0))
    assert module.weight.item() == pytest.approx(2.0, abs=0.01)
    assert len(log.losses) == 60
    assert log.losses[-1] < 1e-3 < log.losses[0]
    assert log.best_epoch is None


def test_the_best_epoch_is_kept():
    module, log = line(
        2.0, Optimisation(epochs=60, learning_rate=0.1), validate=lambda w: -abs(w - 1.0)
    )
    best = log.best_epoch
    assert log.validation[best] == max(log.validation)
    assert -abs(module.weight.item() - 1.0) == pytest.approx(max(log.validation))
    assert 0 < best < 59


def test_patience_stops_training():
    _, log = line(2.0, Optimisation(epochs=60, patience=3), validate=lambda w: -w)
    assert log.best_epoch == 0
    assert len(log.losses) == 4


def test_patience_waits_for_nothing_where_nothing_is_measured():
    _, log = line(2.0, Optimisation(epochs=9, patience=3))
    assert len(log.losses) == 9


def test_of_equal_epochs_the_first_is_kept_and_reported():
    seen = []
    module, log = line(2.0, Optimisation(epochs=4), validate=lambda w: seen.append(w) or 1.0)
    assert log.best_epoch == 0
    assert module.weight.item() == seen[0]


def test_no_epochs_leave_the_module_as_it_was():
    module, log = line(2.0, Optimisation(epochs=0))
    assert module.weight.item() == 0
    assert log.losses == ()


def test_a_diverging_loss_is_an_error():
    module = nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="toy: the loss of epoch 0 is nan"):
        train(
            module,
            Optimisation(epochs=1),
            steps=1,
            batches=lambda _: [torch.ones(1, 1)],
            loss=lambda batch: module(batch).sum() * np.nan,
            description="toy",
            progress=False,
        )


def test_seeding_leaves_the_outer_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(7):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(7):
        assert torch.equal(torch.rand(3), inside)
