"""What the benchmarks of recommenders keep, restrict and print, against plain loops."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import Dataset, Histories
from semantic_ids import Features

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from masks import shapes
from modalities import ones_of, restricted, ways_of
from recommendation import data_hash, is_there
from tables import gains, kept, print_gains, spread


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=20))
def test_shapes_of_masks_are_those_of_their_runs(rows):
    one, end = shapes(np.array(rows, bool))
    for row, is_one, is_end in zip(rows, one, end, strict=True):
        runs = [run for run in "".join("x" if hidden else " " for hidden in row).split(" ") if run]
        assert is_one == (len(runs) == 1)
        assert is_end == (len(runs) == 1 and row[-1])


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 5))
def test_codes_as_ones_say_the_same_as_the_codes(seed, items, levels):
    codes = np.random.default_rng(seed).integers(0, 7, (items, levels))
    ones = ones_of(codes)
    assert set(np.unique(ones)) <= {0.0, 1.0}
    common = (codes[:, None] == codes).sum(axis=-1)
    np.testing.assert_array_equal(ones @ ones.T, common)


@pytest.fixture
def dataset():
    """Six items, of which one has no text and one no image."""
    rng = np.random.default_rng(0)
    present = {"text": np.arange(6) != 2, "image": np.arange(6) != 4}
    vectors = {"text": rng.normal(size=(6, 3)), "image": rng.normal(size=(6, 2))}
    features = Features(vectors, present, np.arange(6))
    return Dataset("toy", np.arange(6), features, Histories.of([[0, 1, 2, 3]]), (None,))


def test_an_item_without_any_of_the_modalities_left_has_zeros(dataset):
    features = restricted(dataset, ["text"], None, 0).features
    text, present = features.modality("text")
    assert list(features.modalities) == ["text"]
    assert present.all()
    assert not text[2].any()
    np.testing.assert_array_equal(
        np.delete(text, 2, axis=0), np.delete(dataset.features.modality("text")[0], 2, axis=0)
    )


def test_shuffling_a_modality_moves_its_rows_among_those_who_have_it(dataset):
    features = restricted(dataset, ["text", "image"], "text", 1).features
    text, present = features.modality("text")
    before, had = dataset.features.modality("text")
    np.testing.assert_array_equal(present, had)
    assert not np.array_equal(text, before)
    np.testing.assert_array_equal(np.sort(text[had], axis=0), np.sort(before[had], axis=0))
    np.testing.assert_array_equal(
        features.modality("image")[0], dataset.features.modality("image")[0]
    )


def test_two_modalities_alone_and_left_out_are_one_and_the_same_way():
    assert "without-a" not in ways_of(["a", "b"])
    assert {"all", "only-a", "without-c", "concat", "no-contrast", "shuffled-b"} <= set(
        ways_of(["a", "b", "c"])
    )


def test_gains_are_of_users_in_pairs_and_of_common_seeds(capsys, tmp_path):
    ranks = {("ours", 0): [1, 11, 3], ("ours", 1): [2, 2, 2], ("base", 1): [1, 1, 11]}
    for (model, seed), each in ranks.items():
        result = {"model": model, "seed": seed, "validation": {"ranks": each}}
        (tmp_path / f"{model}-{seed}.json").write_text(json.dumps(result))
    (tmp_path / "base-0.json").write_text(json.dumps({"model": "base", "seed": 0, "test": {}}))
    users = {"all": np.ones(3, bool), "some": np.array([True, False, True])}
    print_gains(kept(tmp_path, "validation"), "ours", ["base", "gone"], "validation", users)
    lines = capsys.readouterr().out.splitlines()
    half = 1 / np.log2(3)
    assert [line.split(" [")[0] for line in lines] == [
        f"ours minus base, all (3, 1 seeds): NDCG@10 {(3 * half - 2) / 3:+.4f}",
        f"ours minus base, some (2, 1 seeds): NDCG@10 {(2 * half - 1) / 2:+.4f}",
    ]


def test_a_result_counts_as_there_with_its_test_targets_only_where_these_are_asked_for(
    tmp_path, dataset
):
    path = tmp_path / "default-0.json"
    assert not is_there(path, dataset, final=False)
    path.write_text(json.dumps({"validation": {}, "data": data_hash(dataset)}))
    assert is_there(path, dataset, final=False)
    assert not is_there(path, dataset, final=True)


def test_a_result_of_other_data_is_not_taken_for_this_ones(tmp_path, dataset):
    path = tmp_path / "default-0.json"
    path.write_text(json.dumps({"validation": {}, "data": "another"}))
    with pytest.raises(SystemExit, match="of other data"):
        is_there(path, dataset, final=False)


def test_results_are_those_with_the_tag(tmp_path):
    for name in ("tall-all", "all", "tall-only-text"):
        result = {"model": name, "seed": 0, "validation": {"of": name}}
        (tmp_path / f"{name}-0.json").write_text(json.dumps(result))
    found = kept(tmp_path, "validation", "tall-")
    assert {name: [r["validation"]["of"] for r in results] for name, results in found.items()} == {
        "all": ["tall-all"],
        "only-text": ["tall-only-text"],
    }


@given(st.lists(st.integers(1, 40), min_size=1))
def test_gains_agree_with_a_loop(ranks):
    expected = [1 / np.log2(1 + rank) if rank <= 10 else 0.0 for rank in ranks]
    np.testing.assert_allclose(gains(ranks), expected)


def test_spread_shows_a_deviation_where_there_are_several_seeds():
    assert spread([0.5]) == "0.5000"
    assert spread([0.1, 0.3]) == "0.2000 ± 0.1414"
