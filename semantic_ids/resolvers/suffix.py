"""Suffix: one more position that counts the items of a content code."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from semantic_ids.codes import code_keys
from semantic_ids.errors import CollisionError
from semantic_ids.resolvers.base import Candidates, Resolver, buckets, id_ranks


class Suffix(Resolver):
    """Add a position that counts 0, 1, 2, ... the items with one content code, by id.

    The position is always there and 0 where an item is alone (TIGER, arXiv 2305.05065, section
    3.1). It carries no meaning: models must learn it by heart.

    Parameters
    ----------
    max_suffix : number of values of the position, so the most items that may share a content
        code.

    Examples
    --------
    >>> codes = np.array([[0, 1], [0, 1], [1, 1]], dtype=np.int32)
    >>> Suffix().resolve(codes, np.array([8, 5, 1]), (2, 2)).tolist()
    [[0, 1, 1], [0, 1, 0], [1, 1, 0]]
    """

    kind: Literal["suffix"] = "suffix"
    max_suffix: int = Field(default=256, ge=1)
    needs_vectors: ClassVar[bool] = False

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
    ) -> np.ndarray:
        """Return unique codes (N, L + 1); see `Resolver.resolve`."""
        order, place = buckets(code_keys(codes, sizes), id_ranks(ids))
        largest = int(place.max(initial=-1)) + 1
        if largest > self.max_suffix:
            raise CollisionError(
                f"max_suffix={self.max_suffix}: {largest} items share one content code; "
                f"choose max_suffix >= {largest}, more levels or larger codebooks"
            )
        suffix = np.empty((len(codes), 1), dtype=np.int32)
        suffix[order, 0] = place
        return np.concatenate([codes, suffix], axis=1)
