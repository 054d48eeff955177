"""Shared and specific experts: one vector a code position, from all modalities or from one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from semantic_ids.quantizers.neural.blocks import cut, presence
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.losses import codebook_loss, commitment_loss
from semantic_ids.quantizers.neural.network import QuantizerNetwork, Step, perceptron
from semantic_ids.quantizers.neural.objective import Objective
from semantic_ids.quantizers.neural.objectives import (
    decorrelation,
    modal_reconstruction,
    orthogonality,
)
from semantic_ids.quantizers.neural.streams import Streams

if TYPE_CHECKING:
    from semantic_ids.quantizers.mmq import MMQ


class SharedSpecificExperts(nn.Module):
    """Experts that read all modalities side by side, and experts that read one each.

    MMQ, arXiv 2508.15281. The experts stand in order: the shared ones, then those of the first
    modality, and so on. Each is a net with one hidden layer.

    Parameters
    ----------
    widths : columns of each of the M modalities.
    hidden : units of each expert's hidden layer.
    width : columns of each expert's output.
    shared : number of shared experts.
    specific : number of specific experts a modality.

    Attributes
    ----------
    groups : the shared experts, then the specific ones of each modality, as slices.

    Examples
    --------
    >>> experts = SharedSpecificExperts([5, 3], hidden=8, width=4, shared=2, specific=1)
    >>> batch, present = [torch.ones(6, 5), torch.ones(6, 3)], torch.ones(6, 2, dtype=torch.bool)
    >>> experts(batch).shape, experts.weights(batch, present).shape, experts.groups[1]
    (torch.Size([6, 4, 4]), torch.Size([6, 4]), slice(2, 3, None))
    """

    def __init__(
        self, widths: Sequence[int], *, hidden: int, width: int, shared: int, specific: int
    ) -> None:
        super().__init__()
        self.shared, self.specific = shared, specific
        reads = [sum(widths)] * shared + [d for d in widths for _ in range(specific)]
        self.experts = nn.ModuleList(perceptron([d, hidden, width]) for d in reads)
        self.gates = nn.ModuleList(nn.Linear(d, specific) for d in widths)
        starts = [shared + m * specific for m in range(len(widths))]
        self.groups = [slice(0, shared), *(slice(start, start + specific) for start in starts)]

    def forward(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the experts' outputs (n, S, width) for M tensors (n, d_m), zeros where absent."""
        read = [torch.cat(list(batch), dim=1)] * self.shared
        read += [values for values in batch for _ in range(self.specific)]
        outputs = [expert(values) for expert, values in zip(self.experts, read, strict=True)]
        return torch.stack(outputs, dim=1)

    def weights(self, batch: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return the weights (n, S) of the experts' outputs in their sum.

        A shared expert weighs 1. The experts of a modality share a weight of 1 as its gate says,
        or all weigh 0 where the modality is absent.

        Parameters
        ----------
        batch : M tensors (n, d_m).
        present : (n, M) bool.
        """
        shares = [
            gate(values).softmax(dim=1) * there[:, None]
            for gate, values, there in zip(self.gates, batch, present.unbind(dim=1), strict=True)
        ]
        return torch.cat([shares[0].new_ones(len(present), self.shared), *shares], dim=1)

    def lacking(self, present: Tensor) -> Tensor:
        """Say which experts have nothing to read, (n, S) bool; the shared ones always have."""
        specific = (~present).repeat_interleave(self.specific, dim=1)
        return torch.cat([specific.new_zeros(len(present), self.shared), specific], dim=1)

    def first_layers(self, group: slice) -> list[Tensor]:
        """Return the first layer's weights (hidden, d) of each expert of a group."""
        return [next(net.parameters()) for net in list(self.experts)[group]]


class ExpertNetwork(QuantizerNetwork):
    """Experts whose unit outputs are quantized one by one, and decoders of their weighted sum.

    In training the sum takes each item's gates. Codes alone do not tell them, so that decoding
    takes their running means.
    """

    def __init__(self, spec: "MMQ", blocks: Sequence[slice]) -> None:
        widths = [block.stop - block.start for block in blocks]
        experts = SharedSpecificExperts(
            widths,
            hidden=spec.hidden,
            width=spec.code_dim,
            shared=spec.shared,
            specific=spec.specific,
        )
        optional = [False] * spec.shared + [len(blocks) > 1] * (len(blocks) * spec.specific)
        streams = Streams(
            [spec.codebook_size],
            spec.code_dim,
            optional,
            shared=False,
            lookup=Lookup(search="cosine"),
        )
        decoder = perceptron([spec.code_dim, spec.hidden, blocks[-1].stop])
        super().__init__(blocks[-1].stop, experts, streams, decoder)
        self.blocks = tuple(blocks)
        self.heads = nn.ModuleList(perceptron([spec.code_dim, spec.hidden, d]) for d in widths)
        means = [1.0] * spec.shared + [1 / max(1, spec.specific)] * (len(blocks) * spec.specific)
        self.register_buffer("mean_weights", torch.tensor(means))

    @property
    def experts(self) -> SharedSpecificExperts:
        """The encoder."""
        return cast(SharedSpecificExperts, self.encoder)

    @property
    def streams(self) -> Streams:
        """The codebooks."""
        return cast(Streams, self.codebooks)

    def encoded(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the experts' outputs, unit vectors with marks; see `Streams`."""
        present = presence(present, len(self.blocks))
        outputs = functional.normalize(self.experts(cut(x, self.blocks, present)), dim=2)
        return self.streams.joined(outputs, self.experts.lacking(present))

    def decoded(self, values: Tensor) -> Tensor:
        """Return vectors (B, d) in the units of the input for values with marks."""
        vectors, absent = self.streams.split(values)
        weights = self.get_buffer("mean_weights").masked_fill(absent, 0)
        return super().decoded((weights[:, :, None] * vectors).sum(dim=1))

    def forward(self, rows: Tensor, x: Tensor, present: Tensor) -> Step:
        """Pass vectors (B, d) of items (B,) through experts, codebooks and decoder."""
        x = self.standardised(x)
        latents = self.encoded(x, present).float()
        with torch.autocast(x.device.type, enabled=False):
            quantized = self.codebooks(latents)
        weighted = self.weighted(x, present, quantized.values)
        return Step(rows, x, present, latents, quantized, self.decoder(weighted.sum(dim=1)))

    def weighted(self, x: Tensor, present: Tensor, values: Tensor) -> Tensor:
        """Return the quantized outputs (B, S, c) times their weights."""
        present = presence(present, len(self.blocks))
        weights = self.experts.weights(cut(x, self.blocks, present), present)
        if self.training:
            self._follow(weights.detach(), self.experts.lacking(present))
        return weights[:, :, None] * self.streams.split(values)[0]

    @torch.no_grad()
    def _follow(self, weights: Tensor, lacking: Tensor) -> None:
        means, there = self.get_buffer("mean_weights"), (~lacking).sum(dim=0)
        newest = torch.where(there > 0, weights.sum(dim=0) / there.clamp(min=1), means)
        means.lerp_(newest, 0.01)


class ExpertObjective(Objective):
    """MMQ's losses, and the codebook and commitment losses that its codebooks need."""

    def __init__(self, spec: "MMQ") -> None:
        super().__init__(spec.commitment)
        self.spec = spec

    def forward(self, step: Step, network: QuantizerNetwork) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name."""
        assert isinstance(network, ExpertNetwork)
        spec, blocks, groups = self.spec, network.blocks, network.experts.groups
        present = presence(step.present, len(blocks))
        batch = cut(step.x, blocks, present)
        vectors, entries = step.quantized.vectors, step.quantized.entries
        terms = {
            "reconstruction": spec.reconstruction
            * modal_reconstruction(cut(step.rebuilt, blocks), batch, present),
            "codebook": codebook_loss(vectors, entries),
            "commitment": self.commitment * commitment_loss(vectors, entries),
        }
        if spec.auxiliary:
            weighted = network.weighted(step.x, step.present, step.quantized.values)
            alone = [
                head(weighted[:, group].sum(dim=1))
                for head, group in zip(network.heads, groups[1:], strict=True)
            ]
            terms["auxiliary"] = spec.auxiliary * modal_reconstruction(alone, batch, present)
        if spec.decorrelation:
            outputs, absent = network.streams.split(step.latents)
            alike = [decorrelation(outputs[~absent[:, g].any(dim=1), g]) for g in groups]
            terms["decorrelation"] = spec.decorrelation * torch.stack(alike).sum()
        if spec.orthogonality:
            layers = [network.experts.first_layers(g) for g in groups if g.stop > g.start]
            crossed = torch.stack([orthogonality(weights) for weights in layers]).sum()
            terms["orthogonality"] = spec.orthogonality * crossed
        return terms
