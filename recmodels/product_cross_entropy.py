"""The cross-entropy of scores that are products of vectors, without an array of all scores."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Scores held at a time: what a processor's cache has room for, and what keeps a GPU busy.
SCORES_AT_A_TIME = {"cpu": 2**20, "cuda": 2**27}


def product_cross_entropy(asked: Tensor, answering: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of scores ``asked @ answering.T``.

    It goes by blocks of rows, and a block's share of the gradients is taken while its scores are
    still in the cache: memory grows with the block, not with rows times items. Its gradient
    cannot be differentiated again.

    Parameters
    ----------
    asked : (M, d) float, at least one row.
    answering : (N, d) float.
    targets : (M,) int64, below N.

    Returns
    -------
    loss : a float32 scalar.

    Examples
    --------
    >>> asked, answering = torch.tensor([[2.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    >>> product_cross_entropy(asked, answering, torch.tensor([1, 0]))
    tensor(0.4100)
    """
    return _ByBlocks.apply(asked, answering, targets)  # type: ignore[no-any-return]


class _ByBlocks(torch.autograd.Function):
    """Takes the gradients on the way forward: they need the scores, which nobody keeps."""

    @staticmethod
    def forward(ctx: Any, asked: Tensor, answering: Tensor, targets: Tensor) -> Tensor:
        kind = "cuda" if asked.is_cuda else "cpu"
        rows = max(1, SCORES_AT_A_TIME[kind] // len(answering))
        total = torch.zeros((), device=asked.device)
        to_asked = torch.empty_like(asked, dtype=torch.float32)
        to_answering = torch.zeros_like(answering, dtype=torch.float32)
        for start in range(0, len(asked), rows):
            block = asked[start : start + rows]
            right = targets[start : start + rows, None]
            scores = (block @ answering.T).float()
            slopes = scores.softmax(dim=1)
            # The chance of the likeliest item is 1 / N at least: its logarithm never overflows.
            whole = scores.amax(dim=1) - slopes.amax(dim=1).log()
            total += (whole - scores.gather(1, right).squeeze(1)).sum()
            if any(ctx.needs_input_grad):
                slopes.scatter_add_(1, right, slopes.new_full(right.shape, -1.0))
                to_asked[start : start + rows] = slopes @ answering
                to_answering += slopes.T @ block
        ctx.save_for_backward(to_asked, to_answering)
        ctx.kinds = asked.dtype, answering.dtype
        ctx.rows = len(asked)
        return total / len(asked)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        share = grad_outputs[0] / ctx.rows
        to_asked, to_answering = ctx.saved_tensors
        first, second = ctx.kinds
        return (to_asked * share).to(first), (to_answering * share).to(second), None
