"""Two branches a modality: what it says of behaviour, and what is its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from semantic_ids.quantizers.neural.blocks import cut, presence
from semantic_ids.quantizers.neural.club import Club
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.losses import (
    codebook_loss,
    commitment_loss,
    reconstruction_loss,
)
from semantic_ids.quantizers.neural.network import QuantizerNetwork, Step, perceptron
from semantic_ids.quantizers.neural.objective import Objective
from semantic_ids.quantizers.neural.objectives import info_nce, modal_reconstruction
from semantic_ids.quantizers.neural.streams import Streams

if TYPE_CHECKING:
    from semantic_ids.quantizers.bbqrec import BBQRec


class BehaviourDisentangle(nn.Module):
    """Split each modality into a behaviour part and a specific part, and rebuild it from both.

    BBQRec, arXiv 2504.06636, of which only the abstract and reviews were at hand: the branches
    are its own, their form (one hidden layer) is ours.

    Parameters
    ----------
    widths : columns of each of the M modalities.
    hidden : units of each branch's hidden layer.
    width : columns of each part.

    Examples
    --------
    >>> branches = BehaviourDisentangle([5, 3], hidden=16, width=4)
    >>> batch = [torch.ones(6, 5), torch.ones(6, 3)]
    >>> behaviour, specific = branches(batch), branches.specific_parts(batch)
    >>> behaviour.shape, specific.shape
    (torch.Size([6, 2, 4]), torch.Size([6, 2, 4]))
    >>> [made.shape[1] for made in branches.rebuild(behaviour, specific)]
    [5, 3]
    """

    def __init__(self, widths: Sequence[int], *, hidden: int, width: int) -> None:
        super().__init__()
        self.behaviour = nn.ModuleList(perceptron([d, hidden, width]) for d in widths)
        self.specific = nn.ModuleList(perceptron([d, hidden, width]) for d in widths)
        self.heads = nn.ModuleList(perceptron([2 * width, hidden, d]) for d in widths)

    def forward(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the behaviour parts, unit vectors (n, M, width), of M tensors (n, d_m)."""
        parts = [net(values) for net, values in zip(self.behaviour, batch, strict=True)]
        return functional.normalize(torch.stack(parts, dim=1), dim=2)

    def specific_parts(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the specific parts (n, M, width)."""
        parts = [net(values) for net, values in zip(self.specific, batch, strict=True)]
        return torch.stack(parts, dim=1)

    def rebuild(self, behaviour: Tensor, specific: Tensor) -> list[Tensor]:
        """Rebuild the modalities (n, d_m), each from its two parts."""
        both = torch.cat([behaviour, specific], dim=2)
        return [head(part) for head, part in zip(self.heads, both.unbind(dim=1), strict=True)]


class DisentangledNetwork(QuantizerNetwork):
    """Behaviour parts of the modalities, quantized by one set of codebooks.

    The decoder learns what codes say of the features without pulling the codes towards these:
    its gradient ends at what it reads.
    """

    def __init__(self, spec: "BBQRec", blocks: Sequence[slice]) -> None:
        widths = [block.stop - block.start for block in blocks]
        streams = Streams(
            [spec.codebook_size] * spec.levels,
            spec.code_dim,
            [len(blocks) > 1] * len(blocks),
            shared=True,
            lookup=Lookup(),
        )
        branches = BehaviourDisentangle(widths, hidden=spec.hidden, width=spec.code_dim)
        decoder = perceptron([streams.width, spec.hidden, blocks[-1].stop])
        super().__init__(blocks[-1].stop, branches, streams, decoder)
        self.blocks = tuple(blocks)

    @property
    def branches(self) -> BehaviourDisentangle:
        """The encoder."""
        return cast(BehaviourDisentangle, self.encoder)

    @property
    def streams(self) -> Streams:
        """The codebooks."""
        return cast(Streams, self.codebooks)

    def encoded(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the behaviour parts with marks; see `Streams`."""
        present = presence(present, len(self.blocks))
        return self.streams.joined(self.branches(cut(x, self.blocks, present)), ~present)

    def decoded(self, values: Tensor) -> Tensor:
        """Return vectors (B, d) in the units of the input for values with marks."""
        return super().decoded(self.streams.joined(*self.streams.split(values)))

    def forward(self, rows: Tensor, x: Tensor, present: Tensor) -> Step:
        """Pass vectors (B, d) of items (B,) through branches, codebooks and decoder."""
        x = self.standardised(x)
        latents = self.encoded(x, present).float()
        with torch.autocast(x.device.type, enabled=False):
            quantized = self.codebooks(latents)
        rebuilt = self.decoder(quantized.values.detach())
        if not self.training:  # what validation measures
            batch = cut(x, self.blocks, presence(present, len(self.blocks)))
            both = self.branches.rebuild(
                self.streams.split(latents)[0], self.branches.specific_parts(batch)
            )
            rebuilt = torch.cat(both, dim=1)
        return Step(rows, x, present, latents, quantized, rebuilt)


class DisentanglingObjective(Objective):
    """Behaviour parts that agree with behaviour, and specific parts that know nothing of it.

    Parameters
    ----------
    spec : the weights.
    widths : number of modalities M.
    behaviour : (N, b) vectors of behaviour; rows of zeros are of items that nobody knows.
    """

    def __init__(self, spec: "BBQRec", modalities: int, behaviour: np.ndarray) -> None:
        super().__init__(spec.commitment)
        self.spec = spec
        known = torch.from_numpy(behaviour.any(axis=1))
        centred = torch.from_numpy(behaviour - behaviour.mean(axis=0))
        scaled = centred / centred.square().mean().sqrt().clamp(min=1e-12)
        self.register_buffer("behaviour", scaled, persistent=False)
        self.register_buffer("known", known, persistent=False)
        self.project = nn.Linear(behaviour.shape[1], spec.code_dim)
        self.clubs = nn.ModuleList(
            Club(spec.code_dim, spec.code_dim, hidden=spec.hidden) for _ in range(modalities)
        )

    def forward(self, step: Step, network: QuantizerNetwork) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name."""
        assert isinstance(network, DisentangledNetwork)
        branches, blocks, spec = network.branches, network.blocks, self.spec
        present = presence(step.present, len(blocks))
        batch = cut(step.x, blocks, present)
        parts, _ = network.streams.split(step.latents)
        specific = branches.specific_parts(batch)
        towards = functional.normalize(self.project(self.get_buffer("behaviour")[step.rows]), dim=1)
        known = self.get_buffer("known")[step.rows]
        vectors, entries = step.quantized.vectors, step.quantized.entries
        if known.any():
            of_behaviour = network.streams.quantized(towards[known], 0)
            vectors = (*vectors, *of_behaviour.vectors)
            entries = (*entries, *of_behaviour.entries)
        # Where a batch has no item with a modality, or none that anybody knows, nothing is lost.
        align, bound = [step.x.new_zeros(())], [step.x.new_zeros(())]
        for m, there in enumerate(present.unbind(dim=1)):
            both = there & known
            if both.any():
                align.append(info_nce(parts[both, m], towards[both], spec.temperature))
            if there.any():
                bound.append(self._bound(m, parts[there, m], specific[there, m]))
        return {
            "reconstruction": spec.reconstruction
            * modal_reconstruction(branches.rebuild(parts, specific), batch, present),
            "decoding": reconstruction_loss(step.rebuilt, step.x),
            "alignment": spec.alignment * torch.stack(align).sum() / len(blocks),
            "club": spec.club * torch.stack(bound).sum() / len(blocks),
            "codebook": codebook_loss(vectors, entries),
            "commitment": self.commitment * commitment_loss(vectors, entries),
        }

    def begin_epoch(self, network: QuantizerNetwork, rng: np.random.Generator) -> None:
        """Give CLUB's nets a new optimiser of their own: no state that a checkpoint lacks."""
        self.optimiser = torch.optim.Adam(self.clubs.parameters(), lr=self.spec.club_learning_rate)

    def _bound(self, modality: int, parts: Tensor, specific: Tensor) -> Tensor:
        """Fit q to the parts as they are, and return the bound with a gradient for the specific.

        The behaviour part stays what behaviour makes it: the specific part has to give way. And
        the bound is to be lowered by the parts, not by a worse q.
        """
        club, parts = cast(Club, self.clubs[modality]), parts.detach()
        if self.training:
            for _ in range(self.spec.club_steps):
                self.optimiser.zero_grad(set_to_none=True)
                club.misfit(parts, specific.detach()).backward()
                self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
        fixed = {name: value.detach() for name, value in club.named_parameters()}
        return functional_call(club, fixed, (parts, specific))
