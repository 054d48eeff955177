"""Prefix trie over unique codes: what may come next, and which items lie under a prefix.

Nodes are the distinct prefixes of the codes, numbered level by level in code order. A node of
level l stands for a prefix of l codes: the root, node 0, for the empty one, and the nodes of level
P for whole codes, one an item. In this order the children of a node are consecutive, so the first
child of each node and one sorted key a node, made of its parent and its code, hold the whole trie.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from semantic_ids.codes import check_codes, code_keys
from semantic_ids.torch_trie import UNKNOWN_KEY, TorchTrie, check_level

if TYPE_CHECKING:
    import torch

_ROOT_KEY, _LAST_KEY = -1, np.iinfo(np.int64).max


class Allowed(NamedTuple):
    """The codes that may come next, a ragged list for each of B prefixes.

    Attributes
    ----------
    indices : (total,) int32, the codes of one prefix after those of another, each ascending.
    offsets : (B + 1,) int64; the codes of prefix b are `indices[offsets[b]:offsets[b + 1]]`.
    """

    indices: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class CodeTrie:
    """Compact prefix trie over unique codes, made by `CodeTrie.of`; it never changes.

    Parameters
    ----------
    sizes : number of codes at each of the P positions.
    starts : (P + 2,) the first node of each level 0 to P, then the number of nodes.
    widest : (P,) the most children that a node of each level 0 to P - 1 has.
    keys : (nodes + 1,) int64, ascending: parent * max(sizes) + code of each node, and an end.
    children : (nodes above level P, + 1) int64, the first child of each node, and an end.
    rows : (N + 1,) int64, the catalogue row of each code in code order, and -1.

    Notes
    -----
    `allowed`, `allowed_mask` and `torch_mask` search whole prefixes. A generation loop keeps the
    nodes it has reached instead: `root`, then `mask` and `step` at each level, and at last
    `rows_at`; `on` offers the same four for torch. Each level costs a binary search a node.

    Examples
    --------
    >>> trie = CodeTrie.of([[0, 1], [2, 0], [0, 3]], sizes=[3, 4])
    >>> trie
    CodeTrie(3 items, codes of 2 positions [3, 4])
    >>> trie.allowed_mask([[0], [1]]).astype(int)
    array([[0, 1, 0, 1],
           [0, 0, 0, 0]])
    >>> trie.rows_under([0])
    array([0, 2])
    """

    sizes: tuple[int, ...]
    starts: tuple[int, ...]
    widest: tuple[int, ...]
    keys: np.ndarray
    children: np.ndarray
    rows: np.ndarray
    _on: "dict[torch.device, TorchTrie]" = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for array in (self.keys, self.children, self.rows):
            array.flags.writeable = False

    @classmethod
    def of(cls, codes: ArrayLike, sizes: Sequence[int]) -> "CodeTrie":
        """Build the trie of a catalogue.

        Parameters
        ----------
        codes : (N, P) int, a unique code for each row of the catalogue.
        sizes : number of codes at each of the P positions.

        Raises
        ------
        ValueError
            if a code is not valid for `sizes`, or two rows have one code.

        Notes
        -----
        `O(N log N)`, one sort; then a few passes over the codes for each position.
        """
        sizes = tuple(int(size) for size in sizes)
        if not sizes or min(sizes) < 1 or max(sizes) > 2**31:
            raise ValueError(
                f"sizes: expected 1 to 2**31 codes at each of one or more positions, "
                f"got {list(sizes)}"
            )
        codes = check_codes(codes, sizes)
        sort_keys = code_keys(codes, sizes)
        rows = np.argsort(sort_keys, kind="stable")
        _check_unique(sort_keys[rows], rows)
        starts, keys, children = _nodes(codes[rows], sizes)
        degrees = np.diff(children)
        levels = itertools.pairwise(starts[:-1])
        widest = tuple(int(degrees[first:end].max(initial=0)) for first, end in levels)
        return cls(sizes, starts, widest, keys, children, np.append(rows, -1))

    def __len__(self) -> int:
        """Number of items N."""
        return len(self.rows) - 1

    def __repr__(self) -> str:
        return (
            f"CodeTrie({len(self):,} items, codes of {len(self.sizes)} positions "
            f"{list(self.sizes)})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take, without copies on torch devices."""
        return self.keys.nbytes + self.children.nbytes + self.rows.nbytes

    def allowed(self, prefixes: ArrayLike) -> Allowed:
        """Return the codes that may follow each prefix; none follow an unknown one.

        Parameters
        ----------
        prefixes : (B, l) int with 0 <= l < P; of shape (B, 0) for the codes that may come first.

        Raises
        ------
        ValueError
            if the shape is another one, or a code is out of range.

        Examples
        --------
        >>> trie = CodeTrie.of([[0, 1], [2, 0], [0, 3]], sizes=[3, 4])
        >>> trie.allowed([[0], [1], [2]])
        Allowed(indices=array([1, 3, 0], dtype=int32), offsets=array([0, 2, 2, 3]))
        """
        return self._next(self._walk(self._check(prefixes)))

    def allowed_mask(self, prefixes: ArrayLike) -> np.ndarray:
        """Return which codes may follow each prefix, (B, sizes[l]) bool.

        Parameters
        ----------
        prefixes : (B, l) int with 0 <= l < P.

        Raises
        ------
        ValueError
            if the shape is another one, or a code is out of range.
        """
        prefixes = self._check(prefixes)
        return self._mask(self._walk(prefixes), prefixes.shape[1])

    def torch_mask(self, prefixes: "torch.Tensor") -> "torch.Tensor":
        """Return `allowed_mask` for a tensor, on its device.

        Parameters
        ----------
        prefixes : (B, l) int tensor with 0 <= l < P.

        Raises
        ------
        ValueError
            if the shape is another one, or a code is out of range.

        Notes
        -----
        The arrays are copied to a device at its first use. To check the codes, each call waits
        for the device; `on(device)` walks without that.

        Examples
        --------
        >>> import torch
        >>> trie = CodeTrie.of([[0, 1], [2, 0], [0, 3]], sizes=[3, 4])
        >>> trie.torch_mask(torch.tensor([[0], [1]])).int()
        tensor([[0, 1, 0, 1],
                [0, 0, 0, 0]], dtype=torch.int32)
        """
        level = self._check(prefixes.cpu().numpy()).shape[1]
        walk = self.on(prefixes.device)
        nodes = walk.root(len(prefixes))
        for column in range(level):
            nodes = walk.step(nodes, prefixes[:, column])
        return walk.mask(nodes, level)

    def on(self, device: "torch.device | str") -> "TorchTrie":
        """Return the trie on a torch device; its arrays are copied there once."""
        import torch

        # An empty tensor knows its device in full: "cuda" becomes "cuda:0".
        device = torch.empty(0, device=device).device
        if device not in self._on:
            arrays = (torch.tensor(a, device=device) for a in (self.keys, self.children, self.rows))
            self._on[device] = TorchTrie(self.sizes, self.starts, self.widest, *arrays)
        return self._on[device]

    def root(self, batch: int) -> np.ndarray:
        """Return the node of the empty prefix `batch` times, (batch,) int64."""
        return np.zeros(batch, dtype=np.int64)

    def step(self, nodes: ArrayLike, codes: ArrayLike) -> np.ndarray:
        """Go from each node to its child of the given code.

        Parameters
        ----------
        nodes : int, of any shape; -1 for an unknown prefix.
        codes : int, of a shape that broadcasts with that of `nodes`.

        Returns
        -------
        int64 of the common shape, -1 where the node is -1 or has no such child.

        Raises
        ------
        ValueError
            if nodes or codes are not integers.

        Examples
        --------
        >>> trie = CodeTrie.of([[0, 1], [2, 0], [0, 3]], sizes=[3, 4])
        >>> nodes = trie.step(trie.root(3), [0, 0, 1])
        >>> trie.rows_at(trie.step(nodes, [3, 2, 0]))
        array([ 2, -1, -1])
        """
        nodes, codes = _integers(nodes, name="nodes"), _integers(codes, name="codes")
        width = max(self.sizes)
        known = (nodes >= 0) & (codes >= 0) & (codes < width)
        wanted = np.where(known, nodes * width + codes, UNKNOWN_KEY)
        found = np.searchsorted(self.keys, wanted)
        return np.where(self.keys[found] == wanted, found, -1)

    def mask(self, nodes: ArrayLike, level: int) -> np.ndarray:
        """Return which codes lead on from each node, (..., sizes[level]) bool.

        Parameters
        ----------
        nodes : int, of any shape: nodes of that level; -1 for an unknown prefix, all False.
        level : codes in the prefixes that the nodes stand for, 0 <= level < P.

        Raises
        ------
        ValueError
            if there is no such level, or a node is not one of it.

        Examples
        --------
        >>> trie = CodeTrie.of([[0, 1], [2, 0], [0, 3]], sizes=[3, 4])
        >>> trie.mask(trie.root(1), level=0)
        array([[ True, False,  True]])
        """
        nodes = _integers(nodes, name="nodes")
        check_level(level, self.sizes)
        first, end = self.starts[level : level + 2]
        wrong = (nodes != -1) & ((nodes < first) | (nodes >= end))
        if wrong.any():
            raise ValueError(
                f"nodes: {nodes[wrong][0]} is none of level {level}, "
                f"whose nodes are {first} to {end - 1}"
            )
        return self._mask(nodes, level)

    def rows_at(self, nodes: ArrayLike) -> np.ndarray:
        """Return the catalogue row of each node that stands for a whole code, others -1.

        Parameters
        ----------
        nodes : int, of any shape.

        Returns
        -------
        int64 of that shape
        """
        leaf = _integers(nodes, name="nodes") - self.starts[-2]
        return self.rows[np.where(leaf >= 0, leaf, -1)]

    def rows_under(self, prefix: ArrayLike) -> np.ndarray:
        """Return the catalogue rows whose codes begin with a prefix, (n,) int64, in code order.

        Parameters
        ----------
        prefix : (l,) int with 0 <= l <= P; empty for all rows.

        Raises
        ------
        ValueError
            if the shape is another one, or a code is out of range.
        """
        array = np.asarray(prefix)
        if array.ndim != 1 or len(array) > len(self.sizes):
            raise ValueError(
                f"prefix: expected shape (l,) with l <= {len(self.sizes)}, got {array.shape}"
            )
        first = int(self._walk(_check_prefixes(array[None], self.sizes, name="prefix"))[0])
        if first < 0:
            return self.rows[:0]
        end = first + 1
        while first < self.starts[-2]:
            first, end = int(self.children[first]), int(self.children[end])
        return self.rows[first - self.starts[-2] : end - self.starts[-2]]

    def best_under(self, prefix: ArrayLike, scores: ArrayLike, k: int | None = None) -> np.ndarray:
        """Return the best rows whose codes begin with a prefix, best first.

        Parameters
        ----------
        prefix : (l,) int with 0 <= l <= P; empty for all rows.
        scores : (N,) a number for each row of the catalogue; of equal scores the lowest row wins.
        k : the most rows to return; all if left out.

        Returns
        -------
        (n,) int64, fewer than k where fewer rows lie under the prefix.

        Raises
        ------
        ValueError
            if the prefix is not valid, `scores` is not one number a row or holds NaN, or k < 0.

        Examples
        --------
        >>> trie = CodeTrie.of([[0, 1], [2, 0], [0, 3]], sizes=[3, 4])
        >>> trie.best_under([0], scores=[0.5, 2.0, 1.0])
        array([2, 0])
        """
        scores = np.asarray(scores)
        if scores.shape != (len(self),) or scores.dtype.kind not in "iuf":
            raise ValueError(
                f"scores: expected numbers of shape ({len(self)},), "
                f"got {scores.dtype} of shape {scores.shape}"
            )
        if k is not None and k < 0:
            raise ValueError(f"k={k} should be at least 0")
        rows = self.rows_under(prefix)
        values = scores[rows]
        if np.isnan(values).any():
            raise ValueError(f"scores: NaN for row {rows[np.isnan(values)][0]}")
        # Backwards, for unsigned scores have no negative.
        return rows[np.lexsort((-rows, values))[::-1][:k]]

    def _walk(self, prefixes: np.ndarray) -> np.ndarray:
        nodes = self.root(len(prefixes))
        for codes in prefixes.T:
            nodes = self.step(nodes, codes)
        return nodes

    def _next(self, nodes: np.ndarray) -> Allowed:
        known = nodes >= 0
        first = self.children[np.where(known, nodes, 0)]
        counts = np.where(known, self.children[np.where(known, nodes + 1, 0)] - first, 0)
        offsets = np.append(0, np.cumsum(counts))
        child = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts)
        codes = self.keys[child] - np.repeat(nodes * max(self.sizes), counts)
        return Allowed(codes.astype(np.int32), offsets)

    def _mask(self, nodes: np.ndarray, level: int) -> np.ndarray:
        indices, offsets = self._next(nodes.ravel())
        size = self.sizes[level]
        mask = np.zeros(nodes.size * size, dtype=bool)
        mask[np.repeat(np.arange(nodes.size) * size, np.diff(offsets)) + indices] = True
        return mask.reshape(*nodes.shape, size)

    def _check(self, prefixes: ArrayLike) -> np.ndarray:
        array = np.asarray(prefixes)
        if array.ndim != 2 or array.shape[1] >= len(self.sizes):
            raise ValueError(
                f"prefixes: expected shape (n, l) with l < {len(self.sizes)}, got {array.shape}"
            )
        return _check_prefixes(array, self.sizes, name="prefixes")


