"""The README's snippets run as they stand, one after the other."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_snippets_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(snippets) >= 4
    names = {}
    for snippet in snippets:
        exec(compile(snippet, str(README), "exec"), names)
    assert names["codes"].shape == (3, 4)
    assert names["tokenizer"].lookup(names["unique"]) == ["B0007", None]
    assert names["same"].lookup(names["unique"]) == ["B0007", "B0042"]
    assert len(names["tokenizer"]) == 1001
    assert "Recommendations of 5 items for 1 user" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["example", "test", "lint"])
def test_the_commands_it_names_are_in_the_makefile(target):
    assert f"make {target}" in README.read_text()
    assert f"\n{target}: .venv/installed" in (README.parent / "Makefile").read_text()
