"""The network of `DynamicFusion`: alignment under a query, gated layers, reconstruction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class FusionNetwork(nn.Module):
    """Projections, ID queries, gated layers and reconstruction heads.

    Parameters
    ----------
    shapes : of each of the M modalities, tokens an item and columns a token (T_m, c_m).
    items : number of ID queries.
    width : columns w of the shared space and of the fused vectors.
    layers, heads : of the transformer.
    adaptive : whether gates say how far an item goes; if not, each goes through all layers.
    temperature : of the softmax over tokens, and over modalities.
    gate_threshold : an item stops at the first layer after the first whose gate is below it.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        items: int,
        *,
        width: int,
        layers: int,
        heads: int,
        adaptive: bool,
        temperature: float,
        gate_threshold: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.temperature = temperature
        self.gate_threshold = gate_threshold
        # No bias: columns have mean 0, and beside a first bias the items would all look alike.
        self.projections = nn.ModuleList(
            nn.Linear(columns, width, bias=False) for _, columns in shapes
        )
        self.common = nn.Parameter(torch.randn(width) * width**-0.5)
        self.own = nn.Embedding(items, width)
        self.layers = nn.ModuleList(FusionLayer(width, heads) for _ in range(layers))
        self.gates = nn.ModuleList(_gate(width) for _ in range(layers if adaptive else 0))
        self.out = nn.Linear(width, width)
        self.heads = nn.ModuleList(nn.Linear(width, tokens * columns) for tokens, columns in shapes)
        nn.init.normal_(self.own.weight, std=0.02)

    def align(self, values: list[Tensor], there: list[Tensor], queries: Tensor) -> Tensor:
        """Bring each modality into the shared space, as one vector an item (n, M, w).

        Tokens become unit vectors; a modality is their sum, weighted by a softmax of their cosines
        with the item's query (n, w). With one token it is that token.

        Parameters
        ----------
        values : standardised tokens (n, T_m, c_m).
        there : (n, T_m) bool, which are no padding.
        """
        direction, aligned = functional.normalize(queries, dim=-1)[:, None], []
        for projection, value, real in zip(self.projections, values, there, strict=True):
            tokens = functional.normalize(projection(value), dim=-1)
            cosines = (tokens * direction).sum(dim=-1) / self.temperature
            # A large number, not infinity: an item without any token must not become NaN.
            weights = cosines.masked_fill(~real, -1e9).softmax(dim=-1)
            aligned.append((tokens * weights[..., None]).sum(dim=1))
        return torch.stack(aligned, dim=1)

    def weigh(self, aligned: Tensor, present: Tensor, queries: Tensor) -> Tensor:
        """Return the weights (n, M): softmax over the modalities of cos(query, modality)."""
        cosines = functional.cosine_similarity(aligned, queries[:, None], dim=-1)
        return (cosines / self.temperature).masked_fill(~present, -torch.inf).softmax(dim=-1)

    def fuse_soft(self, aligned: Tensor, present: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return fused unit vectors (n, w) and the gates (n, layers), every layer applied."""
        keys = self._keys(aligned, self.weigh(aligned, present, queries))
        hidden, gates = queries, []
        for number, layer in enumerate(self.layers):
            gates.append(self._gate(number, hidden))
            hidden = hidden + gates[-1] * layer(hidden, keys, present)
        return functional.normalize(self.out(hidden), dim=-1), torch.cat(gates, dim=1)

    def fuse_hard(
        self, aligned: Tensor, present: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return fused vectors, depths (n,) and weights (n, M); shut gates stop an item."""
        weights = self.weigh(aligned, present, queries)
        keys = self._keys(aligned, weights)
        hidden = queries
        going = torch.ones(len(aligned), 1, dtype=torch.bool)
        depth = torch.zeros(len(aligned), dtype=torch.int64)
        for number, layer in enumerate(self.layers):
            gate = self._gate(number, hidden)
            if number:
                going = going & (gate >= self.gate_threshold)
            hidden = torch.where(going, hidden + gate * layer(hidden, keys, present), hidden)
            depth += going[:, 0]
        return functional.normalize(self.out(hidden), dim=-1), depth, weights

    def rebuild(self, fused: Tensor) -> list[Tensor]:
        """Rebuild the standardised tokens of each modality, side by side (n, T_m * c_m)."""
        return [head(fused) for head in self.heads]

    def _keys(self, aligned: Tensor, weights: Tensor) -> Tensor:
        return aligned * weights[..., None] * self.width**0.5

    def _gate(self, number: int, hidden: Tensor) -> Tensor:
        if not len(self.gates):
            return torch.ones(len(hidden), 1)
        return self.gates[number](hidden).sigmoid()


class FusionLayer(nn.Module):
    """What one layer would change: cross-attention to the modalities, and a feed-forward net."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.before_net = nn.LayerNorm(width)
        self.net = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, hidden: Tensor, modalities: Tensor, present: Tensor) -> Tensor:
        """Return Block(h) - h (n, w) of streams h (n, w) and modalities (n, M, w)."""
        query = self.before_attention(hidden)[:, None]
        attended = self.attention(
            query, modalities, modalities, key_padding_mask=~present, need_weights=False
        )[0][:, 0]
        return attended + self.net(self.before_net(hidden + attended))


def _gate(width: int) -> nn.Module:
    opening = nn.Linear(width, 1)
    # Gates start open, so that every layer gets a gradient.
    nn.init.constant_(opening.bias, 2.0)
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), opening)
