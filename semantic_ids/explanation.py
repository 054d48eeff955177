"""Explanations: what the code of an item says, and what the items under a prefix share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.features import Features
from semantic_ids.fitted import Fitted
from semantic_ids.ids import is_id
from semantic_ids.items import Items
from semantic_ids.judgement import catalogue_features, code_space, fused_features
from semantic_ids.neighbourhoods import Space, VectorSpace
from semantic_ids.vocabulary import level_name

ItemId = str | int

#: Items that are named, of those under a prefix.
_NAMED = 5
_TITLE_WIDTH = 60


@dataclass(frozen=True)
class NamedItem:
    """An item as people know it.

    Attributes
    ----------
    id : its id.
    title : its title; None where none was given.
    """

    id: ItemId
    title: str | None

    def __str__(self) -> str:
        if self.title is None:
            return str(self.id)
        short = self.title
        if len(short) > _TITLE_WIDTH:
            short = short[: _TITLE_WIDTH - 1].rstrip() + "…"
        return f"{self.id} “{short}”"


@dataclass(frozen=True)
class ExplainedLevel:
    """One position of an item's unique code.

    Attributes
    ----------
    code : the code at this position of the unique code.
    content_code : the same of the content code; None at a position that the resolver added.
    explained : share of the variance of all items that this level explains, by the relative
        errors before and after it at the fit; None where there was none.
    items : how many items have a unique code that begins with the codes so far, this one too.
    others : some of the others, the nearest first: by the vectors that unique codes decode to
        or, without a codec, by the levels that differ.
    words : words and categories that set these items apart from the others under the prefix
        before, the clearest first; empty where nothing does or `items` were not given.
    """

    code: int
    content_code: int | None
    explained: float | None
    items: int
    others: tuple[NamedItem, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Explanation:
    """What the code of an item says of it, level by level.

    Attributes
    ----------
    item : the item.
    categories : its categories; empty where none were given.
    unique_code : (P,) the code that identifies it.
    content_code : (L,) the code of its content.
    levels : each position of the unique code.
    """

    item: NamedItem
    categories: tuple[str, ...]
    unique_code: tuple[int, ...]
    content_code: tuple[int, ...]
    levels: tuple[ExplainedLevel, ...]

    @property
    def moved(self) -> bool:
        """Whether the resolver gave the item other codes than those of its content."""
        return self.unique_code[: len(self.content_code)] != self.content_code

    def __str__(self) -> str:
        of_what = f" [{', '.join(self.categories)}]" if self.categories else ""
        same = "moved by the resolver: other items have it too" if self.moved else "not moved"
        lines = [
            f"{self.item}{of_what}",
            f"unique code  {_tokens(self.unique_code)}",
            f"content code {_tokens(self.content_code)} ({same})",
        ]
        for number, level in enumerate(self.levels):
            lines.append(_level_line(number, level))
            if level.others:
                lines.append(f"    near: {'; '.join(map(str, level.others))}")
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class PrefixDescription:
    """What the items under a prefix of unique codes have in common.

    Attributes
    ----------
    prefix : (l,) codes.
    items : how many items have a unique code that begins with it.
    share : of all items.
    words : words and categories that set them apart from all other items, the clearest first;
        empty where nothing does or `items` were not given.
    nearest : those nearest to the mean of these items: of their fused features where given, else
        of the vectors that their codes decode to; without both, the first in the catalogue.
    modalities : how much each modality adds to what sets the mean of these items apart from that
        of all: its share of the squared distance between both, in the fused space. By the
        number of items, these squared distances add up to the variance between prefixes. None
        where features were not given or nothing sets them apart.
    """

    prefix: tuple[int, ...]
    items: int
    share: float
    words: tuple[str, ...]
    nearest: tuple[NamedItem, ...]
    modalities: Mapping[str, float] | None = field(default=None, hash=False)

    def __str__(self) -> str:
        many = _count(self.items)
        lines = [f"{_tokens(self.prefix)}: {many}, {self.share:.2%} of the catalogue"]
        if self.words:
            lines.append(f"    words: {', '.join(self.words)}")
        if self.modalities is not None:
            shares = (f"{name} {share:.1%}" for name, share in self.modalities.items())
            lines.append(f"    set apart by: {', '.join(shares)}")
        lines.append(f"    near its centre: {'; '.join(map(str, self.nearest))}")
        return "\n".join(lines)

    __repr__ = __str__


def explain_item(fitted: Fitted, item: ItemId, items: Any) -> Explanation:
    """Explain the code of one item; see `Tokenizer.explain`."""
    if not is_id(item):
        raise TypeError(f"id: expected one str or int, got {item!r}")
    catalogue = fitted.catalogue
    row = int(catalogue.rows(item)[0])
    known = _items(fitted, items)
    unique, content = catalogue.codes[row].tolist(), catalogue.content_codes[row].tolist()
    explained = _explained(fitted, len(unique))
    before = np.arange(len(catalogue))
    ranked = None
    levels = []
    for level, code in enumerate(unique):
        under = before[catalogue.codes[before, level] == code]
        # All that come later lie under the first code: they are ranked once.
        ranked = _nearest_first(fitted, row, under) if ranked is None else ranked
        ranked = ranked[catalogue.codes[ranked, level] == code]
        levels.append(
            ExplainedLevel(
                code=code,
                content_code=content[level] if level < len(content) else None,
                explained=explained[level],
                items=len(under),
                others=_named(fitted, known, ranked[:_NAMED]),
                words=_marking(known, under, before),
            )
        )
        before = under
    return Explanation(
        item=_named(fitted, known, np.array([row]))[0],
        categories=() if known is None else known.categories[row],
        unique_code=tuple(unique),
        content_code=tuple(content),
        levels=tuple(levels),
    )


def describe_prefix(
    fitted: Fitted, prefix: Any, items: Any, features: Features | None
) -> PrefixDescription:
    """Describe the items under a prefix; see `Tokenizer.describe`."""
    catalogue = fitted.catalogue
    codes = np.asarray(prefix)
    if codes.ndim != 1 or not 1 <= len(codes) <= len(catalogue.sizes):
        raise ValueError(
            f"prefix: expected 1 to {len(catalogue.sizes)} codes, got shape {codes.shape}"
        )
    codes = check_codes(codes, catalogue.sizes[: len(codes)], name="prefix")[0]
    inside = (catalogue.codes[:, : len(codes)] == codes).all(axis=1)
    rows = np.flatnonzero(inside)
    if not len(rows):
        raise ValueError(f"prefix: no item has a code that begins with {_tokens(codes.tolist())}")
    known = _items(fitted, items)
    nearest, modalities = rows, None
    if features is not None:
        features, places = catalogue_features(fitted, features)
        fused = fused_features(fitted, features)
        chosen = np.flatnonzero(inside[places])
        all_mean, blocks = _mean(VectorSpace.fused(fused), None), next(fused.blocks()).blocks
        centre = _mean(VectorSpace.fused(fused), chosen)
        modalities = _shares((centre - all_mean) ** 2, blocks)
        nearest = places[_by_distance(VectorSpace.fused(fused), centre[None], chosen)]
    elif fitted.codec is not None:
        space = _unique_space(fitted)
        nearest = _by_distance(space, _mean(space, rows)[None], rows)
    return PrefixDescription(
        prefix=tuple(codes.tolist()),
        items=len(rows),
        share=len(rows) / len(catalogue),
        words=_marking(known, rows, np.arange(len(catalogue))),
        nearest=_named(fitted, known, nearest[:_NAMED]),
        modalities=modalities,
    )


def _items(fitted: Fitted, items: Any) -> Items | None:
    return None if items is None else Items.of(items, fitted.catalogue.ids)


def _named(fitted: Fitted, known: Items | None, rows: np.ndarray) -> tuple[NamedItem, ...]:
    titles = [None] * len(rows) if known is None else [known.titles[row] for row in rows]
    ids = fitted.catalogue.ids[rows].tolist()
    return tuple(NamedItem(name, title) for name, title in zip(ids, titles, strict=True))


def _marking(known: Items | None, inside: np.ndarray, both: np.ndarray) -> tuple[str, ...]:
    """Return the terms that set some rows apart from the rest of `both`, sorted arrays."""
    if known is None:
        return ()
    return known.terms.marking(inside, np.setdiff1d(both, inside, assume_unique=True))


def _explained(fitted: Fitted, positions: int) -> list[float | None]:
    """Return the share of variance that each position explains, None where it is not known."""
    if fitted.relative_errors is None:
        return [None] * positions
    shares = (-np.diff([1.0, *fitted.relative_errors])).tolist()
    return [*shares, *[None] * (positions - len(shares))]


def _unique_space(fitted: Fitted) -> Space:
    """Return the space of the catalogue's unique codes."""
    levels = fitted.catalogue.content_codes.shape[1]
    return code_space(fitted, fitted.catalogue.codes[:, :levels])


