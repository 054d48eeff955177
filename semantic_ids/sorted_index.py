"""Sorted index: which rows have which key, kept in order while rows come and go."""

import numpy as np


class SortedIndex:
    """Rows in the order of their keys; a value.

    Building one sorts; adding rows to one, or leaving rows out, copies and does not sort.

    Parameters
    ----------
    keys : (n,) ascending keys, int64 or byte strings; several rows may have one key.
    rows : (n,) int64, the row of each key; None where they are 0, 1, ..., n - 1.

    Examples
    --------
    >>> index = SortedIndex.of(np.array([30, 10, 20]))
    >>> index.find(np.array([10, 15])).tolist()
    [1, -1]
    >>> index.inserted(np.array([15]), np.array([3])).find(np.array([10, 15])).tolist()
    [1, 3]
    """

    def __init__(self, keys: np.ndarray, rows: np.ndarray | None) -> None:
        self.keys = keys
        self._rows = rows

    @classmethod
    def of(cls, keys: np.ndarray, rows: np.ndarray | None = None) -> "SortedIndex":
        """Sort the keys of rows, which are 0, 1, ... unless they are given."""
        if (keys[1:] >= keys[:-1]).all():
            return cls(keys, rows)
        order = np.argsort(keys)
        return cls(keys[order], order if rows is None else rows[order])

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it holds in memory."""
        return [self.keys] if self._rows is None else [self.keys, self._rows]

    def rows(self, places: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the rows (n,) int64 at some places of the order, all by default."""
        if self._rows is not None:
            return self._rows[places]
        return np.arange(len(self))[places] if isinstance(places, slice) else places

    def spans(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the run of each wanted key begins and ends in the order, (n,) each."""
        return np.searchsorted(self.keys, wanted), np.searchsorted(self.keys, wanted, side="right")

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Return the first row (n,) int64 with each wanted key, -1 where there is none."""
        if not len(self):
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self) - 1)
        return np.where(self.keys[at] == wanted, self.rows(at), -1)

    def repeated(self) -> np.ndarray:
        """Return the rows whose key another row has too, those with one key side by side."""
        same = self.keys[1:] == self.keys[:-1]
        if not same.any():
            return np.zeros(0, dtype=np.int64)
        shared = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        return self.rows(np.flatnonzero(shared))

    def inserted(self, keys: np.ndarray, rows: np.ndarray) -> "SortedIndex":
        """Return the index with more rows: keys (m,) in any order, rows (m,) int64."""
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
        at = np.searchsorted(self.keys, keys, side="right")
        longer = np.insert(self.keys, at, keys)
        n = len(self)
        if self._rows is None and (at == n).all() and (rows == n + np.arange(len(rows))).all():
            return SortedIndex(longer, None)
        return SortedIndex(longer, np.insert(self.rows(), at, rows))

    def without(self, gone: np.ndarray) -> "SortedIndex":
        """Return the index without the rows that a (R,) bool array marks."""
        rows = self.rows()
        kept = ~gone[rows]
        return SortedIndex(self.keys[kept], rows[kept])