def _check_prefixes(array: np.ndarray, sizes: Sequence[int], *, name: str) -> np.ndarray:
    """Return prefixes (B, l) as int32; `check_codes` cannot tell the rows of no columns."""
    if not array.size:
        return np.zeros(array.shape, dtype=np.int32)
    return check_codes(array, sizes[: array.shape[1]], name=name)


def _integers(values: ArrayLike, *, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integers, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def _check_unique(ordered: np.ndarray, rows: np.ndarray) -> None:
    repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(repeated):
        at = repeated[np.argmin(rows[repeated + 1])]
        raise ValueError(
            f"codes: {len(repeated)} of {len(rows)} repeat an earlier row's code (first: row "
            f"{rows[at + 1]} has that of row {rows[at]}); a trie needs unique codes"
        )


def _nodes(
    codes: np.ndarray, sizes: Sequence[int]
) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Return the starts, keys and children of a trie from its codes (N, P) in order."""
    count, width = len(codes), max(sizes)
    starts, keys, children = [0, 1], [np.array([_ROOT_KEY])], []
    begins = np.zeros(1, dtype=np.int64)  # for each node of the level, its first code
    new = np.zeros(count, dtype=bool)  # which codes begin a node of the level
    new[:1] = True
    for level in range(len(sizes)):
        parent = starts[level] - 1 + np.cumsum(new)
        new[1:] |= codes[1:, level] != codes[:-1, level]
        children.append(starts[level + 1] + np.searchsorted(np.flatnonzero(new), begins))
        begins = np.flatnonzero(new)
        keys.append(parent[begins] * width + codes[begins, level])
        starts.append(starts[-1] + len(begins))
    keys.append(np.array([_LAST_KEY]))
    children.append(np.array([starts[-1]]))
    return tuple(starts), np.concatenate(keys), np.concatenate(children)
