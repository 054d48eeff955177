"""Codes as arrays: checking them, and turning each into one sortable key."""

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def check_codes(codes: object, sizes: Sequence[int], *, name: str = "codes") -> np.ndarray:
    """Return codes as (n, len(sizes)) int32, each entry within its codebook.

    A single code (one dimension) is read as one row.

    Raises
    ------
    ValueError
        if the shape or the type is wrong, or an entry is out of range; the error names the
        first such row and its position.

    Examples
    --------
    >>> check_codes([[0, 3]], [2, 4])
    array([[0, 3]], dtype=int32)
    """
    array = np.asarray(codes)
    if array.size == 0:
        array = array.reshape(-1, len(sizes)).astype(np.int32)
    if array.ndim == 1:
        array = array[None]
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != len(sizes):
        hint = "; vocabulary.from_strings reads tokens" if array.dtype.kind in "TU" else ""
        raise ValueError(
            f"{name}: expected integers of shape (n, {len(sizes)}), "
            f"got {array.dtype} of shape {array.shape}{hint}"
        )
    wrong = (array < 0) | (array >= np.asarray(sizes))
    if wrong.any():
        row, level = (int(part[0]) for part in np.nonzero(wrong))
        raise ValueError(
            f"{name}: row {row} has {array[row, level]} at level {level}, "
            f"whose codes are 0 to {sizes[level] - 1}"
        )
    return array.astype(np.int32)


def code_keys(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return one key a code; keys compare as codes do, position by position.

    Small code spaces give int64 keys, others byte strings of one length.

    Parameters
    ----------
    codes : (n, P) int32, valid for `sizes`.
    sizes : number of codes at each of the P positions.

    Returns
    -------
    keys : (n,) of one dtype, the same for equal `sizes`.

    Examples
    --------
    >>> code_keys(np.array([[0, 3], [1, 0]], dtype=np.int32), [2, 4])
    array([3, 4])
    """
    if math.prod(sizes) < 2**62:
        keys = np.zeros(len(codes), dtype=np.int64)
        for level, size in enumerate(sizes):
            keys = keys * size + codes[:, level]
        return keys
    wide = np.ascontiguousarray(codes.astype(">u4"))
    return wide.view(f"S{4 * len(sizes)}").reshape(len(codes))


def bucket_sizes(keys: np.ndarray) -> np.ndarray:
    """Return, for each key, how many of the keys equal it, (n,) int64."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return counts[inverse]


def prefix_groups(codes: np.ndarray, sizes: Sequence[int]) -> Iterator[np.ndarray]:
    """Number the prefixes of 1, 2, ... L codes in their order, one array (N,) int64 a depth.

    Parameters
    ----------
    codes : (N, L) int32, valid for `sizes`.
    sizes : number of codes at each of the L positions.

    Examples
    --------
    >>> [groups.tolist() for groups in prefix_groups(np.array([[5, 1], [2, 0], [5, 0]]), (9, 9))]
    [[1, 0, 1], [2, 0, 1]]
    """
    order = np.argsort(code_keys(codes, sizes), kind="stable")
    ordered = codes[order]
    begins = np.zeros(len(codes), dtype=bool)
    for level in range(len(sizes)):
        begins[1:] |= ordered[1:, level] != ordered[:-1, level]
        groups = np.empty(len(codes), dtype=np.int64)
        groups[order] = np.cumsum(begins)
        yield groups


def side_by_side(codes: Any) -> np.ndarray:
    """Return codes (N, L) of any integer type, or several such arrays put side by side.

    Raises
    ------
    ValueError
        if they are not integers of two dimensions, of at least 0.

    Examples
    --------
    >>> side_by_side([[[1], [2]], [[3], [4]]]).tolist()
    [[1, 3], [2, 4]]
    """
    several = isinstance(codes, list | tuple) and all(np.ndim(part) == 2 for part in codes)
    try:
        array = np.concatenate([np.asarray(part) for part in codes], axis=1) if several else codes
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"codes: expected as many codes in each row: {error}") from None
    except (TypeError, RuntimeError) as error:  # a tensor that is no array, such as bfloat16
        raise ValueError(f"codes: expected integers of shape (N, L): {error}") from None
    if array.ndim != 2 or array.dtype.kind not in "iu" or 0 in array.shape:
        raise ValueError(
            f"codes: expected integers of shape (N, L), got {array.dtype} of shape {array.shape}"
        )
    if array.min() < 0:
        row, level = (int(part[0]) for part in np.nonzero(array < 0))
        raise ValueError(
            f"codes: row {row} has {array[row, level]} at level {level}; codes begin at 0"
        )
    return array


def code_sizes(codes: np.ndarray, sizes: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the codebook sizes as plain ints; the largest code + 1 where none are given.

    Parameters
    ----------
    codes : (N, L) integers of at least 0.
    sizes : one a level, or one for all.

    Raises
    ------
    TypeError
        if sizes are not whole numbers.
    ValueError
        if they are not one a level, of at least 1, or codes are beyond int32.

    Examples
    --------
    >>> code_sizes(np.array([[255, 3]], dtype=np.uint8), None)
    (256, 4)
    """
    # Plain ints: the largest uint8 + 1 is 0, and products of numpy's integers wrap around.
    if sizes is None:
        sizes = [largest + 1 for largest in codes.max(axis=0).tolist()]
    levels = codes.shape[1]
    given = [sizes] * levels if np.ndim(sizes) == 0 else list(sizes)  # type: ignore[arg-type]
    try:
        plain = tuple(operator.index(size) for size in given)
    except TypeError:
        raise TypeError(f"codebook_sizes: expected whole numbers, got {sizes!r}") from None
    if len(plain) != levels:
        raise ValueError(
            f"codebook_sizes: expected one size for each of the {levels} levels, or one number "
            f"for all, got {len(plain)} sizes"
        )
    if min(plain) < 1:
        raise ValueError(f"codebook_sizes: expected sizes of at least 1, got {min(plain)}")
    if max(plain, default=0) > 2**31:
        raise ValueError(f"codes: codes are 0 to {2**31 - 1}, got {max(plain) - 1}")
    return plain
