"""Readers: the same data gives the same codes, whatever it comes as; bad files are refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from semantic_ids import Features, RQKMeans, Suffix, Tokenizer
from semantic_ids.features import BLOCK_ROWS

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pq = pytest.importorskip("pyarrow.parquet")

STAGES = {
    "quantizer": RQKMeans(levels=3, codebook_size=16),
    "resolver": Suffix(),
    "fit_sample": 500,
}
ROWS = BLOCK_ROWS + 900  # more than a block, and than a batch of a file


@pytest.fixture(scope="module")
def arrays():
    """Two modalities, in the order of their names, which is that of a safetensors file."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(ROWS, d)).astype(np.float32) for name, d in [("a", 5), ("b", 3)]}


@pytest.fixture(scope="module")
def lacking():
    return np.random.default_rng(1).random(ROWS) < 0.2


@pytest.fixture(scope="module")
def ids():
    return [f"item-{row}" for row in range(ROWS)]


@pytest.fixture(scope="module")
def expected(arrays, lacking, ids):
    features = Features(arrays, present={"b": ~lacking}, ids=ids)
    return Tokenizer.fit(features, **STAGES), features


def numbered(arrays, lacking, ids):
    columns = {"id": ids}
    for name, array in arrays.items():
        values = np.where(lacking[:, None], np.nan, array) if name == "b" else array
        columns |= {f"{name}_{j}": column for j, column in enumerate(values.T)}
    return columns


def listed(arrays, lacking, ids):
    text = [None if gone else row for gone, row in zip(lacking, arrays["b"], strict=True)]
    return {"a": list(arrays["a"]), "item_id": ids, "b": text}


def nan_rows(arrays, lacking, ids):
    return {"a": arrays["a"], "b": np.where(lacking[:, None], np.float32(np.nan), arrays["b"])}


def saved(arrays, folder, kind):
    if kind == "safetensors":
        save_file(arrays, folder / "arrays.safetensors")
        return folder / "arrays.safetensors"
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return {name: folder / f"{name}.npy" for name in arrays}


def written(columns, folder, row_group_size):
    path = folder / "columns.parquet"
    table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def masked(value, lacking, ids):
    return Features(value, present={"b": ~lacking}, ids=ids)


WAYS = {
    "mapping": lambda a, m, i, f: masked(a, m, i),
    "nan rows": lambda a, m, i, f: Features(nan_rows(a, m, i), ids=i, missing="nan"),
    "npy": lambda a, m, i, f: masked(saved(a, f, "npy"), m, i),
    "nan npy": lambda a, m, i, f: Features(
        saved(nan_rows(a, m, i), f, "npy"), ids=i, missing="nan"
    ),
    "safetensors": lambda a, m, i, f: masked(saved(a, f, "safetensors"), m, i),
    "npy and array": lambda a, m, i, f: masked(a | {"a": saved(a, f, "npy")["a"]}, m, i),
    "torch": lambda a, m, i, f: masked(
        {k: torch.tensor(v, requires_grad=True) for k, v in a.items()}, m, i
    ),
    "pandas lists": lambda a, m, i, f: pd.DataFrame(listed(a, m, i)),
    "pandas columns": lambda a, m, i, f: pd.DataFrame(numbered(a, m, i)),
    "polars lists": lambda a, m, i, f: pl.from_pandas(pd.DataFrame(listed(a, m, i))),
    "polars columns": lambda a, m, i, f: pl.DataFrame(numbered(a, m, i)),
    "parquet lists": lambda a, m, i, f: written(listed(a, m, i), f, 1000),
    "parquet columns": lambda a, m, i, f: written(numbered(a, m, i), f, 1500),
    "parquet in one group": lambda a, m, i, f: written(listed(a, m, i), f, ROWS),
    "pandas series": lambda a, m, i, f: Features(
        {k: pd.Series(v) for k, v in listed(a, m, i).items() if k != "item_id"}, ids=i
    ),
    "parquet and parquet": lambda a, m, i, f: {
        name: written({"id": i, name: listed(a, m, i)[name]}, folder, 1000)
        for name, folder in zip("ab", folders(f), strict=True)
    },
}


def folders(folder):
    for name in "ab":
        (folder / name).mkdir()
        yield folder / name


@pytest.mark.parametrize("way", WAYS)
def test_the_same_data_gives_the_same_codes(arrays, lacking, ids, expected, tmp_path, way):
    tokenizer, features = expected
    value = WAYS[way](arrays, lacking, ids, tmp_path)
    found = Features.of(value)
    assert found.ids.tolist() == ids
    for name in arrays:
        for one, other in zip(found.modality(name), features.modality(name), strict=True):
            np.testing.assert_array_equal(one, other)
    again = Tokenizer.fit(found, **STAGES)
    np.testing.assert_array_equal(again.codes, tokenizer.codes)
    assert again.ids.tolist() == ids
    np.testing.assert_array_equal(tokenizer.encode(value), tokenizer.content_codes)


