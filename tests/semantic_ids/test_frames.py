"""Frames: columns become modalities and ids by one set of rules, or are refused by name."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids import Features, RQKMeans, Suffix, Tokenizer, UnknownItemError

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pq = pytest.importorskip("pyarrow.parquet")

STAGES = {"quantizer": RQKMeans(levels=2, codebook_size=8), "resolver": Suffix()}


def by_polars(columns, path):
    return pl.DataFrame(columns, strict=False)


def by_pandas(columns, path):
    return pd.DataFrame(columns)


def by_parquet(columns, path):
    """A parquet file of several row groups, none of which is a batch."""
    table = pl.DataFrame(columns, strict=False).to_arrow()
    pq.write_table(table, path / "columns.parquet", row_group_size=3)
    return path / "columns.parquet"


FRAMES = [by_pandas, by_polars, by_parquet]


@pytest.fixture(params=FRAMES, ids=lambda frame: frame.__name__)
def frame(request, tmp_path):
    return lambda columns: request.param(columns, tmp_path)


# --- what is read


def test_lists_are_a_modality_and_null_is_missing(frame):
    features = Features(frame({"text": [[1.0, 2.0], None, [5.0, 6.0]], "image": [[1.0]] * 3}))
    assert features.widths == {"text": 2, "image": 1}
    assert features.modality("text")[0].tolist() == [[1, 2], [0, 0], [5, 6]]
    assert features.modality("text")[1].tolist() == [True, False, True]
    assert features.modality("image")[1].all()


def test_numbered_columns_are_one_modality_in_numerical_order(frame):
    numbers = {f"text_{i}": [float(i), None, 10.0 + i] for i in range(11)}
    shuffled = {name: numbers[name] for name in sorted(numbers)}  # text_10 before text_2
    features = Features(frame(shuffled | {"price_0": [1, 2, 3]}))
    assert list(features.widths) == ["text", "price"]
    values, present = features.modality("text")
    assert values.tolist() == [list(range(11)), [0] * 11, list(range(10, 21))]
    assert present.tolist() == [True, False, True]


def test_nan_in_numbered_columns_is_null(frame):
    features = Features(frame({"a_0": [math.nan, 1.0], "a_1": [math.nan, 2.0], "b_0": [1, 2]}))
    assert features.modality("a")[1].tolist() == [False, True]


def test_a_column_of_str_is_raw_text(frame):
    features = Features(frame({"title": ["rouge", None, "日本"], "a_0": [1, 2, 3]}))
    assert features.texts == ["title"]
    assert features.modalities["title"].tolist() == ["rouge", "", "日本"]
    assert features.present[:, 0].tolist() == [True, False, True]


@pytest.mark.parametrize("values", [["x", "y", "z"], [3, 1, 2]])
@pytest.mark.parametrize(("name", "ids"), [("id", None), ("item_id", None), ("sku", "sku")])
def test_ids_come_from_their_column(frame, values, name, ids):
    features = Features(frame({name: values, "a_0": [1, 2, 3]}), ids=ids)
    assert features.ids.tolist() == values
    assert list(features.widths) == ["a"]


def test_modalities_come_in_the_order_of_their_first_columns(frame):
    columns = {"b_1": [1], "text": [[1.0]], "b_0": [2], "a_0": [3]}
    assert list(Features(frame(columns)).widths) == ["b", "text", "a"]


@pytest.mark.parametrize(
    "dtype", [pl.Float32, pl.Float64, pl.Int8, pl.Int64, pl.UInt16, pl.Boolean]
)
@pytest.mark.parametrize("kind", ["list", "array", "columns"])
def test_numbers_keep_their_type(tmp_path, dtype, kind):
    column = pl.Series([1, 0, 1], dtype=pl.Int8).cast(dtype)
    if kind == "columns":
        columns = {"a_0": column, "a_1": column.reverse()}
    else:
        inner = pl.List(dtype) if kind == "list" else pl.Array(dtype, 2)
        rows = [[1, 1], [0, 0], [1, 1]]
        columns = {"a": pl.Series(rows, dtype=pl.List(pl.Int8)).cast(inner, strict=False)}
        if kind == "array":
            columns = {"a": pl.Series(rows, dtype=pl.Array(pl.Int8, 2)).cast(inner)}
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    for value in (pl.DataFrame(columns), tmp_path / "a.parquet"):
        array = Features(value).modalities["a"]
        expected = {pl.Boolean: "bool"}.get(dtype, dtype.__name__.lower())
        assert array.dtype == np.dtype(expected)
        assert array.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_half_precision_is_read(tmp_path):
    half = pa.array(np.array([1, 2, 3, 4], np.float16))
    columns = {"a": pa.FixedSizeListArray.from_arrays(half, 2), "b_0": half[:2]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    features = Features(tmp_path / "a.parquet")
    assert {name: array.dtype for name, array in features.modalities.items()} == {
        "a": np.float16,
        "b": np.float16,
    }
    assert features.modality("a")[0].tolist() == [[1, 2], [3, 4]]


def test_pandas_cells_may_be_arrays_lists_or_tuples():
    cells = [np.array([1, 2], np.float32), [3, 4], (5, 6), None]
    features = Features(pd.DataFrame({"text": cells, "n_0": range(4)}))
    assert features.modality("text")[0].tolist() == [[1, 2], [3, 4], [5, 6], [0, 0]]


def test_categories_are_texts_and_ids():
    columns = {"id": ["x", "y", "x2"], "brand": ["a", None, "a"], "a_0": [1, 2, 3]}
    for value in (
        pd.DataFrame(columns).astype({"id": "category", "brand": "category"}),
        pl.DataFrame(columns).cast({"id": pl.Categorical, "brand": pl.Categorical}),
    ):
        features = Features(value)
        assert features.ids.tolist() == ["x", "y", "x2"]
        assert features.modalities["brand"].tolist() == ["a", "", "a"]


def test_nullable_pandas_types_are_read():
    columns = {"a_0": pd.array([1, None, 3], "Int64"), "a_1": pd.array([1.5, None, 2.5], "Float32")}
    frame = pd.DataFrame(columns | {"n_0": range(3)})
    assert Features(frame).modality("a")[0].tolist() == [[1, 1.5], [0, 0], [3, 2.5]]


def test_a_strided_or_sliced_frame_is_read_by_its_rows():
    rows = [[float(i), -float(i)] for i in range(10)]
    expected = [rows[i] for i in (8, 5, 2)]
    frame = pd.DataFrame({"text": rows, "n_0": np.arange(10)})
    assert Features(frame.iloc[8:0:-3]).modality("text")[0].tolist() == expected
    for kind in (pl.List(pl.Float64), pl.Array(pl.Float64, 2)):
        part = pl.DataFrame({"text": pl.Series(rows, dtype=kind)})[2:9]
        assert Features(part).modality("text")[0].tolist() == rows[2:9]


def test_series_are_values_of_a_mapping():
    text, title = [[1.0, 2.0], None, [3.0, 4.0]], ["a", "b", None]
    for module in (pd, pl):
        features = Features({"id": module.Series(text), "title_0": module.Series(title)})
        assert features.texts == ["title_0"]
        assert features.present.tolist() == [[True, True], [False, True], [True, False]]
        assert features.modality("id")[0].tolist() == [[1, 2], [0, 0], [3, 4]]


class Catalogue(pd.DataFrame):
    """Somebody's class of frames."""


