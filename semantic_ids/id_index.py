"""Id index: which row has which id."""

import numpy as np

from semantic_ids.ids import id_blocks
from semantic_ids.sorted_index import SortedIndex


class IdIndex:
    """Finds the rows of ids; a value.

    An int is its own key. A string's key is its hash of 64 bits, so the index holds and sorts
    numbers alone; strings that share a hash are told apart by comparing them.

    Parameters
    ----------
    ids : (R,) an id array of all rows.
    index : the keys of those rows that are to be found, whose ids are distinct.
    """

    def __init__(self, ids: np.ndarray, index: SortedIndex) -> None:
        self._ids = ids
        self._index = index
        shared = index.repeated()
        if len(np.unique(ids[shared])) < len(shared):
            raise ValueError("catalogue: two items have one id")

    @classmethod
    def of(cls, ids: np.ndarray, rows: np.ndarray | None = None) -> "IdIndex":
        """Index some rows, or all of them.

        Raises
        ------
        ValueError
            if two of the rows have one id.
        """
        return cls(ids, SortedIndex.of(_keys(ids if rows is None else ids[rows]), rows))

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that it holds in memory, the ids apart."""
        return self._index.arrays

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Return the rows (n,) int64 of ids of this index's kind, -1 for unknown ones."""
        at, end = self._index.spans(_keys(wanted))
        found = np.full(len(wanted), -1)
        pending = np.flatnonzero(at < end)
        while len(pending):
            rows = self._index.rows(at[pending])
            same = self._ids[rows] == wanted[pending]
            found[pending[same]] = rows[same]
            at[pending] += 1
            pending = pending[~same & (at[pending] < end[pending])]
        return found

    def inserted(self, ids: np.ndarray, rows: np.ndarray) -> "IdIndex":
        """Return the index with more rows (m,) of `ids` (R,), which begin with those so far.

        Raises
        ------
        ValueError
            if an id is there already, or two of the rows have one.
        """
        return IdIndex(ids, self._index.inserted(_keys(ids[rows]), rows))

    def without(self, gone: np.ndarray) -> "IdIndex":
        """Return the index without the rows that a (R,) bool array marks."""
        return IdIndex(self._ids, self._index.without(gone))


def _keys(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind == "i":
        return ids
    # Python's hash is keyed anew in each process: nobody can prepare ids that share one.
    keys = np.empty(len(ids), dtype=np.int64)
    for part in id_blocks(len(ids)):
        texts = ids[part].tolist()
        keys[part] = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
    return keys
