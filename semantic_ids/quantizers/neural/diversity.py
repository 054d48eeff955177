"""LETTER's diversity: entries of one cluster attract each other, so that codes are spread."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from semantic_ids.quantizers.kmeans import kmeans


def balanced_clusters(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the cluster (K,) of each point (K, c); sizes differ by one at most.

    The centroids are those of k-means; points are then assigned at the least total squared
    distance that equal sizes allow, which is what constrained k-means does in its last step.

    Examples
    --------
    >>> balanced_clusters(np.array([[0.0], [0.1], [0.2], [9.0]], np.float32), 2, 0).tolist()
    [0, 0, 1, 1]
    """
    centroids = kmeans(points, count, iterations=10, seed=seed)
    centroids = centroids[np.lexsort(centroids.T[::-1])].astype(np.float64)
    distances = ((points[:, None] - centroids) ** 2).sum(axis=2)
    # The first `full` seats of each cluster must be taken; one more seat each is for the rest.
    full, rest = divmod(len(points), count)
    seats = np.repeat(np.arange(count), full)
    costs = distances[:, seats]
    if rest:
        costs = np.concatenate([costs, distances], axis=1)
        seats = np.concatenate([seats, np.arange(count)])
        costs[:, : count * full] -= 2 * distances.max() * len(points)
    rows, columns = linear_sum_assignment(costs)
    labels = np.empty(len(points), dtype=np.int64)
    labels[rows] = seats[columns]
    return labels


def cluster_mates(codes: Tensor, labels: Tensor) -> Tensor:
    """Draw for each code (B,) another entry of its cluster, evenly; labels (K,) of the entries.

    Every cluster needs two entries or more.
    """
    order = labels.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    sizes = labels.bincount()
    starts = sizes.cumsum(dim=0) - sizes
    start, size = starts[labels[codes]], sizes[labels[codes]]
    steps = 1 + (torch.rand(len(codes), device=codes.device) * (size - 1)).long()
    return order[start + (place[codes] - start + steps) % size]


def diversity_loss(entries: Tensor, codes: Tensor, table: Tensor, mates: Tensor) -> Tensor:
    """Cross-entropy of naming a mate among all other entries, by inner products.

    LETTER (arXiv 2405.07314, equation 6).

    Parameters
    ----------
    entries : (B, c) what was chosen; `codes` (B,) its numbers.
    table : (K, c) all entries.
    mates : (B,) an entry of the same cluster each.
    """
    scores = entries @ table.T
    itself = functional.one_hot(codes, len(table)).bool()
    return functional.cross_entropy(scores.masked_fill(itself, -torch.inf), mates)
