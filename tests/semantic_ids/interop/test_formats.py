"""Every format of codes: what is written comes back, and published codes go through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids import Suffix, Tokenizer
from semantic_ids.interop import export, read_codes
from semantic_ids.interop.formats import FORMATS
from semantic_ids.interop.recbole import _MISSING, _PADDING

pytest.importorskip("pyarrow")

PATHS = {name: f"codes{of.endings[0]}" for name, of in FORMATS.items()}
WITH_IDS = ["index.json", "recbole", "parquet"]

# Anything a user may call an item, but for what RecBole cannot read back.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters='\0\t\n\r"'), min_size=1).filter(
    lambda name: name not in {*_MISSING, _PADDING}
)


@st.composite
def codes(draw, most=2**31 - 1):
    """Codes (N, L), of which some may repeat."""
    levels = draw(st.integers(1, 30))
    sizes = draw(st.lists(st.integers(1, most), min_size=levels, max_size=levels))
    row = st.tuples(*(st.integers(0, size) for size in sizes))
    return draw(st.lists(row, min_size=1, max_size=6))


@pytest.mark.parametrize("format", FORMATS)
@given(codes=codes())
@settings(max_examples=40)
def test_codes_come_back(format, codes, tmp_path_factory):
    path = tmp_path_factory.mktemp("codes") / PATHS[format]
    FORMATS[format].write(path, None, codes)
    for table in (read_codes(path), read_codes(path, format)):
        assert table.codes.dtype == np.int32
        assert table.codes.tolist() == [list(code) for code in codes]
        assert table.ids.tolist() == list(range(len(codes)))
        assert table.ids.dtype == np.int64


@pytest.mark.parametrize("format", WITH_IDS)
@given(data=st.data())
@settings(max_examples=40)
def test_ids_come_back(format, data, tmp_path_factory):
    numbers = st.integers(-(2**63), 2**63 - 1)
    ids = data.draw(
        st.lists(numbers, min_size=1, max_size=5, unique=True)
        # One name that is no number, for files of text cannot tell "7" from 7.
        | st.lists(NAMES, max_size=5, unique=True).map(lambda names: [*{*names, "tea"}])
    )
    path = tmp_path_factory.mktemp("ids") / PATHS[format]
    FORMATS[format].write(path, ids, [[row, 0] for row in range(len(ids))])
    assert read_codes(path).ids.tolist() == ids


@pytest.mark.parametrize("format", FORMATS)
def test_a_tokenizer_comes_back_with_its_unique_codes(format, tmp_path):
    ids = [2, 0, 3, 1]
    tokenizer = Tokenizer.from_codes(ids, [[0, 1], [0, 1], [2, 0], [1, 1]], resolver=Suffix())
    path = tmp_path / PATHS[format]
    export(tokenizer, path)
    back = Tokenizer.from_codes(*read_codes(path), resolver=None)
    assert back.encode(ids).tolist() == tokenizer.encode(ids).tolist()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("ids", "codes", "message"),
    [
        (None, [[0], [-1]], "codes: row 1 has -1"),
        (None, [[0.5]], "expected integers"),
        (None, [0, 1], "expected integers of shape"),
        (None, [[2**31]], "codes are 0 to 2147483647"),
        ([0, 0], [[0], [1]], "repeat an earlier id"),
        ([0], [[0], [1]], "1 ids for 2 codes"),
    ],
)
def test_what_are_no_codes_is_not_written(format, ids, codes, message, tmp_path):
    path = tmp_path / PATHS[format]
    with pytest.raises(ValueError, match=message):
        FORMATS[format].write(path, ids, codes)
    assert not path.exists()


@pytest.mark.parametrize("format", FORMATS)
@given(content=st.binary(max_size=300))
@settings(max_examples=40)
def test_other_files_are_refused_by_name(format, content, tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / PATHS[format]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=PATHS[format]):
        read_codes(path)


# A file of lines that ends too early is a whole file of fewer items.
@pytest.mark.parametrize("format", sorted(FORMATS.keys() - {"recbole"}))
def test_files_that_end_too_early_are_refused_by_name(format, tmp_path):
    path = tmp_path / PATHS[format]
    FORMATS[format].write(path, None, np.arange(400).reshape(100, 4))
    whole = path.read_bytes()
    for kept in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        path.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=PATHS[format]):
            read_codes(path)


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_file_is_said_to_be_missing(format, tmp_path):
    with pytest.raises(FileNotFoundError, match=PATHS[format]):
        read_codes(tmp_path / PATHS[format])


def test_a_format_goes_by_its_name_or_by_the_ending(tmp_path):
    with pytest.raises(ValueError, match=r"format='csv' should be one of index\.json, recbole"):
        read_codes(tmp_path / "codes.csv", "csv")
    with pytest.raises(ValueError, match=r"codes\.csv: expected a name that ends in one of"):
        read_codes(tmp_path / "codes.csv")
    tokenizer = Tokenizer.from_codes(None, [[3, 1]], resolver=None)
    export(tokenizer, tmp_path / "codes.csv", "npy")
    assert read_codes(tmp_path / "codes.csv", "npy").codes.tolist() == [[3, 1]]


def published(data_folder):
    """Codes that others published, as they published them."""
    for path in sorted(data_folder.glob("*/sid/*.npz")):
        with np.load(path, allow_pickle=False) as file:
            yield f"{path.parent.parent.name}/{path.stem}", file["codes"]


def test_published_codes_go_through_every_format(data_folder, tmp_path):
    for name, codes in published(data_folder):
        if not name.startswith(("tiny", "amazon23", "amazon18_office", "amazon14_office")):
            continue
        for format, file in PATHS.items():
            FORMATS[format].write(tmp_path / file, None, codes)
            assert np.array_equal(read_codes(tmp_path / file).codes, codes), (name, format)


@pytest.mark.parametrize(
    ("name", "unique", "largest"),
    [  # counted by their readers: the table of data/README.md
        ("amazon14_beauty/letter", 12_088, 3),
        ("amazon14_beauty/cgr_rkmeans_native", 10_527, 18),
        ("amazon14_beauty/cgr_mql4grec", 12_101, 1),
        ("amazon18_games/genrec_lcrec", 16_717, 6),
        ("amazon18_instruments_mql/mql4grec_text_llama", 5_988, 2),
        ("amazon18_office_recent/minionerec", 3_444, 2),
    ],
)
def test_anybodys_codes_get_statistics_and_a_trie(data_folder, tmp_path, name, unique, largest):
    codes = dict(published(data_folder))[name]
    FORMATS["index.json"].write(tmp_path / "codes.index.json", None, codes)
    tokenizer = Tokenizer.from_codes(*read_codes(tmp_path / "codes.index.json"))
    statistics = tokenizer.statistics()
    assert statistics.collision_rate == pytest.approx(1 - unique / len(codes), abs=1e-12)
    assert tokenizer.codes[:, -1].max() + 1 == largest
    row = len(codes) // 2
    here = np.flatnonzero((codes[:, :2] == codes[row, :2]).all(axis=1))
    assert sorted(tokenizer.items_under(codes[row, :2].tolist())) == here.tolist()
