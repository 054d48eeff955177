"""Masks over whole items, for pretraining a bidirectional encoder on histories.

A history of n items sits at the right end of its row: it occupies the last n of `width` columns.
How many items are masked is drawn from one distribution, whatever the kind of mask, so that an
ablation over kinds compares shape and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["span", "tail", "multi_region", "random"]

KINDS: tuple[Kind, ...] = ("span", "tail", "multi_region", "random")
"""The kinds of mask, in the order that `Masks.kinds` numbers them."""

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MaskMix(BaseModel):
    """How often each kind of mask is drawn, and how much of a history it covers.

    Parameters
    ----------
    span : weight of one run of items, anywhere in the history.
    tail : weight of the last items.
    multi_region : weight of several runs with visible items between them.
    random : weight of items drawn without regard to their neighbours, a control.
    low, high : bounds of the masked share of a history, 0 < low <= high < 1.
    regions : the most runs that a multi-region mask has, at least 2.

    Raises
    ------
    pydantic.ValidationError
        (a ValueError) if a weight is negative or not finite, all weights are 0, or `low`, `high`
        or `regions` is out of range.

    Notes
    -----
    Weights need not sum to 1; `probabilities` are the normalised ones.

    References
    ----------
    Q-BERT4Rec (arXiv 2512.02474) names the span, tail and multi-region masks. Its mixture and its
    masked share are not known: the defaults here are this package's.

    Examples
    --------
    >>> MaskMix(span=1, tail=3, multi_region=0, random=0).probabilities
    array([0.25, 0.75, 0.  , 0.  ])
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    span: Weight = 1.0
    tail: Weight = 1.0
    multi_region: Weight = 1.0
    random: Weight = 0.0
    low: float = Field(default=0.2, gt=0, lt=1)
    high: float = Field(default=0.6, gt=0, lt=1)
    regions: int = Field(default=3, ge=2)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any((self.span, self.tail, self.multi_region, self.random)):
            raise ValueError(f"all weights are 0; give at least one of {', '.join(KINDS)} a weight")
        if self.low > self.high:
            raise ValueError(f"low={self.low} should be <= high={self.high}")
        return self

    @property
    def probabilities(self) -> np.ndarray:
        """The weights of `KINDS`, in that order, scaled to sum to 1: (4,) float64."""
        weights = np.array([self.span, self.tail, self.multi_region, self.random])
        weights /= weights.max()  # so that the sum of huge weights does not overflow
        return weights / weights.sum()


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of a batch of B histories.

    Attributes
    ----------
    masked : (B, width) bool, True where an item is hidden.
    kinds : (B,) int8, the kind that was applied, an index into `KINDS`.
    amounts : (B,) int64, how many items are hidden.
    fallbacks : how many rows drew a multi-region mask and are too short to hold two runs; a random
        mask was applied, and `kinds` says so.
    """

    masked: np.ndarray
    kinds: np.ndarray
    amounts: np.ndarray
    fallbacks: int


def draw_amounts(lengths: ArrayLike, mix: MaskMix, rng: np.random.Generator) -> np.ndarray:
    """Draw how many items of each history to mask.

    A share `p` is drawn uniformly from `[mix.low, mix.high]` for each history, and the amount is
    `max(1, round(p n))`. From n = 3 on it is at least 2, so that every kind of mask can be
    applied, and it is at most n - 1, so that an item stays visible.

    Parameters
    ----------
    lengths : (B,) int, items of each history, at least 2.
    mix : the bounds of the share; its weights play no part.
    rng : the source of randomness.

    Returns
    -------
    (B,) int64

    Raises
    ------
    ValueError
        if a history has fewer than two items, naming the rows.

    Examples
    --------
    >>> draw_amounts([2, 3], MaskMix(), np.random.default_rng(0))
    array([1, 2])
    >>> draw_amounts([10, 20], MaskMix(low=0.5, high=0.5), np.random.default_rng(0))
    array([ 5, 10])
    """
    lengths = _checked_lengths(lengths)
    shares = rng.uniform(mix.low, mix.high, size=len(lengths))
    least = np.where(lengths >= 3, 2, 1)
    return np.clip(np.rint(shares * lengths).astype(np.int64), least, lengths - 1)


def draw_masks(lengths: ArrayLike, width: int, mix: MaskMix, rng: np.random.Generator) -> Masks:
    """Draw one mask for each history: an amount, a kind, and the items.

    Parameters
    ----------
    lengths : (B,) int, items of each history, from 2 to `width`.
    width : columns of a row.
    mix : the weights of the kinds and the bounds of the amount.
    rng : the source of randomness; equal states draw equal masks.

    Returns
    -------
    Masks

    Raises
    ------
    ValueError
        if a history has fewer than two items or more than `width`, naming the rows.

    Notes
    -----
    The amounts are drawn first: from equal generator states, mixes that differ in their weights
    alone mask equal amounts. All work is done on whole arrays, `O(B width log width)`.

    Examples
    --------
    >>> masks = draw_masks([5, 3, 8], 8, MaskMix(), np.random.default_rng(0))
    >>> masks.masked.shape
    (3, 8)
    >>> bool((masks.masked.sum(axis=1) == masks.amounts).all())
    True
    """
    lengths = _checked_lengths(lengths, width)
    amounts = draw_amounts(lengths, mix, rng)
    kinds = rng.choice(len(KINDS), size=len(lengths), p=mix.probabilities).astype(np.int8)
    too_few = (kinds == KINDS.index("multi_region")) & (amounts < 2)
    kinds[too_few] = KINDS.index("random")
    place: dict[Kind, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
        "span": partial(span_mask, rng=rng),
        "tail": tail_mask,
        "multi_region": partial(multi_region_mask, rng=rng, regions=mix.regions),
        "random": partial(random_mask, rng=rng),
    }
    masked = np.zeros((len(lengths), width), dtype=bool)
    for index, kind in enumerate(KINDS):
        rows = np.flatnonzero(kinds == index)
        masked[rows] = place[kind](lengths[rows], amounts[rows], width)
    return Masks(masked, kinds, amounts, fallbacks=int(too_few.sum()))


def tail_mask(lengths: ArrayLike, amounts: ArrayLike, width: int) -> np.ndarray:
    """Mask the last items of each history.

    Parameters
    ----------
    lengths : (B,) int, items of each history, from 2 to `width`.
    amounts : (B,) int, items to mask, from 1 to one fewer than the history has.
    width : columns of a row.

    Returns
    -------
    (B, width) bool

    Raises
    ------
    ValueError
        if a length or an amount is out of range, naming the rows.

    Examples
    --------
    >>> tail_mask([2, 4], [1, 3], 4).astype(int)
    array([[0, 0, 0, 1],
           [0, 1, 1, 1]])
    """
    lengths, amounts = _checked(lengths, amounts, width)
    return np.arange(width) >= width - amounts[:, None]


def span_mask(
    lengths: ArrayLike, amounts: ArrayLike, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Mask one run of items in each history; every place is equally likely.

    Parameters
    ----------
    lengths : (B,) int, items of each history, from 2 to `width`.
    amounts : (B,) int, items to mask, from 1 to one fewer than the history has.
    width : columns of a row.
    rng : the source of randomness.

    Returns
    -------
    (B, width) bool

    Raises
    ------
    ValueError
        if a length or an amount is out of range, naming the rows.

    Examples
    --------
    >>> masked = span_mask([6], [3], 6, np.random.default_rng(0))
    >>> "111" in "".join(map(str, masked[0].astype(int)))
    True
    """
    lengths, amounts = _checked(lengths, amounts, width)
    starts = width - lengths + rng.integers(0, lengths - amounts + 1)
    columns = np.arange(width)
    return (columns >= starts[:, None]) & (columns < (starts + amounts)[:, None])


