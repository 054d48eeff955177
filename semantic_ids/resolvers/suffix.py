"""Suffix: one more position that counts the items of a content code."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from semantic_ids.codes import check_codes, code_keys
from semantic_ids.errors import CollisionError
from semantic_ids.resolvers.base import Candidates, Resolver, buckets, id_ranks


class Suffix(Resolver):
    """Add a position that counts 0, 1, 2, ... the items with one content code, by id.

    The position is always there and 0 where an item is alone (TIGER, arXiv 2305.05065, section
    3.1). It carries no meaning: models must learn it by heart. Later items go on with the
    smallest values that are free.

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
        priority: np.ndarray | None = None,
        taken: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return unique codes (N, L + 1); see `Resolver.resolve`."""
        return with_suffix(codes, sizes, id_ranks(ids), max_suffix=self.max_suffix, taken=taken)


def with_suffix(
    codes: np.ndarray,
    sizes: tuple[int, ...],
    *order_by: np.ndarray,
    max_suffix: int,
    taken: np.ndarray | None = None,
) -> np.ndarray:
    """Add a position in which the items of each content code take the smallest free values.

    Parameters
    ----------
    codes : (N, L) int32 content codes.
    sizes : codebook sizes of the L levels.
    *order_by : (N,) arrays; of the items with one content code, the smallest goes first.
    max_suffix : number of values of the position.
    taken : (T, L + 1) codes that nobody may get, or None.

    Returns
    -------
    unique : (N, L + 1) int32.

    Raises
    ------
    CollisionError
        if a content code has fewer free values than items.

    Examples
    --------
    >>> codes = np.array([[3], [3]], dtype=np.int32)
    >>> with_suffix(codes, (4,), np.array([9, 2]), max_suffix=4, taken=[[3, 1]]).tolist()
    [[3, 2], [3, 0]]
    """
    keys = code_keys(codes, sizes)
    order, suffix = buckets(keys, *order_by)
    if taken is not None and len(taken):
        taken = check_codes(taken, (*sizes, max_suffix), name="taken")
        held = code_keys(taken[:, :-1], sizes)
        shared = np.isin(held, keys)  # a few items may join a large catalogue
        suffix = _free_values(keys[order], suffix, held[shared], taken[shared, -1])
    largest = int(suffix.max(initial=-1)) + 1
    if largest > max_suffix:
        raise CollisionError(
            f"max_suffix={max_suffix}: {largest} items share one content code; "
            f"choose max_suffix >= {largest}, more levels or larger codebooks"
        )
    added = np.empty((len(codes), 1), dtype=np.int32)
    added[order, 0] = suffix
    return np.concatenate([codes, added], axis=1)


def _free_values(
    keys: np.ndarray, place: np.ndarray, held_keys: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Return the value number `place` (0, 1, ...) that is not held under the same key.

    Below the i-th smallest held value h there are h - i free ones, so free value number p comes
    after just those held values with h - i <= p.
    """
    names, bucket = np.unique(np.concatenate([keys, held_keys]), return_inverse=True)
    wanted, holding = np.split(bucket, [len(keys)])
    order, rank = buckets(holding, held)
    span = int(max(place.max(initial=0), held.max(initial=0))) + 1
    free_below = holding[order] * span + held[order] - rank
    starts = np.searchsorted(holding[order], np.arange(len(names)))
    passed = np.searchsorted(free_below, wanted * span + place, side="right") - starts[wanted]
    return place + passed
