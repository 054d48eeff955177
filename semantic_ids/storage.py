"""The folder format: manifest.json and safetensors files, committed as one.

Data files carry a hash of their content in their names and are written first; replacing
manifest.json is the one commit. A reader finds the state before or the one after it.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from semantic_ids.errors import StaleFolderError

try:
    import fcntl
except ImportError:
    fcntl = None

#: Number of the folder format; a folder with a higher one is refused.
FORMAT = 1

_MANIFEST = "manifest.json"
_DATA_FILE = re.compile(r"[a-z][a-z0-9_]*-[0-9a-f]{16}\.safetensors")
_TEMPORARY = ".writing-"
_READ_ATTEMPTS = 5


@dataclass(frozen=True)
class State:
    """What a folder holds.

    Parameters
    ----------
    kind : what it is the state of, such as ``"tokenizer"``.
    metadata : values that JSON can hold.
    files : file name (lower-case letters, digits, underscores) to arrays by name.
    seal : checksum of the manifest that it was read from; empty where it was not read.
    """

    kind: str
    metadata: Mapping[str, Any]
    files: Mapping[str, Mapping[str, np.ndarray]]
    seal: str = ""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Array(_Strict):
    dtype: str
    shape: tuple[int, ...]


class _File(_Strict):
    name: str = Field(pattern=f"^{_DATA_FILE.pattern}$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    arrays: dict[str, _Array]


class _Manifest(_Strict):
    format: int = Field(ge=1)
    kind: str
    version: str
    metadata: dict[str, Any]
    files: dict[str, _File]
    sha256: str


def write_state(
    folder: str | os.PathLike[str],
    state: State,
    *,
    replaces: str | None = None,
    overwrite: bool = False,
) -> str:
    """Write a state into a folder, in place of the one state that may be replaced, if any.

    Parameters
    ----------
    folder : path of the folder; made if there is none.
    state : what to write.
    replaces : seal of the state that may be replaced; None for none. Where the folder holds no
        state, there is nothing to replace.
    overwrite : replace whatever state of this kind is there.

    Returns
    -------
    seal : that of the state now in the folder.

    Raises
    ------
    FileExistsError
        if the folder holds other things than a state of this kind, or a state although
        `replaces` names none, or is a file.
    BlockingIOError
        if somebody else is writing into it at this moment.
    StaleFolderError
        if the folder holds another state than the one that `replaces` names.
    """
    folder = Path(folder)
    _check_target(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_writer(folder):
        _check_replaceable(folder, state.kind, replaces, overwrite=overwrite)
        return _commit(folder, state)


def _commit(folder: Path, state: State) -> str:
    files = {name: _write_arrays(folder, name, arrays) for name, arrays in state.files.items()}
    content = {
        "format": FORMAT,
        "kind": state.kind,
        "version": _package_version(),
        "metadata": dict(state.metadata),
        "files": {name: file.model_dump(mode="json") for name, file in files.items()},
    }
    seal = _seal(content)
    text = json.dumps(content | {"sha256": seal}, indent=2, allow_nan=False) + "\n"
    _sync(folder)
    _replace(folder, _MANIFEST, text.encode())
    _sync(folder)
    _remove_unreferenced(folder, {file.name for file in files.values()})
    return seal


def read_state(folder: str | os.PathLike[str], kind: str) -> State:
    """Read the state that a folder holds; nothing in it is executed.

    Parameters
    ----------
    folder : path of the folder.
    kind : what the caller expects to find.

    Raises
    ------
    FileNotFoundError
        if there is no such folder, or no manifest in it.
    ValueError
        if a file is damaged, truncated, missing or not the one the manifest names, or the
        folder is of another kind or of a newer format; the error names the file.
    """
    folder = Path(folder)
    for attempt in range(_READ_ATTEMPTS):
        manifest, raw = _read_manifest(folder, kind)
        try:
            files = {name: _read_arrays(folder, file) for name, file in manifest.files.items()}
            return State(manifest.kind, manifest.metadata, files, manifest.sha256)
        except FileNotFoundError as error:
            # A writer may have committed a newer state in between and removed the old files.
            changed = (folder / _MANIFEST).read_bytes() != raw
            if not changed or attempt == _READ_ATTEMPTS - 1:
                raise ValueError(f"{error.filename}: missing, but manifest.json names it") from None
    raise AssertionError("unreachable")


def stored_array(
    arrays: Mapping[str, np.ndarray],
    name: str,
    shape: tuple[int | None, ...],
    dtype: type[np.generic] = np.float32,
) -> np.ndarray:
    """Return one array of a state, refused if its dtype or shape is not the expected one.

    Examples
    --------
    >>> stored_array({"mean": np.zeros(3, dtype=np.float32)}, "mean", (None,)).shape
    (3,)
    """
    if name not in arrays:
        raise ValueError(f"{name}: no such array among {sorted(arrays)}")
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} of shape {shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Hold the operating system's lock on a folder; it goes with the process, if not before."""
    if fcntl is None:  # Windows cannot open a folder to lock it
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"{folder}: somebody else is saving here; try again") from None
        yield
    finally:
        os.close(handle)


