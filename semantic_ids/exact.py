"""Linear algebra that gives the same bits in any company, order and number of threads.

A matrix product in floating point depends on the order in which its terms are added, and BLAS
picks that order by the shape of the matrices and the number of threads. Here operands are split
into parts of so few bits that every product of two parts is a sum of integers below 2^53, which
is exact in whatever order it is added (K. Ozaki, T. Ogita, S. Oishi and S. M. Rump, Error-free
transformations of matrix multiplication, Numerical Algorithms 59, 2012).
"""

import math

import numpy as np

_BLOCK = 64  # columns that are eliminated together


def exact_product(x: np.ndarray, w: np.ndarray, *, parts: int = 2) -> np.ndarray:
    """Return x @ w in float64, each row a function of that row and of w alone, bit for bit.

    Parameters
    ----------
    x : real array (n, d).
    w : real array (d, k).
    parts : into how many parts of `part_bits(d)` bits operands are split, from the top; what is
        left over is dropped. It takes parts * (parts + 1) / 2 matrix products.

    Returns
    -------
    product : (n, k) float64. With b = part_bits(d), an entry is off by at most
        ``4 * d * max|x row| * max|w column| * ((parts + 1) * 2**(-parts * (b + 1)) + parts**2 *
        2**-53)``, as long as no product leaves the normal numbers of float64. For d = 384 that
        is, relative to d times these maxima, 9.5e-7 with one part and 1.7e-13 with two.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 50))
    >>> w = np.random.default_rng(1).normal(size=(50, 8))
    >>> product = exact_product(x, w)
    >>> bool(np.allclose(product, x @ w, rtol=0, atol=1e-9))
    True
    >>> bool((exact_product(x[7:8], w) == product[7:8]).all())
    True
    """
    bits = part_bits(x.shape[1])
    rows, columns = _split(x, bits, parts, axis=1), _split(w, bits, parts, axis=0)
    total = np.zeros((len(x), w.shape[1]))
    for order in reversed(range(parts)):  # the smallest products first
        for place in range(order + 1):
            total += rows[place] @ columns[order - place]
    return total


def part_bits(d: int) -> int:
    """Return how many bits the parts of sums of d products may have.

    Examples
    --------
    >>> part_bits(384)
    22
    """
    return (53 - math.ceil(math.log2(d))) // 2


def round_bits(values: np.ndarray, bits: int, axis: int | None) -> np.ndarray:
    """Round to multiples of 2**-bits times the power of two above the largest magnitude.

    Products of d such values a side are exact for bits <= `part_bits(d)`.

    Parameters
    ----------
    values : real array.
    bits : how many are left.
    axis : along which the largest is taken; None for that of all values.

    Examples
    --------
    >>> round_bits(np.array([[0.9, 0.3]]), 2, axis=1)
    array([[1.  , 0.25]])
    """
    return _split(values, bits, 1, axis)[0]


def exact_solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric positive definite system, the same bit for bit on any number of threads.

    Gauss-Jordan elimination in blocks, without pivoting, which such a matrix does not need.

    Parameters
    ----------
    matrix : real array (d, d), symmetric, positive definite and not nearly singular.
    right : real array (d, k).

    Returns
    -------
    solution : (d, k) float64, matrix @ solution = right up to rounding.

    Examples
    --------
    >>> exact_solve(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[4.0], [7.0]])).round(12)
    array([[1.],
           [2.]])
    """
    d = len(matrix)
    whole = np.concatenate([matrix, right], axis=1, dtype=np.float64)
    for start in range(0, d, _BLOCK):
        stop = min(start + _BLOCK, d)
        rows = whole[start:stop, start:]  # columns before are zero already
        for pivot in range(stop - start):
            rows[pivot] /= rows[pivot, pivot]
            factors = rows[:, pivot].copy()
            factors[pivot] = 0
            rows -= factors[:, None] * rows[pivot]
        others = np.r_[:start, stop:d]
        if len(others):
            factors = whole[others, start:stop]
            whole[others, start:] -= exact_product(factors, rows, parts=3)
    return whole[:, d:]


def _split(values: np.ndarray, bits: int, parts: int, axis: int | None) -> list[np.ndarray]:
    """Split values into sums of multiples of ever smaller powers of two, `bits` bits each."""
    rest = np.array(values, dtype=np.float64)
    largest = np.abs(rest).max(axis=axis, keepdims=True)
    reach = np.ldexp(1.0, np.frexp(largest)[1])  # the next power of two above
    split = []
    for _ in range(parts):
        step = reach * 2.0**-bits
        split.append(np.rint(rest / step) * step)
        rest -= split[-1]
        reach = step / 2
    return split
