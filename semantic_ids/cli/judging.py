"""The commands that judge codes: `explain`, `describe`, `stats`, `compare`, `drift`."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from semantic_ids.cli import options
from semantic_ids.cli.feature_files import read_features
from semantic_ids.cli.output import say_result
from semantic_ids.cli.tables import ids_like, parse_codes, read_columns
from semantic_ids.features import Features

_CATEGORY_COLUMNS = ("category", "categories")


def explain(
    folder: options.Folder,
    item: Annotated[str, typer.Argument(metavar="ID", help="Of an item of the catalogue.")],
    items: options.ItemFile = None,
    as_json: options.Json = False,
) -> None:
    """Say what an item's code means, level by level."""
    from semantic_ids import Tokenizer

    tokenizer = Tokenizer.load(folder)
    name = ids_like([item], tokenizer.ids).tolist()[0]
    say_result(tokenizer.explain(name, read_items(items, tokenizer.ids)), as_json=as_json)


def describe(
    folder: options.Folder,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="First codes, as <a_12><b_7> or 12,7.")
    ],
    items: options.ItemFile = None,
    features: options.FeatureOptions = None,
    ids: options.FeatureIds = None,
    as_json: options.Json = False,
) -> None:
    """Say what the items under a prefix share."""
    from semantic_ids import Tokenizer

    tokenizer = Tokenizer.load(folder)
    codes = parse_codes([prefix], "prefix")[0]
    given = known_features(features, ids, tokenizer.ids)
    described = tokenizer.describe(codes, read_items(items, tokenizer.ids), given)
    say_result(described, as_json=as_json)


def stats(
    folder: options.Folder,
    features: options.FeatureOptions = None,
    ids: options.FeatureIds = None,
    categories: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="One category an item: .jsonl, .csv or .parquet with the column category or "
            "categories, and id; row by row without ids.",
        ),
    ] = None,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Print figures of the codebooks."""
    from semantic_ids import Tokenizer

    tokenizer = Tokenizer.load(folder)
    given = known_features(features, ids, tokenizer.ids)
    order = tokenizer.ids if given is None or given.ids is None else given.ids
    labels = None if categories is None else _read_categories(categories, order)
    say_result(tokenizer.statistics(given, labels, progress=progress), as_json=as_json)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A tokenizer.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    k: Annotated[int, typer.Option("--k", help="Nearest neighbours that are compared.")] = 10,
    as_json: options.Json = False,
) -> None:
    """Say how two tokenizers' codes differ."""
    from semantic_ids import Tokenizer

    say_result(Tokenizer.load(first).compare(Tokenizer.load(second), k=k), as_json=as_json)


def drift(
    folder: options.Folder,
    features: options.FeatureArguments,
    nan_is_missing: options.NanIsMissing = False,
    as_json: options.Json = False,
) -> None:
    """Say how well the codec fits new items.

    They are not added.
    """
    from semantic_ids import Tokenizer

    tokenizer = Tokenizer.load(folder)
    new = read_features(features, nan_is_missing=nan_is_missing)
    say_result(tokenizer.drift(new), as_json=as_json)


def known_features(words: list[str] | None, ids: str | None, like: np.ndarray) -> Features | None:
    """Return the catalogue's features, if any were given."""
    if words:
        return read_features(words, ids, like=like)
    if ids is not None:
        raise typer.BadParameter("--ids: names the rows of --features, which was not given")
    return None


def read_items(source: str | None, like: np.ndarray) -> Any:
    """Return titles and categories as columns that `Items.of` takes; None if none were given."""
    if source is None:
        return None
    if source.lower().endswith(".json"):
        raise ValueError(f"{source}: expected .jsonl, one object a line, .csv or .parquet")
    columns = read_columns(source)
    for name in ("id", "item_id"):
        values = columns.pop(name, None)
        if values is not None and any(value is not None for value in values):
            columns["id"] = ids_like(values, like).tolist()
    return columns


def _read_categories(source: str, order: np.ndarray) -> list[Any]:
    """Return the category of each of some items, None where the file knows none."""
    columns = read_items(source, order)
    found = [name for name in _CATEGORY_COLUMNS if name in columns]
    if len(found) != 1:
        raise ValueError(f"{source}: expected a column category or categories, got {list(columns)}")
    values = [None if value == "" else value for value in columns[found[0]]]
    if "id" not in columns:
        return values
    of = dict(zip(columns["id"], values, strict=True))
    if len(of) < len(values):
        raise ValueError(f"{source}: an id occurs twice")
    return [of.get(name) for name in order.tolist()]
