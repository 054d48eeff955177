"""The notebooks run as they stand, and what they show is what was kept in them."""

import json
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def outputs(notebook):
    """What each cell of code shows: text with figures left out, for they differ by machine."""
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        for output in cell["outputs"]:
            data = output.get("data", {})
            text = "".join(data.get("text/plain", output.get("text", "")))
            words = re.sub(r"[\s\d.,\[\]()]+", " ", text)
            shown.append((output["output_type"], sorted(data), words.strip()))
    return shown


def test_there_are_two_notebooks():
    assert len(NOTEBOOKS) == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_is_small_and_holds_a_plot(path):
    notebook = json.loads(path.read_text())
    assert path.stat().st_size < 100_000
    kinds = [kind for _, kinds, _ in outputs(notebook) for kind in kinds]
    assert kinds.count("image/png") == 1
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # The first cell makes the data up, and has nothing to show yet.
    assert all(cell["outputs"] for cell in cells[1:])
    assert "semantic_ids.report" in path.read_text()


# The kernel's own libraries warn of what is theirs to mend.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_running_it_again_shows_the_same(path, tmp_path, monkeypatch, environment):
    nbformat = pytest.importorskip("nbformat", reason="notebooks are run by nbclient")
    nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient")
    pytest.importorskip("ipykernel", reason="notebooks are run by ipykernel")
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    kept = outputs(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert outputs(notebook) == kept
