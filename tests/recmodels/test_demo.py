"""`semantic-ids qbert4rec demo`, of the installed command, in a folder with nothing in it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recmodels import QBert4Rec
from recmodels.data import synthetic_catalogue
from recmodels.demo import demo


def test_it_runs_from_an_empty_folder(environment, tmp_path):
    script = Path(sys.executable).with_name("semantic-ids")
    if not script.exists():
        pytest.skip("the command is not installed beside this Python")
    ended = subprocess.run(
        [script, "qbert4rec", "demo", "--quick", "--seed", "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    for name in ("400 items", "relative error", "popularity", "random", "comes"):
        assert name in ended.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    stored = QBert4Rec.load(tmp_path / "runs" / "qbert4rec")
    measures = stored.evaluate(synthetic_catalogue(items=400, users=300, seed=1)).metrics
    assert f"Q-BERT4Rec                   {measures.hr_10:8.4f} {measures.ndcg_10:8.4f}" in (
        ended.stdout
    )


def test_the_control_ranks_with_the_same_codes_on_other_items(tmp_path, capsys):
    stored = demo(out=tmp_path / "model", quick=True, control=True, progress=False)
    told = capsys.readouterr().out
    assert "Q-BERT4Rec, codes permuted" in told
    assert "paired standard error" in told
    np.testing.assert_array_equal(
        stored.tokenizer.codes, QBert4Rec.load(tmp_path / "model").tokenizer.codes
    )
    demo(out=tmp_path / "model", quick=True, progress=False)  # its own model is replaced


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "letter.json").write_text(json.dumps("Dear Ann"))
    with pytest.raises(FileExistsError, match="holds other files"):
        demo(out=tmp_path, quick=True)
    with pytest.raises(FileExistsError, match="is a file"):
        demo(out=tmp_path / "letter.json", quick=True)
    assert json.loads((tmp_path / "letter.json").read_text()) == "Dear Ann"
