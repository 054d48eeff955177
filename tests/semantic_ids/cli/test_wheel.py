"""The command of the wheel, installed apart and run outside the checkout."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_wheel_brings_the_command(tmp_path):
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*words, check=True):
        return subprocess.run(
            [*map(str, words)],
            cwd=tmp_path,
            env={**clean, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=check,
            timeout=300,
        )

    # pip builds it apart, with hatchling from the index, or from its own cache of wheels.
    built = run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", "dist", ROOT, check=False
    )
    if "hatchling" in built.stderr and "No matching distribution" in built.stderr:
        pytest.skip("hatchling cannot be had: there is no package index at hand")
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("semantic_ids-*.whl")

    run(sys.executable, "-m", "venv", "--without-pip", "apart")
    site = next((tmp_path / "apart").glob("lib/python*/site-packages"))
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel)
    # It sees the packages that are installed here, but not the checkout, which stands there too.
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python = tmp_path / "apart" / "bin" / "python"
    where = run(python, "-c", "import semantic_ids; print(semantic_ids.__file__)").stdout
    assert where.startswith(str(site))

    script = tmp_path / "semantic-ids"
    script.write_text((site / "bin" / "semantic-ids").read_text().split("\n", 1)[1])
    rng = np.random.default_rng(0)
    np.save(tmp_path / "text.npy", rng.normal(size=(300, 8)))
    fitted = run(python, script, "fit", "text.npy", "--codebook-size", 16, "--out", "tokens")
    assert fitted.stdout.startswith("tokens: Tokenizer(300 items")
    encoded = run(python, script, "encode", "tokens", "7")
    assert run(python, script, "lookup", "tokens", encoded.stdout.strip()).stdout == "7\n"
    assert "qbert4rec" in run(python, script, "--help").stdout
    assert "recommend" in run(python, script, "qbert4rec", "--help").stdout
    assert "comes" in run(python, script, "qbert4rec", "demo", "--quick").stdout
    assert (tmp_path / "runs" / "qbert4rec" / "manifest.json").exists()
    assert run(python, script, "--version").stdout.count(".") >= 2
