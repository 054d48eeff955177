"""Catalogue: item id <-> unique code."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from semantic_ids.codes import check_codes, code_keys
from semantic_ids.errors import UnknownItemError
from semantic_ids.ids import id_array, is_id


class Catalogue:
    """Which item has which code, and which code stands for which item; a value.

    It only grows: `extended` and `retired` return a new catalogue. A retired row keeps its code,
    so that nobody else gets it, but its item is not found any more.

    Parameters
    ----------
    ids : (R,) an int64 or a numpy string array; distinct but for retired rows.
    codes : (R, P) int32 distinct unique codes.
    content_codes : (R, L) int32 content codes.
    sizes : number of codes at each of the P positions.
    retired : (R,) bool, True for rows whose item is gone; None where none is.

    Attributes
    ----------
    ids, codes, content_codes : those of the N items that are there, row by row, read-only.

    Raises
    ------
    ValueError
        if two items have one id or one code.
    """

    def __init__(
        self,
        ids: np.ndarray,
        codes: np.ndarray,
        content_codes: np.ndarray,
        sizes: tuple[int, ...],
        retired: np.ndarray | None = None,
    ) -> None:
        gone = np.zeros(len(ids), dtype=bool) if retired is None else retired
        if not len(ids) == len(codes) == len(content_codes) == len(gone):
            raise ValueError(
                f"catalogue: {len(ids)} ids, {len(codes)} codes, "
                f"{len(content_codes)} content codes; expected equal numbers"
            )
        self.sizes = sizes
        self._all_ids, self._gone = ids, gone
        self._all_codes = check_codes(codes, sizes)
        self._all_content = check_codes(
            content_codes, sizes[: content_codes.shape[1]], name="content_codes"
        )
        there = slice(None) if not gone.any() else np.flatnonzero(~gone)
        self.ids = self._all_ids[there]
        self.codes = self._all_codes[there]
        self.content_codes = self._all_content[there]
        for array in (self.ids, self.codes, self.content_codes):
            array.flags.writeable = False
        self._by_id = np.argsort(self.ids, kind="stable")
        self._sorted_ids = self.ids[self._by_id]
        keys = code_keys(self.codes, sizes)
        self._by_code = np.argsort(keys, kind="stable")
        self._sorted_keys = keys[self._by_code]
        _check_distinct("id", self._sorted_ids)
        every_key = np.sort(code_keys(self._all_codes, sizes)) if gone.any() else self._sorted_keys
        _check_distinct("code", every_key)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: Any) -> bool:
        try:
            self.rows([item])
        except (UnknownItemError, ValueError):
            return False
        return True

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take, indexes included; strings of up to 15 bytes count as 16."""
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        return sum({id(_owner(array)): _owner(array).nbytes for array in arrays}.values())

    @property
    def taken(self) -> np.ndarray:
        """All codes that were ever given out, those of retired rows too, (R, P) int32."""
        return self._all_codes

    def rows(self, ids: Any) -> np.ndarray:
        """Return the rows (n,) int64 of ids: a sequence or 1-D array, or a single id.

        Raises
        ------
        UnknownItemError
            if the catalogue has no such item.
        """
        wanted = id_array([ids] if is_id(ids) else ids)
        if not len(wanted):
            return np.zeros(0, dtype=np.int64)
        if wanted.dtype.kind != self.ids.dtype.kind:
            kind = "int" if self.ids.dtype.kind == "i" else "str"
            raise UnknownItemError(
                f"ids: this catalogue's ids are {kind}, got {wanted.tolist()[0]!r}"
            )
        rows = self.rows_or_none(wanted)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            raise UnknownItemError(
                f"ids: {len(unknown)} of {len(wanted)} are not in the catalogue "
                f"(first: {wanted.tolist()[unknown[0]]!r})"
            )
        return rows

    def rows_or_none(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows (n,) int64 of an id array of this catalogue's kind, -1 for unknown."""
        return _find(self._sorted_ids, self._by_id, ids)

    def find(self, codes: Any) -> np.ndarray:
        """Return the rows (n,) int64 of unique codes (n, P), -1 where no item has the code."""
        keys = code_keys(check_codes(codes, self.sizes), self.sizes)
        return _find(self._sorted_keys, self._by_code, keys)

    def lookup(self, codes: Any) -> list[str | int | None]:
        """Return the id of each unique code (n, P), None where no item has it."""
        rows = self.find(codes)
        if not len(self):
            return [None] * len(rows)
        ids: Sequence[str | int] = self.ids[rows].tolist()
        return [item if row >= 0 else None for item, row in zip(ids, rows, strict=True)]

    def extended(
        self, ids: np.ndarray, codes: np.ndarray, content_codes: np.ndarray
    ) -> "Catalogue":
        """Return a catalogue with more items after these."""
        return Catalogue(
            np.concatenate([self._all_ids, ids]),
            np.concatenate([self._all_codes, codes]),
            np.concatenate([self._all_content, content_codes]),
            self.sizes,
            np.concatenate([self._gone, np.zeros(len(ids), dtype=bool)]),
        )

    def retired(self, rows: np.ndarray) -> "Catalogue":
        """Return a catalogue without the items of some rows, whose codes stay taken."""
        gone = self._gone.copy()
        gone[np.flatnonzero(~self._gone)[rows]] = True
        return self._with(gone)

    def revived(self, ids: np.ndarray, content_codes: np.ndarray) -> "Catalogue":
        """Return a catalogue in which retired items are back, if their content is the same.

        Parameters
        ----------
        ids : (n,) distinct ids of this catalogue's kind, none of an item that is there.
        content_codes : (n, L) what the items' content code is now.
        """
        gone = np.flatnonzero(self._gone)
        gone = gone[np.argsort(self._all_ids[gone], kind="stable")]
        first = np.searchsorted(self._all_ids[gone], ids, side="left")
        counts = np.searchsorted(self._all_ids[gone], ids, side="right") - first
        # An item that moved more than once has several retired rows: look at each.
        item = np.repeat(np.arange(len(ids)), counts)
        place = np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        same = (self._all_content[gone[place]] == content_codes[item]).all(axis=1)
        back = np.full(len(ids), -1)
        back[item[same]] = gone[place[same]]
        still_gone = self._gone.copy()
        still_gone[back[back >= 0]] = False
        return self._with(still_gone)

    def _with(self, gone: np.ndarray) -> "Catalogue":
        return Catalogue(self._all_ids, self._all_codes, self._all_content, self.sizes, gone)

    def to_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return ids, codes, content codes and retired flags of all R rows."""
        return self._all_ids, self._all_codes, self._all_content, self._gone


def _find(values: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return ``rows`` where the sorted `values` equal `wanted`, -1 elsewhere."""
    if not len(values):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[at] == wanted, rows[at], -1)


def _check_distinct(name: str, ordered: np.ndarray) -> None:
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError(f"catalogue: two items have one {name}")


def _owner(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory a view shows."""
    return array if array.base is None else _owner(array.base)
