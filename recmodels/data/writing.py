"""Writing the two tables of a data folder, as `read_dataset` reads them."""

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recmodels.data.folder import INTERACTIONS, ITEMS
from recmodels.data.histories import Histories

#: Ending of a file that is being written.
PART = ".part"


def write_items(folder: Path, items: Iterable[Mapping[str, Any]]) -> None:
    """Write ``items.jsonl.gz``: one item a line, by its row number.

    Parameters
    ----------
    folder : path of the folder.
    items : what is known of each, such as ``{"id": "B01", "title": "Green tea"}``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_items(Path(folder), [{"id": "B01"}, {"id": "B02"}])
    ...     gzip.decompress((Path(folder) / "items.jsonl.gz").read_bytes())
    b'{"i": 0, "id": "B01"}\\n{"i": 1, "id": "B02"}\\n'
    """
    _write(folder / ITEMS, ({"i": row, **item} for row, item in enumerate(items)))


def write_interactions(folder: Path, histories: Histories, users: Iterable[str | None]) -> None:
    """Write ``interactions.jsonl.gz``: one user a line, with item rows, oldest first.

    Parameters
    ----------
    folder : path of the folder.
    histories : of U users.
    users : their U ids; None for a user without one.
    """
    _write(
        folder / INTERACTIONS,
        (
            {"u": number, "user": user, "items": items.tolist()}
            for number, (items, user) in enumerate(zip(histories, users, strict=True))
        ),
    )


@contextmanager
def put_in_place(path: Path) -> Iterator[Path]:
    """Give a path to write; what stands there at the end becomes the file, which is never half.

    Its name is the process's own, so that two that make the same file do not write into one.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    yield part
    part.replace(path)


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines; equal ones make equal files, since no time is put into them."""
    with (
        put_in_place(path) as part,
        part.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
    ):
        for record in records:
            packed.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