def _check_replaceable(folder: Path, kind: str, seal: str | None, *, overwrite: bool) -> None:
    """Refuse to replace what is not a state of this kind, or not the state with this seal."""
    if not (folder / _MANIFEST).exists():
        return
    try:
        found = json.loads((folder / _MANIFEST).read_bytes())
    except (OSError, ValueError):
        found = None
    there = found if isinstance(found, dict) else {}
    if there.get("kind") != kind or "sha256" not in there:
        raise FileExistsError(
            f"{folder}: its manifest.json is not that of a {kind}; save into a new or an empty "
            "folder"
        )
    if overwrite or there["sha256"] == seal:
        return
    if seal is None:
        raise FileExistsError(
            f"{folder}: holds a {kind} that this one was neither loaded from nor saved as; save "
            "into another folder, or give overwrite=True to replace it"
        )
    raise StaleFolderError(
        f"{folder}: holds another state than the one that was loaded or saved last; load it "
        "again, save into another folder, or give overwrite=True to replace it"
    )


def _check_target(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder}: is a file; expected a folder or nothing")
    foreign = any(not _is_ours(path) for path in folder.iterdir())
    if foreign and not (folder / _MANIFEST).exists():
        raise FileExistsError(f"{folder}: holds other files; save into a new or an empty folder")


def _write_arrays(folder: Path, name: str, arrays: Mapping[str, np.ndarray]) -> _File:
    from safetensors.numpy import save_file

    # Not ascontiguousarray, which gives a single number one dimension.
    contiguous = {key: np.asarray(array, order="C") for key, array in arrays.items()}
    # A folder, since safetensors puts a temporary file of its own beside the one it writes.
    place = Path(tempfile.mkdtemp(dir=folder, prefix=_TEMPORARY))
    path = place / name
    save_file(contiguous, path)
    path.chmod(0o644)
    _sync(path)
    digest = _hash_file(path)
    file = _File(
        name=f"{name}-{digest[:16]}.safetensors",
        sha256=digest,
        bytes=path.stat().st_size,
        arrays={
            key: _Array(dtype=array.dtype.name, shape=array.shape)
            for key, array in contiguous.items()
        },
    )
    path.replace(folder / file.name)
    place.rmdir()
    return file


def _replace(folder: Path, name: str, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=_TEMPORARY, delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path = Path(file.name)
    path.chmod(0o644)
    path.replace(folder / name)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_unreferenced(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        if not _is_ours(path) or path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    """Say whether a file or folder is one that a writer leaves behind when it is cut off."""
    return bool(_DATA_FILE.fullmatch(path.name)) or path.name.startswith(_TEMPORARY)


def _read_manifest(folder: Path, kind: str) -> tuple[_Manifest, bytes]:
    path = folder / _MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a folder that save wrote")
    raw = path.read_bytes()
    try:
        content = json.loads(raw)
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise ValueError(f"format {found} is newer than this package reads ({FORMAT})")
        manifest = _Manifest.model_validate(content)
        if manifest.sha256 != _seal(content):
            raise ValueError("its content does not have the checksum that it states")
    except (ValidationError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None
    if manifest.kind != kind:
        raise ValueError(f"{path}: holds a {manifest.kind}, expected a {kind}")
    return manifest, raw


def _read_arrays(folder: Path, file: _File) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / file.name
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device may never end
        raise ValueError(f"{path}: no regular file")
    size = found.st_size
    if size != file.bytes:
        raise ValueError(f"{path}: {size} bytes, expected {file.bytes}; truncated or replaced")
    if _hash_file(path) != file.sha256:
        raise ValueError(f"{path}: its content does not have the checksum in manifest.json")
    try:
        arrays = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    found = {key: _Array(dtype=a.dtype.name, shape=a.shape) for key, a in arrays.items()}
    if found != file.arrays:
        raise ValueError(f"{path}: its arrays are not those that manifest.json lists")
    return arrays


def _seal(content: Mapping[str, Any]) -> str:
    """Return the checksum of a manifest's content, whatever its layout as text."""
    sealed = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _package_version() -> str:
    try:
        return version("semantic-ids")
    except PackageNotFoundError:
        return "unknown"
