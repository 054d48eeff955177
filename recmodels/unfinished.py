"""A folder that is made in stages beside its place, and goes there when it is whole."""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from recmodels.data.folder import ABOUT, UNFINISHED
from recmodels.data.jsonl import parse
from recmodels.data.writing import PART, put_in_place
from semantic_ids.progress import progress_bar

#: Key of dataset.json under which the parameters are.
PARAMETERS = "parameters"
_BLOCKS = ".blocks"


class UnfinishedFolder:
    """A folder on its way: what was done before is found again, and nothing looks whole too soon.

    Work goes on in ``OUT.partial``, where ``unfinished.json`` says what it is made with and which
    stages are over; `read_dataset` refuses a folder with that file. `commit` moves it to OUT.

    Parameters
    ----------
    out : where the folder goes.
    parameters : values that JSON can hold; a folder with others is not gone on with.
    overwrite : whether a folder that was made before, or begun with other parameters, is given up.

    Raises
    ------
    FileExistsError
        if OUT is a file, or a folder that was not made this way, or, unless `overwrite` is set,
        one that was made or begun with other parameters.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     unfinished = UnfinishedFolder(Path(place) / "tea", {"core": 5})
    ...     count = unfinished.stage("count", lambda: {"items": 3})
    ...     about = unfinished.commit({"name": "tea", **count})
    ...     UnfinishedFolder(Path(place) / "tea", {"core": 5}).whole["items"]
    3
    """

    def __init__(
        self, out: Path, parameters: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.out = out
        self.path = out.with_name(f"{out.name}.partial")
        # As it will be read back: tuples become lists.
        self._parameters: dict[str, Any] = json.loads(json.dumps(parameters))
        self._stages: dict[str, Any] = {}
        self.whole = self._find_whole(overwrite)
        if self.whole is None:
            self._begin(overwrite)

    def _find_whole(self, overwrite: bool) -> dict[str, Any] | None:
        """Return dataset.json of the folder that is asked for, if it is there already."""
        if self.out.exists() and not self.out.is_dir():
            raise FileExistsError(f"{self.out}: is a file; expected a folder or nothing")
        waiting = _read(self.path / ABOUT)
        whole = not (self.path / UNFINISHED).exists() and waiting.get(PARAMETERS)
        if whole == self._parameters and (overwrite or not _files(self.out)):
            self._move()  # it was cut off between the last stage and this
            return waiting
        if not _files(self.out):
            return None
        found = _read(self.out / ABOUT)
        if PARAMETERS not in found:
            raise FileExistsError(f"{self.out}: holds other files; name a new or an empty folder")
        self._check(self.out, found[PARAMETERS], overwrite)
        return None if overwrite else found

    def _begin(self, overwrite: bool) -> None:
        """Go on with what was begun, or begin."""
        begun = _read(self.path / UNFINISHED)
        whole = _read(self.path / ABOUT)
        if begun.get("stages") or PARAMETERS in whole:
            self._check(self.path, begun.get(PARAMETERS) or whole[PARAMETERS], overwrite)
        elif not begun and not all(path.suffix == PART for path in _files(self.path)):
            raise FileExistsError(
                f"{self.path}: holds other files; move it, or name another folder"
            )
        if begun.get(PARAMETERS) == self._parameters:
            self._stages = begun["stages"]
            return
        _discard(self.path)
        self.path.mkdir(parents=True)
        self._note()

    def _check(self, folder: Path, found: dict[str, Any], overwrite: bool) -> None:
        if found == self._parameters or overwrite:
            return
        old, new = dict(_leaves(found)), dict(_leaves(self._parameters))
        other = [
            f"{name} was {old.get(name)}, now {new.get(name)}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
        raise FileExistsError(
            f"{folder}: was made with other parameters ({'; '.join(other[:3])}); name another "
            "folder, or give --overwrite to make it anew"
        )

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do what has not been done yet.

        Parameters
        ----------
        name : of the stage.
        work : writes files of the folder, each put in place as one, and returns what to know of
            them, values that JSON can hold.

        Returns
        -------
        result : what `work` returned, now or before.
        """
        if name not in self._stages:
            self._stages[name] = work()
            self._note()
        return self._stages[name]

    def blocks(
        self,
        name: str,
        count: int,
        size: int,
        make: Callable[[int, int], Mapping[str, np.ndarray]],
        *,
        progress: bool | None = None,
    ) -> dict[str, np.ndarray]:
        """Make arrays of many rows block by block; those that were made before are read back.

        Parameters
        ----------
        name : what they are of, which the bar shows.
        count, size : rows, and rows of a block.
        make : returns named arrays of the rows from one number up to, without, another.
        progress : show a bar; None shows it in a terminal.

        Returns
        -------
        arrays : by name, of all rows.
        """
        folder = self.path / _BLOCKS
        folder.mkdir(exist_ok=True)
        parts: list[dict[str, np.ndarray]] = []
        with progress_bar(total=count, description=name, progress=progress) as bar:
            for start in range(0, count, size):
                end = min(start + size, count)
                path = folder / f"{name}-{start}.npz"
                if not path.exists():
                    made: dict[str, Any] = dict(make(start, end))
                    with put_in_place(path) as part, part.open("wb") as file:
                        np.savez(file, **made)
                with np.load(path, allow_pickle=False) as block:
                    parts.append(dict(block))
                bar.update(end - start)
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def save(self, name: str, array: np.ndarray) -> None:
        """Write a .npy file of the folder."""
        with put_in_place(self.path / name) as part, part.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    def commit(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Say that the folder is whole, and move it to its place.

        Parameters
        ----------
        about : what dataset.json says of it; the parameters come in addition.
        """
        content = {**about, PARAMETERS: self._parameters}
        _write_json(self.path / ABOUT, content)
        shutil.rmtree(self.path / _BLOCKS, ignore_errors=True)
        for part in self.path.glob(f"*{PART}"):
            part.unlink()
        (self.path / UNFINISHED).unlink()
        self._move()
        return content

    def _move(self) -> None:
        _discard(self.out)
        self.path.rename(self.out)

    def _note(self) -> None:
        content = {PARAMETERS: self._parameters, "stages": self._stages}
        _write_json(self.path / UNFINISHED, content)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of Python, this package, numpy and others that there are."""
    found = {"python": platform.python_version()}
    for package in ("semantic-ids", "numpy", *packages):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _read(path: Path) -> dict[str, Any]:
    return parse(str(path), path.read_bytes()) if path.is_file() else {}


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with put_in_place(path) as part:
        part.write_text(text, encoding="utf-8")


def _discard(folder: Path) -> None:
    """Remove a folder, if there is one, whose files nobody finds by its name on the way."""
    if folder.exists():
        away = Path(tempfile.mkdtemp(dir=folder.resolve().parent, prefix=".replaced-"))
        folder.rename(away / folder.name)
        shutil.rmtree(away)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Go through the values of nested objects, by their paths."""
    if not isinstance(value, dict):
        yield path, json.dumps(value, ensure_ascii=False)
        return
    for name, part in value.items():
        yield from _leaves(part, f"{path}.{name}" if path else name)
