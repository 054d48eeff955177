"""The transformer that reads a history of item vectors."""

import torch
from torch import Tensor, nn


class SequenceEncoder(nn.Module):
    """A transformer over item vectors, one position an item.

    Positions count from the end, so that the latest item has the same one in every history.

    Parameters
    ----------
    width : columns of every vector.
    layers, heads : of the transformer.
    dropout : in training.
    positions : most items of a sequence.
    causal : whether an item sees only itself and those before it; if not, all see all.

    References
    ----------
    Without `causal` it is BERT4Rec's encoder (arXiv 1904.06690), with it SASRec's
    (arXiv 1808.09781).
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
    ) -> None:
        super().__init__()
        self.causal = causal
        self.heads = heads
        self.mask = nn.Parameter(torch.empty(width))
        self.position = nn.Embedding(positions, width)
        for weight in (self.mask, self.position.weight):
            nn.init.normal_(weight, std=width**-0.5)
        layer = nn.TransformerEncoderLayer(
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
        self.transformer = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, width)

    def masked(self, given: Tensor, items: Tensor, masked: Tensor) -> Tensor:
        """Read sequences and return a vector at each masked position.

        Parameters
        ----------
        given : (B, T, width) item vectors; what stands where nothing or a mask is, is not read.
        items : (B, T) int64, right-aligned; negative before a history.
        masked : (B, T) bool, True where an item is hidden.

        Returns
        -------
        hidden : (M, width), in the row-major order of the M masked positions.
        """
        stream = torch.where(masked[..., None], self.mask, given)
        return self.head(self._read(stream, (items >= 0) | masked)[masked])

    def last(self, given: Tensor, items: Tensor) -> Tensor:
        """Read sequences and return the vector (B, T, width) after each position."""
        return self.head(self._read(given, items >= 0))

    def _read(self, stream: Tensor, there: Tensor) -> Tensor:
        length = stream.shape[1]
        stream = self.dropout(stream + self.position.weight[:length].flip(0))
        if not self.causal:
            return self.transformer(stream, src_key_padding_mask=~there)
        # A position before the history sees itself: a softmax over nothing is not a number.
        itself = torch.eye(length, dtype=torch.bool, device=stream.device)
        seen = (there[:, None] & torch.ones_like(itself).tril()) | itself
        return self.transformer(stream, mask=~seen.repeat_interleave(self.heads, dim=0))
