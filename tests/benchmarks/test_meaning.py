"""The benchmark of meaning: its figures by hand, and what RQ-KMeans reaches on real data."""

import gzip
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score

from semantic_ids import RQKMeans, Suffix, Tokenizer

FILE = Path(__file__).parents[2] / "benchmarks" / "meaning.py"


def load():
    spec = importlib.util.spec_from_file_location("meaning", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["meaning"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


meaning = load()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=10, max_size=25))
def test_held_out_accuracy_equals_votes_by_hand(rows):
    pairs, classes = np.array(rows), np.random.default_rng(0).integers(0, 3, size=len(rows))
    prefixes = [
        np.unique(pairs[:, :depth], axis=0, return_inverse=True)[1].ravel() for depth in (1, 2)
    ]
    folds = np.arange(len(rows)) % 5
    correct = 0
    for row in range(len(rows)):
        train = [other for other in range(len(rows)) if folds[other] != folds[row]]
        longest = [o for o in train if rows[o] == rows[row]]
        shorter = [o for o in train if rows[o][0] == rows[row][0]]
        votes = Counter(int(classes[o]) for o in longest or shorter or train)
        correct += min(votes, key=lambda c: (-votes[c], c)) == classes[row]
    assert meaning.accuracy(prefixes, classes, folds) == pytest.approx(correct / len(rows))


def test_agreement_equals_sklearns_in_every_order():
    rng = np.random.default_rng(1)
    prefixes, classes = rng.integers(0, 30, size=400), rng.integers(0, 7, size=400)
    agreement = meaning.Agreement(prefixes, classes)
    for order in (np.arange(400), rng.permutation(400)):
        expected = adjusted_mutual_info_score(classes, prefixes[order])
        assert agreement.of(prefixes[order]) == pytest.approx(expected, abs=1e-9)


def test_items_without_a_code_or_a_category_are_left_out():
    codes = np.array([[0, 0]] * 10 + [[1, 1]] * 10 + [[-1, 0]])
    labels = np.array([0] * 9 + [-1] + [1] * 11)
    found = meaning.measure("d", "i", codes, meaning.Categories(labels, 1), permutations=3)
    assert (found.items, found.left_out, found.prefixes) == (19, 2, [2, 2])
    assert [figure.value for figure in found.ami] == pytest.approx([1, 1])
    assert [figure.value for figure in found.accuracy] == [1, 1]


@pytest.mark.parametrize(
    ("given", "expected", "level"),
    [
        (["A,B, C,D", "A,E", "A,B, C"], [0, 1, 0], 1),  # a comma with a space is of the name
        (["A, B, C", "A, E, F", "A, B, C"], [0, 1, 0], 2),
        ([["A", "B"], ["A", "C"], ["A", "B"]], [0, 1, 0], 1),
        (["A,B"] * 10 + [""], [0] * 10 + [-1], 1),
    ],
)
def test_categories_are_cut_at_the_deepest_level_of_nearly_all(tmp_path, given, expected, level):
    lines = [json.dumps({"i": i, "categories": value}) for i, value in enumerate(given)]
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    found = meaning.read_categories(tmp_path)
    assert found.labels.tolist() == expected
    assert found.level == level
    assert found.left_out == expected.count(-1)


def test_codes_of_real_items_mean_something(data_folder):
    """RQ-KMeans exceeds its own prefixes handed out at random, by far more than by chance."""
    folder = data_folder / "amazon18_scientific"
    vectors = np.load(folder / "text_emb.npy")
    quantizer = RQKMeans(levels=2, iterations=5)
    tokenizer = Tokenizer.fit(vectors, quantizer=quantizer, resolver=Suffix())
    categories = meaning.read_categories(folder)
    found = meaning.measure("d", "i", tokenizer.content_codes, categories, permutations=5)
    for figure in (*found.ami, *found.accuracy):
        assert figure.deviations > 10
    random = np.random.default_rng(0).permutation(tokenizer.content_codes)
    chance = meaning.measure("d", "i", random, categories, permutations=5)
    assert max(figure.value for figure in chance.ami) < 0.02
    assert "AMI@2" in meaning.table([found, chance])
