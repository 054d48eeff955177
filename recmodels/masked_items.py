"""Teaching a sequence model masked items: by mixed masks, by the last item, by every next one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recmodels.data import Histories
from recmodels.data.batches import bucket_width, length_batches, prefix_ends, windows
from recmodels.masking import MaskMix, draw_masks
from recmodels.objectives import Objective
from recmodels.sequence_model import SequenceModel
from recmodels.training import Optimisation, TrainingLog, train
from semantic_ids.device import Device


@dataclass(frozen=True)
class Sequences:
    """How histories become training sequences.

    Parameters
    ----------
    width : most items of a sequence.
    batch_size : sequences of a step.
    epoch_size : most sequences of an epoch; of more, each epoch takes a new random choice.
    """

    width: int
    batch_size: int
    epoch_size: int

    def steps(self, available: int) -> int:
        """Return the batches of an epoch, given how many sequences there are."""
        return -(-min(available, self.epoch_size) // self.batch_size)

    def batches(
        self, histories: Histories, users: np.ndarray, ends: np.ndarray, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        """Go through the last `width` items of prefixes in shuffled batches (B, T) int32."""
        chosen = rng.permutation(len(users))[: self.epoch_size]
        users, ends = users[chosen], ends[chosen]
        lengths = np.minimum(ends, self.width)
        for batch in length_batches(lengths, self.batch_size, rng):
            width = bucket_width(int(lengths[batch].max()), self.width)
            yield windows(histories, users[batch], ends[batch], width)


@dataclass
class MaskCount:
    """Sequences that pretraining masked, and those of them that fell back to random masks."""

    sequences: int = 0
    fallbacks: int = 0


@dataclass(frozen=True, eq=False)
class MaskedBatches:
    """Batches of whole histories and of what is masked in them.

    Parameters
    ----------
    histories : of which those of two items or more are used.
    sequences : how they become training sequences; of a longer one each epoch takes a random
        window.
    masks : what is masked.
    rng : what windows, batches and masks are drawn by.
    count : what happened is added to it.
    """

    histories: Histories
    sequences: Sequences
    masks: MaskMix
    rng: np.random.Generator
    count: MaskCount

    @property
    def users(self) -> np.ndarray:
        """Whose histories are used, (n,) int64."""
        return np.flatnonzero(self.histories.lengths >= 2)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.sequences.steps(len(self.users))

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Go once through rows (B, T) int64 and what is masked of them, (B, T) bool."""
        users = self.users
        lengths = self.histories.lengths[users]
        ends = self.rng.integers(np.minimum(lengths, self.sequences.width), lengths + 1)
        for items in self.sequences.batches(self.histories, users, ends, self.rng):
            drawn = draw_masks((items >= 0).sum(axis=1), items.shape[1], self.masks, self.rng)
            self.count.sequences += len(items)
            self.count.fallbacks += drawn.fallbacks
            yield torch.from_numpy(items).long(), torch.from_numpy(drawn.masked)


@dataclass(frozen=True)
class Lesson:
    """What a phase of training has in common with the others.

    Parameters
    ----------
    model : what is trained, in place.
    objective : how it is judged.
    histories : what it learns from.
    sequences : how they become training sequences.
    rng : what the sequences are drawn by.
    device, bfloat16, progress : as `recmodels.training.train` takes them.
    identity : says what all this is, for a checkpoint.
    """

    model: SequenceModel
    objective: Objective
    histories: Histories
    sequences: Sequences
    rng: np.random.Generator
    device: Device = "cpu"
    bfloat16: bool = False
    progress: bool | None = None
    identity: Callable[[], str] | None = None

    def train(
        self,
        optimisation: Optimisation,
        steps: int,
        batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
        description: str,
        validate: Callable[[], float] | None = None,
    ) -> TrainingLog:
        """Train by batches of rows and of what is masked, so many an epoch."""
        return train(
            self.model,
            optimisation,
            steps=steps,
            batches=batches,
            loss=lambda batch: self.objective(*batch),
            validate=validate,
            description=description,
            progress=self.progress,
            device=self.device,
            bfloat16=self.bfloat16,
            rng=self.rng,
            identity=self.identity,
        )


def pretrain(
    lesson: Lesson,
    masks: MaskMix,
    optimisation: Optimisation,
    validate: Callable[[], float] | None = None,
) -> tuple[TrainingLog, MaskCount]:
    """Train a model to name masked items of whole histories.

    Histories of one item are left out; of a longer one than a sequence each epoch takes a random
    window.
    """
    count = MaskCount()
    masked = MaskedBatches(lesson.histories, lesson.sequences, masks, lesson.rng, count)
    log = lesson.train(
        optimisation, masked.steps, lambda _: masked.epoch(), "pretraining", validate
    )
    return log, count


def finetune(
    lesson: Lesson, optimisation: Optimisation, validate: Callable[[], float] | None = None
) -> TrainingLog:
    """Train a model to name the last item of every prefix of every history."""
    users, ends = prefix_ends(lesson.histories)

    def batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        for items in lesson.sequences.batches(lesson.histories, users, ends, lesson.rng):
            masked = torch.zeros(items.shape, dtype=torch.bool)
            masked[:, -1] = True
            yield torch.from_numpy(items).long(), masked

    steps = lesson.sequences.steps(len(users))
    return lesson.train(optimisation, steps, batches, "fine-tuning", validate)


def train_causally(
    lesson: Lesson, optimisation: Optimisation, validate: Callable[[], float] | None = None
) -> TrainingLog:
    """Train a causal model to name every item of a history but the first."""
    histories, sequences, rng = lesson.histories, lesson.sequences, lesson.rng
    users = np.flatnonzero(histories.lengths >= 2)
    lengths = histories.lengths[users]

    def batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        ends = rng.integers(np.minimum(lengths, sequences.width), lengths + 1)
        for items in sequences.batches(histories, users, ends, rng):
            masked = np.zeros(items.shape, dtype=bool)
            masked[:, 1:] = items[:, :-1] >= 0
            yield torch.from_numpy(items).long(), torch.from_numpy(masked)

    return lesson.train(optimisation, sequences.steps(len(users)), batches, "training", validate)
