"""The one training loop."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from semantic_ids.checkpoints import Checkpoint
from semantic_ids.device import Device, chosen_device
from semantic_ids.optimisation import Optimisation, TrainingLog, best_epoch
from semantic_ids.processor import has_bfloat16
from semantic_ids.progress import progress_bar
from semantic_ids.workers import Workers

__all__ = [
    "Measured",
    "Optimisation",
    "TrainingLog",
    "seeded",
    "train",
]

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Measured:
    """What `validate` may return in place of a bare figure.

    Attributes
    ----------
    figure : higher is better.
    utilisation : share of the entries in use at each level.
    """

    figure: float
    utilisation: Sequence[float]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's random numbers begin at `seed` inside, and leave them as they were outside."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield


def train(
    module: nn.Module,
    spec: Optimisation,
    *,
    steps: int,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Batch], Tensor | Mapping[str, Tensor]],
    validate: Callable[[], float | Measured] | None = None,
    least_utilisation: float = 0.0,
    after_epoch: Callable[[torch.optim.Optimizer], None] | None = None,
    description: str,
    progress: bool | None = None,
    device: Device = "cpu",
    bfloat16: bool = False,
    workers: Workers | None = None,
    rng: np.random.Generator | None = None,
    identity: Callable[[], str] | None = None,
) -> TrainingLog:
    """Train a module in place.

    Parameters
    ----------
    module : its parameters are trained; it is left on the CPU in evaluation mode.
    spec : how.
    steps : batches of an epoch.
    batches : gives the batches of an epoch, by its number.
    loss : gives the loss of a batch as a scalar tensor, or its named parts, which are added up.
    validate : measures a figure after each epoch, higher is better.
    least_utilisation : see `best_epoch`; for figures that come with a utilisation.
    after_epoch : is called with the optimiser when an epoch has been validated, and may change
        the module; the weights that are kept are those from before.
    description : what the bar says, and the name of the checkpoint.
    progress : show a bar; None shows it in a terminal.
    device : where to train; batches (a tensor, or a tuple of tensors) are moved there.
    bfloat16 : compute losses in bfloat16 where autocast does so; on CUDA, and on processors that
        multiply matrices of bfloat16 themselves.
    workers : processes that share each batch; None where there is one.
    rng : what `batches` and `after_epoch` draw from, kept in a checkpoint.
    identity : says what is trained, as `checkpoints.identity` does; without, there are no
        checkpoints. A training that has other state than module, optimiser, rng and torch's own
        random numbers cannot have one.

    Raises
    ------
    FloatingPointError
        if a loss is not finite.
    ValueError
        if the checkpoint is that of another training.
    """
    workers = workers or Workers()
    run = _Run(module, spec, chosen_device(device), rng, least_utilisation)
    checkpoint = None if identity is None else Checkpoint.of(description, identity)
    if checkpoint is not None and (found := checkpoint.read()) is not None:
        run.restore(*found)
    short = bfloat16 and (run.on_cuda or has_bfloat16())
    total = spec.epochs * steps
    bar = progress_bar(
        description=description,
        total=total,
        initial=run.epoch * steps,
        progress=progress if workers.first else False,
    )
    with bar:
        while run.epoch < spec.epochs and not run.is_out_of_patience():
            started = time.perf_counter()
            module.train()
            sums: dict[str, Tensor] = {}
            for number, batch in enumerate(batches(run.epoch)):
                part = _moved(workers.part(batch), run.device)
                with torch.autocast(run.device.type, torch.bfloat16, enabled=short):
                    value = loss(part)
                terms = value if isinstance(value, Mapping) else {"": value}
                rate = _warmup_cosine(run.epoch * steps + number, max(1, total), spec.warmup)
                _step(module, run.optimiser, terms, spec, rate, workers)
                for name, term in terms.items():
                    sums[name] = sums.get(name, torch.zeros(())) + term.detach()
                bar.update()
            run.record(description, workers.mean(sums), steps)
            module.eval()
            if validate is not None:
                run.judge(validate())
            run.seconds.append(time.perf_counter() - started)
            bar.set_postfix(run.newest())
            run.epoch += 1
            if after_epoch is not None and run.epoch < spec.epochs:
                after_epoch(run.optimiser)
            ends = run.epoch == spec.epochs or run.is_out_of_patience()
            if checkpoint is not None and workers.first and (ends or checkpoint.due()):
                checkpoint.write(*run.state())
    workers.wait()
    return run.end()


class _Run:
    """Everything that a training is between two epochs."""

    def __init__(
        self,
        module: nn.Module,
        spec: Optimisation,
        device: torch.device,
        rng: np.random.Generator | None,
        least_utilisation: float,
    ) -> None:
        self.module = module.to(device)
        self.device = device
        self.on_cuda = device.type == "cuda"
        self.optimiser = torch.optim.AdamW(_groups(module, spec.weight_decay), spec.learning_rate)
        self.epoch = 0
        self.seconds: list[float] = []
        self._patience = spec.patience
        self._rng = rng
        self._least = least_utilisation
        self._kept: dict[str, Tensor] | None = None
        self._losses: list[float] = []
        self._terms: dict[str, list[float]] = {}
        self._figures: list[float] = []
        self._utilisation: list[tuple[float, ...]] = []

    def record(self, description: str, sums: Mapping[str, Tensor], steps: int) -> None:
        """Remember the losses of an epoch; refuse to go on where they are not finite."""
        self._losses.append(math.fsum(float(value) for value in sums.values()) / steps)
        if not math.isfinite(self._losses[-1]):
            raise FloatingPointError(
                f"{description}: the loss of epoch {self.epoch} is {self._losses[-1]}; "
                "try a smaller learning_rate"
            )
        for name, value in sums.items():
            if name:
                self._terms.setdefault(name, []).append(float(value) / steps)

    def judge(self, measured: float | Measured) -> None:
        """Remember a figure, and the weights if it is the best."""
        if isinstance(measured, Measured):
            self._utilisation.append(tuple(measured.utilisation))
            measured = measured.figure
        self._figures.append(measured)
        if self._best() == self.epoch:
            weights = self.module.state_dict()
            self._kept = {name: value.detach().clone() for name, value in weights.items()}

    def _best(self) -> int | None:
        return best_epoch(self._figures, self._utilisation, self._least)

    def is_out_of_patience(self) -> bool:
        """Say whether the last epochs were no better."""
        best = self._best()
        return (
            self._patience is not None
            and best is not None
            and self.epoch - 1 - best >= self._patience
        )

    def newest(self) -> dict[str, float]:
        """Return what the bar shows."""
        shown = {"loss": self._losses[-1]}
        if self._figures:
            shown["valid"] = self._figures[-1]
        if self._utilisation:
            shown["used"] = min(self._utilisation[-1])
        return shown

    def end(self) -> TrainingLog:
        """Leave the module with its best weights."""
        if self._kept is not None:
            self.module.load_state_dict(self._kept)
        self.module.to("cpu").eval()
        return TrainingLog(
            tuple(self._losses),
            tuple(self._figures),
            tuple(self.seconds),
            {name: tuple(values) for name, values in self._terms.items()},
            tuple(self._utilisation),
            self._least,
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what `restore` takes: values for JSON, and arrays."""
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        for name, value in (self._kept or {}).items():
            tensors[f"kept.{name}"] = value
        for number, slots in self.optimiser.state_dict()["state"].items():
            for name, value in slots.items():
                tensors[f"optimiser.{number}.{name}"] = value
        tensors["random.cpu"] = torch.get_rng_state()
        if self.on_cuda:
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        metadata = {
            "epoch": self.epoch,
            "losses": self._losses,
            "terms": self._terms,
            "figures": self._figures,
            "utilisation": self._utilisation,
            "seconds": self.seconds,
            "rng": None if self._rng is None else self._rng.bit_generator.state,
        }
        return metadata, {name: value.cpu().numpy() for name, value in tensors.items()}

    def restore(self, metadata: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Go back to a state."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        self.module.load_state_dict(_below(tensors, "module."))
        self._kept = _below(tensors, "kept.") or None
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, "optimiser.").items():
            number, _, slot = name.partition(".")
            slots.setdefault(int(number), {})[slot] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": slots, "param_groups": groups})
        torch.set_rng_state(tensors["random.cpu"])
        if self.on_cuda:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        if self._rng is not None:
            self._rng.bit_generator.state = metadata["rng"]
        self.epoch = metadata["epoch"]
        self.seconds = metadata["seconds"]
        self._losses, self._terms = metadata["losses"], metadata["terms"]
        self._figures = metadata["figures"]
        self._utilisation = [tuple(shares) for shares in metadata["utilisation"]]


def _step(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    terms: Mapping[str, Tensor],
    spec: Optimisation,
    rate: float,
    workers: Workers,
) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    workers.average(module)
    nn.utils.clip_grad_norm_(module.parameters(), spec.clip)
    for group in optimiser.param_groups:
        group["lr"] = spec.learning_rate * rate
    optimiser.step()


def _groups(module: nn.Module, decay: float) -> list[dict]:
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _warmup_cosine(step: int, total: int, warmup: float) -> float:
    rising = max(1, int(total * warmup))
    if step < rising:
        return (step + 1) / rising
    share = (step - rising) / max(1, total - rising)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, share)))


def _moved(batch: Any, device: torch.device) -> Any:
    if device.type == "cpu":
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    return tuple(part.to(device, non_blocking=True) for part in batch)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
