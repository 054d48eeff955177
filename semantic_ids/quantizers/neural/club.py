"""CLUB: an upper bound of mutual information that can be minimised."""

import math

from torch import Tensor, nn


class Club(nn.Module):
    """A contrastive log-ratio upper bound of the mutual information of x and y.

    Cheng et al., arXiv 2006.12013: ``E_p(x,y) log q(y|x) - E_p(x)p(y) log q(y|x)``, with q a
    diagonal Gaussian whose mean and log-variance are nets of x. It bounds from above where q is
    near the true conditional, so q is fitted in turn with whatever minimises the bound: one
    step lowers `misfit`, the other the bound. The bound is loose: for Gaussians of
    correlation rho it is ``d rho^2 / (1 - rho^2)``, the truth being
    ``d/2 ln(1 / (1 - rho^2))``. A tanh keeps q's variance between 1/e and e, so that it cannot
    run away; that caps what the bound can become, too.

    Parameters
    ----------
    width_x, width_y : columns of x and y.
    hidden : units of the hidden layers.

    Examples
    --------
    >>> import torch
    >>> club, x = Club(4, 4, hidden=8), torch.randn(32, 4)
    >>> club(x, x).shape, club.misfit(x, x).shape
    (torch.Size([]), torch.Size([]))
    """

    def __init__(self, width_x: int, width_y: int, *, hidden: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(width_x, hidden), nn.ReLU(), nn.Linear(hidden, width_y))
        self.log_variance = nn.Sequential(
            nn.Linear(width_x, hidden), nn.ReLU(), nn.Linear(hidden, width_y), nn.Tanh()
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the bound in nats, over all pairs of the rows (n, d_x) and (n, d_y)."""
        mean, log_variance = self.mean(x), self.log_variance(x)
        # The mean over j of (y_j - mean_i)^2 needs the first two moments of y alone.
        every = y.square().mean(dim=0) - 2 * mean * y.mean(dim=0) + mean.square()
        own = (y - mean).square()
        return ((every - own) / log_variance.exp()).sum(dim=1).mean() / 2

    def misfit(self, x: Tensor, y: Tensor) -> Tensor:
        """Return q's mean negative log-likelihood in nats, whose minimum is the best q."""
        log_variance = self.log_variance(x)
        squares = (y - self.mean(x)).square() / log_variance.exp()
        return (squares + log_variance + math.log(2 * math.pi)).sum(dim=1).mean() / 2
