"""The training loop: what it keeps, when it stops, and going on after a kill."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from semantic_ids import Optimisation, TrainingLog, training
from semantic_ids.checkpoints import checkpoints, identity
from semantic_ids.device import chosen_device
from semantic_ids.optimisation import best_epoch
from semantic_ids.training import Measured, seeded, train

SPEC = Optimisation(epochs=6, learning_rate=0.05)


class Killed(Exception):
    """Stands for whatever ends a process in the middle of an epoch."""


class Noisy(nn.Module):
    """A network whose training uses every kind of state: weights, a buffer, dropout."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += len(x)
        return self.layer(nn.functional.dropout(x, 0.5, self.training)) * self.log_scale.exp()


def fit(spec=SPEC, *, kill_at=None, data=0, description="toy", figures=None, name=None):
    """Train on a line; `kill_at` raises in the middle of that epoch."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(np.random.default_rng(data).normal(size=(40, 3)).astype(np.float32))
    y = x.sum(dim=1, keepdim=True)
    with seeded(0):
        module = Noisy()

        def batches(epoch):
            order = rng.permutation(40)
            for number, start in enumerate(range(0, 40, 10)):
                if epoch == kill_at and number == 2:
                    raise Killed
                rows = torch.from_numpy(order[start : start + 10])
                yield x[rows], y[rows]

        def loss(batch):
            gap = module(batch[0]) - batch[1]
            return {"error": gap.square().mean(), "size": 0.01 * module.layer.weight.abs().sum()}

        def validate():
            with torch.no_grad():
                error = -float((module(x) - y).square().mean())
            return Measured(error, [0.5 + 0.01 * len(x)]) if figures is None else next(figures)

        log = train(
            module,
            spec,
            steps=4,
            batches=batches,
            loss=loss,
            validate=validate,
            description=description,
            progress=False,
            rng=rng,
            identity=lambda: identity(spec, x.numpy()),
        )
    return module, log


def weights(module):
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


# --- going on after a kill


@pytest.mark.parametrize("kill_at", [0, 1, 4])
@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_resumed_training_is_that_of_one_that_was_never_cut_off(tmp_path, kill_at, every):
    whole, whole_log = fit()
    with pytest.raises(Killed), checkpoints(tmp_path, every=every):
        fit(kill_at=kill_at)
    with checkpoints(tmp_path, every=every):
        resumed, log = fit()
    assert weights(resumed) == weights(whole)
    assert log == whole_log
    assert log.terms == whole_log.terms
    assert len(log.terms["size"]) == 6


def test_a_resumed_training_does_not_repeat_what_was_done(tmp_path):
    figures = iter([1.0, 2.0, 3.0])
    with pytest.raises(Killed), checkpoints(tmp_path, every=0):
        fit(kill_at=3, figures=figures)
    with checkpoints(tmp_path, every=0):
        _, log = fit(figures=iter([0.0, 0.0, 0.0]))
    assert log.validation == (1.0, 2.0, 3.0, 0.0, 0.0, 0.0)
    assert log.best_epoch == 2


def test_what_was_stopped_early_is_not_trained_on(tmp_path):
    spec = Optimisation(epochs=6, patience=2)
    with checkpoints(tmp_path, every=0):
        first, log = fit(spec, figures=iter([3.0, 2.0, 1.0]))
    with checkpoints(tmp_path, every=0):
        again, same = fit(spec, figures=iter([]))
    assert same == log
    assert weights(again) == weights(first)


def test_the_training_of_other_data_or_another_spec_is_refused(tmp_path):
    with checkpoints(tmp_path, every=0):
        fit()
    message = "toy: holds the training of another spec"
    with pytest.raises(ValueError, match=message), checkpoints(tmp_path):
        fit(data=1)
    with pytest.raises(ValueError, match=message), checkpoints(tmp_path):
        fit(Optimisation(epochs=7, learning_rate=0.05))


def test_several_trainings_have_folders_of_their_own(tmp_path):
    with checkpoints(tmp_path / "run", every=0):
        fit()
        fit(data=1)
        fit(description="Other one")
    found = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert found == ["other-one", "toy", "toy-2"]
    files = {path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert files == {".json", ".safetensors"}


def test_nothing_is_written_without_being_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit()
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    with checkpoints(tmp_path, every=0):
        fit()
    (file,) = (tmp_path / "toy").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=file.name), checkpoints(tmp_path):
        fit()


KILLED = """
import os, signal, sys
import numpy as np
from semantic_ids import Optimisation, RQVAE
from semantic_ids.checkpoints import checkpoints
from semantic_ids.quantizers.neural.fitting import _Fit

epoch_to_die_in = int(sys.argv[2])
batches = _Fit.batches

def dying(self, epoch):
    for number, batch in enumerate(batches(self, epoch)):
        if epoch == epoch_to_die_in and number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

_Fit.batches = dying
x = np.random.default_rng(0).normal(size=(120, 6))
spec = RQVAE(levels=2, codebook_size=8, hidden=(8,), code_dim=4, batch_size=32,
             optimisation=Optimisation(epochs=5))
with checkpoints(sys.argv[1], every=0):
    fitted = spec.fit(x, progress=False)
