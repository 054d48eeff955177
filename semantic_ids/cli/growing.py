"""The commands that change a catalogue: `add` and `remove`."""

from typing import Annotated

import typer

from semantic_ids.cli import options
from semantic_ids.cli.coding import code_columns, tokens_wanted
from semantic_ids.cli.feature_files import read_features
from semantic_ids.cli.output import check_file, emit, say, to_json
from semantic_ids.cli.tables import id_blocks


def add(
    folder: options.Folder,
    features: options.FeatureArguments,
    ids: options.NewIds = None,
    update: Annotated[
        bool, typer.Option("--update", help="Move items whose content changed to new codes.")
    ] = False,
    nan_is_missing: options.NanIsMissing = False,
    tokens: options.Tokens = None,
    out: options.OutFile = None,
    as_json: options.Json = False,
) -> None:
    """Give new items unique codes.

    The tokenizer is saved, then the codes are printed in input order. JSON and files say of each
    item, too, whether it is new, stays or moves.
    """
    from semantic_ids import Tokenizer

    check_file(out)  # before anything changes
    tokenizer = Tokenizer.load(folder)
    new = read_features(features, ids, nan_is_missing=nan_is_missing, like=tokenizer.ids)
    if new.ids is None:
        raise typer.BadParameter("--ids: every new item needs an id, and the features bring none")
    changes = tokenizer.changes(new)
    moving = new.ids[changes == "moves"]
    if len(moving) and not update:
        raise ValueError(
            f"ids: {len(moving)} are in the catalogue with other content "
            f"(first: {moving.tolist()[0]!r}); give --update to move them to new codes"
        )
    codes = tokenizer.add(new, update=update)
    tokenizer.save(folder)
    columns = code_columns(new.ids, codes, tokens_wanted(tokens, out, as_json))
    emit([{**columns, "change": changes}], out, as_json=as_json, main="code")


def remove(
    folder: options.Folder,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Ids of the catalogue; - reads standard input."),
    ] = None,
    ids: options.IdFile = None,
    as_json: options.Json = False,
) -> None:
    """Retire items.

    They are not found any more, and nobody else gets their codes. The tokenizer is saved.
    """
    from semantic_ids import Tokenizer

    if bool(items) == (ids is not None):
        raise typer.BadParameter("give ids, or --ids FILE: one of them")
    tokenizer = Tokenizer.load(folder)
    before = len(tokenizer)
    for part in id_blocks(items or [], ids, tokenizer.ids):
        tokenizer.remove(part)
    tokenizer.save(folder)  # if every one of them was there
    removed = before - len(tokenizer)
    if as_json:
        say(to_json({"removed": removed, "items": len(tokenizer)}))
    else:
        say(f"{removed:,} removed, {len(tokenizer):,} left")