def test_a_derived_class_is_a_frame_too():
    assert Features(Catalogue({"a_0": [1, 2]})).widths == {"a": 1}


# --- an oracle: cell by cell


CELLS = st.one_of(st.none(), st.just(math.nan), st.floats(-9, 9, width=32))


@settings(max_examples=60)
@given(data=st.data(), n=st.integers(1, 9), width=st.integers(1, 3))
def test_any_numbered_columns_are_read_as_a_double_loop_reads_them(
    tmp_path_factory, data, n, width
):
    rows = st.lists(CELLS, min_size=width, max_size=width)
    full = st.lists(st.floats(-9, 9, width=32), min_size=width, max_size=width)
    cells = data.draw(st.lists(st.one_of(full, full, rows), min_size=n, max_size=n))
    gaps = [[cell is None or math.isnan(cell) for cell in row] for row in cells]
    partly = [i for i, row in enumerate(gaps) if any(row) and not all(row)]
    columns = {f"x_{j}": [row[j] for row in cells] for j in range(width)}
    columns = {k: pl.Series(v, dtype=pl.Float32) for k, v in columns.items()}
    frame = pl.DataFrame(columns | {"also_0": range(n)})
    path = tmp_path_factory.mktemp("drawn") / "x.parquet"
    pq.write_table(frame.to_arrow(), path, row_group_size=2)
    for value in (frame, frame.to_pandas(), path):
        if partly:
            with pytest.raises(ValueError, match=rf"modality 'x': row {partly[0]} is null or NaN"):
                Features(value)
        elif all(map(all, gaps)):
            with pytest.raises(ValueError, match="modality 'x': missing for every one"):
                Features(value)
        else:
            values, present = Features(value).modality("x")
            assert present.tolist() == [not any(row) for row in gaps]
            expected = [
                [0.0] * width if any(g) else row for g, row in zip(gaps, cells, strict=True)
            ]
            assert values.tolist() == expected


