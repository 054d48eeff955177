"""A palette: learned queries each take one aspect from the fields of an item."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ItemPalette(nn.Module):
    """Learned queries attend over the tokens of an item's fields; each gives one slot.

    After LAMIA, arXiv 2409.07276, whose palette comes from a language model. Here a field is a
    vector, projected to one token or to several. All queries read the same values and differ
    in what they attend to alone: two slots that attend to one token say the same, which a
    decorrelating objective punishes, so that it shares the tokens out.

    Parameters
    ----------
    widths : columns of each of the F fields.
    slots : number of queries S.
    width : columns of tokens and slots.
    tokens : tokens a field is projected to. One field with one token gives S equal slots, so
        there should be at least S tokens in all.

    Examples
    --------
    >>> palette = ItemPalette([5, 3], slots=4, width=8, tokens=2)
    >>> there = torch.tensor([[True, True], [True, False]])
    >>> slots = palette([torch.ones(2, 5), torch.ones(2, 3)], there)
    >>> slots.shape, palette.rebuild(slots)[0].shape
    (torch.Size([2, 4, 8]), torch.Size([2, 5]))
    """

    def __init__(self, widths: Sequence[int], *, slots: int, width: int, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.width = width
        self.values = nn.ModuleList(nn.Linear(d, tokens * width) for d in widths)
        self.keys = nn.Parameter(torch.randn(len(widths) * tokens, width))
        self.queries = nn.Parameter(torch.randn(slots, width))
        self.heads = nn.ModuleList(nn.Linear(slots * width, d) for d in widths)

    def forward(self, fields: Sequence[Tensor], present: Tensor) -> Tensor:
        """Return the slots (n, S, width).

        Parameters
        ----------
        fields : F tensors (n, d_f).
        present : (n, F) bool; a row must have a field. Absent ones are not attended to.
        """
        values = torch.cat(
            [
                project(field).unflatten(1, (self.tokens, self.width))
                for project, field in zip(self.values, fields, strict=True)
            ],
            dim=1,
        )
        return self.attention(present) @ values

    def attention(self, present: Tensor) -> Tensor:
        """Return the attention (n, S, F * tokens) of each slot; a slot's sums to 1."""
        scores = self.queries @ self.keys.T / self.width**0.5
        there = present.repeat_interleave(self.tokens, dim=1)[:, None]
        return scores.masked_fill(~there, -torch.inf).softmax(dim=-1)

    def rebuild(self, slots: Tensor) -> list[Tensor]:
        """Rebuild each field (n, d_f) from all slots (n, S, width)."""
        return [head(slots.flatten(1)) for head in self.heads]
