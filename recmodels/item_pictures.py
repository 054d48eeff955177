"""Pictures of items in a folder, found by their names, as the image modality of a data folder."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recmodels.data.folder import ITEMS
from recmodels.data.jsonl import lines
from recmodels.unfinished import UnfinishedFolder, file_sha256, versions
from semantic_ids import ImageModel

#: Batches of pictures that a killed run does again at most.
_BLOCK_BATCHES = 8
_LIBRARIES = ("torch", "torchvision", "pillow", "transformers", "timm")


def pictures_by_name(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by their names without ending; of several, the first.

    Hidden files are passed over.

    Raises
    ------
    FileNotFoundError
        if there is no such folder.
    ValueError
        if it holds no file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("B02.png", "B01.jpg", "B01.webp"):
    ...         (Path(folder) / name).touch()
    ...     [path.name for path in pictures_by_name(Path(folder)).values()]
    ['B01.jpg', 'B02.png']
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            found.setdefault(path.stem, path)
    if not found:
        raise ValueError(f"{folder}: holds no file; expected pictures named by item ids")
    return found


def listing_sha256(pictures: Mapping[str, Path]) -> str:
    """Return a checksum of the names and sizes of pictures."""
    listing = "".join(f"{path.name}\0{path.stat().st_size}\n" for path in pictures.values())
    return hashlib.sha256(listing.encode()).hexdigest()


def write_images(
    unfinished: UnfinishedFolder,
    model: ImageModel,
    pictures: Mapping[str, Path],
    progress: bool | None,
) -> dict[str, Any]:
    """Write ``image_feat.npy`` and ``image_mask.npy`` for the items of a folder.

    Parameters
    ----------
    unfinished : the folder, in which the items are already.
    model : makes vectors of pictures.
    pictures : files by item id; of an item without one, and of one that is unreadable, the row
        is zeros and masked.
    progress : show a bar; None shows it in a terminal.

    Returns
    -------
    result : counts, the first of the missing and unreadable, and a checksum over the checksums
        of the files in the order of the items.

    Raises
    ------
    ValueError
        if no item has a picture.
    """
    ids = [record["id"] for _, record in lines(unfinished.path / ITEMS)]
    paths = [pictures.get(item) for item in ids]
    missing = [item for item, path in zip(ids, paths, strict=True) if path is None]
    if len(missing) == len(ids):
        folder = next(iter(pictures.values())).parent
        raise ValueError(
            f"{folder}: holds no picture of the {len(ids):,} items; expected files named by their "
            f"ids, such as {ids[0]}.jpg"
        )

    def block(start: int, end: int) -> dict[str, np.ndarray]:
        part = paths[start:end]
        made = model.transform(part, progress=False)
        digests = "".join(file_sha256(path) for path in part if path is not None)
        return {
            "vectors": made.vectors,
            "present": made.present,
            "digests": np.frombuffer(bytes.fromhex(digests), dtype=np.uint8),
            "unreadable": np.array([made.unreadable]),
            "first_unreadable": np.array([made.first_unreadable or ""]),
        }

    size = model.spec.batch_size * _BLOCK_BATCHES
    whole = unfinished.blocks("images", len(ids), size, block, progress=progress)
    if not whole["present"].any():
        raise ValueError(
            f"none of {len(ids) - len(missing):,} pictures can be read "
            f"(first: {next(filter(None, whole['first_unreadable'].tolist()))})"
        )
    unfinished.save("image_feat.npy", whole["vectors"])
    unfinished.save("image_mask.npy", whole["present"])
    return {
        "columns": whole["vectors"].shape[1],
        "present": int(whole["present"].sum()),
        "missing": len(missing),
        "first_missing": next(iter(missing), None),
        "unreadable": int(whole["unreadable"].sum()),
        "first_unreadable": next(filter(None, whole["first_unreadable"].tolist()), None),
        "files_sha256": hashlib.sha256(whole["digests"].tobytes()).hexdigest(),
        "versions": versions(*_LIBRARIES),
    }
