"""A bidirectional encoder over items that are given by their codes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recmodels.data import Histories
from recmodels.data.batches import bucket_width


class CodeEncoder(nn.Module):
    """Reads histories of items, some of them masked, and scores the catalogue at the masks.

    A position holds one item: the sum of the embeddings of its codes, one embedding table a
    level. The tables also score: the level logits of a hidden vector are its products with the
    level's embeddings, and an item's score is the sum of its level logits, which is the product
    with the item's own vector. With `cosine` both vectors are brought to length 1 first and the
    product is divided by the temperature: the sum is taken relative to the item's length.

    Positions count from the end, so that the latest item has the same one in every history.

    Parameters
    ----------
    codes : (N, P) int, unique codes of the catalogue.
    sizes : number of codes at each of the P positions.
    width : columns of every vector.
    layers, heads : of the transformer.
    dropout : in training.
    positions : most items of a sequence.
    cosine : whether scores are cosines.
    temperature : divides the cosines.

    References
    ----------
    The encoder is BERT4Rec's (arXiv 1904.06690) over codes, as stage 3 of Q-BERT4Rec
    (arXiv 2512.02474) has it; pooling an item's codes into one position is RPG's.
    """

    tokens: Tensor

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
        cosine: bool,
        temperature: float,
    ) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.register_buffer("tokens", torch.empty(0), persistent=False)
        self.set_codes(codes)
        self.cosine = cosine
        self.temperature = temperature
        self.table = nn.Embedding(sum(sizes), width)
        self.mask = nn.Parameter(torch.empty(width))
        self.position = nn.Embedding(positions, width)
        for weight in (self.table.weight, self.mask, self.position.weight):
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

    def set_codes(self, codes: Tensor) -> None:
        """Take another catalogue (N, P) of the same code space; what was learnt stays."""
        offsets = torch.tensor((0, *self.sizes[:-1])).cumsum(0)
        self.tokens = codes.long() + offsets

    def item_vectors(self) -> Tensor:
        """Return the sum of each item's code embeddings, (N, width)."""
        return functional.embedding_bag(self.tokens, self.table.weight, mode="sum")

    def hidden(self, items: Tensor, masked: Tensor, vectors: Tensor) -> Tensor:
        """Read sequences and return a vector at each masked position.

        Parameters
        ----------
        items : (B, T) int64 rows of the catalogue, right-aligned; negative before a history.
        masked : (B, T) bool, True where an item is hidden.
        vectors : (N, width), what `item_vectors` returned.

        Returns
        -------
        hidden : (M, width), in the row-major order of the M masked positions.
        """
        stream = torch.where(masked[..., None], self.mask, vectors[items.clamp(min=0)])
        stream = stream + self.position.weight[: items.shape[1]].flip(0)
        nothing = (items < 0) & ~masked
        stream = self.transformer(self.dropout(stream), src_key_padding_mask=nothing)
        return self.head(stream[masked])

    def scores(self, hidden: Tensor, vectors: Tensor) -> Tensor:
        """Score the whole catalogue for hidden vectors (M, width): (M, N) float32."""
        if self.cosine:
            hidden = functional.normalize(hidden, dim=-1) / self.temperature
            vectors = functional.normalize(vectors, dim=-1)
        return hidden @ vectors.T

    def forward(self, items: Tensor, masked: Tensor) -> Tensor:
        """Score the whole catalogue at each masked position, (M, N)."""
        vectors = self.item_vectors()
        return self.scores(self.hidden(items, masked, vectors), vectors)


class EncoderScorer:
    """Scores what comes after a history: an encoder with one masked item at the end.

    Parameters
    ----------
    encoder : in evaluation mode.
    max_history : items of a history that are read, the latest ones.
    """

    def __init__(self, encoder: CodeEncoder, max_history: int) -> None:
        self.encoder = encoder
        self.max_history = max_history

    @property
    def size(self) -> int:
        """Number of items that are scored."""
        return len(self.encoder.tokens)

    def scores(self, histories: Histories) -> np.ndarray:
        """Score the whole catalogue for each of n histories of rows, (n, N) float32.

        Histories of similar length are read together, so that short ones are not padded to the
        longest; how wide a history is padded depends on itself alone.
        """
        most = self.max_history + 1
        width_of = np.array([bucket_width(length + 1, most) for length in range(most)])
        widths = width_of[np.minimum(histories.lengths, self.max_history)]
        scores = np.empty((len(histories), self.size), dtype=np.float32)
        for width in np.unique(widths):
            rows = np.flatnonzero(widths == width)
            scores[rows] = self._scores(histories.take(rows), int(width))
        return scores

    def _scores(self, histories: Histories, width: int) -> np.ndarray:
        items = np.full((len(histories), width), -1, dtype=np.int64)
        items[:, :-1] = histories.padded(width - 1)
        masked = np.zeros(items.shape, dtype=bool)
        masked[:, -1] = True
        with torch.inference_mode():
            return self.encoder(torch.from_numpy(items), torch.from_numpy(masked)).numpy()