@settings(max_examples=60)
@given(data=st.data(), n=st.integers(1, 9), width=st.integers(1, 3))
def test_any_lists_are_read_as_a_loop_reads_them(tmp_path_factory, data, n, width):
    full = st.lists(st.integers(-9, 9), min_size=width, max_size=width)
    other = st.lists(st.integers(-9, 9), max_size=width + 1)
    drawn = st.one_of(full, full, full, st.none(), other)
    cells = data.draw(st.lists(drawn, min_size=n, max_size=n).filter(any))
    present = [cell is not None for cell in cells]
    first = next(len(cell) for cell in cells if cell is not None)
    odd = [i for i, cell in enumerate(cells) if cell is not None and len(cell) != (first or -1)]
    frame = pl.DataFrame({"x": pl.Series(cells, dtype=pl.List(pl.Int32)), "also_0": range(n)})
    path = tmp_path_factory.mktemp("drawn") / "x.parquet"
    pq.write_table(frame.to_arrow(), path, row_group_size=2)
    for value in (frame, frame.to_pandas(), path):
        if odd:
            with pytest.raises(ValueError, match=rf"column 'x': row {odd[0]} is an? "):
                Features(value)
        else:
            values, found = Features(value).modality("x")
            assert found.tolist() == present
            assert values.tolist() == [cell or [0] * first for cell in cells]


# --- what is refused


A = {"a_0": [1, 2, 3]}

