"""What is written into a file is what is read from it, in every format."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids.cli import tables
from semantic_ids.cli.output import code_column, emit
from semantic_ids.cli.tables import (
    code_blocks,
    id_blocks,
    ids_like,
    read_code_table,
    read_columns,
    read_ids,
)
from semantic_ids.ids import id_array

ENDINGS = [".npy", ".parquet", ".jsonl", ".csv", ".txt"]

# Lines end where lines end; .npy files drop NUL at the end of strings, and ids hold none.
words = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8
).filter(lambda text: not text.startswith("{"))
some_ids = st.one_of(
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9, unique=True),
    st.lists(words, min_size=1, max_size=9, unique=True),
    st.lists(st.integers(0, 99).map(str), min_size=1, max_size=9, unique=True),
)


@st.composite
def some_codes(draw):
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 30)))
    seed, high = draw(st.integers(0, 99)), draw(st.sampled_from([1, 2, 256, 2**31 - 1]))
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.int32)


def in_blocks(rows, block):
    return [rows[start : start + block] for start in range(0, len(rows), block)]


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_ROWS", 4)
        yield


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=25)
@given(codes=some_codes(), block=st.integers(1, 9), tokens=st.booleans())
def test_codes_come_back(tmp_path_factory, ending, codes, block, tokens):
    path = tmp_path_factory.mktemp("codes") / f"codes{ending}"
    blocks = [
        {"item_id": np.arange(len(part)), "code": code_column(part, tokens)}
        for part in in_blocks(codes, block)
    ]
    emit(blocks, path, as_json=False, main="code")
    read = np.concatenate(list(code_blocks([], str(path))))
    assert read.tolist() == codes.tolist()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=25)
@given(ids=some_ids, block=st.integers(1, 9))
def test_ids_come_back(tmp_path_factory, ending, ids, block):
    path = tmp_path_factory.mktemp("ids") / f"ids{ending}"
    emit(({"item_id": part} for part in in_blocks(ids, block)), path, as_json=False, main="item_id")
    like = id_array(ids)
    read = [name for part in id_blocks([], str(path), like) for name in part.tolist()]
    assert read == ids
    if ending in (".npy", ".parquet", ".jsonl"):  # they know numbers from text
        assert read_ids(str(path)).tolist() == ids


def test_lines_are_numbers_only_if_all_of_them_are(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("7\n12\n")
    assert read_ids(str(path)).tolist() == [7, 12]
    path.write_text("7\n012\n")
    assert read_ids(str(path)).tolist() == ["7", "012"]
    path.write_text('{"item_id": "7"}\n{"item_id": "12"}\n')
    assert read_ids(str(path)).tolist() == ["7", "12"]


def test_a_key_that_a_json_line_lacks_is_none(tmp_path):
    path = tmp_path / "items.jsonl"
    lines = ['{"id": 1}'] * 5 + ['{"id": 2, "title": "tea"}'] + ['{"id": 3}'] * 5
    path.write_text("\n".join(lines))
    columns = read_columns(str(path))
    assert columns["title"] == [None] * 5 + ["tea"] + [None] * 5
    assert columns["id"] == [1] * 5 + [2] + [3] * 5


def test_compressed_lines_are_read(tmp_path):
    import gzip

    with gzip.open(tmp_path / "codes.jsonl.gz", "wt") as file:
        file.write('{"code": [1, 2]}\n{"code": "3,4"}\n')
    with gzip.open(tmp_path / "ids.csv.gz", "wt") as file:
        file.write('item_id,price\n"a, b",3\nc,4\n')
    assert next(code_blocks([], str(tmp_path / "codes.jsonl.gz"))).tolist() == [[1, 2], [3, 4]]
    assert read_ids(str(tmp_path / "ids.csv.gz")).tolist() == ["a, b", "c"]


def test_a_file_is_replaced_only_when_the_new_one_is_complete(tmp_path):
    def blocks():
        yield {"item_id": ["a"]}
        raise ValueError("half of it")

    path = tmp_path / "ids.csv"
    path.write_text("before")
    with pytest.raises(ValueError, match="half of it"):
        emit(blocks(), path, as_json=False, main="item_id")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["ids.csv"]


def test_what_npy_and_parquet_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no id"):
        emit([{"item_id": ["a", None]}], tmp_path / "a.npy", as_json=False, main="item_id")
    for ending in (".npy", ".parquet"):
        with pytest.raises(ValueError, match="nothing to write"):
            emit([], tmp_path / f"a{ending}", as_json=False, main="item_id")


@given(st.lists(words, max_size=5))
def test_texts_stay_texts_for_a_catalogue_of_texts(texts):
    assert ids_like(texts, id_array(["x"])).tolist() == texts


def test_a_table_of_codes_may_have_the_index_of_pandas(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text(",item_id,code_b,code_a\n0,07,1,2\n1,8,3,4\n")
    ids, codes = read_code_table(str(path))
    assert ids.tolist() == ["07", "8"]
    assert codes.tolist() == [[2, 1], [4, 3]]


def test_a_table_of_codes_has_an_id_in_every_row_and_codes_of_one_length(tmp_path):
    path = tmp_path / "codes.jsonl"
    path.write_text('{"item_id": "x", "code": [1]}\n{"code": [2]}\n')
    with pytest.raises(ValueError, match="all of one kind, got NoneType, str"):
        read_code_table(str(path))
    rows = [f'{{"item_id": {n}, "code": {[1] * (1 + n // 4)}}}\n' for n in range(8)]
    path.write_text("".join(rows))  # two blocks
    with pytest.raises(ValueError, match=r"different lengths: \[1, 2\]"):
        read_code_table(str(path))
