"""The transformer that reads a history of item vectors."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Layer(nn.TransformerEncoderLayer):
    """A pre-norm layer that can leave out the positions that nobody reads."""

    def at(self, stream: Tensor, there: Tensor, named: Tensor) -> Tensor:
        """Return what `forward` has at the positions `named` (B, n), as (B, n, width)."""
        rows = torch.arange(len(named), device=named.device)[:, None]
        seen = self.norm1(stream)
        attended, _ = self.self_attn(
            seen[rows, named], seen, seen, key_padding_mask=~there, need_weights=False
        )
        found = stream[rows, named] + self.dropout1(attended)
        inner = functional.gelu(self.linear1(self.norm2(found)))
        return found + self.dropout2(self.linear2(inner))


class SequenceEncoder(nn.Module):
    """A transformer over item vectors, of one or more slots an item.

    Places count from the end, so that the latest item has the same one in every history; all
    slots of an item share its place. Which slot it is tell the vectors that stand there: each
    level has a table of codes of its own, and each slot a mask vector of its own. A level
    embedding beside them would be one more summand that the table of its level can hold.

    Parameters
    ----------
    width : columns of a slot.
    layers, heads : of the transformer.
    dropout : in training.
    positions : most items of a sequence.
    causal : whether an item sees only itself and those before it; if not, all see all.
    inputs : slots in which an item is read; the slots of its vector are summed into so many.
    outputs : slots in which a masked item is named, which is as many as item vectors have; a
        multiple of `inputs`. They see the history and one another, and hold nothing of any item.

    Raises
    ------
    ValueError
        if `inputs` does not divide `outputs`, or there are several and it is causal.

    References
    ----------
    Without `causal` it is BERT4Rec's encoder (arXiv 1904.06690), with it SASRec's
    (arXiv 1808.09781). Output slots that are no input slots are the hidden transfer of
    arXiv 2404.12022 in its simplest form: the paper projects the queries from a hidden state of
    a middle layer, here they are learnt vectors that pass through every layer.
    """

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        positions: int,
        causal: bool = False,
        inputs: int = 1,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        if outputs % inputs:
            raise ValueError(f"inputs={inputs} does not divide outputs={outputs}")
        if causal and outputs > 1:
            raise ValueError(f"outputs={outputs}: a causal encoder has one slot an item")
        self.causal = causal
        self.heads = heads
        self.inputs = inputs
        self.outputs = outputs
        # One vector after another: as a matrix it would be subject to weight decay.
        self.mask = nn.Parameter(torch.empty(outputs * width))
        self.position = nn.Embedding(positions, width)
        for weight in (self.mask, self.position.weight):
            nn.init.normal_(weight, std=width**-0.5)
        layer = _Layer(
            width,
            heads,
            dim_feedforward=4 * width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        # Dropout stays where a branch joins the stream. Inside attention and between the two
        # feed-forward matrices its random numbers took a quarter of a step on a CPU.
        layer.self_attn.dropout = 0.0
        layer.dropout.p = 0.0
        self.norm = nn.LayerNorm(width)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, width)

    def masked(self, given: Tensor, items: Tensor, masked: Tensor) -> Tensor:
        """Read sequences and return a vector for each masked item.

        Parameters
        ----------
        given : (B, T, outputs * width) item vectors; what stands where nothing or a mask is, is
            not read.
        items : (B, T) int64, right-aligned; negative before a history.
        masked : (B, T) bool, True where an item is hidden.

        Returns
        -------
        hidden : (M, outputs * width), in the row-major order of the M masked items.
        """
        length = items.shape[1]
        places = self._places(length)[:, None]
        masks = self.mask.view(self.outputs, -1)
        slots = self._input_slots(given)
        stream = torch.where(masked[..., None, None], masks[: self.inputs], slots) + places
        stream = stream.flatten(1, 2)
        there = ((items >= 0) | masked).repeat_interleave(self.inputs, dim=1)
        # Each row has room for as many masked items as the row that has the most.
        most = max(1, int(masked.sum(dim=1).max()))
        at = masked.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        wanted = masked.gather(1, at)
        named = at[..., None] * self.inputs + torch.arange(self.inputs, device=at.device)
        if more := self.outputs - self.inputs:
            # The transformer knows order from the places alone: further slots may go to the end.
            further = (masks[self.inputs :] + places[at]).flatten(1, 2)
            behind = stream.shape[1] + torch.arange(most * more, device=at.device)
            named = torch.cat([named, behind.view(most, more).expand(len(at), -1, -1)], dim=2)
            stream = torch.cat([stream, further], dim=1)
            there = torch.cat([there, wanted.repeat_interleave(more, dim=1)], dim=1)
        found = self._all_see_all(stream, there, named.flatten(1)).unflatten(1, (most, -1))
        return self.head(found[wanted]).flatten(1)

    def last(self, given: Tensor, items: Tensor) -> Tensor:
        """Read sequences and return the vector (B, T, width) after each position."""
        length = items.shape[1]
        stream, there = self.dropout(given + self._places(length)), items >= 0
        # A position before the history sees itself: a softmax over nothing is not a number.
        itself = torch.eye(length, dtype=torch.bool, device=stream.device)
        seen = (there[:, None] & torch.ones_like(itself).tril()) | itself
        blind = ~seen.repeat_interleave(self.heads, dim=0)
        return self.head(self.norm(self.transformer(stream, mask=blind)))

    def _places(self, length: int) -> Tensor:
        return self.position.weight[:length].flip(0)

    def _input_slots(self, given: Tensor) -> Tensor:
        """Return item vectors as they are read, (B, T, inputs, width)."""
        slots = given.unflatten(-1, (self.outputs, -1))
        if self.inputs == self.outputs:
            return slots
        return slots.unflatten(-2, (self.inputs, -1)).sum(dim=-2)

    def _all_see_all(self, stream: Tensor, there: Tensor, named: Tensor) -> Tensor:
        """Read a stream (B, S, width) and return what stands at `named`, (B, n, width)."""
        stream = self.dropout(stream)
        *others, last = self.transformer.layers
        for layer in others:
            stream = layer(stream, src_key_padding_mask=~there)
        return self.norm(cast(_Layer, last).at(stream, there, named))
