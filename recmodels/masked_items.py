"""Teaching the encoder masked items: pretraining by mixed masks, fine-tuning by the last item."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recmodels.data import Histories
from recmodels.data.batches import bucket_width, length_batches, prefix_ends, windows
from recmodels.encoder import CodeEncoder
from recmodels.masking import MaskMix, draw_masks
from recmodels.training import Optimisation, TrainingLog, train


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


def pretrain(
    encoder: CodeEncoder,
    histories: Histories,
    sequences: Sequences,
    masks: MaskMix,
    optimisation: Optimisation,
    *,
    rng: np.random.Generator,
    progress: bool | None = None,
) -> tuple[TrainingLog, MaskCount]:
    """Train the encoder to name masked items of whole histories.

    Histories of one item are left out; of a longer one than `sequences.width` each epoch takes a
    random window.
    """
    users = np.flatnonzero(histories.lengths >= 2)
    lengths = histories.lengths[users]
    count = MaskCount()

    def batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        ends = rng.integers(np.minimum(lengths, sequences.width), lengths + 1)
        for items in sequences.batches(histories, users, ends, rng):
            drawn = draw_masks((items >= 0).sum(axis=1), items.shape[1], masks, rng)
            count.sequences += len(items)
            count.fallbacks += drawn.fallbacks
            yield torch.from_numpy(items).long(), torch.from_numpy(drawn.masked)

    log = train(
        encoder,
        optimisation,
        steps=sequences.steps(len(users)),
        batches=batches,
        loss=_item_loss(encoder),
        description="pretraining",
        progress=progress,
    )
    return log, count


def finetune(
    encoder: CodeEncoder,
    histories: Histories,
    sequences: Sequences,
    optimisation: Optimisation,
    *,
    validate: Callable[[], float],
    rng: np.random.Generator,
    progress: bool | None = None,
) -> TrainingLog:
    """Train the encoder to name the last item of every prefix of every history."""
    users, ends = prefix_ends(histories)

    def batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        for items in sequences.batches(histories, users, ends, rng):
            masked = torch.zeros(items.shape, dtype=torch.bool)
            masked[:, -1] = True
            yield torch.from_numpy(items).long(), masked

    return train(
        encoder,
        optimisation,
        steps=sequences.steps(len(users)),
        batches=batches,
        loss=_item_loss(encoder),
        validate=validate,
        description="fine-tuning",
        progress=progress,
    )


def _item_loss(encoder: CodeEncoder) -> Callable[[tuple[Tensor, Tensor]], Tensor]:
    """Return the cross-entropy over the catalogue of each masked item, averaged."""

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        items, masked = batch
        return functional.cross_entropy(encoder(items, masked), items[masked])

    return loss
