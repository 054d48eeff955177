"""The commands that turn items into codes and back: `encode`, `decode`, `lookup`, `neighbours`."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from semantic_ids.cli import options
from semantic_ids.cli.feature_files import read_features
from semantic_ids.cli.output import Columns, code_column, emit, tabbed
from semantic_ids.cli.tables import BLOCK_ROWS, code_blocks, id_blocks

#: Codes that are decoded, or whose neighbours are found, together.
_BLOCK_CODES = 4096


def encode(
    folder: options.Folder,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Ids of the catalogue; - reads standard input."),
    ] = None,
    ids: options.IdFile = None,
    features: options.FeatureOptions = None,
    all_items: Annotated[bool, typer.Option("--all", help="The whole catalogue.")] = False,
    nan_is_missing: options.NanIsMissing = False,
    device: options.Device = "cpu",
    tokens: options.Tokens = None,
    out: options.OutFile = None,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Print codes of items.

    Of ids, the unique codes; of features, the content codes.
    """
    from semantic_ids import Tokenizer

    chosen = sum(map(bool, (items, ids, features, all_items)))
    if chosen != 1:
        raise typer.BadParameter("give ids, or --ids, --features or --all: one of them")
    if files := [word for word in items or () if _is_feature_file(word)]:
        raise typer.BadParameter(f"{files[0]} names a file: features are given by --features")
    tokenizer = Tokenizer.load(folder)
    spelled = tokens_wanted(tokens, out, as_json)
    if features:
        found = read_features(features, nan_is_missing=nan_is_missing)
        blocks = _content(tokenizer, found, device, progress, spelled)
    else:
        names = _all_ids(tokenizer) if all_items else id_blocks(items or [], ids, tokenizer.ids)
        blocks = (
            code_columns(part, tokenizer.encode(part, device=device), spelled) for part in names
        )
    emit(blocks, out, as_json=as_json, main="code")


def _is_feature_file(word: str) -> bool:
    path = Path(word.rpartition("=")[2])
    return path.suffix in (".npy", ".safetensors", ".parquet") and path.is_file()


def tokens_wanted(tokens: bool | None, out: Path | None, as_json: bool) -> bool:
    """Say whether codes are spelled as tokens: in printed lines, if nothing else was asked for."""
    return out is None and not as_json if tokens is None else tokens


def code_columns(ids: Any, codes: np.ndarray, spelled: bool) -> Columns:
    """Return the columns item_id, where there are ids, and code."""
    known = {} if ids is None else {"item_id": ids}
    return {**known, "code": code_column(codes, spelled)}


def _all_ids(tokenizer: Any) -> Iterator[np.ndarray]:
    for start in range(0, len(tokenizer), BLOCK_ROWS):
        yield tokenizer.ids[start : start + BLOCK_ROWS]


def _content(
    tokenizer: Any, features: Any, device: Any, progress: bool | None, spelled: bool
) -> Iterator[Columns]:
    from semantic_ids.progress import progress_bar

    with progress_bar(description="items", total=len(features), progress=progress) as bar:
        for part in features.blocks(BLOCK_ROWS):
            yield code_columns(part.ids, tokenizer.encode(part, device=device), spelled)
            bar.update(len(part))


def decode(
    folder: options.Folder,
    codes: options.CodeArguments = None,
    source: options.CodeFile = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write a file: .npy (of one modality), .safetensors, .parquet, .jsonl or .csv.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print the features that codes stand for.

    Of content codes, unique codes, or prefixes; as JSON lines.
    """
    from semantic_ids import Tokenizer

    _check_one(codes, source)
    tokenizer = Tokenizer.load(folder)
    parts = map(tokenizer.decode, _split(code_blocks(codes or [], source)))
    if out is not None and out.suffix.lower() == ".safetensors":
        _write_safetensors(out, list(parts))
        return
    first = next(parts, None)
    if first is None:
        return
    if out is not None and out.suffix.lower() == ".npy" and len(first) > 1:
        raise ValueError(
            f"{out}: a .npy file holds one modality, these are {list(first)}; write .safetensors"
        )
    emit(itertools.chain([first], parts), out, as_json=True, main=next(iter(first)))


def _write_safetensors(out: Path, parts: list[dict[str, np.ndarray]]) -> None:
    from safetensors.numpy import save_file

    if not parts:
        raise ValueError("there is nothing to write: no codes were given")
    save_file({name: np.concatenate([p[name] for p in parts]) for name in parts[0]}, out)


def lookup(
    folder: options.Folder,
    codes: options.CodeArguments = None,
    source: options.CodeFile = None,
    out: options.OutFile = None,
    as_json: options.Json = False,
) -> None:
    """Print the ids of unique codes.

    The line of a code that no item has is empty, in JSON it is null.
    """
    from semantic_ids import Tokenizer

    _check_one(codes, source)
    tokenizer = Tokenizer.load(folder)
    blocks = (
        {"item_id": tokenizer.lookup(part), "code": part}
        for part in code_blocks(codes or [], source)
    )
    emit(blocks, out, as_json=as_json, main="item_id")


def neighbours(
    folder: options.Folder,
    codes: options.CodeArguments = None,
    source: options.CodeFile = None,
    k: Annotated[int, typer.Option("--k", help="Items to name for each code.")] = 10,
    by: Annotated[
        Literal["vectors", "codes"] | None,
        typer.Option(help="What is near; vectors where there is a codec.", show_default=False),
    ] = None,
    tokens: options.Tokens = None,
    out: options.OutFile = None,
    as_json: options.Json = False,
) -> None:
    """Print the items nearest to codes.

    A line an item, nearest first: the code, the id, the distance, with tabs between.
    """
    from semantic_ids import Tokenizer

    _check_one(codes, source)
    tokenizer = Tokenizer.load(folder)
    spelled = tokens_wanted(tokens, out, as_json)

    def near(part: np.ndarray) -> Columns:
        found = tokenizer.neighbours(part, k, by)
        return {
            "code": code_column(np.repeat(part, k, axis=0), spelled),
            "item_id": [name for names in found.ids for name in names],
            "distance": found.distances.ravel(),
        }

    blocks = map(near, _split(code_blocks(codes or [], source)))
    emit(blocks, out, as_json=as_json, main="item_id", line=tabbed)


def _split(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        for start in range(0, len(block), _BLOCK_CODES):
            yield block[start : start + _BLOCK_CODES]


def _check_one(codes: list[str] | None, source: str | None) -> None:
    if bool(codes) == (source is not None):
        raise typer.BadParameter("give codes, or --codes FILE: one of them")
