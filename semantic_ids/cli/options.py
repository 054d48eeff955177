"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer

from semantic_ids import device

_FEATURES = (
    "Vectors: a .npy, .safetensors or .parquet file (no .csv or .jsonl), several as NAME=FILE, one "
    "a modality, or a catalogue folder (items.jsonl.gz, NAME_emb.npy, ...)."
)
_IDS = (
    "Ids of the features' rows: a file (.npy, .parquet, .jsonl, .csv, one a line otherwise; - is "
    "standard input), or the name of a .parquet file's column."
)
_CODES = (
    "A file of codes: .npy, .parquet, .jsonl, .csv, or one a line; - is standard input. "
    "Columns are code, or code_a, code_b, ..."
)

Folder = Annotated[Path, typer.Argument(help="A tokenizer that fit wrote.", show_default=False)]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Folder to write.", show_default=False),
]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what this command wrote there before.")
]

FeatureArguments = Annotated[
    list[str], typer.Argument(metavar="FEATURES", help=_FEATURES, show_default=False)
]
FeatureOptions = Annotated[
    list[str] | None,
    typer.Option("--features", metavar="FEATURES", help=f"{_FEATURES} Repeat it for several."),
]
FeatureIds = Annotated[
    str | None,
    typer.Option("--ids", metavar="FILE|COLUMN", help=f"{_IDS} Row numbers if left out."),
]
NewIds = Annotated[
    str | None,
    typer.Option(
        "--ids", metavar="FILE|COLUMN", help=f"{_IDS} Needed unless the features bring theirs."
    ),
]
NanIsMissing = Annotated[
    bool,
    typer.Option(
        "--nan-is-missing", help="An item whose vector is NaN throughout lacks that modality."
    ),
]

Device = Annotated[
    device.Device, typer.Option("--device", help="Where codes of features are looked for.")
]

IdFile = Annotated[
    str | None,
    typer.Option(
        "--ids",
        metavar="FILE",
        help="Ids from a file: .npy, .parquet, .jsonl, .csv (column item_id or id), one a line "
        "otherwise; - is standard input.",
    ),
]
CodeArguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="CODE", help="Codes, as <a_12><b_7> or 12,7; - reads standard input."),
]
CodeFile = Annotated[str | None, typer.Option("--codes", metavar="FILE", help=_CODES)]
ItemFile = Annotated[
    str | None,
    typer.Option(
        "--items",
        metavar="FILE",
        help="What is known of the items: .jsonl, .csv or .parquet with columns title, category "
        "or categories, and id; row by row without ids.",
    ),
]

OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write a file in place of standard output: .npy, .parquet, .jsonl, .csv; any other "
        "ending gets the lines that would be printed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Tokens = Annotated[
    bool | None,
    typer.Option(
        "--tokens/--integers",
        help="Codes as <a_12><b_7> or as integers; by default tokens in printed lines, integers "
        "in JSON and files.",
        show_default=False,
    ),
]
Progress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show bars; by default in a terminal only.",
        show_default=False,
    ),
]

SpecFile = Annotated[
    Path | None,
    typer.Option("--spec", metavar="FILE", help="The spec as a JSON or YAML file; options win."),
]


def set_option(first: str, second: str) -> Any:
    """Return the option ``--set``, with two examples of fields that a command's spec has."""
    return typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help=f"A field of the spec, such as {first} or {second}; the value is JSON, or else text. "
        "Repeat it for several.",
    )


Sets = Annotated[list[str] | None, set_option("quantizer.kind=rq-vae", "quantizer.levels=3")]
Seed = Annotated[int | None, typer.Option("--seed", help="The seed of every stage that has one.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the whole spec as JSON, and fit nothing.")
]
