"""Prototypes: a codebook of named points that items are assigned to softly in training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.objectives import compactness, separation
from semantic_ids.training import seeded, train

if TYPE_CHECKING:
    from semantic_ids.quantizers.prototype_rq import PrototypeRQ


class Prototypes(nn.Module):
    """Unit prototypes with learnt offsets, and the Gumbel-softmax assignment to them.

    After PCQ, arXiv 2511.12079, with what makes it work: `scale` multiplies the cosines before
    the softmax (at 1, a sample of the assignment is nearly random: among many prototypes the
    cosines differ by less than Gumbel noise does), and `gap` is taken from the items first (a
    constant difference between text and items else decides the assignment).

    Parameters
    ----------
    points : (K, d), the prototypes, centred if the items are; none of them zero.
    gap : (d,), what is taken from an item before it is compared.
    scale : of the cosines.

    Examples
    --------
    >>> prototypes = Prototypes(np.eye(3), np.zeros(3), scale=20.0)
    >>> assigned, mixture = prototypes(torch.eye(3), temperature=0.3)
    >>> assigned.argmax(dim=1).tolist(), mixture.shape
    ([0, 1, 2], torch.Size([3, 3]))
    """

    points: Tensor
    gap: Tensor

    def __init__(self, points: np.ndarray, gap: np.ndarray, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        anchors = functional.normalize(torch.as_tensor(points, dtype=torch.float32), dim=1)
        self.register_buffer("points", anchors)
        self.register_buffer("gap", torch.as_tensor(gap, dtype=torch.float32))
        self.offset = nn.Parameter(torch.zeros_like(anchors))

    @property
    def codebook(self) -> Tensor:
        """The prototypes as they were moved, unit vectors (K, d)."""
        return functional.normalize(self.points + self.offset, dim=1)

    def logits(self, rows: Tensor) -> Tensor:
        """Return the scaled cosines (n, K) of rows (n, d) with the prototypes."""
        return self.scale * functional.normalize(rows - self.gap, dim=1) @ self.codebook.T

    def forward(self, rows: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Sample the assignment (n, K), rows summing to 1, and return it with its mixture (n, d).

        The lower the temperature, the nearer the assignment is to one prototype.
        """
        assigned = functional.gumbel_softmax(self.logits(rows), tau=temperature, dim=1)
        return assigned, assigned @ self.codebook


def named_codebook(
    spec: "PrototypeRQ",
    latent: Latent,
    columns: slice,
    there: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray | None,
    progress: bool | None,
) -> np.ndarray:
    """Return the first codebook (K, d) float32: moved prototypes, placed among the items.

    Around one centre and all of one length, the nearest entry is the one of the largest cosine.
    The length is what brings entries closest to the items that choose them.

    Parameters
    ----------
    spec : whether items are centred, and how prototypes are moved.
    latent : the items.
    columns, there : where the prototypes lie, and the rows of the items that have these columns.
    points : (K, columns), the prototypes, centred if the items are.
    labels, progress : see `move_prototypes`.
    """
    rows = latent.matrix[there, columns]
    gap = rows.mean(axis=0, dtype=np.float64) * spec.centre
    directions = move_prototypes(spec, rows, points, gap, labels, progress)
    centred = rows - gap.astype(np.float32)
    length = (centred @ directions.T).max(axis=1).mean(dtype=np.float64)
    # Where no prototype lies in the direction of the items, any length orders them rightly.
    length = max(length, 1e-3 * float(np.abs(centred).max()))
    book = np.tile(latent.matrix.mean(axis=0, dtype=np.float64), (len(points), 1))
    book[:, columns] = gap + length * directions
    return book.astype(np.float32)


def move_prototypes(
    spec: "PrototypeRQ",
    rows: np.ndarray,
    points: np.ndarray,
    gap: np.ndarray,
    labels: np.ndarray | None,
    progress: bool | None,
) -> np.ndarray:
    """Train the offsets of prototypes on items, and return the moved ones.

    Parameters
    ----------
    spec : temperatures, weights, and how the training goes.
    rows : (n, d) float32, the items.
    points, gap : see `Prototypes`.
    labels : (n,) int64, the prototype of each item, -1 where unknown; or None.
    progress : show a bar over the steps; None shows it in a terminal.

    Returns
    -------
    codebook : (K, d) float32 unit vectors.
    """
    size = min(spec.batch_size, len(rows))
    rng = np.random.default_rng(spec.seed)
    temperature = spec.temperatures[0]

    def batches(epoch: int) -> Iterator[np.ndarray]:
        nonlocal temperature
        first, last = spec.temperatures
        done = epoch / max(1, spec.optimisation.epochs - 1)
        temperature = first * (last / first) ** done
        order = rng.permutation(len(rows))
        for start in range(0, len(order), size):
            yield order.take(np.arange(start, start + size), mode="wrap")

    def loss(batch: np.ndarray) -> dict[str, Tensor]:
        some = torch.from_numpy(rows[batch])
        _, mixture = prototypes(some, temperature)
        directions = functional.normalize(some - prototypes.gap, dim=1)
        terms = {
            "compactness": spec.compactness * compactness(directions, mixture),
            "separation": spec.separation * separation(prototypes.codebook),
            "anchor": spec.anchor * prototypes.offset.square().sum(dim=1).mean(),
        }
        if labels is not None:
            known = torch.from_numpy(labels[batch])
            costs = functional.cross_entropy(
                prototypes.logits(some), known, ignore_index=-1, reduction="sum"
            )
            terms["alignment"] = spec.alignment * costs / (known >= 0).sum().clamp(min=1)
        return terms

    with seeded(spec.seed):
        prototypes = Prototypes(points, gap, scale=spec.logit_scale)
        train(
            prototypes,
            spec.optimisation,
            steps=-(-len(rows) // size),
            batches=batches,
            loss=loss,
            description="prototypes",
            progress=progress,
        )
    return prototypes.codebook.detach().numpy()
