"""Categories: how well the prefixes of codes agree with classes that people gave the items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semantic_ids.codes import prefix_groups


@dataclass(frozen=True)
class CategoryAgreement:
    """How the items' prefixes of one depth agree with their categories.

    Attributes
    ----------
    purity : share of the items in the most frequent category under their prefix; it grows with
        the number of prefixes, and is 1 where every item has its own.
    nmi : mutual information over the mean of both entropies.
    ami : the same, less what prefixes of these sizes reach by chance (Vinh, Epps and Bailey
        2010); about 0 for random codes, however many they are.
    """

    purity: float
    nmi: float
    ami: float


def category_labels(categories: Iterable[Any], n: int) -> np.ndarray:
    """Return the category of each of n items as a number from 0 on, -1 for none, (n,) int64.

    Parameters
    ----------
    categories : one str or int an item, or None (NaN, as data frames have it, is none too).
    n : how many there must be.

    Raises
    ------
    TypeError
        if it is one str, or a category is neither str nor int.
    ValueError
        if there are not n, or no item has one.

    Examples
    --------
    >>> category_labels(["tea", None, "milk", "tea"], 4)
    array([ 0, -1,  1,  0])
    """
    if isinstance(categories, str | set | frozenset) or not isinstance(categories, Iterable):
        raise TypeError(f"categories: expected one str or int an item, got {categories!r}")
    values = list(categories)
    if len(values) != n:
        raise ValueError(f"categories: {len(values):,} for {n:,} items; expected one an item")
    numbers: dict[Any, int] = {}
    labels = np.full(n, -1)
    for row, value in enumerate(values):
        if value is None or (isinstance(value, float) and np.isnan(value)):
            continue
        if not isinstance(value, str | int | np.integer) or isinstance(value, bool):
            raise TypeError(
                f"categories: expected a str, an int or None an item, got {value!r} (row {row})"
            )
        labels[row] = numbers.setdefault(value, len(numbers))
    if not numbers:
        raise ValueError("categories: no item has one")
    return labels


def category_agreement(
    codes: np.ndarray, sizes: Sequence[int], labels: np.ndarray
) -> tuple[CategoryAgreement, ...]:
    """Compare the prefixes of 1, 2, ... L codes with categories, over the items that have one.

    Parameters
    ----------
    codes : (N, L) int32 codes.
    sizes : codebook size of each level.
    labels : (N,) int, the items' categories from 0 on, -1 for none; not all -1.

    Notes
    -----
    The chance-adjusted figure takes time in the number of prefixes times that of categories:
    some seconds a depth for a million items.

    Examples
    --------
    >>> codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> [level.purity for level in category_agreement(codes, (2, 2), np.array([3, 4, 5, 5]))]
    [0.75, 1.0]
    """
    known = np.flatnonzero(labels >= 0)
    classes = np.unique(labels[known], return_inverse=True)[1]
    return tuple(_agreement(groups, classes) for groups in prefix_groups(codes[known], sizes))


def _agreement(groups: np.ndarray, classes: np.ndarray) -> CategoryAgreement:
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    # One row a prefix and category that meet, the prefixes one after the other.
    met, counts = np.unique(groups * (classes.max() + 1) + classes, return_counts=True)
    starts = np.flatnonzero(np.diff(met // (classes.max() + 1), prepend=-1))
    return CategoryAgreement(
        purity=float(np.maximum.reduceat(counts, starts).sum() / len(groups)),
        nmi=float(normalized_mutual_info_score(classes, groups)),
        ami=float(adjusted_mutual_info_score(classes, groups)),
    )
