"""Features: what comes in is kept as it is, or refused by name."""

import re

import numpy as np
import pytest

from semantic_ids import Features
from semantic_ids.features import BLOCK_ROWS


def two_modalities(n=6):
    rng = np.random.default_rng(0)
    return {"text": rng.normal(size=(n, 3)), "image": rng.normal(size=(n, 2))}


def test_a_plain_array_is_one_modality():
    features = Features([[1.0, 2.0], [3.0, 4.0]])
    assert features.widths == {"features": 2}
    assert features.present.tolist() == [[True], [True]]
    assert features.ids is None


def test_features_are_passed_on_as_they_are():
    features = Features(np.ones((2, 2)))
    assert Features.of(features) is features


def test_arrays_are_not_copied():
    array = np.ones((3, 2), dtype=np.float16)
    assert Features(array).modalities["features"] is array


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16, bool])
def test_every_real_dtype_is_read_as_float32(dtype):
    array = np.array([[0, 1], [1, 1]], dtype=dtype)
    values, present = Features(array).modality("features")
    assert values.dtype == np.float32
    assert values.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert present.all()


def test_a_non_contiguous_array_is_read_row_by_row():
    wide = np.arange(24.0).reshape(4, 6)
    values, _ = Features(wide[::-1, ::2]).modality("features")
    assert values.tolist() == [[wide[3 - i, 2 * j] for j in range(3)] for i in range(4)]


def test_absent_rows_come_as_zeros_whatever_they_hold():
    array = np.array([[1.0], [np.nan], [np.inf], [1e300]])
    features = Features(
        {"image": array, "text": np.ones((4, 1))}, present={"image": [True, False, False, False]}
    )
    values, present = features.modality("image")
    assert values.tolist() == [[1.0], [0.0], [0.0], [0.0]]
    assert present.tolist() == [True, False, False, False]


def test_blocks_go_through_all_rows_in_order():
    features = Features(two_modalities(7), ids=list("abcdefg"))
    blocks = list(features.blocks(3))
    assert [len(block) for block in blocks] == [3, 3, 1]
    assert [name for block in blocks for name in block.ids.tolist()] == list("abcdefg")
    text = np.concatenate([block.modality("text")[0] for block in blocks])
    assert np.array_equal(text, features.modality("text")[0])


def test_rows_keep_array_mask_and_id_together():
    present = {"image": [True, False, True, True, False, True]}
    features = Features(two_modalities(), present=present, ids=[10, 11, 12, 13, 14, 15])
    part = features.rows(np.array([4, 0]))
    assert part.ids.tolist() == [14, 10]
    assert part.modality("image")[1].tolist() == [False, True]
    assert np.array_equal(part.modalities["text"], features.modalities["text"][[4, 0]])


def test_without_ids_keeps_everything_else():
    features = Features(two_modalities(), present={"image": [True] * 5 + [False]}, ids=range(6))
    anonymous = features.without_ids()
    assert anonymous.ids is None
    assert np.array_equal(anonymous.present, features.present)
    assert anonymous.modalities is features.modalities


def test_ids_given_apart_are_those_of_the_features():
    features = Features(two_modalities(), present={"image": [False] + [True] * 5})
    named = Features.of(features, list("abcdef"))
    assert named.ids.tolist() == list("abcdef")
    assert np.array_equal(named.present, features.present)


def test_repr_shows_sizes_and_missing_shares():
    features = Features(two_modalities(4), present={"image": [True, True, False, True]})
    assert (
        repr(features) == "Features(4 items; text: 3 x float64; image: 2 x float64 (75.0% present))"
    )


def test_rows_of_nan_may_be_declared_missing():
    text = np.ones((BLOCK_ROWS + 10, 2), dtype=np.float16)
    gone = np.random.default_rng(0).random(len(text)) < 0.5
    text[gone] = np.nan
    whole = np.arange(len(text))[:, None]
    features = Features({"text": text, "row": whole}, missing="nan")
    assert features.modality("text")[1].tolist() == (~gone).tolist()
    assert features.modality("row")[1].all()
    masked = Features({"text": text, "row": whole}, {"text": whole[:, 0] > 99}, missing="nan")
    assert masked.modality("text")[1].tolist() == (~gone & (whole[:, 0] > 99)).tolist()


def test_ids_given_later_are_checked_as_ids_given_at_once():
    features = Features(np.ones((2, 2)))
    for ids, message in [([1, 1], "repeat"), ([1], "ids has 1"), ([1.5, 2], "str or int")]:
        with pytest.raises(ValueError, match=message):
            Features.of(features, ids)


def holding(value, row, n=BLOCK_ROWS + 10):
    array = np.zeros((n, 2))
    array[row, 1] = value
    return array


ONES = np.ones((3, 2))

