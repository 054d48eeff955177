"""The commands that hand codes to others and take theirs: `export`, `from-codes`, `report`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from semantic_ids.cli import options
from semantic_ids.cli.fitting import check_out
from semantic_ids.cli.judging import known_features, read_items
from semantic_ids.cli.output import say

_FORMAT = "index.json, recbole, npy or parquet; that of the file's ending if left out."


def export(
    folder: options.Folder,
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    to: Annotated[str | None, typer.Option(metavar="FORMAT", help=_FORMAT)] = None,
) -> None:
    """Write ids and unique codes for another project."""
    from semantic_ids import Tokenizer
    from semantic_ids.interop import export as export_codes

    tokenizer = Tokenizer.load(folder)
    export_codes(tokenizer, file, to)
    say(f"{file}: {len(tokenizer):,} items")


def from_codes(
    file: Annotated[Path, typer.Argument(help="File of another project.", show_default=False)],
    out: options.OutFolder = None,
    overwrite: options.Overwrite = False,
    format: Annotated[str | None, typer.Option("--from", metavar="FORMAT", help=_FORMAT)] = None,
    resolver: Annotated[
        Literal["suffix", "none"],
        typer.Option(help="What tells items with one code apart; none refuses them."),
    ] = "suffix",
    parallel: Annotated[
        bool, typer.Option("--parallel", help="No level refines the levels before it.")
    ] = False,
) -> None:
    """Make a tokenizer of codes that exist."""
    from semantic_ids import Suffix, Tokenizer
    from semantic_ids.interop import read_codes

    folder = check_out(out, "tokenizer", overwrite=overwrite)
    table = read_codes(file, format)
    chosen = Suffix() if resolver == "suffix" else None
    tokenizer = Tokenizer.from_codes(*table, ordered=not parallel, resolver=chosen)
    tokenizer.save(folder, overwrite=overwrite)
    say(f"{folder}: {tokenizer!r}")


def report(
    folder: options.Folder,
    file: Annotated[
        Path, typer.Argument(help="HTML file to write.", metavar="FILE", show_default=False)
    ],
    features: options.FeatureOptions = None,
    ids: options.FeatureIds = None,
    items: options.ItemFile = None,
    progress: options.Progress = None,
) -> None:
    """Write a page about the codes.

    It opens in a browser, without a network.
    """
    from semantic_ids import Tokenizer

    tokenizer = Tokenizer.load(folder)
    given = known_features(features, ids, tokenizer.ids)
    written = tokenizer.report(file, given, read_items(items, tokenizer.ids), progress=progress)
    say(str(written))
