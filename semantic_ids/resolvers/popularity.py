"""Popularity: one more position that ranks the items of a content code by how popular they are."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from semantic_ids.resolvers.base import Candidates, Resolver, id_ranks
from semantic_ids.resolvers.suffix import with_suffix


class Popularity(Resolver):
    """Add a position: the item's rank by given counts among the items with its content code.

    The most popular item gets 0; equal counts go by id (MMGRec, arXiv 2404.16555, whose ranks
    begin at 1). Ranks are given once: items that come later take the smallest values that are
    free, whatever their counts.

    Parameters
    ----------
    max_suffix : number of values of the position, so the most items that may share a content
        code.

    Examples
    --------
    >>> codes = np.array([[0, 1], [0, 1], [1, 1]], dtype=np.int32)
    >>> counts = np.array([3.0, 20.0, 1.0])
    >>> Popularity().resolve(codes, np.arange(3), (2, 2), priority=counts).tolist()
    [[0, 1, 1], [0, 1, 0], [1, 1, 0]]
    """

    kind: Literal["popularity"] = "popularity"
    max_suffix: int = Field(default=256, ge=1)
    needs_vectors: ClassVar[bool] = False
    needs_priority: ClassVar[bool] = True

    @property
    def added_sizes(self) -> tuple[int, ...]:
        """One position with `max_suffix` values."""
        return (self.max_suffix,)

    def resolve(
        self,
        codes: np.ndarray,
        ids: np.ndarray,
        sizes: tuple[int, ...],
        *,
        candidates: Candidates | None = None,
        errors: np.ndarray | None = None,
        priority: np.ndarray | None = None,
        taken: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return unique codes (N, L + 1); see `Resolver.resolve`.

        Raises
        ------
        TypeError
            if there is no priority.
        ValueError
            if it is not one number an item.
        """
        if priority is None:
            raise TypeError(
                "Popularity needs priority, one count an item, such as how often each was bought"
            )
        counts = np.asarray(priority, dtype=np.float64)
        if counts.shape != (len(codes),):
            raise ValueError(f"priority: {len(codes)} items, got counts of shape {counts.shape}")
        if np.isnan(counts).any():
            raise ValueError(
                f"priority: {np.isnan(counts).sum()} items have NaN "
                f"(first: row {np.isnan(counts).argmax()}); give 0 where nothing is known"
            )
        ranks = id_ranks(ids)
        return with_suffix(codes, sizes, -counts, ranks, max_suffix=self.max_suffix, taken=taken)
