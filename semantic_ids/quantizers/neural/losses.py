"""What a quantizer is trained for: rebuilding, and entries and vectors that meet.

All are means over rows and columns, and over levels, so that their weights do not depend on
batch size, width or the number of levels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def reconstruction_loss(rebuilt: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared error of what the decoder made of the codes, both (B, d)."""
    return functional.mse_loss(rebuilt, x)


def codebook_loss(vectors: Sequence[Tensor], entries: Sequence[Tensor]) -> Tensor:
    """Draw the chosen entries to the vectors: ``mean ||sg(vector) - entry||^2``.

    van den Oord et al. (2017), equation 3, second term.

    Parameters
    ----------
    vectors, entries : one (B, c) tensor a level each; what was looked up, and what was chosen.
    """
    return _mean_error([vector.detach() for vector in vectors], entries)


def commitment_loss(vectors: Sequence[Tensor], entries: Sequence[Tensor]) -> Tensor:
    """Draw the vectors to the chosen entries: ``mean ||vector - sg(entry)||^2``.

    van den Oord et al. (2017), equation 3, third term. The vectors of every level must carry
    the encoder's gradient.

    Examples
    --------
    >>> z, e = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2)
    >>> commitment_loss([z], [e]).backward()
    >>> z.grad
    tensor([[-1., -1.]])
    """
    return _mean_error(vectors, [entry.detach() for entry in entries])


def _mean_error(ones: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    return torch.stack(
        [functional.mse_loss(one, other) for one, other in zip(ones, others, strict=True)]
    ).mean()
