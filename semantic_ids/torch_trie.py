"""A prefix trie on a torch device, for generation loops; `CodeTrie` makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: What no node has as its key.
UNKNOWN_KEY = -2


@dataclass(frozen=True, eq=False, repr=False)
class TorchTrie:
    """A `CodeTrie` on one torch device, made by `CodeTrie.on`, for a generation loop.

    Nothing here waits for the device, so what only the device knows is not checked: a code that
    is out of range, or a node that is not of the level, counts as unknown.

    Parameters
    ----------
    sizes, starts, widest, keys, children, rows : as those of `CodeTrie`.

    Examples
    --------
    >>> import torch
    >>> from semantic_ids import CodeTrie
    >>> trie = CodeTrie.of([[0, 1], [2, 0], [0, 3]], sizes=[3, 4]).on("cpu")
    >>> nodes = trie.root(2)
    >>> for level in range(2):
    ...     logits = torch.zeros(2, trie.sizes[level])  # a model's
    ...     logits = logits.masked_fill(~trie.mask(nodes, level), -torch.inf)
    ...     nodes = trie.step(nodes, logits.argmax(dim=-1))
    >>> trie.rows_at(nodes)
    tensor([0, 0])
    """

    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    widest: tuple[int, ...]
    keys: "torch.Tensor"
    children: "torch.Tensor"
    rows: "torch.Tensor"

    def root(self, batch: int) -> "torch.Tensor":
        """Return the node of the empty prefix `batch` times, (batch,) int64."""
        return self.keys.new_zeros(batch)

    def step(self, nodes: "torch.Tensor", codes: "torch.Tensor") -> "torch.Tensor":
        """Go from each node to its child of the given code, -1 where there is none.

        Parameters
        ----------
        nodes : int64, of any shape; -1 for an unknown prefix.
        codes : int, of a shape that broadcasts with that of `nodes`.

        Returns
        -------
        int64 of the common shape
        """
        import torch

        width = max(self.sizes)
        known = (nodes >= 0) & (codes >= 0) & (codes < width)
        wanted = torch.where(known, nodes * width + codes, UNKNOWN_KEY)
        # Of transposed nodes come transposed keys, about whose copy torch would warn.
        found = torch.searchsorted(self.keys, wanted.contiguous())
        return torch.where(self.keys[found] == wanted, found, -1)

    def mask(self, nodes: "torch.Tensor", level: int) -> "torch.Tensor":
        """Return which codes lead on from each node, (..., sizes[level]) bool.

        Parameters
        ----------
        nodes : int64, of any shape: nodes of that level; -1 for an unknown prefix, all False.
        level : codes in the prefixes that the nodes stand for, 0 <= level < P.
        """
        import torch

        check_level(level, self.sizes)
        known = ((nodes >= self.starts[level]) & (nodes < self.starts[level + 1])).unsqueeze(-1)
        parent = torch.where(known, nodes.unsqueeze(-1), 0)
        # As many columns for every node, for a ragged list would have to wait for its length;
        # nodes with fewer children repeat their last one.
        child = self.children[parent] + torch.arange(self.widest[level], device=nodes.device)
        child = torch.minimum(child, self.children[parent + 1] - 1)
        codes = torch.where(known, self.keys[child] - parent * max(self.sizes), 0)
        mask = known.new_zeros((*nodes.shape, self.sizes[level]))
        return mask.scatter_(-1, codes, known.expand_as(codes))

    def rows_at(self, nodes: "torch.Tensor") -> "torch.Tensor":
        """Return the catalogue row of each node that stands for a whole code, others -1."""
        import torch

        leaf = nodes - self.starts[-2]
        return self.rows[torch.where(leaf >= 0, leaf, -1)]


def check_level(level: int, sizes: Sequence[int]) -> None:
    """Refuse a level that codes of these sizes do not have, or after which nothing comes."""
    if not 0 <= level < len(sizes):
        raise ValueError(f"level={level} should be between 0 and {len(sizes) - 1}")
