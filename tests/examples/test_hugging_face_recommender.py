import ast
import re
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "hugging_face_recommender.py"


def hit_rates(output):
    found = re.findall(
        r"^(?:GPT-2 on semantic IDs|the most popular items) +([\d.]+)$", output, re.M
    )
    return tuple(map(float, found))


def test_it_knows_nothing_of_recmodels():
    imported = [
        name
        for node in ast.walk(ast.parse(EXAMPLE.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
        if name
    ]
    assert "semantic_ids" in imported
    assert not [name for name in imported if "recmodels" in name]


def test_on_a_made_up_catalogue_it_beats_popularity_by_far(run_example):
    output = run_example("hugging_face_recommender", "--quick")
    assert "No --data FOLDER was given" in output
    ours, popular = hit_rates(output)
    assert ours > 3 * popular > 0


def test_it_runs_on_a_data_folder(run_example, data_folder):
    short = ("--quick", "--epochs", 1, "--users", 20)
    output = run_example("hugging_face_recommender", *short, "--data", data_folder / "tiny_office")
    assert "289 items, 500 users" in output
    assert "asking for the last item of 20 users" in output
    assert len(hit_rates(output)) == 2


@pytest.mark.slow
def test_on_amazon_scientific_it_beats_popularity(run_example, data_folder):
    data = data_folder / "amazon18_scientific"
    ours, popular = hit_rates(run_example("hugging_face_recommender", "--data", data))
    # Of 1,000 users; the standard error of a rate of 0.05 is 0.007.
    assert ours > popular + 0.02