def test_one_array_is_one_modality_whatever_it_comes_as(arrays, tmp_path):
    np.save(tmp_path / "a.npy", arrays["a"])
    save_file({"features": arrays["a"]}, tmp_path / "a.safetensors")
    tensor = torch.tensor(arrays["a"])
    for value in (tmp_path / "a.npy", tmp_path / "a.safetensors", tensor, tensor.T.clone().T):
        features = Features(value)
        assert features.widths == {"features": 5}
        np.testing.assert_array_equal(features.modality("features")[0], arrays["a"])


def test_a_file_of_one_modality_is_a_value_whatever_its_name(arrays, tmp_path):
    save_file({"weight": arrays["a"]}, tmp_path / "x.safetensors")
    pl.DataFrame({"emb": arrays["b"]}).write_parquet(tmp_path / "y.parquet")
    value = {"text": tmp_path / "x.safetensors", "image": tmp_path / "y.parquet"}
    assert Features(value).widths == {"text": 5, "image": 3}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float16, torch.int8])
def test_tensors_of_any_real_type_are_read_as_torch_reads_them(dtype):
    tensor = torch.linspace(-3, 3, 12).reshape(4, 3).to(dtype)
    values, _ = Features(tensor).modality("features")
    np.testing.assert_array_equal(values, tensor.to(torch.float32).numpy())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_of_a_cuda_device_are_read(arrays):
    tensor = torch.tensor(arrays["a"], device="cuda", requires_grad=True)
    np.testing.assert_array_equal(Features(tensor).modality("features")[0], arrays["a"])


class Vectors(torch.Tensor):
    """Somebody's class of tensors."""


def test_derived_classes_of_tensors_are_tensors():
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    mine = torch.ones(2, 3, requires_grad=True).as_subclass(Vectors)
    assert Features({"a": parameter, "b": mine}).widths == {"a": 3, "b": 3}


# --- maps


MAPPED = {
    "npy": lambda array, folder: saved({"a": array}, folder, "npy")["a"],
    "fortran npy": lambda array, folder: saved({"a": np.asfortranarray(array)}, folder, "npy")["a"],
    "big-endian npy": lambda array, folder: saved({"a": array.astype(">f4")}, folder, "npy")["a"],
    "safetensors": lambda array, folder: saved({"a": array}, folder, "safetensors"),
    "parquet": lambda array, folder: written({"a": list(array)}, folder, 1000),
}


@pytest.mark.parametrize("kind", MAPPED)
def test_rows_of_a_map_are_those_of_the_array(arrays, tmp_path, kind):
    features = Features(MAPPED[kind](arrays["a"], tmp_path))
    (array,) = features.modalities.values()
    assert not array.flags.writeable
    rng = np.random.default_rng(0)
    for index in (
        rng.integers(0, ROWS, size=ROWS + 7),
        rng.integers(-ROWS, ROWS, size=9),
        np.zeros(0, dtype=np.int64),
        rng.random(ROWS) < 0.5,
        slice(3, ROWS, 7),
        slice(None, None, -1),
    ):
        (rows,) = features.rows(index).modalities.values()
        np.testing.assert_array_equal(rows, arrays["a"][index])


