"""Catalogue: item id <-> unique code."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from semantic_ids.codes import check_codes, code_keys
from semantic_ids.errors import UnknownItemError
from semantic_ids.ids import id_array, is_id


class Catalogue:
    """Which item has which code, and which code stands for which item.

    Parameters
    ----------
    ids : (N,) distinct ids, an int64 or a numpy string array.
    codes : (N, P) int32 unique codes.
    content_codes : (N, L) int32 content codes.
    sizes : number of codes at each of the P positions.

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
    ) -> None:
        if not len(ids) == len(codes) == len(content_codes):
            raise ValueError(
                f"catalogue: {len(ids)} ids, {len(codes)} codes, "
                f"{len(content_codes)} content codes; expected equal numbers"
            )
        self.ids, self.sizes = ids, sizes
        self.codes = check_codes(codes, sizes)
        self.content_codes = check_codes(
            content_codes, sizes[: content_codes.shape[1]], name="content_codes"
        )
        for array in (self.ids, self.codes, self.content_codes):
            array.flags.writeable = False
        self._by_id = np.argsort(ids, kind="stable")
        self._sorted_ids = ids[self._by_id]
        keys = code_keys(self.codes, sizes)
        self._by_code = np.argsort(keys, kind="stable")
        self._sorted_keys = keys[self._by_code]
        for name, values in (("id", self._sorted_ids), ("code", self._sorted_keys)):
            if (values[1:] == values[:-1]).any():
                raise ValueError(f"catalogue: two items have one {name}")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: Any) -> bool:
        try:
            self.rows([item])
        except (UnknownItemError, ValueError):
            return False
        return True

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
        at = np.minimum(np.searchsorted(self._sorted_ids, wanted), len(self) - 1)
        unknown = np.flatnonzero(self._sorted_ids[at] != wanted)
        if len(unknown):
            raise UnknownItemError(
                f"ids: {len(unknown)} of {len(wanted)} are not in the catalogue "
                f"(first: {wanted.tolist()[unknown[0]]!r})"
            )
        return self._by_id[at]

    def find(self, codes: Any) -> np.ndarray:
        """Return the rows (n,) int64 of unique codes (n, P), -1 where no item has the code."""
        keys = code_keys(check_codes(codes, self.sizes), self.sizes)
        at = np.minimum(np.searchsorted(self._sorted_keys, keys), len(self) - 1)
        return np.where(self._sorted_keys[at] == keys, self._by_code[at], -1)

    def lookup(self, codes: Any) -> list[str | int | None]:
        """Return the id of each unique code (n, P), None where no item has it."""
        rows = self.find(codes)
        ids: Sequence[str | int] = self.ids[rows].tolist()
        return [item if row >= 0 else None for item, row in zip(ids, rows, strict=True)]
