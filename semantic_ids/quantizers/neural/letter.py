"""LETTER's objective: codes that also say who interacts with an item, and use all entries."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from semantic_ids.quantizers.neural.codebooks import ResidualLevels, as_numpy
from semantic_ids.quantizers.neural.diversity import (
    balanced_clusters,
    cluster_mates,
    diversity_loss,
)
from semantic_ids.quantizers.neural.network import QuantizerNetwork, Step
from semantic_ids.quantizers.neural.objective import Objective
from semantic_ids.quantizers.neural.objectives import info_nce


class LetterObjective(Objective):
    """The parts of RQ-VAE, alignment with collaborative vectors, and diversity of entries.

    Parameters
    ----------
    commitment, codebook : see `Objective`.
    collaborative : (N, c') one vector an item; a linear map, trained beside the network, brings
        it to the width of the latents.
    width : columns of the latents.
    alignment, temperature : weight of the contrastive loss, and what divides its cosines.
    diversity, clusters : weight of the diversity loss, and how many clusters of entries it has.
    """

    def __init__(
        self,
        commitment: float,
        codebook: float,
        collaborative: np.ndarray,
        width: int,
        *,
        alignment: float,
        temperature: float,
        diversity: float,
        clusters: int,
    ) -> None:
        super().__init__(commitment, codebook)
        scale = np.sqrt((collaborative.astype(np.float64) ** 2).sum(axis=1).mean()) or 1.0
        vectors = torch.from_numpy((collaborative / scale).astype(np.float32))
        self.register_buffer("collaborative", vectors, persistent=False)
        self.projection = nn.Linear(collaborative.shape[1], width)
        self.alignment, self.temperature = alignment, temperature
        self.diversity, self.clusters = diversity, clusters
        self._labels: list[Tensor] = []

    def forward(self, step: Step, network: QuantizerNetwork) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name."""
        terms = super().forward(step, network)
        behaviour = self.projection(self.get_buffer("collaborative")[step.rows])
        aligned = info_nce(step.quantized.values, behaviour, self.temperature)
        terms["alignment"] = self.alignment * aligned
        if self.diversity:
            terms["diversity"] = self.diversity * self._diversity(step, network)
        return terms

    def begin_epoch(self, network: QuantizerNetwork, rng: np.random.Generator) -> None:
        """Cluster the entries of each level anew."""
        self._labels = []
        for book in cast(ResidualLevels, network.codebooks).levels():
            # A cluster of one entry has no mates.
            count = max(1, min(self.clusters, book.size // 2))
            entries = book.entries()
            labels = balanced_clusters(as_numpy(entries), count, int(rng.integers(2**31)))
            self._labels.append(torch.from_numpy(labels).to(entries.device))

    def _diversity(self, step: Step, network: QuantizerNetwork) -> Tensor:
        losses = [step.x.new_zeros(())]
        levels = cast(ResidualLevels, network.codebooks).levels()
        for level, (book, labels) in enumerate(zip(levels, self._labels, strict=True)):
            if book.size > 2:
                codes = step.quantized.codes[:, level]
                mates = cluster_mates(codes, labels)
                entries = step.quantized.entries[level]
                losses.append(diversity_loss(entries, codes, book.entries(), mates))
        return torch.stack(losses).sum() / len(levels)
