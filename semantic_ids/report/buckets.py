"""Buckets: how many items share their code with how many others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semantic_ids.codes import bucket_sizes, code_keys


@dataclass(frozen=True)
class Bucket:
    """Items whose code belongs to between `least` and `most` items."""

    least: int
    most: int
    items: int

    def __str__(self) -> str:
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,}–{self.most:,}"


def buckets(codes: np.ndarray, sizes: Sequence[int]) -> tuple[Bucket, ...]:
    """Count the items by how many have their code: 1, 2, 3-4, 5-8, 9-16, ...

    Parameters
    ----------
    codes : (N, L) int32, N >= 1.
    sizes : number of codes at each position.

    Examples
    --------
    >>> [(str(b), b.items) for b in buckets(np.array([[0], [1], [2], [1], [2], [2]]), (3,))]
    [('1', 1), ('2', 2), ('3–4', 3)]
    """
    shared = bucket_sizes(code_keys(codes, sizes))
    doublings = np.ceil(np.log2(shared)).astype(np.intp)
    counts = np.bincount(doublings).tolist()
    return tuple(
        Bucket(2 ** (power - 1) + 1 if power else 1, 2**power, items)
        for power, items in enumerate(counts)
    )
