"""The command `semantic-ids qbert4rec demo`."""

from pathlib import Path
from typing import Annotated

import typer

from recmodels.demo import demo as tell
from semantic_ids.cli import options


def demo(
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A data folder; a catalogue is made up if left out."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="For the model.")] = Path(
        "runs/qbert4rec"
    ),
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    drop_short: Annotated[
        bool, typer.Option("--drop-short", help="Leave out users of fewer than 3 items.")
    ] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Fit again with codes permuted over the items.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run, which shows the way only.")
    ] = False,
    progress: options.Progress = None,
) -> None:
    """Tell the whole story on a made-up catalogue.

    From features to codes, to a trained recommender, to its figures beside popularity and chance.
    """
    tell(
        data,
        out,
        seed=seed,
        threads=threads,
        drop_short=drop_short,
        control=control,
        quick=quick,
        progress=progress,
    )
