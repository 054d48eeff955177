"""Objective: what a network is trained for; presets add parts of their own."""

import numpy as np
from torch import Tensor, nn

from semantic_ids.quantizers.neural.losses import (
    codebook_loss,
    commitment_loss,
    reconstruction_loss,
)
from semantic_ids.quantizers.neural.network import QuantizerNetwork, Step


class Objective(nn.Module):
    """Rebuilding, and entries and latents that meet.

    A subclass adds parts to the mapping that `forward` returns, as weighted; its own parameters
    (a projection, say) are trained with the network and then dropped.

    Parameters
    ----------
    commitment : weight of the commitment loss.
    codebook : weight of the codebook loss; 0 where entries are running means, or fixed.
    """

    def __init__(self, commitment: float, codebook: float = 1.0) -> None:
        super().__init__()
        self.commitment, self.codebook = commitment, codebook

    def forward(self, step: Step, network: QuantizerNetwork) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name."""
        vectors, entries = step.quantized.vectors, step.quantized.entries
        terms = {"reconstruction": reconstruction_loss(step.rebuilt, step.x)}
        if self.codebook:
            terms["codebook"] = self.codebook * codebook_loss(vectors, entries)
        if self.commitment:
            terms["commitment"] = self.commitment * commitment_loss(vectors, entries)
        return terms

    def begin_epoch(self, network: QuantizerNetwork, rng: np.random.Generator) -> None:
        """Prepare for an epoch; what is kept here is not in a checkpoint, unless in a buffer."""
