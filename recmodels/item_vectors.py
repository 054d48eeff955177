"""Item vectors: what an encoder reads of an item and scores it by, a sum of parts."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class CodeVectors(nn.Module):
    """The sum of the embeddings of an item's codes, one embedding table a level.

    Parameters
    ----------
    codes : (N, P) int, unique codes of the catalogue.
    sizes : number of codes at each of the P positions.
    width : columns of every vector.

    References
    ----------
    Pooling an item's codes into one vector is RPG's way (KDD 2025).
    """

    tokens: Tensor

    def __init__(self, codes: Tensor, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.register_buffer("tokens", torch.empty(0), persistent=False)
        self.set_codes(codes)
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.table.weight, std=width**-0.5)

    def set_codes(self, codes: Tensor) -> None:
        """Take another catalogue (N, P) of the same code space; what was learnt stays."""
        offsets = torch.tensor((0, *self.sizes[:-1])).cumsum(0)
        self.tokens = codes.long() + offsets

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors (n, width) of some rows (n,), or of all."""
        tokens = self.tokens if rows is None else self.tokens[rows]
        return functional.embedding_bag(tokens, self.table.weight, mode="sum")

    def by_level(self, rows: Tensor | None = None) -> Tensor:
        """Return the embedding of each of the codes, (n, P, width)."""
        return self.table(self.tokens if rows is None else self.tokens[rows])


class OwnVectors(nn.Module):
    """A free vector of each item that training histories hold, and zero for every other.

    Beside codes it is what quantization lost, as far as interactions tell it. An item that
    nobody has had yet has none: a vector that is only ever pushed away would say "never".

    Parameters
    ----------
    known : (N,) bool, which items training histories hold.
    width : columns of every vector.
    dropout : share of the items whose vector is taken as zero in a step, as a new item's is.
    """

    known: Tensor

    def __init__(self, known: Tensor, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("known", known[:, None].float(), persistent=False)
        self.dropout = dropout
        self.table = nn.Embedding(len(known), width)
        nn.init.normal_(self.table.weight, std=width**-0.5)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors (n, width) of some rows (n,), or of all."""
        if rows is None:
            vectors = self.table.weight * self.known
        else:
            vectors = self.table(rows) * self.known[rows]
        if self.training and self.dropout:
            vectors = vectors * (torch.rand_like(vectors[:, :1]) >= self.dropout)
        return vectors


class FeatureVectors(nn.Module):
    """A linear projection of what is given of each item.

    Parameters
    ----------
    latents : (N, d) float32, of a mean squared length of about 1.
    width : columns of every vector.
    """

    latents: Tensor

    def __init__(self, latents: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("latents", latents, persistent=False)
        self.projection = nn.Linear(latents.shape[1], width, bias=False)
        nn.init.normal_(self.projection.weight, std=width**-0.5)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors (n, width) of some rows (n,), or of all."""
        return self.projection(self.latents if rows is None else self.latents[rows])


class ItemVectors(nn.Module):
    """The sum of the parts that are known of an item.

    Parameters
    ----------
    parts : by name; at least one.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors (n, width) of some rows (n,), or of all."""
        return torch.stack([part(rows) for part in self.parts.values()]).sum(dim=0)
