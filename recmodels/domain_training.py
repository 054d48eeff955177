"""Learning from several domains at once: each batch, and each softmax, is of one domain."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recmodels.item_vectors import ItemVectors
from recmodels.masked_items import Lesson, MaskCount, MaskedBatches
from recmodels.masking import MaskMix
from recmodels.objectives import Objective
from recmodels.sequence_model import SequenceModel
from recmodels.training import Optimisation, TrainingLog


def within_domains(
    model: SequenceModel,
    bounds: np.ndarray,
    objective: Callable[[SequenceModel, slice], Objective],
) -> Objective:
    """Return an objective that knows of no items but those of a batch's own domain.

    Parameters
    ----------
    model : what is trained.
    bounds : (D + 1,) int; domain d has the rows from ``bounds[d]`` to ``bounds[d + 1]``. A batch
        holds rows of one domain.
    objective : makes that of one domain, of a model whose items are that domain's alone, and of
        the rows that these have in the whole catalogue.
    """
    slices = [slice(int(a), int(b)) for a, b in itertools.pairwise(bounds)]
    objectives = [objective(_model_of_domain(model, rows), rows) for rows in slices]

    def loss(items: Tensor, masked: Tensor) -> Tensor:
        domain = int(np.searchsorted(bounds, int(items.max()), side="right")) - 1
        own = torch.where(items >= 0, items - slices[domain].start, items)
        return objectives[domain](own, masked)

    return loss


def pretrain_domains(
    lesson: Lesson, bounds: np.ndarray, masks: MaskMix, optimisation: Optimisation
) -> tuple[TrainingLog, MaskCount]:
    """Train a model to name masked items of whole histories, a batch being of one domain.

    Each domain takes part by its number of histories, in an epoch that is cut short too; the
    batches of all domains come in random order.

    Parameters
    ----------
    lesson : its objective takes batches of one domain, as that of `within_domains` does.
    bounds : (D + 1,) int; domain d has the users from ``bounds[d]`` to ``bounds[d + 1]``.
    masks, optimisation : as `recmodels.masked_items.pretrain` takes them.
    """
    count = MaskCount()
    domains = [
        MaskedBatches(
            lesson.histories.take(np.arange(start, stop)),
            lesson.sequences,
            masks,
            lesson.rng,
            count,
        )
        for start, stop in itertools.pairwise(bounds)
    ]
    domains = _shares_of_an_epoch(domains, lesson.sequences.epoch_size)
    steps = np.array([domain.steps for domain in domains])

    def batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        epochs = [domain.epoch() for domain in domains]
        for domain in lesson.rng.permutation(np.repeat(np.arange(len(domains)), steps)):
            yield next(epochs[domain])

    return lesson.train(optimisation, int(steps.sum()), batches, "pretraining"), count


def _shares_of_an_epoch(domains: list[MaskedBatches], epoch_size: int) -> list[MaskedBatches]:
    total = sum(len(domain.users) for domain in domains)
    if total <= epoch_size:
        return domains
    return [
        replace(
            domain,
            sequences=replace(
                domain.sequences, epoch_size=max(1, epoch_size * len(domain.users) // total)
            ),
        )
        for domain in domains
    ]


def _model_of_domain(model: SequenceModel, rows: slice) -> SequenceModel:
    part = SequenceModel(
        _DomainVectors(model.items, rows),
        model.encoder,
        cosine=model.cosine,
        temperature=model.temperature,
    )
    part.repeat = model.repeat
    return part


class _DomainVectors(ItemVectors):
    """The item vectors of some rows, by numbers that begin at 0; the parts are shared."""

    def __init__(self, items: ItemVectors, rows: slice) -> None:
        super().__init__(dict(items.parts.items()), items.slots)
        self._rows = rows

    def tokens(self) -> Tensor | None:
        """Return the tokens of the domain's rows."""
        tokens = super().tokens()
        return None if tokens is None else tokens[self._rows]

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors (n, width) of some rows (n,) of the domain, or of all."""
        if rows is not None:
            return super().forward(rows + self._rows.start)
        device = next(self.parameters()).device
        return super().forward(torch.arange(self._rows.start, self._rows.stop, device=device))
