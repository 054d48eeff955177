"""The command `fit`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from semantic_ids.cli import options, specs
from semantic_ids.cli.feature_files import read_features, read_shapes
from semantic_ids.cli.output import say, to_json

_SIDE = ("collaborative", "graph", "counts", "labels", "prototypes")


def fit(
    features: options.FeatureArguments,
    out: options.OutFolder = None,
    overwrite: options.Overwrite = False,
    ids: options.FeatureIds = None,
    spec: options.SpecFile = None,
    sets: options.Sets = None,
    levels: Annotated[int | None, typer.Option(help="quantizer.levels")] = None,
    codebook_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE[,SIZE...]", help="quantizer.codebook_size, one or one a level"),
    ] = None,
    quantizer: Annotated[str | None, typer.Option(metavar="KIND", help="quantizer.kind")] = None,
    resolver: Annotated[str | None, typer.Option(metavar="KIND", help="resolver.kind")] = None,
    fuser: Annotated[str | None, typer.Option(metavar="KIND", help="fuser.kind")] = None,
    seed: options.Seed = None,
    side: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE.npy",
            help=f"What only fitting uses: {', '.join(_SIDE)}; one row an item.",
        ),
    ] = None,
    nan_is_missing: options.NanIsMissing = False,
    dry_run: options.DryRun = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Fit a tokenizer on a catalogue.

    With --dry-run, of the features the heads of the files alone are read.
    """
    from semantic_ids import Tokenizer, TokenizerSpec

    shortcuts = {
        "fuser.kind": fuser,
        "quantizer.kind": quantizer,
        "quantizer.levels": levels,
        "quantizer.codebook_size": specs.sizes(codebook_size),
        "resolver.kind": resolver,
    }
    chosen = specs.resolve(TokenizerSpec, spec, shortcuts, sets, seed)
    if dry_run:
        _show_shapes(features, chosen.quantizer.least_items)
        say(json.dumps(chosen.model_dump(mode="json"), indent=None if as_json else 2))
        return
    folder = check_out(out, "tokenizer", overwrite=overwrite)
    given = read_features(features, ids, nan_is_missing=nan_is_missing)
    tokenizer = Tokenizer.of(chosen, given, side=_read_side(side), progress=progress)
    tokenizer.save(folder, overwrite=overwrite)
    say_saved(tokenizer, folder, as_json=as_json)


def say_saved(tokenizer: Any, folder: Path, *, as_json: bool) -> None:
    """Print what was made: a Tokenizer, and the folder that it was saved in."""
    if not as_json:
        say(f"{folder}: {tokenizer!r}")
        return
    figures = {
        "items": len(tokenizer),
        "code_sizes": tokenizer.code_sizes,
        "fingerprint": tokenizer.fingerprint,
        "folder": str(folder),
    }
    say(to_json(figures))


def check_out(out: Path | None, kind: str, *, overwrite: bool) -> Path:
    """Return the folder to write, refused before the work if it holds what is not replaced.

    Parameters
    ----------
    out : what was given, if anything.
    kind : of the state that will be written, such as ``"tokenizer"``.
    overwrite : whether a state of this kind may be replaced.

    Raises
    ------
    FileExistsError
        if it is a file, a folder of other files or, unless `overwrite` is set, of a state.
    """
    if out is None:
        raise typer.BadParameter("--out: name the folder to write")
    if not out.exists():
        return out
    if not out.is_dir():
        raise FileExistsError(f"{out}: is a file; expected a folder or nothing")
    manifest = out / "manifest.json"
    if manifest.exists():
        try:
            there = json.loads(manifest.read_bytes())
        except ValueError:
            there = None
        if isinstance(there, dict) and there.get("kind") == kind:
            if overwrite:
                return out
            raise FileExistsError(f"{out}: holds a {kind}; give --overwrite to replace it")
        raise FileExistsError(f"{out}: its manifest.json is not that of a {kind}")
    if any(out.iterdir()):
        raise FileExistsError(f"{out}: holds other files; name a new or an empty folder")
    return out


def _read_side(words: list[str] | None) -> Any:
    """Return the arrays that only fitting uses, as a Side; None where none was given."""
    import numpy as np

    from semantic_ids import Side

    arrays = {}
    for word in words or []:
        name, _, file = word.partition("=")
        if name not in _SIDE or not file or name in arrays:
            raise typer.BadParameter(
                f"--side: expected NAME=FILE.npy, each of {', '.join(_SIDE)} once, got {word!r}"
            )
        try:
            arrays[name] = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{file}: not a .npy file of numbers: {error}") from None
    return Side(**arrays) if arrays else None


def _show_shapes(words: list[str], least: int) -> None:
    shapes = read_shapes(words)
    for name, (rows, columns) in shapes.items():
        sys.stderr.write(f"{name}: {rows:,} x {columns}\n")
    rows = min((shape[0] for shape in shapes.values()), default=least)
    if rows < least:
        raise ValueError(
            f"the largest codebook needs at least {least} items, got {rows}; "
            "choose a smaller --codebook-size"
        )
