"""Ids: two kinds, kept exactly, packed and unpacked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import ids as module
from semantic_ids.ids import check_unique, id_array, is_id, pack_ids, unpack_ids

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
INT64 = st.integers(-(2**63), 2**63 - 1)
IDS = st.one_of(st.lists(TEXT, min_size=1), st.lists(INT64))


@given(IDS)
def test_ids_are_kept_exactly(ids):
    assert id_array(ids).tolist() == ids


@given(IDS)
def test_packed_ids_come_back(ids):
    array = id_array(ids)
    packed = pack_ids(array)
    assert all(part.dtype in (np.int64, np.uint8) for part in packed.values())
    back = unpack_ids(packed)
    assert back.tolist() == ids
    assert back.dtype == array.dtype


@given(st.lists(TEXT, unique=True, min_size=2))
def test_strings_sort_by_code_point(ids):
    array = id_array(ids)
    assert array[np.argsort(array)].tolist() == sorted(ids)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([3, 1], dtype=np.uint8),
        np.array([3, 1], dtype=np.uint64),
        [np.int32(3), 1],
        (3, 1),
        range(3, -1, -2),
        iter([3, 1]),
    ],
)
def test_ints_of_any_kind_are_int64(ids):
    array = id_array(ids)
    assert array.dtype == np.int64
    assert array.tolist() == [3, 1]


@pytest.mark.parametrize(
    "ids",
    [
        np.array(["b", "ä"]),
        np.array(["b", "ä"], dtype=object),
        np.array(["b", "ä"], dtype=np.dtypes.StringDType()),
        ("b", np.str_("ä")),
    ],
)
def test_strings_of_any_kind_are_read(ids):
    assert id_array(ids).tolist() == ["b", "ä"]


def test_an_int_array_is_copied():
    ids = np.array([1, 2])
    array = id_array(ids)
    ids[0] = 9
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (["a", 1], ValueError, r"ids: expected str or int ids, all of one kind, got int, str"),
        ([1, None], ValueError, r"got NoneType, int"),
        ([1.0, 2.0], ValueError, r"got float"),
        ([True, False], ValueError, r"got bool"),
        ([b"a"], ValueError, r"got bytes"),
        ([[1], [2]], ValueError, r"got list"),
        (np.zeros((2, 2), dtype=int), ValueError, r"expected one dimension, got shape \(2, 2\)"),
        (np.array([1.5]), ValueError, r"got float"),
        ([2**63], ValueError, r"ids: int ids are 64 bits wide, got 9223372036854775808"),
        ([0, -(2**70)], ValueError, r"64 bits wide, got -1180591620717411303424"),
        (np.array([2**63], dtype=np.uint64), ValueError, r"64 bits wide, got 92233720368547758"),
        (["a", "\ud800"], ValueError, r"ids: an id is not valid Unicode"),
        (["a", "b\0c"], ValueError, r"ids: an id holds a NUL character"),
        ("abc", TypeError, r"ids: expected a sequence or 1-D array of ids, got 'abc'"),
        (5, TypeError, r"ids: expected a sequence .* got 5"),
        (None, TypeError, r"ids: expected a sequence .* got None"),
    ],
)
def test_anything_else_is_refused_by_name(ids, error, message):
    with pytest.raises(error, match=message):
        id_array(ids)


def test_repeated_ids_are_counted_and_named():
    check_unique(id_array([1, 2, 3]))
    with pytest.raises(ValueError, match=r"ids: 3 of 6 repeat an earlier id \(such as 'a'\)"):
        check_unique(id_array(["a", "b", "a", "a", "b", "c"]))
    with pytest.raises(ValueError, match=r"rows: 1 of 2 .*such as ''\)"):
        check_unique(id_array(["", ""]), name="rows")


@given(st.lists(TEXT, min_size=1))
def test_the_size_of_the_blocks_does_not_show(texts):
    expected = pack_ids(id_array(texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_IDS", 2)
        array = id_array(np.array(texts, dtype=np.dtypes.StringDType()))
        assert array.tolist() == id_array(texts).tolist() == texts
        packed = pack_ids(array)
        assert all(np.array_equal(packed[name], expected[name]) for name in expected)
        assert unpack_ids(packed).tolist() == texts


def test_missing_and_damaged_strings_are_refused():
    with_missing = np.array(["a", np.nan], dtype=np.dtypes.StringDType(na_object=np.nan))
    with pytest.raises(ValueError, match="got float, str"):
        id_array(with_missing)
    packed = pack_ids(id_array(["a", "b"]))
    with pytest.raises(ValueError, match="NUL"):
        unpack_ids(packed | {"id_bytes": np.zeros(2, dtype=np.uint8)})
    two = pack_ids(id_array(["ä", "b"]))
    with pytest.raises(ValueError, match="utf-8"):  # a character that two ids share
        unpack_ids(two | {"id_offsets": np.array([0, 1, 3])})


def test_what_can_be_an_id():
    assert all(map(is_id, ["a", "", 0, -1, np.int64(3), np.uint8(3), np.str_("a")]))
    assert not any(map(is_id, [True, np.True_, 1.0, None, b"a", ["a"], np.array([1])]))


def test_packed_ids_that_do_not_fit_are_refused():
    packed = pack_ids(id_array(["ab", "c"]))
    for offsets in ([], [0, 2], [0, 2, 9], [1, 2, 3], [0, 3, 2, 3], [0, -1, 3]):
        with pytest.raises(ValueError, match="id_offsets do not fit id_bytes"):
            unpack_ids(packed | {"id_offsets": np.array(offsets, dtype=np.int64)})
    with pytest.raises(ValueError, match="utf-8"):
        unpack_ids(packed | {"id_bytes": np.full(3, 255, dtype=np.uint8)})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "id_bytes: no such array"),
        ({"ids": np.zeros(2)}, "ids: expected int64 of shape"),
        ({"ids": np.zeros((2, 2), dtype=np.int64)}, "ids: expected int64 of shape"),
        ({"id_bytes": np.zeros(2, dtype=np.uint8)}, "id_offsets: no such array"),
        (
            {"id_bytes": np.zeros(2, dtype=np.uint8), "id_offsets": np.array([0.0, 2.0])},
            "id_offsets: expected int64",
        ),
    ],
)
def test_arrays_that_hold_no_ids_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        unpack_ids(arrays)


@pytest.mark.parametrize("ids", [{"a", "b"}, frozenset([1, 2]), {"a": 1, "b": 2}])
def test_ids_without_an_order_are_refused(ids):
    with pytest.raises(TypeError, match="says nothing of which row is whose"):
        id_array(ids)
