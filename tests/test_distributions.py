"""What strangers get: the wheel and the sdist, built apart, hold what they should and no more."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("semantic_ids", "recmodels")

pytestmark = pytest.mark.slow


def run(words, **options):
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build both with hatchling, which is got into a folder of its own."""
    folder = tmp_path_factory.mktemp("built")
    backend = folder / "backend"
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    got = run(["pip", "install", "--quiet", "--target", backend, *needed])
    if "No matching distribution" in got.stderr:
        pytest.skip("hatchling cannot be had: there is no package index at hand")
    assert got.returncode == 0, got.stderr
    environment = {**os.environ, "PYTHONPATH": str(backend)}
    done = run(["hatchling", "build", "-d", folder / "dist"], cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {
            str(PurePosixPath(*PurePosixPath(member.name).parts[1:])): archive.extractfile(
                member
            ).read()
            for member in archive
            if member.isfile()
        }


def tracked(*folders):
    """The files of the repository in these folders, as git knows them."""
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if found.returncode:
        pytest.skip("this is no clone: git does not know which files belong to the project")
    return set(found.stdout.split())


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    info = f"semantic_ids-{PROJECT['version']}.dist-info"
    about = {name for name in wheel if name.startswith(info)}
    assert about == {
        f"{info}/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    assert set(wheel) - about == tracked(*PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in wheel
    assert wheel[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_is_of_code_not_of_data(wheel):
    endings = {PurePosixPath(name).suffix for name in wheel if ".dist-info" not in name}
    assert endings <= {".py", ".typed", ".js", ".css"}
    assert sum(map(len, wheel.values())) < 3_000_000


def test_its_metadata_lists_extras_and_entry_points(wheel):
    info = f"semantic_ids-{PROJECT['version']}.dist-info"
    metadata = message_from_bytes(wheel[f"{info}/METADATA"])
    assert metadata["Name"] == "semantic-ids"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert {"bench", "cli", "docs", "frames", "hf", "report", "text", "train"} <= set(
        metadata.get_all("Provides-Extra")
    )
    required = metadata.get_all("Requires-Dist")
    core = {line.split(">")[0] for line in required if "extra ==" not in line}
    assert core == {line.split(">")[0] for line in PROJECT["dependencies"]}
    assert metadata.get_payload().startswith("# semantic-ids")
    points = wheel[f"{info}/entry_points.txt"].decode()
    assert "semantic-ids = semantic_ids.cli:main" in points
    assert "dynamic-fusion = recmodels.fusion:DynamicFusion" in points


def test_the_sdist_holds_all_that_is_needed_to_work_on_it(sdist):
    for name in (
        *("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"),
        *("Makefile", "constraints.txt", "mkdocs.yml"),
    ):
        assert sdist[name] == (ROOT / name).read_bytes()
    folders = (*PACKAGES, "examples", "benchmarks", "docs", "tests")
    inside = {name for name in sdist if name.split("/")[0] in folders}
    assert inside == tracked(*folders)
    assert set(sdist) - inside <= {
        *("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"),
        *("Makefile", "constraints.txt", "mkdocs.yml", ".gitignore", "PKG-INFO"),
    }


def test_the_sdist_holds_no_data(sdist):
    endings = {PurePosixPath(name).suffix for name in sdist}
    assert not endings & {".npy", ".npz", ".gz", ".safetensors", ".parquet", ".pt", ".pkl"}
    assert sum(map(len, sdist.values())) < 10_000_000
