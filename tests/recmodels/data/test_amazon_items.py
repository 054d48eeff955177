"""Metadata of items, on a few lines in each year's spelling, made up here."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import AmazonItem, Histories, read_amazon_items, read_dataset
from recmodels.data.writing import write_interactions, write_items


def read(folder, *records, **options):
    path = folder / "meta.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return read_amazon_items(path, **options)


def test_the_spelling_of_2018(tmp_path):
    record = {
        "asin": "B1",
        "title": "Rope &amp; <b>tackle</b>",
        "description": ["Strong.", "", "<p>2 < 3\n&quot;m&quot;"],
        "brand": "Fenwick",
        "category": ["Sports", "Climbing & more"],
        "imageURL": ["small"],
        "imageURLHighRes": ["large", "second"],
        "price": "$5",
    }
    expected = AmazonItem(
        "Rope & tackle", 'Strong. 2 < 3 "m"', "Fenwick", "Sports, Climbing & more", "large"
    )
    assert read(tmp_path, record) == {"B1": expected}


def test_the_spelling_of_2014_where_it_is_json(tmp_path):
    record = {
        "asin": "B1",
        "description": "Strong.",
        "categories": [["Sports", "Climbing"], ["Gifts"]],
        "imUrl": "large",
    }
    expected = AmazonItem("", "Strong.", "", "Sports, Climbing, Gifts", "large")
    assert read(tmp_path, record) == {"B1": expected}


@pytest.mark.parametrize(
    ("details", "brand"), [({"Brand": "Beal"}, "Beal"), ({}, "Store"), ('{"Brand": 1}', "Store")]
)
def test_the_spelling_of_2023(details, brand, tmp_path):
    record = {
        "parent_asin": "P1",
        "asin": "B1",
        "title": None,
        "features": ["Dry.", "Light."],
        "description": ["Strong."],
        "store": "Store",
        "details": details,
        "categories": ["Sports"],
        "images": [{"thumb": "t", "large": "l", "hi_res": None}, {"hi_res": "h"}],
    }
    assert read(tmp_path, record) == {
        "P1": AmazonItem("", "Dry. Light. Strong.", brand, "Sports", "l")
    }


def test_the_first_line_of_an_item_counts_and_only_wanted_ones_are_kept(tmp_path):
    records = [{"asin": name, "title": title} for name, title in ["ax", "bx", "ay", "cx"]]
    assert {k: v.title for k, v in read(tmp_path, *records).items()} == {
        "a": "x",
        "b": "x",
        "c": "x",
    }
    assert list(read(tmp_path, *records, wanted=["c", "a", "nobody"])) == ["a", "c"]


def test_a_title_that_is_a_script_is_none(tmp_path):
    script = "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();"
    assert read(tmp_path, {"asin": "a", "title": script, "brand": "x"})["a"].title == ""


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"title": "x"}, r'line 2: no "asin", expected an id'),
        ({"asin": None}, r'line 2: "asin" is None, expected an id'),
        ({"asin": 5}, r'line 2: "asin" is 5, expected a string'),
        ({"asin": "b", "title": 5}, r'line 2: "title" is 5, expected a string'),
        ({"asin": "b", "category": [["x", 5]]}, r'line 2: "category" is 5, expected a string'),
        ({"asin": "b", "brand": {"x": 5}}, r'line 2: "brand" is {\'x\': 5}, expected a string'),
        ({"asin": "b", "title": "\ud800"}, "line 2: .*expected valid Unicode"),
    ],
)
def test_other_lines_are_refused_by_number(record, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, {"asin": "a"}, record)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no items; expected one a line"):
        read(tmp_path)
    packed = gzip.compress(b'{"asin": "a"}\n' * 99)
    (tmp_path / "cut.json.gz").write_bytes(packed[:-9])
    with pytest.raises(ValueError, match=r"cut\.json\.gz.*expected a whole gzip file"):
        read_amazon_items(tmp_path / "cut.json.gz")
    with pytest.raises(FileNotFoundError):
        read_amazon_items(tmp_path / "nowhere.json")


def test_a_text_is_what_there_is_from_title_to_description():
    item = AmazonItem("T", "Described", "B", "C, D", "https://images.example/x.jpg")
    assert item.text() == "T. B. C, D. Described"
    assert item.text(description=3) == "T. B. C, D. Des"
    assert item._replace(brand="", title="").text(description=0) == "C, D"
    assert AmazonItem(image="x").text() == ""


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(
    rows=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=5),
    titles=st.lists(TEXT, min_size=5, max_size=5),
)
def test_tables_are_read_back_as_they_were_written(rows, titles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    ids = [f"B{row}" for row in range(5)]
    items = [{"id": name, "title": title} for name, title in zip(ids, titles, strict=True)]
    users = [None if row % 2 else f"U{row}" for row in range(len(rows))]
    written = []
    for _ in range(2):
        write_items(folder, items)
        write_interactions(folder, Histories.of(rows), users)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    data = read_dataset(folder, min_items=1)
    assert data.ids.tolist() == ids
    assert data.titles == (tuple(titles) if any(titles) else None)
    assert [row.tolist() for row in data.histories] == rows
    assert list(data.users) == users
