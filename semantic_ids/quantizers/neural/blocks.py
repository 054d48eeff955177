"""Cutting rows into the blocks of their modalities."""

from collections.abc import Sequence

import torch
from torch import Tensor


def presence(present: Tensor, blocks: int) -> Tensor:
    """Return which blocks each row has, (n, blocks) bool.

    Where the modalities were mixed, or a plain array came without, there are fewer blocks or
    more than columns of `present` (n, M): then every row has all.
    """
    if present.shape[1] == blocks:
        return present
    return torch.ones(len(present), blocks, dtype=torch.bool, device=present.device)


def cut(x: Tensor, blocks: Sequence[slice], present: Tensor | None = None) -> list[Tensor]:
    """Return the columns (n, d_m) of each block; zeros where `present` (n, M) says so.

    Examples
    --------
    >>> text, image = cut(torch.ones(1, 3), [slice(0, 2), slice(2, 3)], torch.tensor([[0, 1]]))
    >>> text, image
    (tensor([[0., 0.]]), tensor([[1.]]))
    """
    parts = [x[:, block] for block in blocks]
    if present is None:
        return parts
    return [part * there[:, None] for part, there in zip(parts, present.unbind(1), strict=True)]