def multi_region_mask(
    lengths: ArrayLike,
    amounts: ArrayLike,
    width: int,
    rng: np.random.Generator,
    *,
    regions: int = 3,
) -> np.ndarray:
    """Mask several runs of items in each history, with a visible item or more between them.

    A history of n items of which k are masked gets `min(regions, k, n - k + 1)` runs, as many as
    fit. Every set of k items that forms that many runs is equally likely.

    Parameters
    ----------
    lengths : (B,) int, items of each history, from 2 to `width`.
    amounts : (B,) int, items to mask, from 1 to one fewer than the history has.
    width : columns of a row.
    rng : the source of randomness.
    regions : the most runs that a row gets, at least 2.

    Returns
    -------
    (B, width) bool

    Raises
    ------
    ValueError
        if a length or an amount is out of range, naming the rows, or `regions` is.

    Notes
    -----
    The n - k visible items leave n - k + 1 slots before, between and after them. A mask of r runs
    is a choice of r slots and a composition of k into r positive parts, and each mask is one
    such pair only: drawing both uniformly draws the mask uniformly. The masked unit u, counted
    from the left, has u masked ones before it and as many visible ones as its run's slot says.

    Examples
    --------
    >>> multi_region_mask([3], [2], 4, np.random.default_rng(0)).astype(int)
    array([[0, 1, 0, 1]])
    """
    lengths, amounts = _checked(lengths, amounts, width)
    if regions < 2:
        raise ValueError(f"regions={regions} should be >= 2; span_mask makes a single run")
    slots_free = lengths - amounts + 1
    runs = np.minimum(regions, np.minimum(amounts, slots_free))
    chosen = _subsets(slots_free, runs, width, rng)
    ends_run = _subsets(amounts - 1, runs - 1, width, rng)

    units = np.arange(width)
    run_of_unit = np.cumsum(ends_run, axis=1) - ends_run
    slots = np.sort(np.where(chosen, units, width), axis=1)
    columns = (width - lengths)[:, None] + units + np.take_along_axis(slots, run_of_unit, axis=1)
    rows, unit = np.nonzero(units < amounts[:, None])
    masked = np.zeros((len(lengths), width), dtype=bool)
    masked[rows, columns[rows, unit]] = True
    return masked


