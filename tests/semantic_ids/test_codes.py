"""Checked codes and their sortable keys, against tuples."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.codes import bucket_sizes, check_codes, code_keys, prefix_groups

SIZES = st.one_of(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),  # int64 keys, many repeats
    st.lists(st.integers(250, 2**31), min_size=3, max_size=9),  # byte keys
)


@st.composite
def coded(draw):
    sizes = draw(SIZES)
    row = st.tuples(
        *(st.one_of(st.integers(0, min(3, s - 1)), st.integers(0, s - 1)) for s in sizes)
    )
    return sizes, draw(st.lists(row, min_size=1, max_size=12))


@given(coded())
def test_keys_compare_as_codes_do(case):
    sizes, rows = case
    keys = code_keys(np.array(rows, dtype=np.int32), sizes)
    order = np.argsort(keys, kind="stable")
    assert order.tolist() == sorted(range(len(rows)), key=lambda i: rows[i])
    assert (keys[:, None] == keys).tolist() == [[a == b for b in rows] for a in rows]


@pytest.mark.parametrize("sizes", [(2,) * 62, (2,) * 61, (2**31,) * 2, (256,) * 64])
def test_keys_of_the_largest_codes_do_not_wrap_around(sizes):
    top = np.array([sizes], dtype=np.int64) - 1
    codes = np.concatenate([np.zeros_like(top), top, top]).astype(np.int32)
    codes[1, -1] -= 1
    keys = code_keys(codes, sizes)
    assert keys[0] < keys[1] < keys[2]


def test_trailing_zero_bytes_are_part_of_a_key():
    codes = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0], [256, 0, 0]], dtype=np.int32)
    keys = code_keys(codes, (2**31,) * 3)
    assert keys.dtype.kind == "S"
    assert np.unique(keys, return_inverse=True)[1].tolist() == [1, 0, 1, 2]


@given(st.lists(st.integers(-3, 3)))
def test_bucket_sizes_count_equal_keys(keys):
    counts = Counter(keys)
    expected = [counts[key] for key in keys]
    assert bucket_sizes(np.array(keys, dtype=np.int64)).tolist() == expected


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int64, np.uint64])
def test_integers_of_any_width_become_int32(dtype):
    codes = check_codes(np.array([[1, 3]], dtype=dtype), (2, 4))
    assert codes.dtype == np.int32
    assert codes.tolist() == [[1, 3]]


def test_codes_are_copied():
    codes = np.zeros((1, 2), dtype=np.int32)
    checked = check_codes(codes, (2, 2))
    codes[:] = 1
    assert (checked == 0).all()


def test_one_code_is_one_row_and_none_are_no_rows():
    assert check_codes([1, 3], (2, 4)).shape == (1, 2)
    assert check_codes([], (2, 4)).shape == (0, 2)
    assert check_codes(np.empty((0, 2)), (2, 4)).dtype == np.int32


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[0, 0], [0, 4]], r"codes: row 1 has 4 at level 1, whose codes are 0 to 3"),
        ([[0, 0], [-1, 0]], r"codes: row 1 has -1 at level 0, whose codes are 0 to 1"),
        ([[2**40, 0]], r"row 0 has 1099511627776 at level 0"),
        ([[0, 0, 0]], r"codes: expected integers of shape \(n, 2\), got int64 of shape \(1, 3\)"),
        ([0], r"shape \(n, 2\), got int64 of shape \(1, 1\)"),
        ([[[0, 0]]], r"got int64 of shape \(1, 1, 2\)"),
        ([[0.0, 1.0]], r"expected integers .* got float64"),
        ([[True, False]], r"expected integers .* got bool"),
        ([["a", "b"]], r"expected integers .* got <U1"),
    ],
)
def test_bad_codes_are_refused_by_row_and_level(codes, message):
    with pytest.raises(ValueError, match=message):
        check_codes(codes, (2, 4))


def test_the_error_uses_the_name_given():
    with pytest.raises(ValueError, match="content_codes: row 0 has 9"):
        check_codes([[9]], (2,), name="content_codes")


@given(coded())
def test_prefixes_are_numbered_in_their_order(case):
    sizes, rows = case
    found = list(prefix_groups(np.array(rows, dtype=np.int32), sizes))
    assert len(found) == len(sizes)
    for depth, groups in enumerate(found, 1):
        distinct = sorted({row[:depth] for row in rows})
        assert groups.tolist() == [distinct.index(row[:depth]) for row in rows]
