"""What `DynamicFusion` is trained by: contrast of views, and rebuilding the features."""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional


def near_duplicates(values: list[Tensor], present: Tensor, threshold: float) -> Tensor:
    """Mark pairs (n, n) of different rows that are nearly the same in what both have.

    Parameters
    ----------
    values : standardised modalities (n, d_m), zeros where absent.
    present : (n, M) bool.
    threshold : least cosine, over the modalities that both rows have.
    """
    there = present.to(values[0].dtype)
    products = sum(rows @ rows.T for rows in values)
    squares = torch.stack([rows.square().sum(dim=1) for rows in values], dim=1)
    # Squared length of row i over the modalities that row j has: absent ones are zeros in i.
    lengths = squares @ there.T
    cosines = products / (lengths * lengths.T).sqrt().clamp(min=1e-12)
    return (cosines >= threshold).fill_diagonal_(False)


def contrast(
    fused: Tensor, aligned: Tensor, present: Tensor, alike: Tensor, temperature: float
) -> Tensor:
    """Mean of the InfoNCE losses fused-modality and modality-modality, over present pairs."""
    views = [(fused, torch.ones_like(present[:, 0]))]
    unit = functional.normalize(aligned, dim=-1)
    views += [(unit[:, m], present[:, m]) for m in range(unit.shape[1])]
    losses = [
        info_nce(first, second, first_there & second_there, alike, temperature)
        for (first, first_there), (second, second_there) in combinations(views, 2)
    ]
    return torch.stack(losses).mean()


def info_nce(
    first: Tensor, second: Tensor, there: Tensor, alike: Tensor, temperature: float
) -> Tensor:
    """Symmetric InfoNCE over the rows that are there; near duplicates are no negatives."""
    logits = first @ second.T / temperature
    itself = torch.eye(len(there), dtype=torch.bool)
    left_out = alike | (~there & ~itself)
    forth = logits.masked_fill(left_out, -torch.inf).logsumexp(dim=1)
    back = logits.T.masked_fill(left_out, -torch.inf).logsumexp(dim=1)
    losses = forth + back - 2 * logits.diagonal()
    return (losses * there).sum() / (2 * there.sum().clamp(min=1))


def rebuilding_error(rebuilt: list[Tensor], values: list[Tensor], there: list[Tensor]) -> Tensor:
    """Mean over modalities of a token's squared error, relative to the variance of 1.

    Parameters
    ----------
    rebuilt : (n, T_m * c_m) of each modality.
    values, there : standardised tokens (n, T_m, c_m), and which are no padding (n, T_m).
    """
    errors = []
    for made, value, real in zip(rebuilt, values, there, strict=True):
        lost = (made.view_as(value) - value).square().sum(dim=-1)
        errors.append((lost * real).sum() / real.sum().clamp(min=1))
    return torch.stack(errors).mean()
