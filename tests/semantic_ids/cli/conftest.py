"""The command: in processes of its own as people run it, and in this one, where that is quicker."""

import io
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from semantic_ids import RQKMeans, Tokenizer
from semantic_ids.cli.app import run

ITEMS = 300


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def command(environment):
    """Return a function that runs `semantic-ids` in a process of its own."""

    def run_apart(*arguments, cwd=None, stdin=""):
        ended = subprocess.run(
            [sys.executable, "-m", "semantic_ids.cli", *map(str, arguments)],
            cwd=cwd,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    return run_apart


@pytest.fixture
def call(capsys, monkeypatch):
    """Return a function that runs `semantic-ids` in this process."""

    def run_here(*arguments, stdin=""):
        stream = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stream)
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run_here


@pytest.fixture(scope="session")
def arrays():
    """Features of a made-up catalogue in two modalities."""
    rng = np.random.default_rng(0)
    return {
        "text": rng.normal(size=(ITEMS, 12)).astype(np.float32),
        "image": rng.normal(size=(ITEMS, 5)).astype(np.float32),
    }


@pytest.fixture(scope="session")
def names():
    """Ids that look like numbers in part, and hold blanks, commas and quotes."""
    return [f"item {n}, “{n}”" if n % 3 else f"{n:05d}" for n in range(ITEMS)]


@pytest.fixture(scope="session")
def tokenizer(arrays, names):
    """The tokenizer that the folder `tokens` of `shop` holds."""
    return Tokenizer.fit(arrays, ids=names, quantizer=RQKMeans(levels=3, codebook_size=16))


@pytest.fixture(scope="session")
def shop(tmp_path_factory, arrays, names, tokenizer) -> Path:
    """A folder with features, ids and tokenizers; nothing in it is changed."""
    folder = tmp_path_factory.mktemp("shop")
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "ids.txt").write_text("".join(f"{name}\n" for name in names))
    tokenizer.save(folder / "tokens")
    Tokenizer.fit(arrays, quantizer=RQKMeans(levels=3, codebook_size=16)).save(folder / "numbered")
    Tokenizer.from_codes(["x", "y", "z"], [[0, 0], [0, 1], [1, 0]]).save(folder / "published")
    return folder
