"""Refit: a tokenizer fitted anew, and what became of the codes of the items that stayed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from semantic_ids.ids import ItemId

if TYPE_CHECKING:
    from semantic_ids.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Refit:
    """A tokenizer that was fitted anew, and the old and new codes of the items in both.

    Made by `Tokenizer.refit`.

    Attributes
    ----------
    tokenizer : the new one.
    ids : (n,) ids of the items that both know, in the order of the old catalogue.
    old, new : (n, P) int32, their unique codes before and after.
    """

    tokenizer: "Tokenizer"
    ids: np.ndarray
    old: np.ndarray
    new: np.ndarray

    def mapping(self) -> dict[ItemId, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return id to (old code, new code)."""
        pairs = zip(map(tuple, self.old.tolist()), map(tuple, self.new.tolist()), strict=True)
        return dict(zip(self.ids.tolist(), pairs, strict=True))

    @property
    def changed(self) -> float:
        """Share of the items in both whose unique code is another now; 0 where there are none."""
        return float((self.old != self.new).any(axis=1).mean()) if len(self.ids) else 0.0

    def __repr__(self) -> str:
        both = f"{len(self.ids):,} items in both, {self.changed:.1%} of their codes changed"
        return f"Refit({self.tokenizer!r}, {both})"