def random_mask(
    lengths: ArrayLike, amounts: ArrayLike, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Mask items of each history at random; every set of that many is equally likely.

    Parameters
    ----------
    lengths : (B,) int, items of each history, from 2 to `width`.
    amounts : (B,) int, items to mask, from 1 to one fewer than the history has.
    width : columns of a row.
    rng : the source of randomness.

    Returns
    -------
    (B, width) bool

    Raises
    ------
    ValueError
        if a length or an amount is out of range, naming the rows.

    Examples
    --------
    >>> masked = random_mask([3, 5], [2, 4], 6, np.random.default_rng(0))
    >>> masked.sum(axis=1)
    array([2, 4])
    """
    lengths, amounts = _checked(lengths, amounts, width)
    # Subsets of the leading columns, turned round: histories are at the right end. Copied,
    # because torch takes no array with a negative stride.
    return _subsets(lengths, amounts, width, rng)[:, ::-1].copy()


def _subsets(
    sizes: np.ndarray, counts: np.ndarray, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Mark, in each row, `counts` of the first `sizes` columns, every choice equally likely."""
    columns = np.arange(width)
    keys = rng.random((len(sizes), width))
    keys[columns >= sizes[:, None]] = np.inf
    marked = np.zeros(keys.shape, dtype=bool)
    np.put_along_axis(marked, np.argsort(keys, axis=1), columns < counts[:, None], axis=1)
    return marked


def _checked(lengths: ArrayLike, amounts: ArrayLike, width: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = _checked_lengths(lengths, width)
    amounts = _integers(amounts, "amounts")
    if amounts.shape != lengths.shape:
        raise ValueError(f"amounts: {len(amounts)} came for {len(lengths)} lengths")
    _refuse((amounts < 1) | (amounts >= lengths), amounts, "amounts", "1 to length - 1")
    return lengths, amounts


def _checked_lengths(lengths: ArrayLike, width: int | None = None) -> np.ndarray:
    lengths = _integers(lengths, "lengths")
    too_short = "at least 2 items: one to mask and one to see; leave shorter histories out"
    _refuse(lengths < 2, lengths, "lengths", too_short)
    if width is not None:
        _refuse(lengths > width, lengths, "lengths", f"at most width={width} items")
    return lengths


def _integers(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name}: expected a 1-D array of integers, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _refuse(wrong: np.ndarray, values: np.ndarray, name: str, expected: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        first = ", ".join(f"row {row} has {values[row]}" for row in rows[:5])
        more = ", ..." if len(rows) > 5 else ""
        raise ValueError(
            f"{name}: {len(rows)} of {len(values)} are out of range ({first}{more}); "
            f"expected {expected}"
        )
