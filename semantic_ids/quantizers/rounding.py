"""How far float32 scores |c|^2 / 2 - rc of entries c may be off."""

from collections.abc import Sequence

import numpy as np

UNIT32 = 2.0**-24  # unit roundoff of float32
UNIT64 = 2.0**-53
TINY32 = 2.0**-126  # smallest normal float32, what an underflow loses at most


def norm_bounds(x: np.ndarray) -> np.ndarray:
    """Return bounds (n,) float64 of the norms of float32 rows (n, d), hardly above them.

    A sum of d squares in float32 is off by some d u of itself, and by what underflows.

    Examples
    --------
    >>> norm_bounds(np.array([[3.0, 4.0]], dtype=np.float32)).round(5).tolist()
    [5.0]
    """
    width = x.shape[1]
    squares = np.vecdot(x, x).astype(np.float64)
    return np.sqrt((1 + 2 * width * UNIT32) * squares + width * TINY32)


def score_bounds(
    reach: np.ndarray, largest: np.ndarray | float, width: int, levels: np.ndarray | int = 0
) -> np.ndarray:
    """Bound the rounding error of scores |c|^2 / 2 - rc in float32.

    With u the unit roundoff, R the reach and C the largest norm: a product of d terms errs by at
    most (d + 1) u R C, the residual r it starts from by one u R a level, the half norm and the sum
    by u C (C + R). Besides, each of these operations may underflow.

    Parameters
    ----------
    reach : bounds of |r| at the first level, and of all that is taken away before later ones.
    largest : largest norm of an entry c.
    width : number d of columns.
    levels : how many entries have been taken away from r.

    Examples
    --------
    >>> bool(score_bounds(np.array([1.0]), 1.0, 8)[0] < 1e-6)
    True
    """
    units = (width + levels + 3) * reach + 2 * largest
    underflow = (width + 3) * TINY32
    return (1.01 * UNIT32 * largest * units + underflow).astype(np.float32)


def half_norms(book: np.ndarray) -> np.ndarray:
    """Return half the squared norms of entries (K,) float32, infinite for a repeated entry.

    Of equal entries the first is always chosen; leaving the others out saves deciding it.
    """
    half = ((book.astype(np.float64) ** 2).sum(axis=1) / 2).astype(np.float32)
    if len(np.unique(half)) == len(half):
        return half
    _, first = np.unique(book, axis=0, return_index=True)
    repeated = np.ones(len(book), dtype=bool)
    repeated[first] = False
    half[repeated] = np.inf
    return half


def largest_norms(codebooks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the norm of each codebook's longest entry, (L,) float64.

    Examples
    --------
    >>> largest_norms([np.array([[3.0, 4.0], [0.0, 1.0]])]).tolist()
    [5.0]
    """
    return np.array(
        [np.sqrt((book.astype(np.float64) ** 2).sum(axis=1).max()) for book in codebooks]
    )
