"""Catalogue: item id <-> unique code."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from semantic_ids.codes import check_codes, code_keys
from semantic_ids.errors import UnknownItemError
from semantic_ids.id_index import IdIndex
from semantic_ids.ids import id_array, is_id
from semantic_ids.sorted_index import SortedIndex


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
        codes = check_codes(codes, sizes)
        content_codes = _check_content(content_codes, sizes)
        _check_lengths(ids, codes, content_codes, gone)
        there = np.flatnonzero(~gone) if gone.any() else None
        by_id, by_code = IdIndex.of(ids, there), SortedIndex.of(code_keys(codes, sizes))
        self._set((ids, codes, content_codes, gone), sizes, by_id, by_code)

    def _set(
        self,
        all_rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
        sizes: tuple[int, ...],
        by_id: IdIndex,
        by_code: SortedIndex,
    ) -> None:
        """Take rows that are checked, and the indexes over those that are there and over all."""
        if len(by_code.repeated()):
            raise ValueError("catalogue: two items have one code")
        self.sizes = sizes
        self._all_ids, self._all_codes, self._all_content, self._gone = all_rows
        self._by_id, self._by_code = by_id, by_code
        self._there = np.flatnonzero(~self._gone) if self._gone.any() else None

    @cached_property
    def ids(self) -> np.ndarray:
        """Ids of the N items that are there, row by row, read-only."""
        return self._read_only(self._all_ids)

    @cached_property
    def codes(self) -> np.ndarray:
        """Unique codes (N, P) int32 of the items that are there, row by row, read-only."""
        return self._read_only(self._all_codes)

    @cached_property
    def content_codes(self) -> np.ndarray:
        """Content codes (N, L) int32 of the items that are there, row by row, read-only."""
        return self._read_only(self._all_content)

    def _read_only(self, array: np.ndarray) -> np.ndarray:
        there = array[slice(None) if self._there is None else self._there]
        there.flags.writeable = False
        return there

    def __len__(self) -> int:
        return len(self._all_ids if self._there is None else self._there)

    def __contains__(self, item: Any) -> bool:
        try:
            self.rows([item])
        except (UnknownItemError, ValueError):
            return False
        return True

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take, indexes included; strings of up to 15 bytes count as 16."""
        own = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        owners = map(_owner, [*own, *self._by_id.arrays, *self._by_code.arrays])
        return sum({id(array): array.nbytes for array in owners}.values())

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
        if wanted.dtype.kind != self._all_ids.dtype.kind:
            kind = "int" if self._all_ids.dtype.kind == "i" else "str"
            raise UnknownItemError(
                f"ids: this catalogue's ids are {kind}, got {wanted.tolist()[0]!r}",
                wanted.tolist(),
            )
        rows = self.rows_or_none(wanted)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            raise UnknownItemError(
                f"ids: {len(unknown)} of {len(wanted)} are not in the catalogue "
                f"(first: {wanted.tolist()[unknown[0]]!r})",
                wanted[unknown].tolist(),
            )
        return rows

    def rows_or_none(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows (n,) int64 of an id array of this catalogue's kind, -1 for unknown."""
        return self._among_those_there(self._by_id.find(ids))

    def find(self, codes: Any) -> np.ndarray:
        """Return the rows (n,) int64 of unique codes (n, P), -1 where no item has the code."""
        keys = code_keys(check_codes(codes, self.sizes), self.sizes)
        return self._among_those_there(self._by_code.find(keys))

    def _among_those_there(self, rows: np.ndarray) -> np.ndarray:
        """Turn rows of all that ever were, or -1, into rows of those that are there, or -1."""
        if self._there is None or not len(rows):
            return rows
        there = (rows >= 0) & ~self._gone[rows]
        return np.where(there, np.searchsorted(self._there, rows), -1)

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
        """Return a catalogue with more items after these; they are merged, not sorted anew.

        Raises
        ------
        ValueError
            if an id is that of an item that is there, or a code was ever given out.
        """
        codes = check_codes(codes, self.sizes)
        content_codes = _check_content(content_codes, self.sizes)
        new = (ids, codes, content_codes, np.zeros(len(ids), dtype=bool))
        _check_lengths(*new)
        old = self.to_rows()
        all_ids, all_codes, all_content, gone = map(np.concatenate, zip(old, new, strict=True))
        rows = np.arange(len(self._gone), len(gone))
        return self._with(
            (all_ids, all_codes, all_content, gone),
            self._by_id.inserted(all_ids, rows),
            self._by_code.inserted(code_keys(codes, self.sizes), rows),
        )

    def retired(self, rows: np.ndarray) -> "Catalogue":
        """Return a catalogue without the items of some rows, whose codes stay taken."""
        if not len(rows):
            return self
        gone = self._gone.copy()
        gone[rows if self._there is None else self._there[rows]] = True
        all_rows = (self._all_ids, self._all_codes, self._all_content, gone)
        return self._with(all_rows, self._by_id.without(gone), self._by_code)

    def revived(self, ids: np.ndarray, content_codes: np.ndarray) -> "Catalogue":
        """Return a catalogue in which retired items are back, if their content is the same.

        Parameters
        ----------
        ids : (n,) distinct ids of this catalogue's kind, none of an item that is there.
        content_codes : (n, L) what the items' content code is now.
        """
        # An item that moved more than once has several retired rows: look at each.
        gone = np.flatnonzero(self._gone)
        item = IdIndex.of(ids).find(self._all_ids[gone])
        gone, item = gone[item >= 0], item[item >= 0]
        same = (self._all_content[gone] == content_codes[item]).all(axis=1)
        back = gone[same]
        if not len(back):
            return self
        still_gone = self._gone.copy()
        still_gone[back] = False
        all_rows = (self._all_ids, self._all_codes, self._all_content, still_gone)
        return self._with(all_rows, self._by_id.inserted(self._all_ids, back), self._by_code)

    def without_retired(self) -> "Catalogue":
        """Return a catalogue that has forgotten its retired rows: their codes are free."""
        if self._there is None:
            return self
        return Catalogue(
            self._all_ids[self._there],
            self._all_codes[self._there],
            self._all_content[self._there],
            self.sizes,
        )

    @property
    def retired_rows(self) -> int:
        """How many rows are kept of items that are gone, or moved to another code."""
        return 0 if self._there is None else len(self._gone) - len(self._there)

    def _with(
        self,
        all_rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
        by_id: IdIndex,
        by_code: SortedIndex,
    ) -> "Catalogue":
        catalogue = object.__new__(Catalogue)
        catalogue._set(all_rows, self.sizes, by_id, by_code)
        return catalogue

    def to_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return ids, codes, content codes and retired flags of all R rows."""
        return self._all_ids, self._all_codes, self._all_content, self._gone


def _check_content(content_codes: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    return check_codes(content_codes, sizes[: content_codes.shape[1]], name="content_codes")


def _check_lengths(ids: np.ndarray, codes: np.ndarray, content: np.ndarray, *more: Any) -> None:
    if len({len(ids), len(codes), len(content), *map(len, more)}) > 1:
        raise ValueError(
            f"catalogue: {len(ids)} ids, {len(codes)} codes, "
            f"{len(content)} content codes; expected equal numbers"
        )


def _owner(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory a view shows."""
    return _owner(array.base) if isinstance(array.base, np.ndarray) else array
