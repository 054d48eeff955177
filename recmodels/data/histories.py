"""Histories: the item rows of many users, oldest first, in one flat array."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

#: Users whose histories are copied at a time.
_BLOCK_USERS = 1 << 16


@dataclass(frozen=True, eq=False, repr=False)
class Histories:
    """The items of U users, oldest first, one user after another.

    User `u` has ``items[offsets[u]:offsets[u + 1]]``. Both arrays are copied and made read-only,
    but for arrays of these types that are mapped read-only from a file (``np.load(path,
    mmap_mode="r")``): those are kept as they are, and the file must not change. Two histories are
    equal if every user has the same items in the same order.

    Parameters
    ----------
    items : (E,) int32, item rows, the first user's before the second's.
    offsets : (U + 1,) int64, where each user's items begin; starts with 0 and ends with E.

    Raises
    ------
    ValueError
        if an array is not one-dimensional and of integers, an item is negative or beyond int32,
        or the offsets do not rise from 0 to E.

    Examples
    --------
    >>> histories = Histories.of([[3, 1, 4], [1, 5]])
    >>> len(histories), histories.lengths.tolist()
    (2, [3, 2])
    >>> histories[0].tolist()
    [3, 1, 4]
    >>> histories.padded(4)
    array([[-1,  3,  1,  4],
           [-1, -1,  1,  5]], dtype=int32)
    """

    items: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        """Copy and check both arrays."""
        object.__setattr__(self, "items", row_array("items", self.items))
        object.__setattr__(self, "offsets", row_array("offsets", self.offsets, np.int64))
        _check_offsets(self.offsets, len(self.items))

    @classmethod
    def of(cls, sequences: Iterable[Any]) -> Self:
        """Gather one sequence of item rows a user.

        Parameters
        ----------
        sequences : for each user, a list or 1-D array of integers, oldest first; may be empty.

        Raises
        ------
        ValueError
            if a sequence is not one-dimensional, or holds anything but item rows.

        Examples
        --------
        >>> Histories.of([[7, 7], [], [2]]).offsets.tolist()
        [0, 2, 2, 3]
        """
        rows = [_sequence(user, sequence) for user, sequence in enumerate(sequences)]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        # Empty lists are float64 to numpy: concatenated, they would turn the others into floats.
        filled = [row for row in rows if len(row)]
        return cls(np.concatenate(filled) if filled else np.zeros(0), _offsets(lengths))

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.offsets) - 1

    def __getitem__(self, user: int) -> np.ndarray:
        """Return one user's items, (n,) int32, as a read-only view.

        Raises
        ------
        IndexError
            if there is no such user.
        """
        if not -len(self) <= user < len(self):
            raise IndexError(f"user {user}: expected {-len(self)} to {len(self) - 1}")
        user %= len(self)
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Go through the users in order."""
        return (self[user] for user in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Say whether every user has the same items in the same order."""
        if not isinstance(other, Histories):
            return NotImplemented
        return np.array_equal(self.items, other.items) and np.array_equal(
            self.offsets, other.offsets
        )

    def __repr__(self) -> str:
        """Count the users and what they have."""
        text = f"Histories({len(self):,} users, {len(self.items):,} interactions"
        if len(self):
            text += f", {self.lengths.min()} to {self.lengths.max()} a user"
        return text + ")"

    @property
    def lengths(self) -> np.ndarray:
        """Number of items of each user, (U,) int64."""
        return np.diff(self.offsets)

    def take(self, users: Any) -> Self:
        """Return the histories of some users, in the order asked for.

        Parameters
        ----------
        users : (n,) integers from 0 to U - 1; a user may be named more than once.

        Raises
        ------
        ValueError
            if they are not a 1-D array of integers, or negative.
        IndexError
            if there is no such user.

        Examples
        --------
        >>> [row.tolist() for row in Histories.of([[3, 1], [1, 5, 9]]).take([1, 0, 1])]
        [[1, 5, 9], [3, 1], [1, 5, 9]]
        """
        rows = row_array("users", users, np.int64)
        if len(rows) and rows.max() >= len(self):
            raise IndexError(f"users: expected 0 to {len(self) - 1}, got {rows.max()}")
        return self._pieces(self.offsets[rows], self.lengths[rows])

    def drop_last(self, n: int) -> Self:
        """Return each user's history without its last `n` items; no longer one, and it is empty.

        Raises
        ------
        ValueError
            if `n` is negative.

        Examples
        --------
        >>> [row.tolist() for row in Histories.of([[3, 1, 4], [1]]).drop_last(2)]
        [[3], []]
        """
        _check_count("n", n)
        return self._pieces(self.offsets[:-1], np.maximum(self.lengths - n, 0))

    def last(self, n: int) -> Self:
        """Return each user's most recent `n` items, or all of them where there are fewer.

        Raises
        ------
        ValueError
            if `n` is negative.

        Examples
        --------
        >>> [row.tolist() for row in Histories.of([[3, 1, 4], [1]]).last(2)]
        [[1, 4], [1]]
        """
        _check_count("n", n)
        lengths = np.minimum(self.lengths, n)
        return self._pieces(self.offsets[1:] - lengths, lengths)

    def padded(self, width: int, fill: int = -1) -> np.ndarray:
        """Return the most recent `width` items of each user as a matrix, the last one rightmost.

        Parameters
        ----------
        width : number of columns.
        fill : what stands to the left of a history shorter than `width`.

        Returns
        -------
        matrix : (U, width) int32, writeable.

        Raises
        ------
        ValueError
            if `width` is negative.
        """
        recent = self.last(width)
        matrix = np.full((len(self), width), fill, dtype=np.int32)
        # A mask reads and writes row by row, which is the order of the flat array.
        matrix[np.arange(width) >= width - recent.lengths[:, None]] = recent.items
        return matrix

    def _pieces(self, starts: np.ndarray, lengths: np.ndarray) -> Self:
        """Return the histories ``items[start:start + length]``."""
        offsets = _offsets(lengths)
        items = np.empty(offsets[-1], dtype=np.int32)
        shifts = starts - offsets[:-1]
        for first in range(0, len(lengths), _BLOCK_USERS):
            users = slice(first, first + _BLOCK_USERS)
            begin, end = offsets[first], offsets[min(first + _BLOCK_USERS, len(lengths))]
            index = np.arange(begin, end) + np.repeat(shifts[users], lengths[users])
            items[begin:end] = self.items[index]
        return type(self)(items, offsets)


def row_array(name: str, values: Any, dtype: type[np.signedinteger] = np.int32) -> np.ndarray:
    """Return row numbers as a read-only 1-D array, a copy unless they are mapped from a file.

    Parameters
    ----------
    name : what to call it in an error.
    values : 1-D array or sequence of integers, none negative; kept as it is where it has the type
        and is mapped read-only from a file.
    dtype : of the result.

    Raises
    ------
    ValueError
        if it has another shape or kind, or a value does not fit.

    Examples
    --------
    >>> row_array("items", [2, 0])
    array([2, 0], dtype=int32)
    """
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name}: expected integers in one dimension, got {array.dtype} of shape {array.shape}"
        )
    largest = np.iinfo(dtype).max
    if len(array) and (array.min() < 0 or array.max() > largest):
        wrong = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{name}: expected 0 to {largest}, got {wrong}")
    mapped = isinstance(values, np.memmap) and values.mode == "r"
    rows = array.astype(dtype, copy=not mapped)
    rows.flags.writeable = False
    return rows


def _sequence(user: int, sequence: Any) -> np.ndarray:
    row = np.asarray(sequence)
    if row.ndim != 1:
        raise ValueError(
            f"sequences[{user}]: expected item rows in one dimension, got shape {row.shape}"
        )
    if len(row) and row.dtype.kind not in "iu":
        raise ValueError(f"sequences[{user}]: expected integers, got {row.dtype}")
    return row


def _offsets(lengths: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _check_offsets(offsets: np.ndarray, n_items: int) -> None:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != n_items:
        ends = f"{offsets[0]} and {offsets[-1]}" if len(offsets) else "nothing"
        raise ValueError(f"offsets: expected to start with 0 and end with {n_items}, got {ends}")
    falls = np.flatnonzero(np.diff(offsets) < 0)
    if len(falls):
        raise ValueError(f"offsets: expected none to fall, got a smaller one at {falls[0] + 1}")


def _check_count(name: str, value: int) -> None:
    if value < 0:
        raise ValueError(f"{name}: expected 0 or more, got {value}")
