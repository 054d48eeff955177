"""A palette: learned queries each take one aspect from the fields of an item."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from semantic_ids.quantizers.neural.blocks import cut, presence
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.network import QuantizerNetwork, Step, perceptron
from semantic_ids.quantizers.neural.objective import Objective
from semantic_ids.quantizers.neural.objectives import decorrelation, info_nce, modal_reconstruction
from semantic_ids.quantizers.neural.streams import ClusteredStreams, Streams

if TYPE_CHECKING:
    from semantic_ids.quantizers.lamia import LAMIA


class ItemPalette(nn.Module):
    """Learned queries attend over the tokens of an item's fields; each gives one slot.

    After LAMIA, arXiv 2409.07276, whose palette comes from a language model. Here a field is a
    vector, which a net with one hidden layer turns into one token or several. All queries read
    the same values and differ in what they attend to alone: two slots that attend to one token
    say the same, which a decorrelating objective punishes, so that it shares the tokens out.
    What a query attends to depends on which fields are there, not on what they say.

    Parameters
    ----------
    widths : columns of each of the F fields.
    slots : number of queries S.
    width : columns of tokens and slots.
    tokens : of each field. One token in all gives S equal slots; there should be S or more.
    hidden : units of the hidden layer.

    Examples
    --------
    >>> palette = ItemPalette([5, 3], slots=4, width=8, tokens=2, hidden=16)
    >>> there = torch.tensor([[True, True], [True, False]])
    >>> palette([torch.ones(2, 5), torch.ones(2, 3)], there).shape
    torch.Size([2, 4, 8])
    """

    def __init__(
        self, widths: Sequence[int], *, slots: int, width: int, tokens: int, hidden: int
    ) -> None:
        super().__init__()
        self.tokens, self.width = tokens, width
        self.values = nn.ModuleList(perceptron([d, hidden, tokens * width]) for d in widths)
        # Scores begin with a deviation of 0.3: queries that are nearly sure at the start would
        # stay at their tokens, two of them perhaps at the same one.
        scale = (0.3 / width**0.5) ** 0.5
        self.keys = nn.Parameter(scale * torch.randn(len(widths) * tokens, width))
        self.queries = nn.Parameter(scale * torch.randn(slots, width))

    def forward(self, fields: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return the slots (n, S, width).

        Parameters
        ----------
        fields : F tensors (n, d_f).
        present : (n, F) bool; a row must have a field. Absent ones are not attended to.
        """
        values = [
            net(field).unflatten(1, (self.tokens, self.width))
            for net, field in zip(self.values, fields, strict=True)
        ]
        return self.attention(present) @ torch.cat(values, dim=1)

    def attention(self, present: Tensor) -> Tensor:
        """Return the attention (n, S, F * tokens) of each slot; a slot's sums to 1."""
        scores = self.queries @ self.keys.T
        there = present.repeat_interleave(self.tokens, dim=1)[:, None]
        return scores.masked_fill(~there, -torch.inf).softmax(dim=-1)


class PaletteNetwork(QuantizerNetwork):
    """A palette whose slots are clustered after the training, and a linear decoder of them all."""

    def __init__(self, spec: "LAMIA", blocks: Sequence[slice]) -> None:
        palette = ItemPalette(
            [block.stop - block.start for block in blocks],
            slots=spec.slots,
            width=spec.code_dim,
            tokens=-(-spec.slots // len(blocks)),
            hidden=spec.hidden,
        )
        streams = ClusteredStreams(
            [spec.codebook_size],
            spec.code_dim,
            [False] * spec.slots,
            shared=False,
            lookup=Lookup(),
        )
        decoder = perceptron([streams.width, blocks[-1].stop])
        super().__init__(blocks[-1].stop, palette, streams, decoder)
        self.blocks = tuple(blocks)

    def encoded(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the slots (B, S * c)."""
        return self.slots(x, presence(present, len(self.blocks))).flatten(1)

    def slots(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the slots (B, S, c) of vectors (B, d), by who has which field, (B, F) bool."""
        palette = cast(ItemPalette, self.encoder)
        return palette(cut(x, self.blocks, present), present)


class PaletteObjective(Objective):
    """Rebuilding the fields, slots that differ, and slots that bear the loss of a field."""

    def __init__(self, spec: "LAMIA") -> None:
        super().__init__(commitment=0.0, codebook=0.0)
        self.spec = spec

    def forward(self, step: Step, network: QuantizerNetwork) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name."""
        assert isinstance(network, PaletteNetwork)
        blocks, streams = network.blocks, cast(Streams, network.codebooks)
        present = presence(step.present, len(blocks))
        slots, _ = streams.split(step.latents)
        terms = {
            "reconstruction": modal_reconstruction(
                cut(step.rebuilt, blocks), cut(step.x, blocks), present
            ),
            "decorrelation": self.spec.decorrelation * decorrelation(slots),
        }
        if self.spec.contrast and len(blocks) > 1:
            views = [network.slots(step.x, self._dropped(present)).unbind(1) for _ in range(2)]
            alike = [
                info_nce(one, other, self.spec.temperature)
                for one, other in zip(*views, strict=True)
            ]
            terms["contrast"] = self.spec.contrast * torch.stack(alike).mean()
        return terms

    def _dropped(self, present: Tensor) -> Tensor:
        """Leave out some fields of each row, but never all of them."""
        kept = present & (torch.rand_like(present, dtype=torch.float32) >= self.spec.field_dropout)
        return torch.where(kept.any(dim=1, keepdim=True), kept, present)
