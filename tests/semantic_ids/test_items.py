"""Titles and categories in every form that users have them in."""

import numpy as np
import pytest

from semantic_ids import Items, Tokenizer

TITLES = ["Green tea", None, "Milk"]
CATEGORIES = [["Drinks", "Tea"], [], ["Dairy"]]


def frame(library, **columns):
    return pytest.importorskip(library).DataFrame(columns)


@pytest.mark.parametrize(
    "value",
    [
        {"title": TITLES, "categories": CATEGORIES},
        {
            "id": ["c", "a", "b"],
            "title": ["Milk", "Green tea", None],
            "categories": [["Dairy"], ["Drinks", "Tea"], None],
        },
        [{"title": t, "categories": c} for t, c in zip(TITLES, CATEGORIES, strict=True)],
        [
            {"id": "c", "title": "Milk", "categories": "Dairy", "price": 3},
            {"id": "a", "title": "Green tea", "categories": ["Drinks", "Tea"]},
        ],
        {"title": np.array(TITLES, dtype=object), "categories": tuple(CATEGORIES)},
    ],
)
def test_every_form_says_the_same(value):
    items = Items.of(value, ["a", "b", "c"])
    assert items.titles == ("Green tea", None, "Milk")
    assert items.categories == (("Drinks", "Tea"), (), ("Dairy",))
    assert items.ids.tolist() == ["a", "b", "c"]
    assert len(items) == 3


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    table = frame(
        library,
        id=[3, 1, 9],
        title=["Milk", "Green tea", "of no item"],
        category=["Dairy", None, "x"],
        price=[1, 2, 3],
    )
    items = Items.of(table, [1, 2, 3])
    assert items.titles == ("Green tea", None, "Milk")
    assert items.categories == ((), (), ("Dairy",))
    several = frame(library, title=TITLES, categories=CATEGORIES)
    assert Items.of(several, ["a", "b", "c"]).categories[0] == ("Drinks", "Tea")


def test_the_missing_of_a_frame_is_none():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {"title": pandas.array(["x", None], dtype="string"), "category": [np.nan, "y"]}
    )
    items = Items.of(table, [0, 1])
    assert items.titles == ("x", None)
    assert items.categories == ((), ("y",))


def test_a_mapping_of_titles_may_miss_items_and_have_others():
    items = Items.of({"b": "Milk", "z": "gone", "c": None}, ["a", "b", "c"])
    assert items.titles == (None, "Milk", None)
    assert repr(items) == "Items(3 items, 1 titles, 0 categories)"


def test_an_item_may_be_called_title():
    assert Items.of({"title": "A book", "id": "A card"}, ["id", "title"]).titles == (
        "A card",
        "A book",
    )


def test_categories_alone_and_numbers_as_categories():
    items = Items.of({"category": [4, None, np.int64(5)]}, [0, 1, 2])
    assert items.titles == (None, None, None)
    assert items.categories == (("4",), (), ("5",))


def test_items_are_put_in_order_once():
    items = Items.of({"a": "Tea", "b": "Milk"}, ["a", "b"])
    assert Items.of(items, ["a", "b"]) is items
    assert Items.of(items, ["b", "x"]).titles == ("Milk", None)
    tokenizer = Tokenizer.from_codes(["b", "a"], [[0], [1]])
    assert Items.of(items, tokenizer.ids).titles == ("Milk", "Tea")


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"title": ["x"]}, ValueError, "items: 1 rows without ids for a catalogue of 2 items"),
        ({"title": ["x", "y"], "category": ["z"]}, ValueError, "columns of different lengths"),
        ({"category": ["x", "y"], "categories": ["x", "y"]}, ValueError, "give one of them"),
        ({"brand": ["x", "y"]}, TypeError, "expected a str or None as title"),
        ([{"brand": "x"}, {"brand": "y"}], ValueError, "neither titles nor categories"),
        ([], ValueError, "neither titles nor categories"),
        ({7: "x"}, ValueError, r"none of 1 ids is in the catalogue \(the first is 7"),
        ({"title": [1, 2]}, TypeError, "expected a str or None as title, got 1"),
        ({"category": [1.5, 2]}, TypeError, "as category, got 1.5"),
        ({"category": [[None], "x"]}, TypeError, "as category, got None"),
        ({"id": ["a", "a"], "title": ["x", "y"]}, ValueError, "items: id: 1 of 2 repeat"),
        (["x", "y"], TypeError, "a sequence with 'x'"),
        ("x", TypeError, "got str"),
        (3, TypeError, "expected a mapping of id to title"),
    ],
)
def test_what_is_no_items_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        Items.of(value, ["a", "b"])