np.savez(sys.argv[1] + "/result.npz", **fitted.arrays())
"""


@pytest.mark.slow
def test_a_fit_killed_by_the_system_goes_on_bit_for_bit(tmp_path):
    def run(folder, die_in):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder), str(die_in)]
        return subprocess.run(command, env=environment, timeout=120).returncode

    assert run(tmp_path / "cut", 3) == -signal.SIGKILL
    assert run(tmp_path / "cut", 99) == 0
    assert run(tmp_path / "whole", 99) == 0
    cut, whole = (np.load(tmp_path / name / "result.npz") for name in ("cut", "whole"))
    assert cut.files == whole.files
    assert all(cut[name].tobytes() == whole[name].tobytes() for name in cut.files)


# --- which epoch is kept


def test_epochs_whose_codes_collapsed_do_not_count():
    used = [[1.0, 0.2], [0.97, 0.96], [1.0, 0.99], [0.9, 1.0]]
    assert best_epoch([9.0, 1.0, 2.0, 8.0], used, 0.95) == 2
    assert best_epoch([9.0, 1.0, 2.0, 8.0], used, 0.0) == 0


def test_where_all_collapsed_the_epoch_that_uses_most_is_kept():
    assert best_epoch([9.0, 1.0, 2.0], [[0.1], [0.4], [0.3]], 0.95) == 1


def test_the_rule_is_applied_while_training():
    spec = Optimisation(epochs=4)
    measured = iter([Measured(9.0, [0.1]), Measured(1.0, [1.0]), Measured(2.0, [1.0])] * 2)
    module, states = nn.Linear(1, 1), []

    def validate():
        states.append(module.weight.item())
        return next(measured)

    log = train(
        module,
        spec,
        steps=1,
        batches=lambda _: [torch.ones(1, 1)],
        loss=lambda batch: module(batch).sum(),
        validate=validate,
        least_utilisation=0.95,
        description="toy",
        progress=False,
    )
    assert log.best_epoch == 2
    assert module.weight.item() == states[2]
    assert log.utilisation == ((0.1,), (1.0,), (1.0,), (0.1,))


def test_what_happens_after_an_epoch_is_not_in_the_weights_that_are_kept():
    module = nn.Linear(1, 1)

    def spoil(optimiser):
        assert isinstance(optimiser, torch.optim.AdamW)
        with torch.no_grad():
            module.weight.fill_(100.0)

    train(
        module,
        Optimisation(epochs=2, learning_rate=1e-3),
        steps=1,
        batches=lambda _: [torch.ones(1, 1)],
        loss=lambda batch: module(batch).square().sum(),
        validate=lambda: -abs(module.weight.item()),
        after_epoch=spoil,
        description="toy",
        progress=False,
    )
    assert abs(module.weight.item()) < 2


# --- the rest


def test_named_losses_are_added_up_and_remembered():
    _, log = fit()
    total = np.array(log.terms["error"]) + np.array(log.terms["size"])
    assert np.allclose(log.losses, total, rtol=1e-5)


def test_gradients_are_clipped_to_the_norm_of_the_spec():
    module, seen = nn.Linear(3, 1), []
    original = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        seen.append(float(torch.cat([p.grad.flatten() for p in module.parameters()]).norm()))
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        train(
            module,
            Optimisation(epochs=1, clip=0.25),
            steps=2,
            batches=lambda _: [torch.ones(4, 3)] * 2,
            loss=lambda batch: 100 * module(batch).square().mean(),
            description="toy",
            progress=False,
        )
    assert seen == pytest.approx([0.25, 0.25], rel=1e-4)


def test_the_rate_rises_then_falls_to_a_tenth():
    module, rates = nn.Linear(1, 1), []

    def loss(batch):
        return module(batch).sum()

    original = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        train(
            module,
            Optimisation(epochs=10, learning_rate=1.0, warmup=0.1),
            steps=10,
            batches=lambda _: [torch.ones(1, 1)] * 10,
            loss=loss,
            description="toy",
            progress=False,
        )
    peer = 0.1 + 0.9 * (1 + np.cos(np.pi * np.arange(90) / 90)) / 2
    assert rates == pytest.approx([*np.arange(1, 11) / 10, *peer])


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("processor", [False, True])
def test_losses_are_in_bfloat16_where_wanted_and_where_the_processor_has_it(
    monkeypatch, wanted, processor
):
    monkeypatch.setattr(training, "has_bfloat16", lambda: processor)
    layer, x, kinds = nn.Linear(3, 1), torch.ones(4, 3), set()

    def loss(batch):
        found = layer(batch)
        kinds.add(found.dtype)
        return found.square().mean()

    train(
        layer,
        SPEC,
        steps=1,
        batches=lambda epoch: [x],
        loss=loss,
        description="toy",
        progress=False,
        bfloat16=wanted,
    )
    assert kinds == {torch.bfloat16 if wanted and processor else torch.float32}
    assert {p.dtype for p in layer.parameters()} == {torch.float32}


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto").type == chosen_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        chosen_device("cuda")


def test_an_empty_log_has_no_best_epoch():
    assert TrainingLog().best_epoch is None
