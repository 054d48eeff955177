"""A bidirectional encoder over items that are given by their codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class CodeEncoder(nn.Module):
    """Reads histories of items, some of them masked, and scores the catalogue at the masks.

    A position holds one item: the sum of the embeddings of its codes, one embedding table a
    level. The same tables score: an item's score is the sum of its level logits.

    Parameters
    ----------
    codes : (N, P) codes of the catalogue.
    sizes : number of codes at each of the P positions.
    width : columns of every vector.
    layers, heads : of the transformer.
    dropout : in training.
    positions : most items that a sequence has.
    temperature : divides the level logits, which are cosines.
    """

    def __init__(
        self,
        codes: Tensor,
        sizes: Sequence[int],
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        positions: int,
        temperature: float,
        mode: str = "level",
    ) -> None:
        super().__init__()
        offsets = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("tokens", codes.long() + offsets, persistent=False)
        self.sizes = tuple(sizes)
        self.temperature = temperature
        self.mode = mode
        self.table = nn.Embedding(sum(sizes), width)
        self.mask = nn.Parameter(torch.zeros(width))
        self.position = nn.Embedding(positions, width)
        for weight in (self.table.weight, self.mask, self.position.weight):
            nn.init.normal_(weight, std=0.02 if mode=="dot" else width**-0.5)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            dim_feedforward=4 * width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.transformer = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, width)

    def item_vectors(self) -> Tensor:
        """Return the sum of each item's code embeddings, (N, width)."""
        w = self.table.weight
        if self.mode == "level":
            w = functional.normalize(w, dim=1)
        return functional.embedding_bag(self.tokens, w, mode="sum")

    def forward(self, items: Tensor, masked: Tensor, where: Tensor) -> Tensor:
        table = self.item_vectors()
        T = items.shape[1]
        hidden = torch.where(masked[..., None], self.mask, table[items.clamp(min=0)])
        hidden = hidden + self.position.weight[:T].flip(0)
        padding = (items < 0) & ~masked
        hidden = self.transformer(self.dropout(hidden), src_key_padding_mask=padding)
        h = self.head(hidden.reshape(-1, hidden.shape[-1])[where])
        if self.mode == "dot":
            return h @ table.T
        if self.mode == "item":
            return functional.normalize(h, dim=-1) @ functional.normalize(table, dim=-1).T / self.temperature
        return functional.normalize(h, dim=-1) @ table.T / self.temperature
