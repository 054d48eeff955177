"""bfloat16 in training: the layers of networks alone, whatever an objective does."""

import pytest
import torch
from torch import nn

from semantic_ids import training
from semantic_ids.quantizers.neural import disentangle
from semantic_ids.quantizers.neural.codebooks import Codebook
from semantic_ids.quantizers.neural.objective import Objective
from semantic_ids.quantizers.neural.spec import NeuralQuantizer
from tests.semantic_ids.quantizers.contract import QUANTIZERS, latent, name_of, side

NEURAL = [spec for spec in QUANTIZERS if isinstance(spec, NeuralQuantizer)]


@pytest.fixture(autouse=True)
def has_it(monkeypatch):
    """Autocast works on every processor; only whether it pays differs."""
    monkeypatch.setattr(training, "has_bfloat16", lambda: True)


def short(spec):
    return type(spec).model_validate({**dict(spec), "precision": "bfloat16"})


@pytest.mark.parametrize("spec", NEURAL, ids=name_of)
def test_layers_are_short_and_nothing_else(monkeypatch, spec):
    layers, seen = set(), []

    def watch(kind):
        original = kind.__call__

        def call(self, *args, **kwargs):
            seen.append((self, torch.is_autocast_enabled("cpu")))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__call__", call)

    watch(Objective)
    watch(Codebook)
    original = nn.Linear.forward

    def forward(self, x):
        found = original(self, x)
        layers.add(found.dtype)
        return found

    monkeypatch.setattr(nn.Linear, "forward", forward)
    fitted = short(spec).fit(latent(), side=side())
    assert torch.bfloat16 in layers
    assert any(isinstance(module, Objective) for module, _ in seen)
    assert not any(enabled for _, enabled in seen)
    assert all(parameter.dtype == torch.float32 for parameter in fitted.network.parameters())


def test_bbqrec_fits_its_own_nets_to_what_they_have_become(monkeypatch):
    """Autocast keeps short copies of weights, which steps within a batch would not change."""
    (spec,) = (s for s in NEURAL if type(s).__name__ == "BBQRec")
    misfits = []
    original = disentangle.Club.misfit

    def misfit(self, *args):
        found = original(self, *args)
        misfits.append(found.item())
        return found

    monkeypatch.setattr(disentangle.Club, "misfit", misfit)
    short(spec.model_copy(update={"club_steps": 3})).fit(latent(), side=side())
    assert misfits
    assert all(a != b for a, b in zip(misfits[::3], misfits[1::3], strict=True))