REFUSED = {
    "nothing": ({}, {}, ValueError, r"features: expected at least one modality, got none"),
    "one dimension": (np.ones(4), {}, ValueError, r"features\['features'\]: .*two dim.*\(4,\)"),
    "a number": (3.0, {}, ValueError, r"features\['features'\]: expected two dimensions.*\(\)"),
    "three dimensions": (np.ones((2, 2, 2)), {}, ValueError, r"two dimensions.*\(2, 2, 2\)"),
    "no rows": (np.ones((0, 4)), {}, ValueError, r"at least one item and one column.*\(0, 4\)"),
    "no columns": (np.ones((4, 0)), {}, ValueError, r"at least one item and one column.*\(4, 0\)"),
    "ragged": ([[1, 2], [3]], {}, ValueError, r"features\['features'\]: not a rectangular array"),
    "objects": (
        {"text": np.array([[None, 1.0]], dtype=object)},
        {},
        TypeError,
        r"features\['text'\]: expected a real numeric array, got object",
    ),
    "text": ([["a", "b"]], {}, TypeError, r"expected a real numeric array, got <U1"),
    "complex": (ONES * 1j, {}, TypeError, r"expected a real numeric array, got complex128"),
    "beyond floats": ([[10**400]], {}, TypeError, r"expected a real numeric array, got object"),
    "a number as name": ({7: ONES}, {}, TypeError, r"modality names are str, got 7"),
    "NaN": (
        {"image": holding(np.nan, 17)},
        {},
        ValueError,
        r"features\['image'\]: 1 row holds NaN \(first: 17\); mark missing rows in the mask",
    ),
    "NaN in a late block": (
        holding(np.nan, BLOCK_ROWS + 3),
        {},
        ValueError,
        rf"1 row holds NaN \(first: {BLOCK_ROWS + 3}\)",
    ),
    "rows that are partly NaN": (
        holding(np.nan, 17),
        {"missing": "nan"},
        ValueError,
        r"1 row holds NaN \(first: 17\); missing='nan' is for rows that are NaN throughout",
    ),
    "another word for missing": (ONES, {"missing": "null"}, ValueError, r"missing: .*got 'null'"),
    "rows of NaN of a named item": (
        np.array([[1.0], [np.nan]]),
        {"missing": "nan", "ids": ["x", "y"]},
        ValueError,
        r"no modality at all \(first: id 'y'\)",
    ),
    "infinity": (holding(-np.inf, 2), {}, ValueError, r"1 row holds infinity \(first: 2\)"),
    "beyond float32": (
        holding([1e39, 1e300], [4, 9]),
        {},
        ValueError,
        r"2 rows hold a number beyond float32 \(first: 4\)",
    ),
    "different lengths": (
        {"text": ONES, "image": np.ones((4, 2))},
        {},
        ValueError,
        r"features\['text'\] has 3, features\['image'\] has 4",
    ),
    "too few ids": (ONES, {"ids": ["a", "b"]}, ValueError, r"features has 3, ids has 2"),
    "repeated ids": (
        ONES,
        {"ids": ["a", "b", "a"]},
        ValueError,
        r"ids: 1 of 3 repeat an earlier id \(such as 'a'\)",
    ),
    "repeated int ids": (ONES, {"ids": [5, 5, 5]}, ValueError, r"ids: 2 of 3 .*such as 5\)"),
    "mixed ids": (
        ONES,
        {"ids": ["a", 1, "b"]},
        ValueError,
        r"ids: expected str or int ids, all of one kind, got int, str",
    ),
    "float ids": (ONES, {"ids": [0.0, 1.0, 2.0]}, ValueError, r"ids: .*got float"),
    "bool ids": (ONES[:2], {"ids": [True, False]}, ValueError, r"ids: .*got bool"),
    "ids as a table": (
        ONES,
        {"ids": np.ones((3, 1), dtype=int)},
        ValueError,
        r"one dimension.*3, 1",
    ),
    "one bare id": (ONES, {"ids": "abc"}, TypeError, r"ids: expected a sequence.*'abc'"),
    "mask of a stranger": (
        ONES,
        {"present": {"sound": [True] * 3}},
        ValueError,
        r"present: no modality 'sound' among the features \['features'\]",
    ),
    "mask of another length": (
        {"text": ONES},
        {"present": {"text": [True, True]}},
        ValueError,
        r"present\['text'\]: expected bool of shape \(3,\), got bool of shape \(2,\)",
    ),
    "mask of numbers": (
        {"text": ONES},
        {"present": {"text": [1, 0, 1]}},
        ValueError,
        r"present\['text'\]: expected bool of shape \(3,\), got int64",
    ),
    "a mask without a name": (
        {"text": ONES},
        {"present": np.ones(3, dtype=bool)},
        TypeError,
        r"present: expected a mapping .*, got a ndarray; give present=\{'text': ...\}",
    ),
    "an item without anything": (
        {"text": ONES, "image": ONES},
        {"present": {"text": [True, False, True], "image": [True, False, False]}},
        ValueError,
        r"features: 1 items have no modality at all \(first: row 1\)",
    ),
    "a named item without anything": (
        {"text": ONES},
        {"present": {"text": [True, True, False]}, "ids": ["x", "y", "z"]},
        ValueError,
        r"no modality at all \(first: id 'z'\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(case):
    modalities, arguments, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        Features(modalities, **arguments)


def test_ids_are_not_given_twice():
    with pytest.raises(ValueError, match=re.escape("give them once")):
        Features.of(Features(ONES, ids=[1, 2, 3]), [4, 5, 6])


def test_the_largest_float32_is_still_a_feature():
    largest = float(np.finfo(np.float32).max)
    assert Features([[largest], [-largest]]).modality("features")[0].tolist() == [
        [largest],
        [-largest],
    ]
