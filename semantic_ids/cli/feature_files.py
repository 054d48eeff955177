"""Features from the words of a command: files, several by name, or a catalogue folder."""

from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import typer

from semantic_ids.cli.tables import ids_like, read_ids
from semantic_ids.features import Features
from semantic_ids.frames import import_pyarrow
from semantic_ids.readers import read_npy, read_safetensors

#: Entry points of functions that read a folder into an object with `features`.
FOLDERS = "semantic_ids.folders"


def read_features(
    words: Sequence[str],
    ids: str | None = None,
    *,
    nan_is_missing: bool = False,
    like: np.ndarray | None = None,
) -> Features:
    """Read the features that a command names.

    Parameters
    ----------
    words : one file or folder, or several files as NAME=FILE.
    ids : a file of ids, - for standard input, or the name of a .parquet file's column.
    nan_is_missing : whether a vector of NaN says that an item lacks the modality.
    like : (N,) ids of a catalogue, whose kind texts are read as.

    Raises
    ------
    FileNotFoundError
        if a file is missing.
    ValueError
        if it cannot be read, or the arrays and ids do not fit each other.
    """
    given = _given(words)
    if isinstance(given, Path) and given.is_dir():
        features = _read_folder(given)
        return features if ids is None else Features.of(features, _read_ids(ids, like))
    paths = list(given.values()) if isinstance(given, dict) else [given]
    names: Any = ids
    if ids is not None and not (_is_column(ids) and _has_parquet(paths)):
        names = _read_ids(ids, like)
    return Features(given, ids=names, missing="nan" if nan_is_missing else None)


def _read_ids(source: str, like: np.ndarray | None) -> np.ndarray:
    ids = read_ids(source)
    return ids if like is None else ids_like(ids.tolist(), like)


def read_shapes(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array that a command names, from the heads of the files.

    Of a .parquet file the shape is that of its table. Where the arrays are many and have not one
    length, or a file is missing or damaged, that is refused.

    Raises
    ------
    FileNotFoundError, ValueError
        as `read_features`.
    """
    given = _given(words)
    paths = given if isinstance(given, dict) else {given.name: given}
    shapes = {name: shape for key, path in paths.items() for name, shape in _shapes(key, path)}
    lengths = {shape[0] for shape in shapes.values()}
    if len(lengths) > 1:
        found = ", ".join(f"{name} has {shape[0]:,}" for name, shape in shapes.items())
        raise ValueError(f"every array needs one row an item, but {found}")
    return shapes


def _given(words: Sequence[str]) -> Path | dict[str, Path]:
    named: dict[str, Path] = {}
    bare: list[Path] = []
    for word in words:
        name, equals, file = word.partition("=")
        if not equals or Path(word).exists():
            bare.append(Path(word))
        elif not name or not file or name in named:
            raise typer.BadParameter(f"features: expected NAME=FILE, each name once, got {word!r}")
        else:
            named[name] = Path(file)
    if len(bare) > 1 or (bare and named):
        raise typer.BadParameter(
            "features: several files go in as NAME=FILE, such as text=text.npy image=image.npy"
        )
    return bare[0] if bare else named


def _read_folder(folder: Path) -> Features:
    for point in entry_points(group=FOLDERS):
        features = point.load()(folder, min_items=0).features
        if features is None:
            raise ValueError(f"{folder}: holds no features; expected NAME_emb.npy, one a modality")
        return features
    raise ValueError(f"{folder}: is a folder, and no package that reads folders is installed")


def _shapes(name: str, path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    ending = path.suffix.lower()
    if path.is_dir():
        for file in sorted(path.glob("*.npy")):
            if np.load(file, mmap_mode="r", allow_pickle=False).ndim == 2:
                yield from _shapes(file.stem, file)
    elif not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    elif ending == ".npy":
        yield name, next(iter(read_npy(path).modalities.values())).shape
    elif ending == ".safetensors":
        for key, array in read_safetensors(path).modalities.items():
            yield f"{name}: {key}", array.shape
    elif ending == ".parquet":
        yield name, _parquet_shape(path)
    else:
        raise ValueError(f"{path}: expected a file that ends in .npy, .safetensors or .parquet")


def _parquet_shape(path: Path) -> tuple[int, int]:
    pa = import_pyarrow()
    from pyarrow.parquet import read_metadata

    try:
        metadata = read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a parquet file, or damaged: {error}") from None
    return metadata.num_rows, len(metadata.schema.to_arrow_schema().names)


def _is_column(ids: str) -> bool:
    return ids != "-" and not Path(ids).exists()


def _has_parquet(paths: Sequence[Path]) -> bool:
    return any(path.suffix.lower() == ".parquet" for path in paths)
