"""Balanced assignment: every entry gets about as many rows of a batch as any other."""

import torch
from torch import Tensor


def balanced_choice(distances: Tensor, epsilon: float, iterations: int = 50) -> Tensor:
    """Return the entry (B,) of each row under an entropic transport plan with equal columns.

    LC-Rec (arXiv 2311.09049) assigns so while it trains the last level; its code scales the
    distances (B, K) to -1 ... 1 first, then alternates rows and columns some 50 times with
    epsilon 0.003. Here that is done on logarithms in float64, so that no epsilon underflows.

    Examples
    --------
    >>> crowded = torch.tensor([[0.0, 1.0], [0.1, 1.0], [0.2, 0.9], [0.3, 0.8]])
    >>> balanced_choice(crowded, 0.05).tolist()
    [0, 0, 1, 1]
    """
    return transport_plan(distances, epsilon, iterations).argmax(dim=1)


def transport_plan(distances: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return the logarithm of the plan (B, K) float64; rows sum to 1, columns to B/K or nearly."""
    low, high = distances.aminmax()
    half = (high - low).double() / 2
    plan = -(distances.double() - low.double() - half) / (half + 1e-12) / epsilon
    target = torch.log(torch.tensor(len(distances) / distances.shape[1], dtype=torch.float64))
    for _ in range(iterations):
        plan = plan - plan.logsumexp(dim=0, keepdim=True) + target
        plan = plan - plan.logsumexp(dim=1, keepdim=True)
    return plan
