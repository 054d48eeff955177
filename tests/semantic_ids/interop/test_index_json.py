"""index.json as LC-Rec, LETTER, MQL4GRec and MiniOneRec read and write it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import Tokenizer
from semantic_ids.interop import read_index_json, write_index_json

CODES = [[12, 7, 201], [3, 9, 0], [12, 7, 201]]


def test_their_loaders_find_items_by_number(tmp_path):
    write_index_json(tmp_path / "Tea.index.json", [2, 0, 1], CODES)
    with (tmp_path / "Tea.index.json").open() as file:
        indices = json.load(file)
    # What they do with it: an item's text is its tokens joined, found by its number.
    assert ["".join(indices[str(item)]) for item in (0, 1, 2)] == [
        "<a_3><b_9><c_0>",
        "<a_12><b_7><c_201>",
        "<a_12><b_7><c_201>",
    ]


def test_text_and_pictures_are_two_files_of_one_tokenizer(tmp_path):
    text, pictures = tmp_path / "Tea.index.json", tmp_path / "Tea.index_vit.json"
    write_index_json(text, None, [[1, 2], [3, 4]])
    write_index_json(pictures, None, [[5, 6], [7, 8]], capitals=True)
    assert json.loads(pictures.read_text()) == {"0": ["<A_5>", "<B_6>"], "1": ["<A_7>", "<B_8>"]}
    ids, codes = read_index_json(text)
    both = Tokenizer.from_codes(ids, [codes, read_index_json(pictures).codes], resolver=None)
    assert both.encode([1]).tolist() == [[3, 4, 7, 8]]


def test_the_order_is_that_of_the_file(tmp_path):
    path = tmp_path / "index.json"
    path.write_text('{"7": ["<a_1>"], "3": ["<a_0>"]}')
    assert read_index_json(path).ids.tolist() == [7, 3]


@given(rows=st.lists(st.integers(0, 9), min_size=1), seed=st.integers(0, 9))
def test_reading_is_what_a_double_loop_does(rows, seed, tmp_path_factory):
    codes = (
        np.random.default_rng(seed).integers(0, 300, size=(len(rows), 28)) + np.array(rows)[:, None]
    )
    names = [*"abcdefghijklmnopqrstuvwxyz", "aa", "ab"]
    content = {
        str(row): [f"<{names[level]}_{code}>" for level, code in enumerate(codes[row].tolist())]
        for row in range(len(rows))
    }
    path = tmp_path_factory.mktemp("index") / "index.json"
    path.write_text(json.dumps(content))
    assert np.array_equal(read_index_json(path).codes, codes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        (b"\xff{}", "expected JSON"),
        ("{}", "expected an object"),
        ('[["0", ["<a_1>"]]]', "expected an object"),
        ('{"0": "<a_1>"}', "item '0' has '<a_1>', expected a list of tokens"),
        ('{"0": {"a": 1}}', "item '0' has .*expected a list of tokens"),
        ('{"0": []}', r"item '0' has \[\], expected a list"),
        ('{"0": [1]}', r"item '0' has \[1\], expected a list"),
        ('{"0": ["<a_1>"], "1": ["<a_1>", "<b_2>"]}', "item '1' has 2 tokens, expected 1 as '0'"),
        ('{"0": ["<b_1>"]}', "item '0' has '<b_1>' at level 0, expected a token such as <a_0>"),
        ('{"0": ["<a_1>", "<a_2>"]}', "item '0' has '<a_2>' at level 1"),
        ('{"0": ["<a_1>", "<B_2>"]}', "item '0' has '<B_2>' at level 1"),
        ('{"0": ["<A_1>"], "5": ["<a_1>"]}', "item '5' has '<a_1>' .* such as <A_0>"),
        ('{"0": ["<a_01>"]}', "'<a_01>' at level 0"),
        ('{"0": ["<a_-1>"]}', "'<a_-1>' at level 0"),
        ('{"0": ["<a_1> "]}', "'<a_1> ' at level 0"),
        ('{"0": ["a_1"]}', "'a_1' at level 0"),
        ('{"0": ["<a_2147483648>"]}', "codes are 0 to 2147483647"),
        ('{"0": ["<a_1>"], "0": ["<a_2>"]}', "1 of 2 repeat an earlier id"),
    ],
)
def test_other_content_is_refused_by_file_and_item(content, message, tmp_path):
    path = tmp_path / "index.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"index\.json: .*{message}"):
        read_index_json(path)


def test_whole_numbers_are_int_ids_unless_one_key_is_none(tmp_path):
    path = tmp_path / "index.json"
    for keys, expected in [
        (["0", "-7"], [0, -7]),
        (["0", "07"], ["0", "07"]),
        (["0", "9223372036854775808"], ["0", "9223372036854775808"]),
        (["0", "٣"], ["0", "٣"]),  # int() would read it as 3
    ]:
        path.write_text(json.dumps({key: ["<a_1>"] for key in keys}))
        assert read_index_json(path).ids.tolist() == expected