def resident():
    """Bytes of mapped files in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return (
        sum(int(line.split()[1]) for line in lines if line.startswith(("RssFile", "RssSh"))) << 10
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["npy", "safetensors", "parquet"])
def test_what_was_read_of_a_map_is_let_go(tmp_path, kind):
    array = np.random.default_rng(0).normal(size=(10 * BLOCK_ROWS, 64)).astype(np.float32)
    features = Features(MAPPED[kind](array, tmp_path))
    (mapped,) = features.modalities.values()
    before = resident()
    mapped.sum()
    assert resident() - before > 0.9 * array.nbytes  # so there is something to let go
    for block in features.blocks():
        block.modality(next(iter(features.modalities)))
    assert resident() - before < 0.1 * array.nbytes
    features.rows(np.random.default_rng(0).permutation(len(array)))
    assert resident() - before < 0.1 * array.nbytes


def test_the_copy_of_a_parquet_file_is_temporary(arrays, tmp_path, monkeypatch):
    import tempfile

    path = written({"a": list(arrays["a"])}, tmp_path, 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    features = Features(path)
    assert list((tmp_path / "tmp").iterdir()) == []
    path.unlink()
    np.testing.assert_array_equal(features.modality("a")[0], arrays["a"])


# --- what is refused


def npy(folder, array, **keywords):
    np.save(folder / "x.npy", array, **keywords)
    return folder / "x.npy"


def tensors(folder, arrays):
    save_tensors(arrays, folder / "x.safetensors")
    return folder / "x.safetensors"


def content(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


def archive(folder):
    np.savez(folder / "x.npz", a=np.ones((2, 2)))
    return (folder / "x.npz").rename(folder / "x.npy")


ONES = torch.ones(2, 2)

REFUSED = {
    "no such file": (lambda f: f / "x.npy", FileNotFoundError, r"x\.npy: no such file"),
    "another ending": (lambda f: content(f, "x.csv", b"1"), ValueError, r"x\.csv: expected a file"),
    "no ending": (lambda f: f / "x", ValueError, r"/x: expected a file that ends in \.npy"),
    "a folder": (lambda f: (f / "x.npy").mkdir() or f / "x.npy", ValueError, "x.npy: is a folder"),
    "objects": (
        lambda f: npy(f, np.array([[1, None]], dtype=object), allow_pickle=True),
        ValueError,
        r"x\.npy: not a \.npy file of numbers: .*Python objects",
    ),
    "one dimension": (lambda f: npy(f, np.ones(3)), ValueError, r"x\.npy: expected two.*\(3,\)"),
    "no dimension": (lambda f: npy(f, np.ones(())), ValueError, r"x\.npy: expected two.*\(\)"),
    "str": (lambda f: npy(f, np.array([["a"]])), TypeError, "numeric array, got <U1"),
    "no rows": (lambda f: npy(f, np.ones((0, 3))), ValueError, r"at least one item.*\(0, 3\)"),
    "an archive": (archive, ValueError, r"x\.npy: not a \.npy file"),
    "an empty file": (lambda f: content(f, "x.npy", b""), ValueError, r"x\.npy: not a \.npy file"),
    "bfloat16": (
        lambda f: tensors(f, {"a": ONES, "b": ONES.bfloat16()}),
        ValueError,
        r"x\.safetensors, array 'b': numpy has no BF16; save it as F16 or F32",
    ),
    "float8": (
        lambda f: tensors(f, {"a": ONES.to(torch.float8_e5m2)}),
        ValueError,
        "numpy has no F8_E5M2",
    ),
    "a tensor of one dimension": (
        lambda f: tensors(f, {"a": ONES, "bias": ONES[0].clone()}),
        ValueError,
        r"x\.safetensors, array 'bias': expected two dimensions.*\(2,\)",
    ),
    "an empty tensor": (
        lambda f: tensors(f, {"a": ONES[:0]}),
        ValueError,
        r"array 'a': expected at least one item and one column, got \(0, 2\)",
    ),
    "no tensors": (lambda f: tensors(f, {}), ValueError, r"x\.safetensors: holds no array"),
    "no safetensors": (
        lambda f: content(f, "x.safetensors", b"\xff" * 99),
        ValueError,
        r"x\.safetensors: not a safetensors file",
    ),
    "no parquet": (
        lambda f: content(f, "x.parquet", b"PAR1" + b"\xff" * 99 + b"PAR1"),
        ValueError,
        r"x\.parquet: not a parquet file, or damaged",
    ),
    "a column of no use": (
        lambda f: written({"a_0": [1, 2], "price": [1.0, 2.0]}, f, 2),
        ValueError,
        r"columns\.parquet, column 'price': double cannot be used",
    ),
    "several as one": (
        lambda f: {"text": tensors(f, {"a": ONES, "b": ONES.clone()})},
        ValueError,
        r"features\['text'\]: .*x\.safetensors holds \['a', 'b'\]; expected one modality",
    ),
    "a str as a path": (lambda f: "x.npy", TypeError, r"'x\.npy' is a str; give a file as pathlib"),
    "a sparse tensor": (
        lambda f: ONES.to_sparse(),
        TypeError,
        r"expected a dense tensor, got torch\.sparse_coo; give its to_dense\(\)",
    ),
    "files of other items": (
        lambda f: {
            name: written({"id": names, "x_0": [1, 2]}, folder, 2)
            for (name, names), folder in zip(
                {"a": ["x", "y"], "b": ["y", "x"]}.items(), folders(f), strict=True
            )
        },
        ValueError,
        r"features\['b'\]: its ids are not those of the files before it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_files_are_refused_by_name(tmp_path, case):
    make, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        Features(make(tmp_path))


def test_a_column_of_ids_is_named_for_columns_only(tmp_path):
    for value in (np.ones((2, 2)), {"a": np.ones((2, 2))}, npy(tmp_path, np.ones((2, 2)))):
        with pytest.raises(TypeError, match=r"got 'sku'; only frames and \.parquet files have"):
            Features(value, ids="sku")


WHOLE = {
    "npy": lambda array, folder: npy(folder, array),
    "safetensors": lambda array, folder: saved({"a": array}, folder, "safetensors"),
    "parquet": lambda array, folder: written({"a": list(array), "id": range(40)}, folder, 9),
}


@pytest.mark.parametrize("kind", WHOLE)
@given(data=st.data())
def test_a_damaged_file_is_refused_by_name_or_read(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = WHOLE[kind](np.arange(80, dtype=np.float32).reshape(40, 2), folder)
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        features = Features(path)
    except (TypeError, ValueError) as error:
        refusal = str(error)
    else:
        refusal = "ids: "
        features.rows(np.arange(len(features)))
    assert any(name in refusal for name in (str(path), "features[", "ids: "))
