import gzip
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from recmodels.baselines import Popularity
from recmodels.data import Dataset, Histories, Split, read_dataset
from semantic_ids import Features

ITEMS = [{"i": row, "id": f"B{row}", "title": f"Thing {row}"} for row in range(4)]
PEOPLE = [{"u": 0, "user": "ann", "items": [0, 1, 2]}, {"u": 1, "user": "bob", "items": [3, 2, 0]}]
TEXT = np.arange(12, dtype=np.float16).reshape(4, 3)


def write(folder: Path, *, items=None, people=None, arrays=None, about=None) -> Path:
    """Write a data folder; lines are objects, or bytes to stand as they are."""
    for name, lines in (("items", items), ("interactions", people)):
        if lines is not None:
            texts = [
                line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
            ]
            packed = gzip.compress(b"".join(text + b"\n" for text in texts))
            (folder / f"{name}.jsonl.gz").write_bytes(packed)
    for name, array in (arrays or {}).items():
        np.save(folder / f"{name}.npy", array)
    if about is not None:
        (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def changed(lines, line, **fields):
    """Return the lines with one of them (counted from 1) changed."""
    copies = [dict(record) for record in lines]
    copies[line - 1].update(fields)
    return copies


def without(lines, line, key):
    copies = [dict(record) for record in lines]
    del copies[line - 1][key]
    return copies


def refusal(folder, accepted="items.jsonl.gz, text_emb.npy"):
    """Return why a folder is refused, or the text for one that is not."""
    try:
        read_dataset(folder)
    except ValueError as error:
        return str(error)
    return accepted


# What is read


def test_a_whole_folder_is_read(tmp_path):
    mask = np.array([True, False, True, True])
    items = changed(ITEMS, 2, title=None, categories="Garden, Pots")
    folder = write(
        tmp_path,
        items=items,
        people=PEOPLE,
        arrays={"text_emb": TEXT, "image_feat": TEXT[:, :2], "image_mask": mask},
        about={"name": "toy", "users": 2},
    )
    dataset = read_dataset(folder)
    assert dataset.name == "toy"
    assert dataset.size == 4
    assert dataset.ids.tolist() == ["B0", "B1", "B2", "B3"]
    assert dataset.users == ("ann", "bob")
    assert [row.tolist() for row in dataset.histories] == [[0, 1, 2], [3, 2, 0]]
    assert dataset.titles == ("Thing 0", "", "Thing 2", "Thing 3")
    assert dataset.categories == ("", "Garden, Pots", "", "")
    assert dataset.dropped_users == 0
    assert dataset.features.widths == {"text": 3, "image": 2}
    assert dataset.features.ids.tolist() == dataset.ids.tolist()
    values, present = dataset.features.modality("image")
    assert present.tolist() == mask.tolist()
    np.testing.assert_array_equal(values[mask], TEXT[mask, :2])
    assert repr(dataset) == "Dataset('toy': 4 items; image 2, text 3; 2 users, 6 interactions)"


def test_a_str_will_do_for_the_folder(tmp_path):
    assert read_dataset(str(write(tmp_path, items=ITEMS))).size == 4


def test_arrays_keep_their_type(tmp_path):
    dataset = read_dataset(write(tmp_path, arrays={"text_emb": TEXT}))
    assert dataset.features.modalities["text"].dtype == np.float16


def test_features_alone_serve(tmp_path):
    dataset = read_dataset(write(tmp_path, arrays={"text_emb": TEXT}))
    assert dataset.name == tmp_path.name
    assert dataset.ids.tolist() == [0, 1, 2, 3]
    assert dataset.ids.dtype == np.int64
    assert dataset.features.ids.tolist() == [0, 1, 2, 3]
    assert dataset.histories is dataset.titles is dataset.categories is None
    assert dataset.users == ()


def test_items_alone_serve(tmp_path):
    dataset = read_dataset(write(tmp_path, items=ITEMS))
    assert dataset.size == 4
    assert dataset.features is dataset.histories is None


def test_interactions_alone_serve(tmp_path):
    people = changed(PEOPLE, 1, items=[7, 0, 1])
    dataset = read_dataset(write(tmp_path, people=people))
    assert dataset.size == 8
    assert dataset.ids.tolist() == list(range(8))
    assert dataset.features is None


def test_null_ids_are_row_numbers(tmp_path):
    items = [{"i": row, "id": None} for row in range(4)]
    dataset = read_dataset(write(tmp_path, items=items, arrays={"text_emb": TEXT}))
    assert dataset.ids.tolist() == [0, 1, 2, 3]
    assert dataset.ids.dtype == np.int64


def test_null_and_absent_users_may_repeat(tmp_path):
    people = [{"u": 0, "user": None, "items": [0, 1, 2]}, {"u": 1, "items": [0, 1, 2]}]
    assert read_dataset(write(tmp_path, items=ITEMS, people=people)).users == (None, None)


def test_items_may_repeat_in_a_history(tmp_path):
    people = changed(PEOPLE, 1, items=[1, 1, 1])
    dataset = read_dataset(write(tmp_path, items=ITEMS, people=people))
    assert dataset.histories[0].tolist() == [1, 1, 1]


def test_unordered_sets_are_no_histories(tmp_path):
    people = [{"u": 0, "train": [0, 3], "valid": [1], "test": []}]
    dataset = read_dataset(write(tmp_path, people=people, arrays={"image_feat": TEXT}))
    assert dataset.histories is None
    assert dataset.users == (None,)
    assert dataset.dropped_users == 0


def test_short_users_are_dropped_and_counted(tmp_path):
    people = [PEOPLE[0], {"u": 1, "user": "eve", "items": [3]}, {**PEOPLE[1], "u": 2}]
    dataset = read_dataset(write(tmp_path, items=ITEMS, people=people), short_users="drop")
    assert dataset.users == ("ann", "bob")
    assert dataset.histories.lengths.tolist() == [3, 3]
    assert dataset.dropped_users == 1
    assert "1 users dropped" in repr(dataset)


def test_min_items_moves_the_bar(tmp_path):
    people = [*PEOPLE, {"u": 2, "user": "eve", "items": [3]}]
    folder = write(tmp_path, items=ITEMS, people=people)
    assert read_dataset(folder, min_items=1).histories.lengths.tolist() == [3, 3, 1]
    with pytest.raises(ValueError, match="none of the 3 users has min_items=4 items"):
        read_dataset(folder, min_items=4, short_users="drop")


def test_text_beyond_ascii_survives(tmp_path):
    items = changed(ITEMS, 1, id="Blå", title="Café ☕")
    dataset = read_dataset(write(tmp_path, items=items))
    assert dataset.ids[0] == "Blå"
    assert dataset.titles[0] == "Café ☕"


# What is refused


def test_a_missing_folder_is_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        read_dataset(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: expected a folder, got a file"):
        read_dataset(tmp_path / "file")


@pytest.mark.parametrize("about", [None, {"name": "empty"}])
def test_an_empty_folder_says_what_was_looked_for(tmp_path, about):
    with pytest.raises(ValueError, match=r"no items\.jsonl\.gz, no interactions\.jsonl\.gz, no N"):
        read_dataset(write(tmp_path, about=about))


def test_arguments_are_checked(tmp_path):
    folder = write(tmp_path, items=ITEMS)
    with pytest.raises(ValueError, match='short_users: expected "error" or "drop", got \'keep\''):
        read_dataset(folder, short_users="keep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_items: expected 0 or more, got -1"):
        read_dataset(folder, min_items=-1)


BROKEN_ITEMS = {
    "row number": (changed(ITEMS, 3, i=7), r'line 3: "i" is 7, expected the row number 2'),
    "row as text": (changed(ITEMS, 1, i="0"), r'line 1: "i" is \'0\', expected the row number 0'),
    "row as bool": (changed(ITEMS, 2, i=True), r'line 2: "i" is True'),
    "no i": (without(ITEMS, 2, "i"), r'line 2: no "i", expected the row number'),
    "no id": (without(ITEMS, 4, "id"), r'line 4: no "id", expected a string or null'),
    "id of int": (changed(ITEMS, 2, id=5), r'line 2: "id" is 5, expected a string or null'),
    "null among ids": (changed(ITEMS, 3, id=None), r'line 3: "id" is None, but strings came'),
    "id among nulls": (changed(ITEMS, 1, id=None), r'line 2: "id" is \'B1\', but nulls came'),
    "twice": (changed(ITEMS, 4, id="B1"), r'line 4: "id" is \'B1\', as on line 2'),
    "title": (changed(ITEMS, 2, title=["a"]), r'line 2: "title" is \[\'a\'\], expected a string'),
    "categories": (changed(ITEMS, 2, categories=3), r'line 2: "categories" is 3, expected'),
    "half a surrogate pair": (changed(ITEMS, 2, id="\ud800"), r"line 2: .* expected valid Unicode"),
    "no JSON": ([ITEMS[0], b'{"i": 1,'], r"line 2: expected a JSON object, got b'\{\"i\": 1,"),
    "empty line": ([ITEMS[0], b""], r"line 2: expected a JSON object"),
    "list": ([[0, "B0"]], r"line 1: expected a JSON object, got \[0, 'B0'\]"),
    "not UTF-8": ([b'{"i": 0, "id": "\xff"}'], r"line 1: expected a JSON object"),
    "nested": ([b"[" * 100_000], r"line 1: expected a JSON object"),
    "nothing": ([], "holds no items"),
}


@pytest.mark.parametrize(("items", "message"), BROKEN_ITEMS.values(), ids=BROKEN_ITEMS)
def test_broken_items_are_refused_by_file_and_line(tmp_path, items, message):
    with pytest.raises(ValueError, match=r"items\.jsonl\.gz.*" + message):
        read_dataset(write(tmp_path, items=items))


BROKEN_PEOPLE = {
    "too large": (changed(PEOPLE, 2, items=[0, 1, 4]), r'line 2: "items" names 4.*numbers 0 to 3'),
    "negative": (changed(PEOPLE, 2, items=[0, -1, 1]), 'line 2: "items" names -1, which is no'),
    "float": (changed(PEOPLE, 1, items=[0, 1.0, 1]), r'line 1: "items" names 1\.0'),
    "text": (changed(PEOPLE, 1, items=[0, "B1", 1]), r"line 1: \"items\" names 'B1'"),
    "bool": (changed(PEOPLE, 1, items=[0, True, 1]), 'line 1: "items" names True'),
    "null": (changed(PEOPLE, 1, items=[0, None, 1]), 'line 1: "items" names None'),
    "no list": (changed(PEOPLE, 1, items={"0": 1}), 'line 1: "items" is .*expected a list'),
    "no items": (without(PEOPLE, 2, "items"), r'line 2: no "items", expected a list'),
    "no u": (without(PEOPLE, 2, "u"), 'line 2: no "u", expected the user\'s number'),
    "u of text": (changed(PEOPLE, 2, u="1"), "line 2: \"u\" is '1', expected the user's number"),
    "user of int": (changed(PEOPLE, 2, user=7), 'line 2: "user" is 7, expected a string or null'),
    "twice": (changed(PEOPLE, 2, user="ann"), r"line 2: \"user\" is 'ann', as on line 1"),
    "short": (changed(PEOPLE, 2, items=[0, 1]), r"line 2: user 'bob' has 2 items, .*min_items=3"),
    "no JSON": ([PEOPLE[0], b"nonsense"], "line 2: expected a JSON object, got b'nonsense"),
    "sets later": (
        [PEOPLE[0], {"u": 1, "train": [0], "valid": [], "test": []}],
        r"line 2: no \"items\", .*'test', 'train'",
    ),
    "no test set": ([{"u": 0, "train": [0], "valid": []}], 'line 1: no "test", expected a list'),
    "unknown in a set": (
        [{"u": 0, "train": [0], "valid": [9], "test": []}],
        'line 1: "valid" names 9, which is no item',
    ),
    "nothing": ([], "holds no users"),
}


@pytest.mark.parametrize(("people", "message"), BROKEN_PEOPLE.values(), ids=BROKEN_PEOPLE)
def test_broken_interactions_are_refused_by_file_and_line(tmp_path, people, message):
    with pytest.raises(ValueError, match=r"interactions\.jsonl\.gz.*" + message):
        read_dataset(write(tmp_path, items=ITEMS, people=people))


def test_dropping_short_users_excuses_nothing_else(tmp_path):
    people = changed(PEOPLE, 2, items=[9])
    with pytest.raises(ValueError, match='line 2: "items" names 9'):
        read_dataset(write(tmp_path, items=ITEMS, people=people), short_users="drop")


def test_interactions_alone_must_name_an_item(tmp_path):
    people = [{"u": 0, "user": None, "items": []}]
    with pytest.raises(ValueError, match=r"interactions\.jsonl\.gz: names no item"):
        read_dataset(write(tmp_path, people=people), min_items=0)


def test_a_row_beyond_int32_is_no_item(tmp_path):
    people = changed(PEOPLE, 1, items=[0, 1, 2**40])
    with pytest.raises(ValueError, match='line 1: "items" names 1099511627776'):
        read_dataset(write(tmp_path, people=people))


@pytest.mark.parametrize("name", ["items", "interactions"])
def test_a_truncated_file_is_refused_with_the_line_reached(tmp_path, name):
    random = np.random.default_rng(0)
    items = [{"i": row, "id": f"B{random.integers(10**12)}"} for row in range(3000)]
    people = [
        {"u": u, "user": None, "items": random.integers(3000, size=9).tolist()} for u in range(3000)
    ]
    folder = write(tmp_path, items=items, people=people)
    path = folder / f"{name}.jsonl.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=name + r"\.jsonl\.gz, after line \d{2,}: expected a whol"):
        read_dataset(folder)


def test_a_damaged_or_uncompressed_file_is_refused(tmp_path):
    path = write(tmp_path, items=ITEMS) / "items.jsonl.gz"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert "items.jsonl.gz" in refusal(tmp_path)
    path.write_bytes(json.dumps(ITEMS[0]).encode())
    with pytest.raises(ValueError, match=r"items\.jsonl\.gz, after line 0: .* whole gzip file"):
        read_dataset(tmp_path)


BROKEN_ARRAYS = {
    "rows": ({"text_emb": TEXT[:3]}, r"text_emb\.npy: 3 rows, expected 4 as in items\.jsonl\.gz"),
    "dimensions": ({"text_emb": TEXT[0]}, r"text_emb\.npy: expected two dimensions .*\(3,\)"),
    "scalar": ({"text_emb": np.float32(1)}, r"text_emb\.npy: expected two dimensions .*\(\)"),
    "kind": ({"text_emb": TEXT.astype(str)}, r"text_emb\.npy: features\['text'\]: expected a real"),
    "no columns": ({"text_emb": TEXT[:, :0]}, r"text_emb\.npy: features\['text'\]"),
    "NaN": ({"text_emb": TEXT * np.nan}, r"text_emb\.npy: features\['text'\]: 4 rows hold NaN"),
    "both": ({"text_emb": TEXT, "text_feat": TEXT}, r"text_feat\.npy: .* has text_emb\.npy too"),
    "mask alone": (
        {"text_emb": TEXT, "image_mask": np.ones(4, bool)},
        r"image_mask\.npy: a mask without its array; expected image_emb\.npy or image_feat\.npy",
    ),
    "mask length": (
        {"text_emb": TEXT, "text_mask": np.ones(3, bool)},
        r"text_mask\.npy: expected bool of shape \(4,\), got bool of shape \(3,\)",
    ),
    "mask kind": (
        {"text_emb": TEXT, "text_mask": np.ones(4, np.uint8)},
        r"text_mask\.npy: expected bool of shape \(4,\), got uint8",
    ),
    "nothing present": (
        {"text_emb": TEXT, "text_mask": np.zeros(4, bool)},
        r"text_emb\.npy: features: 4 items have no modality at all",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BROKEN_ARRAYS.values(), ids=BROKEN_ARRAYS)
def test_broken_arrays_are_refused_by_file(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        read_dataset(write(tmp_path, items=ITEMS, arrays=arrays))


def test_arrays_of_two_lengths_are_refused_by_both_names(tmp_path):
    folder = write(tmp_path, arrays={"text_emb": TEXT, "image_feat": TEXT[:3]})
    with pytest.raises(ValueError, match=r"text_emb\.npy: 4 rows, expected 3 as in image_feat"):
        read_dataset(folder)


def test_a_truncated_or_damaged_array_is_refused(tmp_path):
    path = write(tmp_path, arrays={"text_emb": TEXT}) / "text_emb.npy"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"text_emb\.npy: expected a whole \.npy array"):
            read_dataset(tmp_path)
    for place, byte in itertools.product(range(128), (b"9", b",", b"(", b"\0")):
        path.write_bytes(whole[:place] + byte + whole[place + 1 :])
        assert "text_emb.npy" in refusal(tmp_path)


def test_pickles_and_archives_are_refused(tmp_path):
    path = tmp_path / "text_emb.npy"
    np.save(path, np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"text_emb\.npy: expected a whole \.npy array without pi"):
        read_dataset(tmp_path)
    with path.open("wb") as file:
        np.savez(file, TEXT)
    with pytest.raises(ValueError, match=r"text_emb\.npy: expected a whole \.npy array"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("about", ["{", "[]", '{"name": 3}'])
def test_a_broken_description_is_refused(tmp_path, about):
    (write(tmp_path, items=ITEMS) / "dataset.json").write_text(about)
    with pytest.raises(ValueError, match=r"dataset\.json: "):
        read_dataset(tmp_path)


# The dataset as a value


def parts(**changes):
    features = Features({"text": TEXT}, ids=["a", "b", "c", "d"])
    return {"name": "toy", "ids": features.ids, "features": features, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array([1, 1, 2, 3])}, "ids: some repeat"),
        ({"ids": np.arange(3)}, "features: expected one for each of 3 ids, got 4"),
        ({"ids": np.arange(4)}, "features: expected the ids of the dataset, in its order, got oth"),
        ({"features": Features(TEXT)}, "features: expected the ids .* got none"),
        ({"titles": ("a",)}, "titles: expected one for each of 4 ids, got 1"),
        ({"categories": ("a",)}, "categories: expected one for each of 4 ids, got 1"),
        (
            {"histories": Histories.of([[0]]), "users": ("ann", "bob")},
            "users: expected one for each of 1 histories, got 2",
        ),
        (
            {"histories": Histories.of([[4]]), "users": (None,)},
            "histories: item 4 is not in the catalogue; expected 0 to 3",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Dataset(**parts(**changes))


# Real folders

REAL = os.environ.get("SEMANTIC_IDS_DATA")
needs_data = pytest.mark.skipif(
    not REAL, reason="set SEMANTIC_IDS_DATA to the folder that holds the public data sets"
)


def read_real(name, **options):
    folder = Path(REAL or "") / name
    if not folder.is_dir():
        pytest.skip(f"SEMANTIC_IDS_DATA holds no {name}")
    return read_dataset(folder, **options), json.loads((folder / "dataset.json").read_text())


@needs_data
@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("tiny_office", {"text": 384}),
        ("amazon18_scientific", {"text": 384}),
        ("ml100k", {"image": 416, "text": 384}),
    ],
)
def test_real_folders_hold_what_they_say(name, widths):
    dataset, counts = read_real(name)
    assert dataset.name == name
    assert dataset.size == len(dataset.titles) == counts["items"]
    assert sum(map(bool, dataset.titles)) == counts["nonempty"]["title"]
    assert sum(map(bool, dataset.categories)) == counts["nonempty"]["categories"]
    assert len(dataset.histories) == len(dataset.users) == counts["users"]
    assert len(dataset.histories.items) == counts["interactions"]
    assert dataset.histories.lengths.max() == counts["max_len"]
    assert len(np.unique(dataset.histories.items)) == counts["items_with_interactions"]
    assert dataset.features.widths == widths
    split = Split.leave_one_out(dataset.histories, dataset.size)
    assert len(split.train.items) == counts["interactions"] - 2 * counts["users"]


@needs_data
def test_real_posters_are_missing_where_the_mask_says():
    dataset, counts = read_real("ml100k")
    present = dataset.features.modality("image")[1]
    assert present.sum() == counts["posters"] == counts["items"] - 19
    assert dataset.ids[:2].tolist() == ["1", "2"]


@needs_data
def test_real_unordered_sets_give_features_alone():
    dataset, counts = read_real("tiktok_features")
    assert dataset.size == counts["items"]
    assert len(dataset.users) == counts["users"]
    assert dataset.histories is None
    assert dataset.features.widths == {"audio": 128, "image": 128}


@needs_data
def test_real_short_users_are_dropped_or_refused():
    dataset, counts = read_real("amazon23_industrial_mm", short_users="drop")
    assert len(dataset.histories) == counts["users_with_3_or_more"]
    assert dataset.dropped_users == counts["users"] - counts["users_with_3_or_more"]
    assert dataset.size == counts["items"]
    assert dataset.features.widths == {"image_caption": 384, "text": 384}
    everyone, _ = read_real("amazon23_industrial_mm", min_items=1)
    assert len(everyone.histories) == counts["users"]
    assert len(everyone.histories.items) == counts["interactions"]
    with pytest.raises(ValueError, match=r"interactions\.jsonl\.gz, line \d+: user .* min_items=3"):
        read_real("amazon23_industrial_mm")


def test_plain_lists_and_arrays_will_do():
    text = np.eye(3, dtype=np.float32)
    plain = Dataset("toy", ["a", "b", "c"], {"text": text}, [[0, 2, 1], [1]])
    assert plain.ids.tolist() == plain.features.ids.tolist() == ["a", "b", "c"]
    assert np.array_equal(plain.features.modalities["text"], text)
    assert [row.tolist() for row in plain.histories] == [[0, 2, 1], [1]]
    assert plain.users == (None, None)
    assert Dataset("toy", [5, 3], text[:2]).features.ids.tolist() == [5, 3]
    with pytest.raises(TypeError, match="ids: expected a sequence or 1-D array of ids, got 'abc'"):
        Dataset("toy", "abc")
    with pytest.raises(TypeError, match=r"split: expected a Split, such as dataset.split\(\)"):
        Popularity.fit(plain)


def test_what_is_held_out_knows_the_order_of_its_items():
    split = Dataset("toy", ["a", "b", "c"], None, [[0, 2, 1, 0]]).split()
    for held in (split.validation, split.test, split.test.take([0])):
        held.check_order("x", np.array(["a", "b", "c", "d"], dtype=split.test.ids.dtype))
        held.check_order("x", None)
        with pytest.raises(ValueError, match="x: row 1 is item c, but b in the split"):
            held.check_order("x", np.array(["a", "c", "b"], dtype=split.test.ids.dtype))
        for others in (split.test.ids[:2], np.arange(3)):
            with pytest.raises(ValueError, match="x: its items are not those of the split"):
                held.check_order("x", others)
