"""The cross-entropy of scores that are products of vectors, without an array of all scores."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Scores held at a time: what a processor's cache has room for, and what keeps a GPU busy.
SCORES_AT_A_TIME = {"cpu": 2**20, "cuda": 2**27}


def product_cross_entropy(
    asked: Tensor,
    answering: Tensor,
    targets: Tensor,
    *,
    seen: Tensor | None = None,
    bonus: Tensor | None = None,
) -> Tensor:
    """Return the mean cross-entropy of scores ``asked @ answering.T``, seen items' by a bonus more.

    It goes by blocks of rows, and a block's share of the gradients is taken while its scores are
    still in the cache: memory grows with the block, not with rows times items. Its gradient
    cannot be differentiated again.

    Parameters
    ----------
    asked : (M, d) float, at least one row.
    answering : (N, d) float.
    targets : (M,) int64, below N.
    seen : (M, S) int64, what each row has seen already, a negative number for nothing; each time
        that an item stands there adds the bonus to its score.
    bonus : a scalar; needed with `seen`.

    Returns
    -------
    loss : a float32 scalar.

    Examples
    --------
    >>> asked, answering = torch.tensor([[2.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    >>> product_cross_entropy(asked, answering, torch.tensor([1, 0]))
    tensor(0.4100)
    """
    if seen is None or bonus is None:
        seen, bonus = targets.new_empty((len(targets), 0)), asked.new_zeros(())
    return _ByBlocks.apply(asked, answering, targets, seen, bonus)  # type: ignore[no-any-return]


class _ByBlocks(torch.autograd.Function):
    """Takes the gradients on the way forward: they need the scores, which nobody keeps."""

    @staticmethod
    def forward(
        ctx: Any, asked: Tensor, answering: Tensor, targets: Tensor, seen: Tensor, bonus: Tensor
    ) -> Tensor:
        ctx.kinds = asked.dtype, answering.dtype, bonus.dtype
        kind = "cuda" if asked.is_cuda else "cpu"
        if torch.is_autocast_enabled(kind):
            # Once, not with each block; autocast leaves float64 alone.
            short = torch.get_autocast_dtype(kind)
            asked, answering = (
                vectors if vectors.dtype == torch.float64 else vectors.to(short)
                for vectors in (asked, answering)
            )
        rows = max(1, SCORES_AT_A_TIME[kind] // len(answering))
        total = torch.zeros((), device=asked.device)
        to_asked = torch.empty_like(asked, dtype=torch.float32)
        to_answering = torch.zeros_like(answering, dtype=torch.float32)
        to_bonus = torch.zeros((), device=asked.device)
        for start in range(0, len(asked), rows):
            block, had = asked[start : start + rows], seen[start : start + rows]
            right, times = targets[start : start + rows, None], (had >= 0).float()
            had = had.clamp(min=0)
            scores = (block @ answering.T).float()
            scores.scatter_add_(1, had, times * bonus)
            slopes = scores.softmax(dim=1)
            # The chance of the likeliest item is 1 / N at least: its logarithm never overflows.
            whole = scores.amax(dim=1) - slopes.amax(dim=1).log()
            total += (whole - scores.gather(1, right).squeeze(1)).sum()
            if any(ctx.needs_input_grad):
                slopes.scatter_add_(1, right, slopes.new_full(right.shape, -1.0))
                to_bonus += (slopes.gather(1, had) * times).sum()
                to_asked[start : start + rows] = slopes.to(block.dtype) @ answering
                to_answering += slopes.to(block.dtype).T @ block
        ctx.save_for_backward(to_asked, to_answering, to_bonus)
        ctx.rows = len(asked)
        return total / len(asked)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor, Tensor, None, None, Tensor]:
        share = grad_outputs[0] / ctx.rows
        first, second, third = (
            (slope * share).to(kind)
            for slope, kind in zip(ctx.saved_tensors, ctx.kinds, strict=True)
        )
        return first, second, None, None, third
