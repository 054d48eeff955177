"""Training in several processes: each takes its rows, and all end with the same weights."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from semantic_ids.workers import Launched, Workers, launched_workers


def test_alone_there_is_one_worker_and_no_accelerate(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert type(launched_workers(torch.device("cpu"))) is Workers


def test_without_accelerate_the_error_names_the_extra(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"pip install semantic-ids\[train\]"):
        launched_workers(torch.device("cpu"))


def test_one_launched_process_works_as_none():
    pytest.importorskip("accelerate")
    workers, module = Launched(torch.device("cpu")), nn.BatchNorm1d(3)
    batch = torch.arange(5), torch.rand(5, 3)
    assert workers.first
    assert all(torch.equal(a, b) for a, b in zip(workers.part(batch), batch, strict=True))
    module(batch[1]).sum().backward()
    before = [module.weight.grad.clone(), module.running_mean.clone()]
    workers.average(module)
    assert torch.equal(module.weight.grad, before[0])
    assert torch.equal(module.running_mean, before[1])
    assert float(workers.mean({"loss": torch.tensor(2.0)})["loss"]) == 2.0
    workers.wait()


SCRIPT = """
import os, sys
import numpy as np
from semantic_ids import Optimisation, RQVAE
from semantic_ids.quantizers.neural.lookup import Lookup

x = np.random.default_rng(0).normal(size=(200, 6))
spec = RQVAE(levels=2, codebook_size=8, hidden=(8,), code_dim=4, batch_size=50, restart=False,
             held_out=0.04, lookup=Lookup(**eval(sys.argv[2])), device="cpu",
             optimisation=Optimisation(epochs=3))
fitted = spec.fit(x, progress=False)
rank = os.environ.get("RANK", "alone")
np.savez(f"{sys.argv[1]}/{rank}.npz", **fitted.arrays())
"""


@pytest.mark.slow
@pytest.mark.parametrize("lookup", [{}, {"decay": 0.9}], ids=["gradient", "means"])
def test_two_processes_end_with_the_weights_of_one(tmp_path, lookup):
    """Both have half of each batch; means of gradients and statistics are those of the whole."""
    pytest.importorskip("accelerate")
    script = tmp_path / "fit.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    for start in ([*launch, "--standalone"], [sys.executable]):
        command = [*start, str(script), str(tmp_path), repr(lookup)]
        subprocess.run(command, env=environment, timeout=240, check=True)
    first, second, alone = (np.load(tmp_path / f"{name}.npz") for name in ("0", "1", "alone"))
    for name in alone.files:
        assert np.array_equal(first[name], second[name])
        assert np.allclose(first[name], alone[name], atol=2e-3), name
