"""What neural tokenizers are trained for, as pure functions of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(first: Tensor, second: Tensor, temperature: float = 0.07) -> Tensor:
    """Symmetric InfoNCE: row i of one side should be most like row i of the other.

    The other rows of the batch are the negatives (van den Oord et al., arXiv 1807.03748; both
    directions as in CLIP). LETTER aligns codes with collaborative vectors by this form.

    Parameters
    ----------
    first, second : (n, d), compared by cosine.
    temperature : above 0; the smaller, the more the hardest negatives count.

    Examples
    --------
    >>> rows = torch.eye(4)
    >>> bool(info_nce(rows, rows) < 1e-4), round(float(info_nce(rows, rows, 1e6)), 3)
    (True, 1.386)
    """
    first, second = functional.normalize(first, dim=-1), functional.normalize(second, dim=-1)
    logits = first @ second.T / temperature
    targets = torch.arange(len(logits), device=logits.device)
    forth = functional.cross_entropy(logits, targets)
    return (forth + functional.cross_entropy(logits.T, targets)) / 2


def modal_reconstruction(
    rebuilt: Sequence[Tensor], batch: Sequence[Tensor], present: Tensor
) -> Tensor:
    """Mean over the modalities of the mean squared error of the rows that have it.

    Parameters
    ----------
    rebuilt, batch : M tensors (n, d_m), what was made and what is real.
    present : (n, M) bool.

    Examples
    --------
    >>> real, made = torch.zeros(2, 3), torch.ones(2, 3)
    >>> float(modal_reconstruction([made, real], [real, real], torch.ones(2, 2, dtype=bool)))
    0.5
    """
    errors = [
        ((made - real).square().mean(dim=1) * there).sum() / there.sum().clamp(min=1)
        for made, real, there in zip(rebuilt, batch, present.unbind(dim=1), strict=True)
    ]
    return torch.stack(errors).mean()


def decorrelation(outputs: Tensor) -> Tensor:
    """Mean over the pairs of slots of the squared correlations between their columns.

    For slots a, b of d columns this is ``||corr(z_a, z_b)||_F^2 / d``, with the correlations
    taken over the batch: 0 where slots are linearly independent, 1 where one repeats the other
    and its columns are uncorrelated. It is a stand-in for MMQ's orthogonality of weights, and
    one reading of LAMIA's palette of separate aspects.

    Parameters
    ----------
    outputs : (n, S, d), the S slots of each row; n of at least 2.

    Examples
    --------
    >>> column = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    >>> other = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    >>> float(decorrelation(torch.stack([column, other], dim=1)))
    0.0
    >>> round(float(decorrelation(torch.stack([column, -column], dim=1))), 3)
    1.0
    """
    n, slots, width = outputs.shape
    if n < 2 or slots < 2:
        return outputs.new_zeros(())
    centred = outputs - outputs.mean(dim=0)
    scaled = centred / (centred.square().mean(dim=0) + 1e-6).sqrt()
    flat = scaled.reshape(n, slots * width)
    squares = (flat.T @ flat / n).square().reshape(slots, width, slots, width).sum(dim=(1, 3))
    return (squares.sum() - squares.diagonal().sum()) / (slots * (slots - 1) * width)


def orthogonality(weights: Sequence[Tensor]) -> Tensor:
    """Squared distance of the flattened, normalised weights from being orthogonal.

    ``||V V^T - I||_F^2``, a row of V a weight matrix: MMQ's term. Wide random matrices are
    nearly orthogonal from the start, so it does little; see `decorrelation`.

    Parameters
    ----------
    weights : one tensor an expert, all of one size.

    Examples
    --------
    >>> round(float(orthogonality([torch.eye(2), torch.eye(2)])), 3)
    2.0
    """
    rows = functional.normalize(torch.stack([weight.flatten() for weight in weights]), dim=1)
    return (rows @ rows.T - torch.eye(len(rows), device=rows.device)).square().sum()


def compactness(rows: Tensor, quantized: Tensor) -> Tensor:
    """Mean squared distance of rows (n, d) from what they were quantized to (PCQ's L_comp).

    Examples
    --------
    >>> float(compactness(torch.zeros(2, 3), torch.ones(2, 3)))
    3.0
    """
    return (rows - quantized).square().sum(dim=1).mean()


def separation(codebook: Tensor) -> Tensor:
    """Mean over the pairs of entries (K, d) of ``exp(-distance^2)`` (PCQ's L_sep, as a mean).

    Examples
    --------
    >>> round(float(separation(torch.tensor([[0.0], [0.0], [100.0]]))), 3)
    0.333
    """
    if len(codebook) < 2:
        return codebook.new_zeros(())
    norms = codebook.square().sum(dim=1)
    squares = (norms[:, None] + norms - 2 * codebook @ codebook.T).clamp(min=0)
    off_diagonal = ~torch.eye(len(codebook), dtype=torch.bool, device=codebook.device)
    return (-squares[off_diagonal]).exp().mean()
