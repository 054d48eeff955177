"""Checkpoints: long trainings that go on where they were cut off.

Where they are kept is no part of a spec, since it changes nothing that is learned. So it is said
around the fit::

    with checkpoints("run"):
        tokenizer = Tokenizer.fit(features, quantizer=RQVAE())

Run the same lines again after a kill, and each training goes on from the last epoch that it had
written; on the CPU the result is bit for bit that of a run that was never cut off.
"""

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semantic_ids.spec import Spec
from semantic_ids.storage import State, read_state, write_state

_KIND = "checkpoint"
_HASHED_VALUES = 1 << 22


@dataclass
class _Folder:
    path: Path
    every: float
    trainings: Counter[str] = field(default_factory=Counter)


_FOLDER: ContextVar[_Folder | None] = ContextVar("checkpoints", default=None)


@contextmanager
def checkpoints(folder: str | os.PathLike[str], *, every: float = 30.0) -> Iterator[None]:
    """Let the trainings inside keep their state in a folder, and go on from what they find there.

    Each training has a subfolder of its own, by what its bar says (``fusion``, ``rq-vae``); a
    second one of that name in the same block is ``rq-vae-2``. A training that had ended is read
    back. What is kept is safetensors and JSON, and is replaced as one. Remove the folder when
    the tokenizer is saved.

    Parameters
    ----------
    folder : path; made if there is none.
    every : seconds between two states at least; a training's last epoch is always written.

    Raises
    ------
    ValueError
        by the fit inside, if a subfolder holds the training of another spec or of other data.

    Examples
    --------
    >>> import tempfile
    >>> from semantic_ids import Optimisation, RQVAE
    >>> vectors = np.random.default_rng(0).normal(size=(60, 8))
    >>> spec = RQVAE(levels=2, codebook_size=8, optimisation=Optimisation(epochs=2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with checkpoints(folder):
    ...         fitted = spec.fit(vectors, progress=False)
    ...     [path.name for path in Path(folder).iterdir()]
    ['rq-vae']
    """
    token = _FOLDER.set(_Folder(Path(folder), every))
    try:
        yield
    finally:
        _FOLDER.reset(token)


class Checkpoint:
    """The place of one training; `read` what it holds, `write` what comes after.

    Parameters
    ----------
    path : its folder.
    identity : what the training is of, as `identity` says it.
    every : seconds between two states.
    """

    def __init__(self, path: Path, identity: str, every: float) -> None:
        self._path = path
        self._identity = identity
        self._every = every
        self._written = time.monotonic()

    @classmethod
    def of(cls, description: str, identity: Callable[[], str]) -> "Checkpoint | None":
        """Return the place of the next training of that description; None without a folder.

        Only then `identity` is asked, which reads all the data.
        """
        folder = _FOLDER.get()
        if folder is None:
            return None
        name = re.sub(r"[^a-z0-9]+", "-", description.lower()).strip("-")
        folder.trainings[name] += 1
        count = folder.trainings[name]
        return cls(
            folder.path / (name if count == 1 else f"{name}-{count}"), identity(), folder.every
        )

    def read(self) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]] | None:
        """Return the metadata and arrays written last; None where there are none.

        Raises
        ------
        ValueError
            if they are those of another training, or damaged.
        """
        if not (self._path / "manifest.json").exists():
            return None
        state = read_state(self._path, _KIND)
        if state.metadata.get("identity") != self._identity:
            raise ValueError(
                f"{self._path}: holds the training of another spec, of other data or of another "
                "version of torch; give checkpoints another folder, or remove this one"
            )
        return state.metadata["training"], state.files["training"]

    def due(self) -> bool:
        """Say whether the last state is old enough for a new one."""
        return time.monotonic() - self._written >= self._every

    def write(self, metadata: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Replace what the folder holds."""
        stated = {"identity": self._identity, "training": dict(metadata)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_state(self._path, State(_KIND, stated, {"training": arrays}), overwrite=True)
        self._written = time.monotonic()


def identity(spec: Spec, *arrays: np.ndarray | None) -> str:
    """Return a checksum of a spec, the arrays that it is fitted on, and the version of torch.

    Examples
    --------
    >>> from semantic_ids import Optimisation
    >>> rows = np.zeros((3, 2), dtype=np.float32)
    >>> identity(Optimisation(), rows) == identity(Optimisation(epochs=1), rows)
    False
    """
    from importlib.metadata import version

    checksum = hashlib.sha256(f"{type(spec).__name__} {spec.model_dump_json()}".encode())
    checksum.update(version("torch").encode())
    for array in arrays:
        if array is None:
            checksum.update(b"none")
            continue
        checksum.update(f"{array.dtype} {array.shape}".encode())
        rows = max(1, _HASHED_VALUES // max(1, array[:1].size))
        for start in range(0, len(array), rows):
            checksum.update(np.ascontiguousarray(array[start : start + rows]).data)
    return checksum.hexdigest()
