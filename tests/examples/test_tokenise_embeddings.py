import ast
import re
from pathlib import Path

import numpy as np

from semantic_ids import Tokenizer

EXAMPLE = Path(__file__).parents[2] / "examples" / "tokenise_embeddings.py"


def test_it_makes_up_vectors_and_says_so(run_example, tmp_path):
    output = run_example("tokenise_embeddings", "--quick")
    assert "No --embeddings were given" in output
    assert len(Tokenizer.load(tmp_path / "runs" / "tokens")) == 500


def test_what_it_prints_of_my_own_vectors_is_true(run_example, tmp_path):
    vectors = np.random.default_rng(1).normal(size=(90, 6))
    np.save(tmp_path / "mine.npy", vectors)
    output = run_example("tokenise_embeddings", "--quick", "--embeddings", "mine.npy", "--out", "t")

    tokenizer = Tokenizer.load(tmp_path / "t")
    (text,) = tokenizer.vocabulary.to_strings(tokenizer.encode([0]))
    assert f"item 0 is {text}, and {text} is item 0" in output

    # The vectors that codes stand for, and which of them are nearest to that of item 0.
    decoded = tokenizer.decode(tokenizer.codes)["features"].astype(np.float64)
    error = ((vectors - decoded) ** 2).sum() / ((vectors - vectors.mean(axis=0)) ** 2).sum()
    assert 0 < error < 0.5
    order = np.argsort(((decoded - decoded[0]) ** 2).sum(axis=1), kind="stable")
    near = re.search(r"nearest by codes: \((.*)\)", output)
    assert ast.literal_eval(near[1]) == tuple(order[1:4].tolist())
    sharing = np.flatnonzero(tokenizer.codes[:, 0] == tokenizer.codes[0, 0])
    shown = re.search(r"(\d+) items share its first code, such as (\[.*\])", output)
    assert int(shown[1]) == len(sharing)
    assert set(ast.literal_eval(shown[2])) <= set(sharing.tolist())


def test_the_ten_lines_are_ten():
    tree = ast.parse(EXAMPLE.read_text())
    (story,) = [node for node in tree.body if getattr(node, "name", "") == "tokenise"]
    assert len(story.body) == 10
    assert all(statement.lineno == statement.end_lineno for statement in story.body)
