"""How a gradient gets past a choice that has none.

Each takes vectors and the entries chosen for them, and returns values equal to the entries, whose
gradient reaches the vectors.
"""

import torch
from torch import Tensor
from torch.nn import functional


def straight_through(vectors: Tensor, entries: Tensor) -> Tensor:
    """Hand the gradient of the entries (B, c) on to the vectors (B, c) as it is.

    Bengio et al. (2013), as van den Oord et al. (2017) use it; the entries get none.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> straight_through(z, torch.tensor([[3.0, 3.0]])).sum().backward()
    >>> z.grad
    tensor([[1., 1.]])
    """
    return vectors + (entries - vectors).detach()


def rotate(vectors: Tensor, entries: Tensor) -> Tensor:
    """Hand the gradient on through the rotation and scaling that take a vector to its entry.

    With a = z/|z|, b = q/|q| and w = (a + b)/|a + b| the rotation is R = I - 2 w w' + 2 b a',
    and the value q = |q|/|z| R z, where all but z count as constants (Fifty et al. 2024,
    "Restructuring Vector Quantization with the Rotation Trick", section 4.2). Where z and q
    point in opposite directions, or one is zero, no such rotation is defined: there the
    gradient goes straight through.

    Examples
    --------
    >>> z = torch.tensor([[2.0, 0.0]], requires_grad=True)
    >>> rotate(z, torch.tensor([[0.0, 1.0]])).sum().backward()
    >>> z.grad
    tensor([[ 0.5000, -0.5000]])
    """
    z, q = vectors.detach(), entries.detach()
    z_norm, q_norm = z.norm(dim=-1, keepdim=True), q.norm(dim=-1, keepdim=True)
    a, b = functional.normalize(z, dim=-1), functional.normalize(q, dim=-1)
    between = a + b
    defined = (z_norm > 0) & (q_norm > 0) & (between.norm(dim=-1, keepdim=True) > 1e-4)
    w = functional.normalize(between, dim=-1)
    turned = (
        vectors
        - 2 * (vectors * w).sum(dim=-1, keepdim=True) * w
        + 2 * (vectors * a).sum(dim=-1, keepdim=True) * b
    )
    # A finite factor even where it is not used: infinity times its zero gradient is NaN.
    turned = turned * torch.where(defined, q_norm / z_norm, 1.0)
    # The values are the entries to the last bit; only the gradient is the rotation's.
    turned = q + (turned - turned.detach())
    return torch.where(defined, turned, straight_through(vectors, q))


def gumbel_choice(scores: Tensor) -> Tensor:
    """Draw one entry a row with probability softmax(scores), (B, K) one-hot.

    Its gradient is that of the softmax of the noisy scores (Jang et al. 2017, the
    straight-through form), so it reaches vectors and entries. Scores whose range is small
    beside 1 are drawn nearly at random: scale them.
    """
    return functional.gumbel_softmax(scores, hard=True)
