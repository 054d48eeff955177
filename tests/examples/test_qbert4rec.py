import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "qbert4rec.py"


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, EXAMPLE, "--quick", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout


def test_the_example_runs_from_catalogue_to_stored_model(tmp_path):
    output = run(folder=tmp_path)
    for name in ("Q-BERT4Rec", "popularity", "random", "relative error", "comes"):
        assert name in output
    assert (tmp_path / "runs/qbert4rec/manifest.json").exists()


@pytest.mark.parametrize("name", ["tiny_office", "ml100k"])
def test_the_example_runs_on_a_data_folder(name, data_folder, tmp_path):
    output = run("--data", str(data_folder / name), "--control", folder=tmp_path)
    assert "paired standard error" in output