REFUSED = {
    "a lone number": (A | {"price": [1, 2, 3]}, r"column 'price': int64 cannot be used; expected"),
    "a leading zero": ({"a_01": [1, 2, 3]}, r"column 'a_01': int64 cannot be used"),
    "dates": (A | {"day": pd.date_range("2026-01-01", periods=3)}, r"'day': timestamp.* cannot"),
    "lists of str": (A | {"tags": [["a"], ["b"], ["c"]]}, r"'tags': .*list<.* cannot be used"),
    "a gap in the numbers": (
        {"a_0": [1, 2, 3], "a_2": [1, 2, 3]},
        r"modality 'a' has 2 columns, but no 'a_1'",
    ),
    "numbers from 1 on": ({"a_1": [1, 2, 3]}, r"modality 'a' has 1 columns, but no 'a_0'"),
    "two ways to say it": (A | {"a": [[1.0]] * 3}, r"columns 'a' and 'a_0' are both modality 'a'"),
    "lists of other lengths": (
        {"text": [None, [1.0, 2.0], [1.0]]},
        r"column 'text': row 2 is a list of 1 numbers, expected 2",
    ),
    "an empty list": ({"text": [[1.0], [], [2.0]]}, r"column 'text': row 1 is an empty list"),
    "null among integers": ({"x": [[1], [2], [None]]}, r"(row 2 has null inside|1 row holds NaN)"),
    "null in a list": ({"x": [[1.0, 2.0], [None, 1.0], [1.0, 1.0]]}, r"\['x'\]: 1 row holds NaN"),
    "partly null": (
        {"a_0": [1.0, 2.0, None], "a_1": [1.0, 2.0, 3.0]},
        r"modality 'a': row 2 is null or NaN in 1 of 2 columns; expected all of them, or none",
    ),
    "two columns of ids": (
        A | {"id": [1, 2, 3], "item_id": [4, 5, 6]},
        r"columns \['id', 'item_id'\] may both be ids",
    ),
    "an id that is null": (A | {"id": ["x", None, "z"]}, r"column 'id': row 1 is null"),
    "ids of floats": (A | {"id": [1.5, 2.5, 3.5]}, r"column 'id': expected str or int ids"),
    "ids that repeat": (A | {"id": ["x", "y", "x"]}, r"ids: 1 of 3 repeat"),
    "nothing but ids": ({"id": [1, 2, 3]}, r"no column but ids among \['id'\]"),
    "a modality that nobody has": (
        A | {"text": pl.Series([None] * 3, dtype=pl.List(pl.Float32)).to_list()},
        r"(column 'text': null cannot|missing for every one of 3)",
    ),
    "the index of a written frame": (
        A | {"__index_level_0__": ["x", "y", "z"]},
        r"column '__index_level_0__': ids or an index that are not in use",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_columns_are_refused_by_name(frame, case):
    columns, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        Features(frame(columns))


def test_a_column_of_ids_that_is_not_there_is_refused(frame):
    with pytest.raises(ValueError, match=r"ids: .*has no column 'sku' among \['id', 'a_0'\]"):
        Features(frame({"id": [1], "a_0": [1]}), ids="sku")


def test_ids_beside_those_that_were_named_are_refused(frame):
    with pytest.raises(ValueError, match="column 'id': ids or an index that are not in use"):
        Features(frame({"id": [1], "sku": [2], "a_0": [1]}), ids="sku")


def test_ids_are_not_given_twice(frame):
    with pytest.raises(ValueError, match="column of ids; give them once"):
        Features(frame({"id": [1], "a_0": [1]}), ids=[1])


def test_no_rows_are_refused(frame):
    columns = {"id": pl.Series([], dtype=pl.Int64), "a_0": pl.Series([], dtype=pl.Int64)}
    with pytest.raises(ValueError, match="expected at least one item, got no rows"):
        Features(frame(columns))


def test_a_frame_of_unnamed_columns_is_told_to_be_a_matrix():
    with pytest.raises(ValueError, match=r"column '0': has no name; .*frame\.to_numpy\(\)"):
        Features(pd.DataFrame(np.ones((2, 2))))


def test_columns_of_python_objects_are_refused_by_name():
    with pytest.raises(ValueError, match="column thing with type object"):
        Features(pd.DataFrame({"a_0": [1, 2], "thing": [object(), 3]}))
    with pytest.raises(ValueError, match="column 'thing': "):
        Features(pl.DataFrame({"a_0": [1, 2], "thing": pl.Series([{}, 3], dtype=pl.Object)}))


def test_a_lazy_frame_is_refused():
    with pytest.raises(TypeError, match=r"LazyFrame holds no rows yet; give frame\.collect\(\)"):
        Features(pl.LazyFrame(A))


def test_one_series_needs_a_name():
    for series in (pd.Series(["a", "b"]), pl.Series(["a", "b"])):
        with pytest.raises(TypeError, match="give one column with a name"):
            Features(series)


def test_frames_without_pyarrow_name_the_extra(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    for value in (pd.DataFrame(A), pl.DataFrame(A), tmp_path / "a.parquet"):
        with pytest.raises(ImportError, match=r"pip install 'semantic-ids\[frames\]'"):
            Features(value)


# --- the tokenizer


def test_a_frame_is_fitted_added_and_encoded(frame):
    rng = np.random.default_rng(0)
    text = rng.normal(size=(40, 4)).astype(np.float32)
    names = [f"i{row}" for row in range(40)]
    columns = {"sku": names, **{f"text_{j}": text[:, j] for j in range(4)}}
    first = {name: column[:30] for name, column in columns.items()}
    tokenizer = Tokenizer.fit(frame(first), ids="sku", **STAGES)
    assert tokenizer.ids.tolist() == names[:30]
    expected = Tokenizer.fit({"text": text[:30]}, ids=names[:30], **STAGES)
    assert np.array_equal(tokenizer.codes, expected.codes)
    tokenizer.add(frame({name: column[30:] for name, column in columns.items()}), ids="sku")
    expected.add({"text": text[30:]}, ids=names[30:])
    assert np.array_equal(tokenizer.codes, expected.codes)
    whole = {("id" if name == "sku" else name): column for name, column in columns.items()}
    assert np.array_equal(tokenizer.encode(frame(whole)), tokenizer.content_codes)
    known = Features({"text": text}, ids=names)
    assert tokenizer.statistics(frame(whole)) == expected.statistics(known)
    assert tokenizer.drift(frame(whole)) == expected.drift({"text": text})


def test_a_str_is_an_id_and_a_column_of_a_frame_holds_ids():
    tokenizer = Tokenizer.from_codes(["x.npy", "b"], [[0], [1]], resolver=None)
    assert tokenizer.encode("x.npy").tolist() == [[0]]
    assert tokenizer.encode(pd.Series(["b", "x.npy"])).tolist() == [[1], [0]]
    assert tokenizer.encode(pl.Series(["b", "x.npy"])).tolist() == [[1], [0]]
    with pytest.raises(UnknownItemError):
        tokenizer.encode("c.npy")
