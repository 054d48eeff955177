"""Contents: all that a page shows, as numbers and plain text."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from semantic_ids.codes import code_keys, prefix_groups
from semantic_ids.features import Features
from semantic_ids.fitted import Fitted
from semantic_ids.items import Items
from semantic_ids.judgement import catalogue_features, fused_features, judge
from semantic_ids.neighbourhoods import VectorSpace
from semantic_ids.report.buckets import Bucket, buckets
from semantic_ids.report.projection import principal_plane
from semantic_ids.report.sample import sample_runs
from semantic_ids.report.tree import CodeTree, code_tree
from semantic_ids.statistics import CodebookStatistics
from semantic_ids.vocabulary import level_name

#: Items that a page names, points on its map, and prefixes in its tree.
NAMED, POINTS, PREFIXES = 20_000, 4_000, 6_000
#: First codes whose items are described by words, those of most items.
_DESCRIBED = 256


@dataclass(frozen=True, eq=False)
class Map:
    """Items as points in the plane in which they differ most.

    Attributes
    ----------
    rows : (n,) int64, the items; `points`, (n, 2) float64, is where they lie.
    shares : share of the variance of all items along both axes.
    of_features : whether the points are features; else they are what unique codes decode to.
    """

    rows: np.ndarray
    points: np.ndarray
    shares: tuple[float, float]
    of_features: bool


@dataclass(frozen=True, eq=False)
class Contents:
    """What a page shows of a tokenizer.

    Attributes
    ----------
    fitted : the tokenizer.
    items : titles and categories; None where none were given.
    statistics : the figures of the catalogue.
    shared : items by how many have their content code.
    named : (n,) int64, rows of the items that the page names, in code order.
    under : (n, P) int64, items of the whole catalogue under each of their prefixes.
    tree : prefixes of unique codes.
    words : of each prefix in the tree, what sets its items apart; mostly empty.
    map : None where there are no vectors.
    """

    fitted: Fitted
    items: Items | None
    statistics: CodebookStatistics
    shared: tuple[Bucket, ...]
    named: np.ndarray
    under: np.ndarray
    tree: CodeTree
    words: tuple[tuple[str, ...], ...]
    map: Map | None

    @property
    def level_names(self) -> list[str]:
        """Letters of the P positions of a unique code."""
        return [level_name(level) for level in range(len(self.fitted.catalogue.sizes))]


def gather(
    fitted: Fitted, features: Features | None, items: Items | None, *, progress: bool | None = None
) -> Contents:
    """Work out what a page shows; see `Tokenizer.report`."""
    catalogue = fitted.catalogue
    codes, content = catalogue.codes, catalogue.content_codes
    statistics = judge(fitted, features, _classes(items, features, fitted), progress=progress)
    order = np.argsort(code_keys(codes, catalogue.sizes), kind="stable")
    named = sample_runs(order, NAMED)
    groups = prefix_groups(codes, catalogue.sizes)
    under = np.stack([np.bincount(group)[group[named]] for group in groups], axis=1)
    tree = code_tree(codes, catalogue.sizes, PREFIXES)
    return Contents(
        fitted,
        items,
        statistics,
        buckets(content, catalogue.sizes[: content.shape[1]]),
        named,
        under,
        tree,
        _words(tree, items, codes[:, 0]),
        item_map(fitted, features, named),
    )


def _classes(items: Items | None, features: Features | None, fitted: Fitted) -> Any:
    """Return one category an item, in the order that statistics want; None where some have more.

    Which of several categories is the item's class nobody said.
    """
    if items is None or not any(items.categories) or max(map(len, items.categories)) > 1:
        return None
    classes = [categories[0] if categories else None for categories in items.categories]
    if features is None or features.ids is None:
        return classes
    return [classes[row] for row in fitted.catalogue.rows(features.ids)]


def _words(
    tree: CodeTree, items: Items | None, first_codes: np.ndarray
) -> tuple[tuple[str, ...], ...]:
    """Return what sets the items of each first code apart from all others."""
    described = np.flatnonzero((tree.depths == 1) & (tree.items > 1))[:_DESCRIBED].tolist()
    found: list[tuple[str, ...]] = [()] * len(tree)
    if items is None or not items.terms.names or len(described) < 2:
        return tuple(found)
    everywhere = items.terms.counts(np.arange(len(items)))
    for place in described:
        inside = items.terms.counts(np.flatnonzero(first_codes == tree.codes[place]))
        found[place] = items.terms.clearest(inside, everywhere - inside)
    return tuple(found)


def item_map(
    fitted: Fitted, features: Features | None, rows: np.ndarray, *, seed: int = 0
) -> Map | None:
    """Draw at most `POINTS` of some items on the map; None where there are no vectors.

    The plane is that of all items of the catalogue: of their fused features where given, else of
    the vectors that their unique codes decode to.
    """
    catalogue = fitted.catalogue
    if len(rows) > POINTS:
        drawn = np.random.default_rng(seed).choice(len(rows), size=POINTS, replace=False)
        rows = rows[np.sort(drawn)]
    if features is not None:
        features, places = catalogue_features(fitted, features)
        space = VectorSpace.fused(fused_features(fitted, features))
        wanted = np.argsort(places)[rows]
    elif fitted.codec is not None:
        levels = catalogue.content_codes.shape[1]
        space = VectorSpace.decoded(fitted.codec.quantizer.decode, catalogue.codes[:, :levels])
        wanted = rows
    else:
        return None
    plane = principal_plane(space.blocks())
    points = np.concatenate([plane.project(block) for block in space.blocks(wanted)])
    return Map(rows, points, plane.shares, features is not None)
