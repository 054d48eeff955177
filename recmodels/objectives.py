"""Objectives: how what an encoder says of a masked item is compared with the catalogue."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recmodels.product_cross_entropy import product_cross_entropy
from recmodels.sequence_model import SequenceModel

#: Takes sequences (B, T) of rows and which of them are to be named, (B, T) bool; gives a scalar.
Objective = Callable[[Tensor, Tensor], Tensor]


def item_softmax(model: SequenceModel) -> Objective:
    """Return the cross-entropy over the catalogue, averaged over the masked items.

    With item vectors that are sums of code embeddings an item's score is the sum of its level
    logits: the code-factorised softmax.
    """

    def loss(items: Tensor, masked: Tensor) -> Tensor:
        vectors = model.items()
        hidden, targets = model.read(items, masked, vectors[items.clamp(min=0)])
        return product_cross_entropy(
            model.asked(hidden),
            model.answering(vectors),
            targets,
            seen=model.seen(items, masked),
            bonus=model.bonus,
        )

    return loss


def sampled_softmax(model: SequenceModel, counts: Tensor, negatives: int) -> Objective:
    """Return the cross-entropy over a masked item and as many drawn by their counts.

    All masked items of a step share the drawn ones. Each score is lowered by the logarithm of
    how often its item is expected among the candidates, which makes the expected gradient that
    of the whole catalogue in the limit of many. Only the vectors of items that take part are
    computed, so a step does not grow with the catalogue.

    The catalogue in the order of its codes is cut into as many stretches of equal chance as items
    are drawn, and one is drawn from each (stratified sampling): items with a prefix in common
    have similar scores, and each group of them is drawn from as often as expected, nearly.

    Parameters
    ----------
    model : what is trained.
    counts : (N,) how often each item occurs in the training histories.
    negatives : items drawn a step; one that is expected more than once may come more than once.

    References
    ----------
    Bengio and Senecal, "Adaptive importance sampling to accelerate training of a neural
    probabilistic language model", 2008.
    """
    # One is added so that every item can be drawn.
    chances = (counts.double() + 1) / (counts.double() + 1).sum()
    order = in_order_of_codes(model, len(counts))
    bounds = chances[order].cumsum(0)
    expected = (negatives * chances).log().float()

    def loss(items: Tensor, masked: Tensor) -> Tensor:
        chosen = order[evenly(bounds, negatives)]
        drawn, often = chosen.to(items.device), expected[chosen].to(items.device)
        rows, at = torch.unique(
            torch.cat([items.clamp(min=0).flatten(), drawn]), return_inverse=True
        )
        vectors = model.items(rows)
        given = vectors[at[: items.numel()]].view(*items.shape, -1)
        hidden, targets = model.read(items, masked, given)
        asked = model.asked(hidden)
        others = asked @ model.answering(vectors[at[items.numel() :]]).T - often
        others = others.masked_fill(drawn == targets[:, None], -torch.inf)
        own = at[: items.numel()].view(items.shape)[masked]
        right = (asked * model.answering(vectors[own])).sum(dim=1)
        seen = model.seen(at[: items.numel()].view(items.shape).where(items >= 0, -1), masked)
        if seen is not None and model.bonus is not None:
            times = asked.new_zeros(len(asked), len(rows))
            times.scatter_add_(1, seen.clamp(min=0), (seen >= 0).to(times.dtype))
            others = others + model.bonus * times[:, at[items.numel() :]]
            right = right + model.bonus * times.gather(1, own[:, None]).squeeze(1)
        return (torch.logaddexp(right, others.logsumexp(dim=1)) - right).mean()

    return loss


def evenly(bounds: Tensor, n: int) -> Tensor:
    """Draw n of N places, (n,) int64, in ascending order: one from each nth of the chances.

    A place of chance p comes n p times on average, and less than 2 times more or fewer. The
    places of a step are drawn apart from each other: one start for all would draw the same last
    code again and again where codes come at equal distances.

    Parameters
    ----------
    bounds : (N,) float64, the chances of the places up to each, summed; the last is 1.
    n : how many.

    Examples
    --------
    >>> evenly(torch.tensor([0.5, 0.75, 1.0], dtype=torch.float64), 4).tolist()
    [0, 0, 1, 2]
    """
    places = (torch.arange(n) + torch.rand(n, dtype=torch.float64)) / n
    # Rounding may leave the last bound below 1.
    return torch.searchsorted(bounds, places, right=True).clamp(max=len(bounds) - 1)


def in_order_of_codes(model: SequenceModel, size: int) -> Tensor:
    """Return the rows of the catalogue, those with a prefix in common side by side, (N,)."""
    tokens = model.items.tokens()
    if tokens is None:
        return torch.arange(size)
    return torch.from_numpy(np.lexsort(tokens.cpu().numpy().T[::-1]))


def level_softmax(model: SequenceModel) -> Objective:
    """Return the cross-entropy over a level's codes, averaged over levels and masked items.

    Each level is judged by itself, in its slot: the best that can be learnt are the chances of
    its codes without regard to the other levels', even where slots see one another.

    Raises
    ------
    ValueError
        if the model's item vectors know no codes.
    """
    codes = model.items.codes
    if codes is None:
        raise ValueError("objective='levels': needs codes among the item vectors' parts")
    starts = torch.tensor((0, *codes.sizes[:-1])).cumsum(0)

    def loss(items: Tensor, masked: Tensor) -> Tensor:
        vectors = model.items()
        hidden, targets = model.read(items, masked, vectors[items.clamp(min=0)])
        asked = model.asked(hidden).unflatten(1, (codes.slots, -1))
        tables = model.answering(codes.table.weight).split(codes.sizes)
        # Asked for at each step: the model may have moved to another device since.
        tokens = model.items.tokens()
        assert tokens is not None
        wanted = tokens[targets] - starts.to(items.device)
        losses = [
            functional.cross_entropy(asked[:, slot] @ table.T, wanted[:, level])
            for level, (slot, table) in enumerate(zip(codes.slot_of_level, tables, strict=True))
        ]
        return torch.stack(losses).mean()

    return loss
