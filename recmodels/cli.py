"""The commands `semantic-ids qbert4rec ...`, which semantic_ids finds as an entry point."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from recmodels.cli_demo import demo
from recmodels.cli_prepare import prepare
from recmodels.data import Dataset, read_dataset
from recmodels.qbert4rec import QBert4Rec
from recmodels.qbert4rec_spec import QBert4RecSpec
from semantic_ids import Tokenizer
from semantic_ids.cli import options, specs
from semantic_ids.cli.fitting import check_out
from semantic_ids.cli.output import emit, say, tabbed, to_json
from semantic_ids.cli.tables import PLAIN, ids_like, read_blocks

#: Histories that are ranked together.
_BLOCK_HISTORIES = 1024

app = typer.Typer(rich_markup_mode=None)
app.command()(prepare)
app.command()(demo)

Data = Annotated[
    Path,
    typer.Argument(metavar="DATASET", help="A folder with items, interactions and features."),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A recommender that train wrote.")]
Sets = Annotated[
    list[str] | None, options.set_option("tokenizer.quantizer.kind=rq-vae", "width=32")
]
DropShort = Annotated[
    bool, typer.Option("--drop-short", help="Leave out users of fewer than 3 items.")
]


@app.command()
def train(
    dataset: Data,
    out: options.OutFolder = None,
    overwrite: options.Overwrite = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="A fitted tokenizer of these items; one is fitted if left out."
        ),
    ] = None,
    spec: options.SpecFile = None,
    sets: Sets = None,
    seed: options.Seed = None,
    drop_short: DropShort = False,
    dry_run: options.DryRun = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Fit Q-BERT4Rec on a data set.

    Its measures on the validation items are printed.
    """
    chosen = specs.resolve(QBert4RecSpec, spec, {}, sets, seed)
    given = None if tokenizer is None else Tokenizer.load(tokenizer)
    if given is not None and given.spec is not None:
        chosen = chosen.model_copy(update={"tokenizer": given.spec})
    if dry_run:
        say(json.dumps(chosen.model_dump(mode="json"), indent=None if as_json else 2))
        return
    folder = check_out(out, "qbert4rec", overwrite=overwrite)
    data = _read(dataset, drop_short)
    model = chosen.fit(data, tokenizer=given, progress=progress)
    model.save(folder, overwrite=overwrite)
    _say_measures(model, data, "validation", progress, as_json)


@app.command()
def evaluate(
    model: Model,
    dataset: Data,
    part: Annotated[
        Literal["validation", "test"], typer.Option(help="Whose items are asked for.")
    ] = "test",
    drop_short: DropShort = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Print HR, NDCG and MRR.

    The whole catalogue is ranked for each user's held-out item.
    """
    loaded = QBert4Rec.load(model)
    _say_measures(loaded, _read(dataset, drop_short), part, progress, as_json)


@app.command()
def recommend(
    model: Model,
    history: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="One history, oldest first; - as --histories -."),
    ] = None,
    histories: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="One history a line: a JSON list of ids, an object with items, or ids between "
            "blanks; - is standard input.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="Items for each history.")] = 10,
    exclude_seen: Annotated[
        bool,
        typer.Option(
            "--exclude-seen", help="Leave a history's own items out; fewer than k may be left."
        ),
    ] = False,
    unknown: Annotated[
        Literal["error", "skip"],
        typer.Option(help="Refuse ids that the catalogue does not hold, or read on without them."),
    ] = "error",
    out: options.OutFile = None,
    as_json: options.Json = False,
) -> None:
    """Print what histories go on with.

    A line an item, best first: number of the history, id, score, with tabs between.
    """
    if bool(history) == (histories is not None):
        raise typer.BadParameter("give the ids of one history, or --histories FILE: one of them")
    loaded = QBert4Rec.load(model)
    source = "-" if history == ["-"] else histories
    rows = iter([history]) if source is None else _read_histories(source)
    blocks = _recommended(loaded, rows, k, exclude_seen=exclude_seen, unknown=unknown)
    emit(blocks, out, as_json=as_json, main="item_id", line=tabbed)


def _recommended(
    model: QBert4Rec,
    rows: Iterator[Any],
    k: int,
    *,
    exclude_seen: bool,
    unknown: Literal["error", "skip"],
) -> Iterator[dict[str, Any]]:
    start = 0
    while part := list(itertools.islice(rows, _BLOCK_HISTORIES)):
        histories = [ids_like(row, model.tokenizer.ids) for row in part]
        best = model.recommend(histories, k, exclude_seen=exclude_seen, unknown=unknown)
        yield {
            "history": [start + row for row, names in enumerate(best.ids) for _ in names],
            "item_id": [name for names in best.ids for name in names],
            "score": best.scores[best.scores > -np.inf],
        }
        start += len(part)


def _read_histories(source: str) -> Iterator[list[Any]]:
    number = 0
    for block, _ in read_blocks(source):
        name = PLAIN if PLAIN in block else "items"
        if name not in block:
            raise ValueError(f"{source}: expected items, a list of ids, got {list(block)}")
        for value in block[name]:
            yield _history(value, f"{source}, history {number}")
            number += 1


def _history(value: Any, where: str) -> list[Any]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON: {error}") from None
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of ids, got {value!r}")
    return value


def _read(folder: Path, drop_short: bool) -> Dataset:
    return read_dataset(folder, short_users="drop" if drop_short else "error")


def _say_measures(
    model: QBert4Rec,
    dataset: Dataset,
    part: Literal["validation", "test"],
    progress: bool | None,
    as_json: bool,
) -> None:
    measures = model.evaluate(dataset, part=part, progress=progress).metrics
    say(to_json({"part": part, **measures.to_dict()}) if as_json else f"{part}: {measures!r}")
