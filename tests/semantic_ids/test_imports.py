"""What importing the package costs, and what it offers."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import semantic_ids

SOURCES = sorted(Path(semantic_ids.__file__).parent.rglob("*.py"))
HEAVY = [
    *("torch", "faiss", "sklearn", "scipy", "pandas", "polars", "pyarrow", "matplotlib"),
    *("plotly", "safetensors", "sentence_transformers", "transformers", "timm", "PIL"),
]


def imported(path):
    """Names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, semantic_ids, semantic_ids.interop; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_file_imports_pickle_or_the_recommenders(path):
    roots = {name.partition(".")[0] for name in imported(path)}
    assert not roots & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "recmodels"}
    assert "allow_pickle=True" not in path.read_text()


@pytest.mark.parametrize("stage", ["text", "image", "fusers", "quantizers", "resolvers"])
def test_stages_do_not_import_each_other(stage):
    others = {"text", "image", "fusers", "quantizers", "resolvers"} - {stage}
    for path in SOURCES:
        if path.parent.name == stage:
            assert not any(
                name.startswith(f"semantic_ids.{o}") for name in imported(path) for o in others
            )


def test_all_names_every_public_class_and_function_once():
    public = {
        name
        for name, value in vars(semantic_ids).items()
        if inspect.isclass(value) or inspect.isfunction(value)
    }
    assert set(semantic_ids.__all__) == public
    assert len(set(semantic_ids.__all__)) == len(semantic_ids.__all__)


@pytest.mark.parametrize("name", semantic_ids.__all__)
def test_every_public_name_is_explained(name):
    text = inspect.getdoc(getattr(semantic_ids, name))
    assert text
    assert ">>>" in text or "\nAttributes\n" in text


def test_without_transformers_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "semantic_ids.interop.generation", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'semantic-ids\[hf\]'"):
        importlib.import_module("semantic_ids.interop.generation")
