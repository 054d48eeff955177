"""The documentation: no dead link, and no public name left out."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC = (
    "semantic_ids",
    "semantic_ids.report",
    "semantic_ids.interop",
    "semantic_ids.interop.hugging_face",
    "recmodels",
    "recmodels.data",
    "recmodels.baselines",
)


def test_every_public_name_stands_in_the_reference_once():
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    named = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert len(set(named)) == len(named)
    # Those of the tokenizer's networks, under another name.
    same = {"recmodels.Optimisation", "recmodels.TrainingLog"}
    public = {
        f"{module}.{name}" for module in PUBLIC for name in importlib.import_module(module).__all__
    }
    assert public - same <= set(named)


def load(name):
    """Import a file of docs, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_section_ends_at_the_next_heading_and_not_at_a_comment(tmp_path, monkeypatch):
    includes = load("includes")
    monkeypatch.setattr(includes, "ROOT", tmp_path)
    code = "```python\n# a comment, no heading\nx = 1\n```"
    (tmp_path / "README.md").write_text(f"# One\n\nfirst\n\n{code}\n\n### Two\n\nsecond\n")
    assert includes.readme_section("One") == f"first\n\n{code}"
    assert includes.on_page_markdown("a\n{{ README: Two }}\nb") == "a\nsecond\nb"
    with pytest.raises(ValueError, match="no heading 'Three'"):
        includes.on_page_markdown("{{ README: Three }}")
    with pytest.raises(ValueError, match="expected README, file or help"):
        includes.on_page_markdown("{{ readme: One }}")


def test_the_help_is_that_of_every_command_of_other_packages_too():
    pytest.importorskip("recmodels")
    shown = load("includes").command_help()
    headings = re.findall("^### (.+)$", shown, re.MULTILINE)
    ours = {"train", "evaluate", "recommend", "prepare", "demo"}
    assert {"fit", "from-codes", *(f"qbert4rec {name}" for name in ours)} <= set(headings)
    for name in headings:
        assert f"Usage: semantic-ids {name} " in shown


def test_prose_after_a_colon_is_no_type():
    pytest.importorskip("griffe", reason="the documentation is built by the extra docs")
    before = [
        "Do it.", "", "Parameters", "----------", "one, two : what", "    they are.",
        "**more : of these.", "", "Returns", "-------", "codes : (n, L) int32.", "",
        "Examples", "--------", ">>> a : int = 1",
    ]  # fmt: skip
    after = [
        "Do it.", "", "Parameters", "----------", "one, two", "    what", "    they are.",
        "**more", "    of these.", "", "Returns", "-------", "codes :", "    (n, L) int32.", "",
        "Examples", "--------", ">>> a : int = 1",
    ]  # fmt: skip
    rewritten = load("prose")._rewritten
    assert rewritten("\n".join(before), {}) == "\n".join(after)
    assert rewritten("Parameters\n----------\na : it.", {"a": "int, default: 3"}) == (
        "Parameters\n----------\na : int, default: 3\n    it."
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory, environment):
    """Build the documentation; warnings, as of a dead link, are errors."""
    for needed in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(needed, reason="the documentation is built by the extra docs")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, **environment, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_pages_take_what_the_readme_says(site):
    readme = (ROOT / "README.md").read_text()
    sentence = re.search(r"^Three stages\. .*$", readme, re.MULTILINE)[0]
    assert sentence.split("`")[0].strip() in (site / "recmodels" / "index.html").read_text()
    assert not [page for page in site.rglob("*.html") if "{{ " in page.read_text()]
    assert (site / "report.png").exists()


def test_pages_show_docstrings_types_and_defaults(site):
    page = (site / "quantizers" / "index.html").read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert re.search(r"levels \( ?int ?, default: 4 ?\) – number of codes", text)


def test_the_command_is_described(site):
    page = (site / "command" / "index.html").read_text()
    for name in ("fit", "encode", "from-codes", "report", "qbert4rec train"):
        assert f"Usage: semantic-ids {name}" in page


def test_pages_fetch_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        assert not re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="https?://', page.read_text())
