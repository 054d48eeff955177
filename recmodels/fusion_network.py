"""The network of `DynamicFusion`, and what it is trained by."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FusionNetwork(nn.Module):
    """Projections, ID queries, gated layers and reconstruction heads.

    Parameters
    ----------
    widths : columns of each of the M modalities.
    items : number of ID queries.
    width : columns of the shared space and of the fused vectors.
    layers, heads : of the transformer.
    temperature : of the softmax over modalities.
    gate_threshold : an item stops at the first layer after the first whose gate is below it.
    """

    def __init__(
        self,
        widths: Sequence[int],
        items: int,
        *,
        width: int,
        layers: int,
        heads: int,
        temperature: float,
        gate_threshold: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.temperature = temperature
        self.gate_threshold = gate_threshold
        self.projections = nn.ModuleList(nn.Linear(columns, width) for columns in widths)
        self.queries = nn.Embedding(items, width)
        self.start = nn.Parameter(torch.randn(width) * width**-0.5)
        self.layers = nn.ModuleList(GatedLayer(width, heads) for _ in range(layers))
        self.out = nn.Linear(width, width)
        self.heads = nn.ModuleList(nn.Linear(width, columns) for columns in widths)
        nn.init.normal_(self.queries.weight, std=0.02)

    def project(self, values: list[Tensor]) -> Tensor:
        """Bring standardised modalities (n, d_m) into the shared space: unit vectors (n, M, w)."""
        shared = [layer(value) for layer, value in zip(self.projections, values, strict=True)]
        return functional.normalize(torch.stack(shared, dim=1), dim=-1)

    def align(self, tokens: Tensor, present: Tensor, queries: Tensor) -> Tensor:
        """Return the weights (n, M): softmax over the modalities of cos(query, modality)."""
        cosines = (tokens * functional.normalize(queries, dim=-1)[:, None]).sum(dim=-1)
        cosines = cosines / self.temperature
        return cosines.masked_fill(~present, -torch.inf).softmax(dim=-1)

    def fuse_soft(self, tokens: Tensor, present: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return fused unit vectors (n, w) and the gates (n, layers), every layer applied."""
        weighted = self._weighted(tokens, self.align(tokens, present, queries))
        hidden, gates = self.start + queries, []
        for layer in self.layers:
            gate, update = layer(hidden, weighted, present)
            hidden = hidden + gate * update
            gates.append(gate)
        return functional.normalize(self.out(hidden), dim=-1), torch.cat(gates, dim=1)

    def fuse_hard(
        self, tokens: Tensor, present: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return fused vectors, depths (n,) and weights (n, M); shut gates stop an item."""
        weights = self.align(tokens, present, queries)
        weighted = self._weighted(tokens, weights)
        hidden = self.start + queries
        going = torch.ones(len(tokens), 1, dtype=torch.bool)
        depth = torch.zeros(len(tokens), dtype=torch.int64)
        for number, layer in enumerate(self.layers):
            gate, update = layer(hidden, weighted, present)
            if number:
                going = going & (gate >= self.gate_threshold)
            hidden = torch.where(going, hidden + gate * update, hidden)
            depth += going[:, 0]
        return functional.normalize(self.out(hidden), dim=-1), depth, weights

    def rebuild(self, fused: Tensor) -> list[Tensor]:
        """Rebuild the standardised modalities, up to their common scale."""
        return [head(fused) for head in self.heads]

    def _weighted(self, tokens: Tensor, weights: Tensor) -> Tensor:
        return tokens * weights[..., None] * self.width**0.5


class GatedLayer(nn.Module):
    """Cross-attention from the item's stream to its modalities, a feed-forward net, and a gate."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.before_net = nn.LayerNorm(width)
        self.net = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        opening = nn.Linear(width, 1)
        self.gate = nn.Sequential(nn.Linear(width, width), nn.GELU(), opening)
        # Gates start open, so that every layer gets a gradient.
        nn.init.constant_(opening.bias, 2.0)

    def forward(self, hidden: Tensor, modalities: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate (n, 1) and what the layer would add (n, w)."""
        query = self.before_attention(hidden)[:, None]
        attended = self.attention(
            query, modalities, modalities, key_padding_mask=~present, need_weights=False
        )[0][:, 0]
        update = attended + self.net(self.before_net(hidden + attended))
        return self.gate(hidden).sigmoid(), update


def near_duplicates(batch: list[Tensor], present: Tensor, threshold: float) -> Tensor:
    """Mark pairs (n, n) of different rows that are nearly the same in what both have.

    Parameters
    ----------
    batch : standardised modalities (n, d_m), zeros where absent.
    present : (n, M) bool.
    threshold : least cosine, over the modalities that both rows have.
    """
    there = present.to(batch[0].dtype)
    products = sum(rows @ rows.T for rows in batch)
    squares = torch.stack([rows.square().sum(dim=1) for rows in batch], dim=1)
    # Squared length of row i over the modalities that row j has: absent ones are zeros in i.
    lengths = squares @ there.T
    cosines = products / (lengths * lengths.T).sqrt().clamp(min=1e-12)
    return (cosines >= threshold).fill_diagonal_(False)


def contrast(
    fused: Tensor, tokens: Tensor, present: Tensor, alike: Tensor, temperature: float
) -> Tensor:
    """Mean of the InfoNCE losses fused-modality and modality-modality, over present pairs."""
    views = [(fused, torch.ones_like(present[:, 0]))]
    views += [(tokens[:, m], present[:, m]) for m in range(tokens.shape[1])]
    losses = [
        info_nce(first, second, first_there & second_there, alike, temperature)
        for (first, first_there), (second, second_there) in combinations(views, 2)
    ]
    return torch.stack(losses).mean()


def info_nce(
    first: Tensor, second: Tensor, there: Tensor, alike: Tensor, temperature: float
) -> Tensor:
    """Symmetric InfoNCE over the rows that are there; near duplicates are no negatives."""
    logits = (first @ second.T / temperature).masked_fill(alike, -torch.inf)
    left_out = ~there & ~torch.eye(len(there), dtype=torch.bool)
    targets = torch.arange(len(there))
    forth = functional.cross_entropy(
        logits.masked_fill(left_out, -torch.inf), targets, reduction="none"
    )
    back = functional.cross_entropy(
        logits.T.masked_fill(left_out, -torch.inf), targets, reduction="none"
    )
    return ((forth + back) * there).sum() / (2 * there.sum().clamp(min=1))


def rebuilding_error(rebuilt: list[Tensor], batch: list[Tensor], present: Tensor) -> Tensor:
    """Mean over modalities of the squared error, relative to their variance of 1."""
    errors = [
        ((made - real).square().sum(dim=1) * present[:, m]).sum() / present[:, m].sum().clamp(min=1)
        for m, (made, real) in enumerate(zip(rebuilt, batch, strict=True))
    ]
    return torch.stack(errors).mean()
