"""The command `semantic-ids qbert4rec prepare`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from recmodels.preparation import Preparation
from semantic_ids.cli import options, specs
from semantic_ids.cli.output import say, to_json


def prepare(
    reviews: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Reviews of 2018 or 2023, JSON lines, plain or .gz."),
    ],
    meta: Annotated[Path, typer.Option(metavar="FILE", help="Metadata of the same category.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Data folder to write.")],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures named by item ids, such as B0047.jpg; see --image-model.",
        ),
    ] = None,
    text_model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A sentence-transformers model; TF-IDF and SVD if left out.",
        ),
    ] = None,
    image_model: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A vision model: a folder of transformers or timm, or weights of timm as "
            ".safetensors with --set image.architecture=NAME.",
        ),
    ] = None,
    core: Annotated[
        int | None, typer.Option(help="Interactions that every user and item needs; 5 if left out.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set; the folder's if left out.")
    ] = None,
    spec: options.SpecFile = None,
    sets: Annotated[
        list[str] | None, options.set_option("text.width=64", "description=500")
    ] = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Make a data folder of raw Amazon files.

    Repeated after it was cut off, it goes on where it was; until it is whole the folder is
    FOLDER.partial. Nothing is downloaded.
    """
    shortcuts: dict[str, Any] = {"core": core}
    if text_model is not None:
        shortcuts["text"] = {"kind": "sentence-transformers", "path": str(text_model)}
    if image_model is not None:
        shortcuts["image"] = {"kind": _kind_of(image_model), "path": str(image_model)}
    chosen = specs.resolve(Preparation, spec, shortcuts, sets, seed)
    if dry_run:
        say(json.dumps(chosen.model_dump(mode="json"), indent=None if as_json else 2))
        return
    if (images is None) != (chosen.image is None):
        raise typer.BadParameter("--images and --image-model go together: give both or neither")
    about = chosen.run(
        reviews, meta, out, images=images, name=name, overwrite=overwrite, progress=progress
    )
    say(to_json({"folder": str(out), **about}) if as_json else _summary(out, about))


def _kind_of(model: Path) -> str:
    """Say whose form a vision model has: timm's names an architecture, at the top alone."""
    config = model / "config.json"
    if not config.is_file():
        return "timm" if model.is_file() else "transformers-vision"
    content = json.loads(config.read_bytes())
    return "timm" if "architecture" in content else "transformers-vision"


def _summary(out: Path, about: dict[str, Any]) -> str:
    text = (
        f"{out}: {about['users']:,} users, {about['items']:,} items, "
        f"{about['interactions']:,} interactions (of {about['raw']['interactions']:,}); "
        f"text {about['text']['columns']}"
    )
    if "image" not in about:
        return text
    image = about["image"]
    text += f", image {image['columns']} of {image['present']:,} items"
    if image["missing"]:
        text += f"; {image['missing']:,} pictures missing (first: {image['first_missing']})"
    if image["unreadable"]:
        text += f"; {image['unreadable']:,} unreadable (first: {image['first_unreadable']})"
    return text
