"""Shared and specific experts: one vector a code position, from all modalities or from one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SharedSpecificExperts(nn.Module):
    """Experts that read all modalities side by side, and experts that read one each.

    MMQ, arXiv 2508.15281. The experts stand in order: the shared ones, then those of the first
    modality, and so on. Each is a net with one hidden layer.

    Parameters
    ----------
    widths : columns of each of the M modalities.
    hidden : units of each expert's hidden layer.
    width : columns of each expert's output.
    shared : number of shared experts.
    specific : number of specific experts a modality.

    Attributes
    ----------
    groups : the shared experts, then the specific ones of each modality, as slices.

    Examples
    --------
    >>> experts = SharedSpecificExperts([5, 3], hidden=8, width=4, shared=2, specific=1)
    >>> batch, present = [torch.ones(6, 5), torch.ones(6, 3)], torch.ones(6, 2, dtype=torch.bool)
    >>> outputs, weights = experts(batch, present)
    >>> outputs.shape, weights.shape, experts.groups[1]
    (torch.Size([6, 4, 4]), torch.Size([6, 4]), slice(2, 3, None))
    """

    def __init__(
        self, widths: Sequence[int], *, hidden: int, width: int, shared: int, specific: int
    ) -> None:
        super().__init__()
        readers = [sum(widths)] * shared + [d for d in widths for _ in range(specific)]
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, width))
            for d in readers
        )
        self.gates = nn.ModuleList(nn.Linear(d, specific) for d in widths)
        starts = [shared + m * specific for m in range(len(widths))]
        self.groups = [slice(0, shared), *(slice(start, start + specific) for start in starts)]

    def forward(self, batch: Sequence[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the experts' outputs (n, S, width) and their weights (n, S).

        A shared expert weighs 1. The experts of a modality share a weight of 1 as its gate says,
        or all weigh 0 where the modality is absent.

        Parameters
        ----------
        batch : M tensors (n, d_m), zeros where absent.
        present : (n, M) bool.
        """
        read = [torch.cat(list(batch), dim=1)] * (self.groups[0].stop - self.groups[0].start)
        weights = [present.new_ones(len(present), len(read), dtype=batch[0].dtype)]
        for values, gate, group, there in zip(
            batch, self.gates, self.groups[1:], present.unbind(dim=1), strict=True
        ):
            read += [values] * (group.stop - group.start)
            weights.append(gate(values).softmax(dim=1) * there[:, None])
        outputs = [expert(values) for expert, values in zip(self.experts, read, strict=True)]
        return torch.stack(outputs, dim=1), torch.cat(weights, dim=1)

    def first_weights(self, group: slice) -> list[Tensor]:
        """Return the first layer's weights of each expert of a group, (hidden, d)."""
        return [net[0].weight for net in self.experts[group]]  # type: ignore[index]
