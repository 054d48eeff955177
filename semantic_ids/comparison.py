"""Comparison: how the codes of two tokenizers differ on the items that both know."""

from dataclasses import dataclass

import numpy as np

from semantic_ids.codes import code_keys
from semantic_ids.fitted import Fitted
from semantic_ids.neighbours import nearest

#: Items whose neighbours are compared, at most.
_SAMPLE = 1000


@dataclass(frozen=True)
class Comparison:
    """What changed between two tokenizers.

    Attributes
    ----------
    items : number of items that both know.
    only_first, only_second : number of items that one alone knows.
    changed : share of the common items whose content code differs at each level; of the levels
        that both have.
    prefix_agreement : share of pairs of items with the same first codes in either tokenizer that
        have them in both (Jaccard), for prefixes of 1, 2, ... levels. Codes may be named anew;
        this says whether the same items still stand together. 1 where no pair stands together.
    k : how many nearest neighbours of an item are compared.
    neighbour_overlap : share of an item's k nearest neighbours among the common items that are
        the same in both, by what their unique codes decode to, or, without a codec, by codes; the
        mean over a seeded sample of at most 1,000 items. None where fewer than two are common.
    """

    items: int
    only_first: int
    only_second: int
    changed: tuple[float, ...]
    prefix_agreement: tuple[float, ...]
    k: int
    neighbour_overlap: float | None

    def __str__(self) -> str:
        lines = [
            f"{self.items:,} items in both, {self.only_first:,} in the first alone, "
            f"{self.only_second:,} in the second alone",
            "level  changed codes  agreement of prefixes",
        ]
        for level, (changed, agreement) in enumerate(
            zip(self.changed, self.prefix_agreement, strict=True)
        ):
            lines.append(f"{level:5d} {changed:14.1%} {agreement:22.3f}")
        if self.neighbour_overlap is not None:
            lines.append(f"{self.neighbour_overlap:.1%} of {self.k} nearest neighbours in common")
        return "\n".join(lines)


def compare(first: Fitted, second: Fitted, k: int) -> Comparison:
    """Compare two tokenizers; see `Tokenizer.compare`.

    Raises
    ------
    ValueError
        if the ids of one are str and those of the other int, or k < 1.
    """
    one, two = first.catalogue, second.catalogue
    if one.ids.dtype.kind != two.ids.dtype.kind:
        raise ValueError("other: its ids are of another kind, str against int")
    rows = two.rows_or_none(one.ids)
    common = np.flatnonzero(rows >= 0)
    rows = rows[common]
    changed, agreement = compare_codes(
        one.content_codes[common],
        two.content_codes[rows],
        one.sizes[: one.content_codes.shape[1]],
        two.sizes[: two.content_codes.shape[1]],
    )
    return Comparison(
        items=len(common),
        only_first=len(one) - len(common),
        only_second=len(two) - len(common),
        changed=changed,
        prefix_agreement=agreement,
        k=k,
        neighbour_overlap=neighbour_overlap(
            (first, second), (one.codes[common], two.codes[rows]), k
        ),
    )


def compare_codes(
    first: np.ndarray,
    second: np.ndarray,
    first_sizes: tuple[int, ...],
    second_sizes: tuple[int, ...],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the shares of changed codes and the agreement of prefixes, level by level.

    Parameters
    ----------
    first, second : (n, L1) and (n, L2) int32 content codes of the same items, row by row.
    first_sizes, second_sizes : their codebook sizes.

    Examples
    --------
    >>> one, other = np.array([[0], [0], [1]]), np.array([[5], [5], [5]])
    >>> compare_codes(one, other, (2,), (9,))
    ((1.0,), (0.3333333333333333,))
    """
    changed, agreement = [], []
    for level in range(min(first.shape[1], second.shape[1])):
        changed.append(float((first[:, level] != second[:, level]).mean()) if len(first) else 0.0)
        end = level + 1
        one, other = (
            np.unique(code_keys(codes[:, :end], sizes[:end]), return_inverse=True)[1]
            for codes, sizes in ((first, first_sizes), (second, second_sizes))
        )
        both = one.astype(np.int64) * (other.max(initial=0) + 1) + other
        together, either = _pairs(both), _pairs(one) + _pairs(other)
        agreement.append(together / (either - together) if either else 1.0)
    return tuple(changed), tuple(agreement)


def neighbour_overlap(
    fitted: tuple[Fitted, Fitted], codes: tuple[np.ndarray, np.ndarray], k: int
) -> float | None:
    """Return the share of nearest neighbours in common; see `Comparison`.

    Parameters
    ----------
    fitted : two tokenizers.
    codes : their unique codes (n, P1) and (n, P2) of the same items, row by row.
    k : neighbours of an item; all others where there are fewer.
    """
    if k < 1:
        raise ValueError(f"k={k}: expected at least 1")
    n = len(codes[0])
    if n < 2:
        return None
    rows = np.arange(n)
    if n > _SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(n, size=_SAMPLE, replace=False))
    one, other = (
        _other_rows(fit, unique[:, : fit.catalogue.content_codes.shape[1]], rows, min(k, n - 1))
        for fit, unique in zip(fitted, codes, strict=True)
    )
    return float((one[:, :, None] == other[:, None, :]).any(axis=2).mean())


def _other_rows(fitted: Fitted, codes: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Return the k rows (n, k) nearest to each of some rows, but itself."""
    near, _ = nearest(fitted, codes[rows], codes, k + 1)
    others = near != rows[:, None]
    # Where k + 1 earlier rows have the same code, a row is not among its own nearest.
    others[others.all(axis=1), -1] = False
    return near[others].reshape(len(rows), k)


def _pairs(groups: np.ndarray) -> int:
    """Count the pairs of rows in one group."""
    counts = np.unique(groups, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())
