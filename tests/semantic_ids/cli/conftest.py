"""The command as people run it: processes of their own, in a folder of their own."""

import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def command(environment):
    """Return a function that runs `semantic-ids` with arguments and returns the ended process."""

    def run(*arguments, cwd=None, stdin=None):
        return subprocess.run(
            [sys.executable, "-m", "semantic_ids.cli", *map(str, arguments)],
            cwd=cwd,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
