"""The sorted index against sorting everything anew."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.sorted_index import SortedIndex

KEYS = st.one_of(
    st.lists(st.integers(-3, 12)).map(lambda keys: np.array(keys, dtype=np.int64)),
    st.lists(st.sampled_from([b"\0a", b"a\0", b"\xff\0"])).map(lambda k: np.array(k, dtype="S2")),
    st.integers(0, 9).map(np.arange),
)


def pairs(index):
    return sorted(zip(index.keys.tolist(), index.rows().tolist(), strict=True))


@given(KEYS, st.data())
def test_rows_come_and_go_as_in_a_plain_list(keys, data):
    cut = data.draw(st.integers(0, len(keys)))
    gone = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys))), bool
    )
    rows = np.arange(len(keys))
    index = SortedIndex.of(keys[:cut]).inserted(keys[cut:], rows[cut:])
    kept = index.without(gone)
    for found, there in ((index, rows), (kept, rows[~gone])):
        assert (found.keys[1:] >= found.keys[:-1]).all()
        assert pairs(found) == sorted(zip(keys[there].tolist(), there.tolist(), strict=True))
        held = keys[there].tolist()
        shared = {row for row in there.tolist() if held.count(keys[row]) > 1}
        assert set(found.repeated().tolist()) == shared
        begin, end = found.spans(keys)
        assert (end - begin).tolist() == [held.count(key) for key in keys.tolist()]
        at = found.find(keys)
        assert [row >= 0 for row in at] == [key in held for key in keys.tolist()]
        assert (keys[at[at >= 0]] == keys[at >= 0]).all()
    assert pairs(index.without(gone).inserted(keys[gone], rows[gone])) == pairs(index)


def test_row_numbers_are_not_stored():
    keys = np.arange(0, 1000, 2)
    index = SortedIndex.of(keys)
    assert index.keys is keys
    longer = index.inserted(np.array([1002, 1000]), np.array([501, 500]))
    assert longer._rows is None
    assert longer.find(np.array([1002, 998, 7])).tolist() == [501, 499, -1]
