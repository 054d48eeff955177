"""Files of models that somebody else trained: which they are, and whether they are safe to read."""

import hashlib
from pathlib import Path


def model_checksum(path: Path) -> bytes:
    """Return the SHA-256 of a file, or `folder_checksum` of a folder.

    Raises
    ------
    FileNotFoundError
        if there is neither.
    """
    if not path.is_file():
        return folder_checksum(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def folder_checksum(folder: Path) -> bytes:
    """Return a SHA-256 over the names and contents of a folder's files, but for hidden ones.

    Raises
    ------
    FileNotFoundError
        if there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; nothing is downloaded")
    files = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    digest = hashlib.sha256()
    for name in sorted(files):
        if any(part.startswith(".") for part in name.split("/")):
            continue
        with files[name].open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(hashlib.sha256(name.encode()).digest())
    return digest.digest()
