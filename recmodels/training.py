"""The one training loop."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from semantic_ids import Spec
from semantic_ids.progress import progress_bar

Batch = TypeVar("Batch")


class Optimisation(Spec):
    """How a module is trained: AdamW, a linear warm-up, then a cosine down to a tenth.

    Parameters
    ----------
    epochs : most passes; 0 leaves the module as it is.
    learning_rate : at the end of the warm-up.
    weight_decay : of the matrices; vectors and scalars are not decayed.
    warmup : share of the steps in which the rate rises.
    patience : epochs without a better validation figure before training stops; None trains to
        the end. Where a validation figure is measured, the weights of the best epoch are kept.
    """

    epochs: int = Field(default=20, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    patience: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class TrainingLog:
    """What happened, epoch by epoch.

    Attributes
    ----------
    losses : mean loss of each epoch.
    validation : figure after each epoch, higher is better; empty where none was measured.
    seconds : how long each epoch took, validation included.
    """

    losses: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    seconds: tuple[float, ...] = field(default=(), compare=False)

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept, from 0; None where nothing was measured."""
        return _best(self.validation)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's random numbers begin at `seed` inside, and leave them as they were outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def train(
    module: nn.Module,
    spec: Optimisation,
    *,
    steps: int,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Batch], Tensor],
    validate: Callable[[], float] | None = None,
    description: str,
    progress: bool | None = None,
) -> TrainingLog:
    """Train a module in place.

    Parameters
    ----------
    module : its parameters are trained; it is left in evaluation mode.
    spec : how.
    steps : batches of an epoch.
    batches : gives the batches of an epoch, by its number.
    loss : gives the loss of a batch as a scalar tensor.
    validate : measures a figure after each epoch, higher is better.
    description : what the bar says.
    progress : show a bar; None shows it in a terminal.

    Raises
    ------
    FloatingPointError
        if a loss is not finite.
    """
    optimiser = torch.optim.AdamW(_groups(module, spec.weight_decay), lr=spec.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, _warmup_cosine(max(1, spec.epochs * steps), spec.warmup)
    )
    losses, figures, seconds = [], [], []
    kept = None
    bar = progress_bar(description=description, total=spec.epochs * steps, progress=progress)
    with bar:
        for epoch in range(spec.epochs):
            started = time.perf_counter()
            module.train()
            total = torch.zeros(())
            for batch in batches(epoch):
                value = loss(batch)
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                total += value.detach()
                bar.update()
            losses.append(float(total) / steps)
            if not total.isfinite():
                raise FloatingPointError(
                    f"{description}: the loss of epoch {epoch} is {losses[-1]}; "
                    "try a smaller learning_rate"
                )
            module.eval()
            if validate is not None:
                figures.append(validate())
                if _best(figures) == epoch:
                    kept = {name: value.clone() for name, value in module.state_dict().items()}
            seconds.append(time.perf_counter() - started)
            bar.set_postfix(loss=losses[-1], **({"valid": figures[-1]} if figures else {}))
            best = _best(figures)
            if spec.patience and best is not None and epoch - best >= spec.patience:
                break
    if kept is not None:
        module.load_state_dict(kept)
    module.eval()
    return TrainingLog(tuple(losses), tuple(figures), tuple(seconds))


def _groups(module: nn.Module, decay: float) -> list[dict]:
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _warmup_cosine(total: int, warmup: float) -> Callable[[int], float]:
    rising = max(1, int(total * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        share = (step - rising) / max(1, total - rising)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, share)))

    return factor


def _best(figures: Sequence[float]) -> int | None:
    """Return the first of the best epochs."""
    return max(range(len(figures)), key=figures.__getitem__) if figures else None
