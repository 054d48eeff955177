"""How a module is trained, and what is remembered of it; as values, without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from semantic_ids.spec import Spec


class Optimisation(Spec):
    """How a module is trained: AdamW, a linear warm-up, then a cosine down to a tenth.

    Parameters
    ----------
    epochs : most passes; 0 leaves the module as it is.
    learning_rate : at the end of the warm-up.
    weight_decay : of the matrices; vectors and scalars are not decayed.
    warmup : share of the steps in which the rate rises.
    clip : largest norm of a step's gradient; a larger one is scaled down to it.
    patience : epochs without a better validation figure before training stops; None trains to
        the end. Where a validation figure is measured, the weights of the best epoch are kept.

    Examples
    --------
    >>> Optimisation(epochs=5).learning_rate
    0.001
    """

    epochs: int = Field(default=20, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    patience: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class TrainingLog:
    """What happened, epoch by epoch.

    Attributes
    ----------
    losses : mean loss of each epoch.
    validation : figure after each epoch, higher is better; empty where none was measured.
    seconds : how long each epoch took, validation included.
    terms : mean of each named part of the loss, as weighted in it; empty where it has no parts.
    utilisation : after each epoch, the share of entries in use at each level; empty where it
        was not measured.
    least_utilisation : what every level has to reach before the validation figure counts.
    """

    losses: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    seconds: tuple[float, ...] = field(default=(), compare=False)
    terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    utilisation: tuple[tuple[float, ...], ...] = ()
    least_utilisation: float = 0.0

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept, from 0; None where nothing was measured."""
        return best_epoch(self.validation, self.utilisation, self.least_utilisation)


def best_epoch(
    figures: Sequence[float],
    utilisation: Sequence[Sequence[float]] = (),
    least_utilisation: float = 0.0,
) -> int | None:
    """Return the first of the best epochs, or None where there is none.

    Epochs in which every level's utilisation reaches the least one are compared by their
    figure. Where none does, the epoch whose worst level is used most is the best: a collapsed
    codebook rebuilds easily, so its figure says nothing.

    Examples
    --------
    >>> best_epoch([1.0, 3.0, 2.0])
    1
    >>> best_epoch([1.0, 3.0, 2.0], [[0.9, 1.0], [0.9, 0.1], [0.9, 0.9]], least_utilisation=0.8)
    2
    """

    def worth(epoch: int) -> tuple[float, float]:
        worst = min(utilisation[epoch]) if utilisation else 1.0
        return min(worst, least_utilisation), figures[epoch]

    return max(range(len(figures)), key=worth) if figures else None
