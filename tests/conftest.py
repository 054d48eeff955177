"""What all tests share: the real data, if it is at hand, and how hypothesis runs."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on the machine and its load, not on what it proves.
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets, NAME/text_emb.npy and so on."""
    folder = os.environ.get("SEMANTIC_IDS_DATA")
    if not folder:
        pytest.skip("SEMANTIC_IDS_DATA is not set: real data is not at hand")
    return Path(folder)


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """Variables under which processes run these sources, with the entry points they declare.

    What is installed may be of another day: an editable installation keeps the entry points of
    when it was made.
    """
    root = Path(__file__).parents[1]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    points = {"console_scripts": declared["scripts"], **declared["entry-points"]}
    folder = tmp_path_factory.mktemp("installed")
    info = folder / f"semantic_ids-{declared['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in named.items())
            for group, named in points.items()
        )
    )
    paths = f"{folder}{os.pathsep}{root}"
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