def _nearest_first(fitted: Fitted, row: int, rows: np.ndarray) -> np.ndarray:
    """Return the other rows, those nearest to one row first."""
    space = _unique_space(fitted)
    others = rows[rows != row]
    return _by_distance(space, next(space.blocks(np.array([row]))), others)


def _by_distance(space: Space, point: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows by their distance to a point (1, d), of equal ones the first first."""
    if not len(rows):
        return rows
    distances = [space.between(point, block)[0] for block in space.blocks(rows)]
    return rows[np.argsort(np.concatenate(distances), kind="stable")]


def _mean(space: Space, rows: np.ndarray | None) -> np.ndarray:
    """Return the mean point (d,) float64 of some items, or of all."""
    count, total = 0, np.zeros(1)
    for block in space.blocks(rows):
        count += len(block)
        total = total + block.sum(axis=0, dtype=np.float64)
    return total / count


def _shares(squares: np.ndarray, blocks: Mapping[str, slice]) -> dict[str, float] | None:
    """Return each modality's share of squared differences (d,); None where there are none."""
    total = float(squares.sum())
    if total == 0:
        return None
    return {name: float(squares[block].sum()) / total for name, block in blocks.items()}


def _tokens(codes: Any) -> str:
    return "".join(f"<{level_name(level)}_{code}>" for level, code in enumerate(codes))


def _count(items: int) -> str:
    return f"{items:,} {'item' if items == 1 else 'items'}"


def _level_line(number: int, level: ExplainedLevel) -> str:
    return "; ".join(_level_parts(number, level))


def _level_parts(number: int, level: ExplainedLevel) -> Iterator[str]:
    token = f"  <{level_name(number)}_{level.code}>"
    if level.content_code is None:
        yield f"{token} tells items with one content code apart"
    elif level.content_code != level.code:
        yield f"{token} where the content is <{level_name(number)}_{level.content_code}>"
    elif level.explained is not None:
        yield f"{token} explains {level.explained:.1%} of the items' variance"
    else:
        yield token
    yield _count(level.items)
    if level.words:
        yield f"words: {', '.join(level.words)}"
