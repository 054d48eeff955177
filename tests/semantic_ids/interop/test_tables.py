"""Tables without ids, and parquet: what they hold is what numpy and pyarrow say."""

import numpy as np
import pytest

from semantic_ids.interop import read_npy, read_parquet, write_npy, write_parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CODES = [[12, 7], [3, 9], [0, 1]]


def test_row_i_is_item_i(tmp_path):
    write_npy(tmp_path / "codes", [2, 0, 1], CODES)
    assert np.load(tmp_path / "codes").tolist() == [[3, 9], [0, 1], [12, 7]]


@pytest.mark.parametrize("ids", [["x", "y", "z"], [1, 2, 3], [-1, 0, 1], [0, 1, 7]])
def test_other_ids_have_no_room(ids, tmp_path):
    with pytest.raises(ValueError, match=r"room for the row numbers 0 to 2 alone, got .*parquet"):
        write_npy(tmp_path / "codes", ids, CODES)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "<i8", ">i4"])
def test_any_integers_are_read(dtype, tmp_path):
    np.save(tmp_path / "codes.npy", np.array(CODES, dtype=dtype, order="F"))
    assert read_npy(tmp_path / "codes.npy").codes.tolist() == CODES


class Trap:
    """What a hostile file would run."""

    def __reduce__(self):
        return (pytest.fail, ("the file's code ran",))


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "codes.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"codes\.npy: not a \.npy file of codes"):
        read_npy(tmp_path / "codes.npy")


def test_parquet_has_a_column_a_level(tmp_path):
    write_parquet(tmp_path / "codes.parquet", ["x", "y", "z"], CODES)
    table = pq.read_table(tmp_path / "codes.parquet")
    assert table.to_pydict() == {
        "item_id": ["x", "y", "z"],
        "code_a": [12, 3, 0],
        "code_b": [7, 9, 1],
    }
    assert [str(of) for of in table.schema.types] == ["string", "int32", "int32"]


def test_columns_may_stand_in_any_order_among_others(tmp_path):
    columns = {"code_b": [7, 9], "title": ["a", None], "code_a": [12, 3], "id": [5, 4]}
    pq.write_table(pa.table(columns), tmp_path / "codes.parquet")
    ids, codes = read_parquet(tmp_path / "codes.parquet")
    assert (ids.tolist(), codes.tolist()) == ([5, 4], [[12, 7], [3, 9]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"code_a": [1]}, "expected a column item_id or id"),
        ({"id": [1], "item_id": [1], "code_a": [1]}, "expected a column item_id or id"),
        ({"id": [1], "code_b": [1]}, "expected columns code_a"),
        ({"id": [1, None], "code_a": [1, 2]}, "column 'id': 1 nulls"),
        ({"id": [1, 2], "code_a": [1, None]}, "column 'code_a': 1 nulls"),
        ({"id": [1], "code_a": [1.0]}, "expected integers"),
        ({"id": [1], "code_a": ["1"]}, "expected integers"),
        ({"id": [1.5], "code_a": [1]}, "expected str or int ids"),
        ({"id": [1, 1], "code_a": [1, 2]}, "repeat an earlier id"),
        ({"id": pa.array([], pa.int64()), "code_a": pa.array([], pa.int64())}, "expected integers"),
    ],
)
def test_other_parquet_files_are_refused(columns, message, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / "codes.parquet")
    with pytest.raises(ValueError, match=rf"codes\.parquet: .*{message}"):
        read_parquet(tmp_path / "codes.parquet")
