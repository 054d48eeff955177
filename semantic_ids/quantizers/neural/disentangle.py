"""Two branches a modality: what it says of behaviour, and what is its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BehaviourDisentangle(nn.Module):
    """Split each modality into a behaviour part and a specific part, and rebuild it from both.

    BBQRec, arXiv 2504.06636, of which only the abstract and reviews were at hand: the branches
    are its own, their form (one hidden layer) is ours.

    Parameters
    ----------
    widths : columns of each of the M modalities.
    hidden : units of each branch's hidden layer.
    width : columns of each part.

    Examples
    --------
    >>> branches = BehaviourDisentangle([5, 3], hidden=16, width=4)
    >>> behaviour, specific = branches([torch.ones(6, 5), torch.ones(6, 3)])
    >>> behaviour.shape, specific.shape
    (torch.Size([6, 2, 4]), torch.Size([6, 2, 4]))
    >>> [made.shape[1] for made in branches.rebuild(behaviour, specific)]
    [5, 3]
    """

    def __init__(self, widths: Sequence[int], *, hidden: int, width: int) -> None:
        super().__init__()

        def nets(into: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, into))
                for d in widths
            )

        self.behaviour = nets(width)
        self.specific = nets(width)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, hidden), nn.ReLU(), nn.Linear(hidden, d))
            for d in widths
        )

    def forward(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the behaviour and the specific parts, (n, M, width) each, of M (n, d_m)."""
        return self.behaviour_parts(batch), torch.stack(
            [net(values) for net, values in zip(self.specific, batch, strict=True)], dim=1
        )

    def behaviour_parts(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the behaviour parts (n, M, width) alone."""
        return torch.stack(
            [net(values) for net, values in zip(self.behaviour, batch, strict=True)], dim=1
        )

    def rebuild(self, behaviour: Tensor, specific: Tensor) -> list[Tensor]:
        """Rebuild the modalities (n, d_m), each from its two parts."""
        both = torch.cat([behaviour, specific], dim=2)
        return [head(part) for head, part in zip(self.heads, both.unbind(dim=1), strict=True)]
