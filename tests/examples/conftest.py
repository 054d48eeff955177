"""How the examples are run: each in a process and an empty folder of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_example(tmp_path, environment):
    """Run an example by name with some words, in `tmp_path`; return what it prints."""

    def run(name, *words):
        return subprocess.run(
            [sys.executable, EXAMPLES / f"{name}.py", *map(str, words)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        ).stdout

    return run
