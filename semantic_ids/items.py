"""Items: what people call the items of a catalogue, for explanations and reports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from semantic_ids.ids import check_unique, id_array
from semantic_ids.words import Terms

_FORMS = (
    "a mapping of id to title, a mapping or frame with title and category columns, or a sequence "
    "of mappings with id, title and categories"
)


@dataclass(frozen=True, eq=False, repr=False)
class Items:
    """Titles and categories of N items, row by row; made by `Items.of`.

    Attributes
    ----------
    ids : (N,) int64 or strings.
    titles : N titles, None where there is none.
    categories : N tuples of categories, empty where there is none.

    Examples
    --------
    >>> items = Items.of({"b": "Green tea", "c": "Milk"}, ids=["a", "b"])
    >>> items.titles, items.categories
    ((None, 'Green tea'), ((), ()))
    >>> Items.of({"title": ["Green tea", "Milk"], "category": ["Tea", "Dairy"]}, ids=[7, 8])
    Items(2 items, 2 titles, 2 categories)
    """

    ids: np.ndarray
    titles: tuple[str | None, ...]
    categories: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, value: Any, ids: Any) -> "Items":
        """Return what is known of the items with these ids, in their order.

        Parameters
        ----------
        value : a mapping of id to title; a mapping of the columns ``title``, ``category`` or
            ``categories`` (one or several an item), and ``id``; a pandas or polars frame with
            such columns; a sequence of mappings with such keys; or Items. Other columns are
            ignored. Without ids there is one row an item, in the order of `ids`; with ids, items
            may be missing and others may be there.
        ids : N distinct str or int, such as `tokenizer.ids`.

        Raises
        ------
        TypeError
            if it is none of these, or a title or a category is not a str (a category may be int).
        ValueError
            if there are neither titles nor categories, the number of rows is not N, ids repeat,
            or none of them is among `ids`.
        """
        names = id_array(ids)
        if isinstance(value, Items) and np.array_equal(value.ids, names):
            return value
        columns = {name: list(column) for name, column in _columns(value).items()}
        if not columns.keys() & {"title", "categories"}:
            raise ValueError(f"items: neither titles nor categories; expected {_FORMS}")
        lengths = {name: len(column) for name, column in columns.items()}
        n = next(iter(lengths.values()))
        if len(set(lengths.values())) > 1:
            raise ValueError(f"items: columns of different lengths: {lengths}")
        titles = [_title(title) for title in columns.get("title", [None] * n)]
        categories = [_categories(given) for given in columns.get("categories", [None] * n)]
        rows = _rows(columns.get("id"), names, n)
        return cls(
            names,
            tuple(None if row is None else titles[row] for row in rows),
            tuple(() if row is None else categories[row] for row in rows),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def terms(self) -> Terms:
        """The words of the titles and the categories, counted once and kept."""
        return Terms.of(self.titles, self.categories)

    def __repr__(self) -> str:
        titles = sum(title is not None for title in self.titles)
        categories = len({name for names in self.categories for name in names})
        return f"Items({len(self):,} items, {titles:,} titles, {categories:,} categories)"


def _columns(value: Any) -> dict[str, Iterable[Any]]:
    """Return the columns id, title and categories, those that there are."""
    if isinstance(value, Items):
        return {"id": value.ids.tolist(), "title": value.titles, "categories": value.categories}
    if hasattr(value, "columns"):  # a data frame
        return _known({name: value[name] for name in value.columns})
    if isinstance(value, Mapping):
        named = _known({name: column for name, column in value.items() if _is_column(column)})
        return named or {"id": value.keys(), "title": value.values()}
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"items: expected {_FORMS}, got {type(value).__name__}")
    rows = list(value)
    for row in rows:
        if not isinstance(row, Mapping):
            raise TypeError(f"items: expected {_FORMS}, got a sequence with {row!r}")
    names = dict.fromkeys(name for row in rows for name in row)
    return _known({name: [row.get(name) for row in rows] for name in names})


def _known(columns: Mapping[Any, Any]) -> dict[str, Iterable[Any]]:
    if "category" in columns and "categories" in columns:
        raise ValueError("items: both category and categories; give one of them")
    renamed = {"categories" if name == "category" else name: c for name, c in columns.items()}
    return {name: renamed[name] for name in ("id", "title", "categories") if name in renamed}


def _is_column(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)


def _rows(given: list[Any] | None, ids: np.ndarray, n: int) -> Iterable[int | None]:
    """Return the row of each of the ids among n given ones; None where it is not there."""
    if given is None:
        if n != len(ids):
            raise ValueError(f"items: {n:,} rows without ids for a catalogue of {len(ids):,} items")
        return range(n)
    found = id_array(given, name="items: id")
    check_unique(found, name="items: id")
    place = {name: row for row, name in enumerate(found.tolist())}
    rows = [place.get(name) for name in ids.tolist()]
    if len(ids) and all(row is None for row in rows):
        first = f"the first is {given[0]!r}, the catalogue's {ids.tolist()[0]!r}" if n else "none"
        raise ValueError(f"items: none of {n:,} ids is in the catalogue ({first})")
    return rows


def _missing(value: Any) -> bool:
    """Say whether a value is none: None, or the NaN or NA of a data frame."""
    is_nan = isinstance(value, float) and np.isnan(value)
    return value is None or is_nan or type(value).__name__ == "NAType"


def _title(value: Any) -> str | None:
    if _missing(value):
        return None
    if not isinstance(value, str):
        raise TypeError(f"items: expected a str or None as title, got {value!r}")
    return str(value).strip() or None


def _categories(value: Any) -> tuple[str, ...]:
    if _missing(value):
        return ()
    several = [value] if isinstance(value, str | int | np.integer) else value
    if not isinstance(several, Iterable):
        raise TypeError(
            f"items: expected str, int or a sequence of them as category, got {value!r}"
        )
    names = list(several)
    for name in names:
        if not isinstance(name, str | int | np.integer) or isinstance(name, bool):
            raise TypeError(f"items: expected str or int as category, got {name!r}")
    return tuple(dict.fromkeys(name for name in (str(name).strip() for name in names) if name))
