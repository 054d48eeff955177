"""The commands that hand codes to others and take theirs: `export`, `from-codes`, `report`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from semantic_ids.cli import options
from semantic_ids.cli.fitting import check_out, say_saved
from semantic_ids.cli.judging import known_features, read_items
from semantic_ids.cli.output import emit, say, to_json
from semantic_ids.cli.tables import read_code_table

#: Formats of the command alone: the tables that `encode --all --out` writes.
_TABLES = ("csv", "jsonl")

_Format = Literal["index.json", "recbole", "npy", "parquet", "csv", "jsonl"]
_FORMAT = "index.json, recbole, npy, parquet, csv or jsonl; that of the file's ending if left out."


def export(
    folder: options.Folder,
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    to: Annotated[_Format | None, typer.Option(metavar="FORMAT", help=_FORMAT)] = None,
    as_json: options.Json = False,
) -> None:
    """Write ids and unique codes for another project."""
    from semantic_ids import Tokenizer
    from semantic_ids.interop import export as export_codes

    chosen = _format_of(file, to, "--to")
    tokenizer = Tokenizer.load(folder)
    if chosen in _TABLES:
        columns = {"item_id": tokenizer.ids, "code": tokenizer.codes}
        emit([columns], file, as_json=False, main="code", form=chosen)
    else:
        export_codes(tokenizer, file, chosen)
    written = {"file": str(file), "format": chosen, "items": len(tokenizer)}
    say(to_json(written) if as_json else f"{file}: {len(tokenizer):,} items")


def from_codes(
    file: Annotated[
        Path,
        typer.Argument(
            help="File of another project, or a table that encode wrote.", show_default=False
        ),
    ],
    out: options.OutFolder = None,
    overwrite: options.Overwrite = False,
    format: Annotated[
        _Format | None, typer.Option("--from", metavar="FORMAT", help=_FORMAT)
    ] = None,
    resolver: Annotated[
        Literal["suffix", "none"],
        typer.Option(help="What tells items with one code apart; none refuses them."),
    ] = "suffix",
    parallel: Annotated[
        bool, typer.Option("--parallel", help="No level refines the levels before it.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make a tokenizer of codes that exist."""
    from semantic_ids import Suffix, Tokenizer
    from semantic_ids.interop import read_codes

    folder = check_out(out, "tokenizer", overwrite=overwrite)
    chosen = _format_of(file, format, "--from")
    table = read_code_table(str(file), chosen) if chosen in _TABLES else read_codes(file, chosen)
    tokenizer = Tokenizer.from_codes(
        *table, ordered=not parallel, resolver=Suffix() if resolver == "suffix" else None
    )
    tokenizer.save(folder, overwrite=overwrite)
    say_saved(tokenizer, folder, as_json=as_json)


def _format_of(file: Path, given: _Format | None, option: str) -> str:
    """Return the format of a file: what an option says, or else the file's ending."""
    from semantic_ids.interop.formats import FORMATS

    if given is not None:
        return given
    endings = {ending: name for name, format_ in FORMATS.items() for ending in format_.endings}
    endings |= {f".{name}": name for name in _TABLES}
    ending = file.suffix.lower()
    if ending not in endings:
        raise ValueError(
            f"{file}: expected a name that ends in one of {', '.join(endings)}, or {option} FORMAT"
        )
    return endings[ending]


def report(
    folder: options.Folder,
    file: Annotated[
        Path, typer.Argument(help="HTML file to write.", metavar="FILE", show_default=False)
    ],
    features: options.FeatureOptions = None,
    ids: options.FeatureIds = None,
    items: options.ItemFile = None,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Write a page about the codes.

    It opens in a browser, without a network.
    """
    from semantic_ids import Tokenizer

    tokenizer = Tokenizer.load(folder)
    given = known_features(features, ids, tokenizer.ids)
    written = tokenizer.report(file, given, read_items(items, tokenizer.ids), progress=progress)
    told = {"file": str(written), "items": len(tokenizer)}
    say(to_json(told) if as_json else str(written))
