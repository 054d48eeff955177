"""The snippets of the README and of the documentation run as they stand, one after the other."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if "```python" in page.read_text()]


@pytest.fixture
def run_snippets(tmp_path, monkeypatch):
    """Run the snippets of a file in an empty folder; return what they named."""
    monkeypatch.chdir(tmp_path)

    def run(path):
        names = {}
        for snippet in re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL):
            exec(compile(snippet, str(path), "exec"), names)
        return names

    return run


def test_the_snippets_run_in_order(run_snippets, capsys):
    assert README.read_text().count("```python\n") >= 4
    names = run_snippets(README)
    assert names["codes"].shape == (3, 3)
    assert names["codes"][0, 0] == names["codes"][1, 0] != names["codes"][2, 0]
    assert names["tokenizer"].lookup(names["unique"]) == ["B0007", None]
    assert names["same"].lookup(names["unique"]) == ["B0007", "B0042"]
    assert len(names["tokenizer"]) == 1001
    assert "Recommendations of 5 items for 1 user" in capsys.readouterr().out


def test_the_first_snippet_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    """But for the numbers, which k-means of another processor may leave otherwise."""
    monkeypatch.chdir(tmp_path)
    snippet, shown = re.search(
        r"```python\n(.*?)```\n\n```text\n(.*?)```", README.read_text(), flags=re.DOTALL
    ).groups()
    exec(compile(snippet, str(README), "exec"), {})
    printed = capsys.readouterr().out
    numbers = re.compile(r" *\d[\d,.]*")
    assert numbers.sub("#", printed) == numbers.sub("#", shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_snippets_of_a_page_run_and_do_what_it_says(page, run_snippets):
    says_so = {
        "collisions": collisions_are_resolved,
        "growing": the_codec_is_worn_out,
        "models": only_items_are_said,
        "quantizers": less_is_lost_than_by_the_mean,
    }
    says_so[page.stem](run_snippets(page))


def collisions_are_resolved(names):
    rows = [0, 100, 200]
    assert names["moved"].statistics().collision_rate >= 2 / 3
    assert names["moved"].codes.shape == (300, 3)
    assert len(np.unique(names["moved"].codes[rows], axis=0)) == 3
    counted = names["counted"].codes[rows]
    assert (counted[:, :3] == counted[0, :3]).all()
    assert len(set(counted[:, 3])) == 3


def the_codec_is_worn_out(names):
    assert names["worn_out"]


def only_items_are_said(names):
    assert names["batch"].input_ids.shape == (2, 10)
    assert all(item in names["tokenizer"] for item in names["said"])


def less_is_lost_than_by_the_mean(names):
    assert set(names["lost"]) == {"rq-kmeans", "opq"}
    assert all(0 < lost < 1 for lost in names["lost"].values())


@pytest.mark.parametrize("target", ["example", "test", "lint"])
def test_the_commands_it_names_are_in_the_makefile(target):
    assert f"make {target}" in README.read_text()
    assert f"\n{target}: .venv/installed" in (README.parent / "Makefile").read_text()


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_the_files_it_links_to_are_there(name):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / name).read_text())
    assert links or name != "README.md"
    assert [link for link in links if not (ROOT / link).exists()] == []
