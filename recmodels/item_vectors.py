"""Item vectors: what an encoder reads of an item and scores it by, a sum of parts."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def shared(vectors: Tensor, slots: int) -> Tensor:
    """Share vectors (n, width) out among slots, (n, slots * width); each gets an equal part.

    Examples
    --------
    >>> shared(torch.tensor([[2.0, 6.0]]), 2)
    tensor([[1., 3., 1., 3.]])
    """
    return vectors if slots == 1 else (vectors / slots).repeat(1, slots)


class CodeVectors(nn.Module):
    """The embeddings of an item's codes, one embedding table a level, summed in each slot.

    Parameters
    ----------
    codes : (N, P) int, unique codes of the catalogue.
    sizes : number of codes at each of the P positions.
    width : columns of a slot.
    slots : runs of equal length that the P positions are cut into, each pooled into a vector of
        its own: 1 pools all codes, P keeps every code by itself.

    References
    ----------
    Pooling an item's codes into one vector is RPG's way (KDD 2025).
    """

    tokens: Tensor

    def __init__(self, codes: Tensor, sizes: Sequence[int], width: int, slots: int = 1) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.slots = slots
        self.register_buffer("tokens", torch.empty(0), persistent=False)
        self.set_codes(codes)
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.table.weight, std=width**-0.5)

    def set_codes(self, codes: Tensor) -> None:
        """Take another catalogue (N, P) of the same code space; what was learnt stays."""
        offsets = torch.tensor((0, *self.sizes[:-1])).cumsum(0)
        self.tokens = codes.long() + offsets

    @property
    def slot_of_level(self) -> tuple[int, ...]:
        """The slot of each of the P positions."""
        levels = len(self.sizes)
        return tuple(level * self.slots // levels for level in range(levels))

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors (n, slots * width) of some rows (n,), or of all."""
        tokens = self.tokens if rows is None else self.tokens[rows]
        bags = tokens.reshape(-1, len(self.sizes) // self.slots)
        pooled = functional.embedding_bag(bags, self.table.weight, mode="sum")
        return pooled.view(len(tokens), -1)

    def by_level(self, rows: Tensor | None = None) -> Tensor:
        """Return what each code adds to the vector, (n, P, slots * width): zero but in its slot."""
        embedded = self.table(self.tokens if rows is None else self.tokens[rows])
        slots = torch.tensor(self.slot_of_level, device=embedded.device)
        inside = functional.one_hot(slots, self.slots).to(embedded.dtype)
        return (embedded[:, :, None] * inside[..., None]).flatten(2)


class OwnVectors(nn.Module):
    """A free vector of each item that training histories hold, and zero for every other.

    Beside codes it is what quantization lost, as far as interactions tell it. An item that
    nobody has had yet has none: a vector that is only ever pushed away would say "never".

    Parameters
    ----------
    known : (N,) bool, which items training histories hold.
    width : columns of every vector.
    dropout : share of the items whose vector is taken as zero in a step, as a new item's is.
    start : (N, width), the vectors before training; None for random ones.
    """

    known: Tensor

    def __init__(
        self, known: Tensor, width: int, dropout: float = 0.0, start: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("known", known[:, None].float(), persistent=False)
        self.dropout = dropout
        self.table = nn.Embedding(len(known), width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        if start is not None:
            self.table.weight.data.copy_(start)

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

    Codes stand in the slots of their levels, every other part is shared out among all slots. So
    the slots of an item sum to the vector that it has in one slot, however many there are.

    Parameters
    ----------
    parts : by name; at least one.
    slots : vectors an item, side by side; as many as its codes' part has.
    """

    def __init__(self, parts: Mapping[str, nn.Module], slots: int = 1) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.slots = slots

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """Return the vectors (n, slots * width) of some rows (n,), or of all."""
        return torch.stack(
            [
                part(rows) if isinstance(part, CodeVectors) else shared(part(rows), self.slots)
                for part in self.parts.values()
            ]
        ).sum(dim=0)

    @property
    def codes(self) -> CodeVectors | None:
        """The part of the codes, or None."""
        part = dict(self.parts.items()).get("codes")
        return part if isinstance(part, CodeVectors) else None

    def tokens(self) -> Tensor | None:
        """Return the tokens of all rows' codes, (N, P) int64; None without codes."""
        return None if self.codes is None else self.codes.tokens
