import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recmodels.data import Histories
from recmodels.data import histories as histories_module

SEQUENCES = st.lists(st.lists(st.integers(0, 40), max_size=7), max_size=9)
COUNTS = st.integers(0, 9)

quick = settings(deadline=None, max_examples=60)


def as_lists(histories: Histories) -> list[list[int]]:
    return [row.tolist() for row in histories]


@quick
@given(SEQUENCES)
def test_of_keeps_every_user_and_every_item(sequences):
    histories = Histories.of(sequences)
    assert as_lists(histories) == sequences
    assert len(histories) == len(sequences)
    assert histories.lengths.tolist() == [len(sequence) for sequence in sequences]


@quick
@given(SEQUENCES)
def test_dtypes_do_not_depend_on_the_content(sequences):
    histories = Histories.of(sequences)
    assert histories.items.dtype == np.int32
    assert histories.offsets.dtype == np.int64
    assert histories.lengths.dtype == np.int64
    assert all(row.dtype == np.int32 for row in histories)


@quick
@given(SEQUENCES, st.data())
def test_take_equals_picking_users_one_by_one(sequences, data):
    some = st.lists(st.integers(0, len(sequences) - 1), max_size=12) if sequences else st.just([])
    users = data.draw(some)
    taken = Histories.of(sequences).take(users)
    assert as_lists(taken) == [sequences[user] for user in users]


@quick
@given(SEQUENCES, COUNTS)
def test_drop_last_equals_slicing(sequences, n):
    expected = [sequence[: max(len(sequence) - n, 0)] for sequence in sequences]
    assert as_lists(Histories.of(sequences).drop_last(n)) == expected


@quick
@given(SEQUENCES, COUNTS)
def test_last_equals_slicing(sequences, n):
    expected = [sequence[max(len(sequence) - n, 0) :] for sequence in sequences]
    assert as_lists(Histories.of(sequences).last(n)) == expected


@quick
@given(SEQUENCES, COUNTS, st.integers(-3, 3))
def test_padded_ends_with_the_most_recent_item(sequences, width, fill):
    matrix = Histories.of(sequences).padded(width, fill)
    assert matrix.shape == (len(sequences), width)
    assert matrix.dtype == np.int32
    for row, sequence in zip(matrix.tolist(), sequences, strict=True):
        recent = sequence[max(len(sequence) - width, 0) :]
        assert row == [fill] * (width - len(recent)) + recent


@quick
@given(SEQUENCES)
def test_equal_content_is_equal(sequences):
    histories = Histories.of(sequences)
    assert histories == Histories(histories.items, histories.offsets)
    assert histories != Histories.of([*sequences, [1]])
    assert histories != sequences


def test_users_are_told_apart_by_their_ends():
    assert Histories.of([[1], [2, 3]]) != Histories.of([[1, 2], [3]])


def test_of_takes_arrays_of_any_integer_type():
    histories = Histories.of([np.array([1, 2], dtype=np.uint8), np.array([3], dtype=np.int64)])
    assert as_lists(histories) == [[1, 2], [3]]


def test_indexing_counts_from_the_end_too():
    histories = Histories.of([[1], [2, 3]])
    assert histories[-1].tolist() == [2, 3]
    for user in (2, -3):
        with pytest.raises(IndexError, match=f"user {user}: expected -2 to 1"):
            histories[user]


def test_arrays_are_read_only_and_not_the_callers():
    items, offsets = np.array([1, 2], dtype=np.int32), np.array([0, 2])
    histories = Histories(items, offsets)
    items[0] = 9
    assert histories[0].tolist() == [1, 2]
    for array in (histories.items, histories.offsets, histories[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


def test_padded_is_the_callers_to_change():
    histories = Histories.of([[1, 2]])
    histories.padded(2)[:] = 0
    assert histories[0].tolist() == [1, 2]


def test_repr_counts():
    assert repr(Histories.of([[1], [2, 3]])) == "Histories(2 users, 3 interactions, 1 to 2 a user)"
    assert repr(Histories.of([])) == "Histories(0 users, 0 interactions)"


@pytest.mark.parametrize(
    ("items", "offsets", "message"),
    [
        ([1.0, 2.0], [0, 2], "items: expected integers in one dimension, got float64"),
        ([True], [0, 1], "items: expected integers in one dimension, got bool"),
        ([[1, 2]], [0, 2], r"items: .* shape \(1, 2\)"),
        ([1, -1], [0, 2], "items: expected 0 to 2147483647, got -1"),
        ([2**31], [0, 1], "items: expected 0 to 2147483647, got 2147483648"),
        ([2**63], [0, 1], "items: expected 0 to 2147483647, got 9223372036854775808"),
        ([1, 2], [], "offsets: expected to start with 0 and end with 2, got nothing"),
        ([1, 2], [1, 2], "offsets: .* got 1 and 2"),
        ([1, 2], [0, 1], "offsets: .* got 0 and 1"),
        ([1, 2], [0, 2, 1, 2], "offsets: expected none to fall, got a smaller one at 2"),
        ([1, 2], [0.0, 2.0], "offsets: expected integers"),
    ],
)
def test_construction_refuses_what_is_no_history(items, offsets, message):
    with pytest.raises(ValueError, match=message):
        Histories(np.array(items), np.array(offsets))


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([[1], [2.5]], r"sequences\[1\]: expected integers, got float64"),
        ([["a"]], r"sequences\[0\]: expected integers"),
        ([[1], 2], r"sequences\[1\]: expected item rows in one dimension, got shape \(\)"),
        ([[-1]], "items: expected 0 to 2147483647, got -1"),
    ],
)
def test_of_refuses_what_is_no_item_row(sequences, message):
    with pytest.raises(ValueError, match=message):
        Histories.of(sequences)


def test_take_refuses_unknown_users_and_masks():
    histories = Histories.of([[1], [2]])
    with pytest.raises(IndexError, match="users: expected 0 to 1, got 2"):
        histories.take([0, 2])
    with pytest.raises(ValueError, match=r"users: .* got -1"):
        histories.take([-1])
    with pytest.raises(ValueError, match="users: expected integers in one dimension, got bool"):
        histories.take([True, False])


def test_negative_counts_are_refused():
    histories = Histories.of([[1]])
    for method in (histories.drop_last, histories.last, histories.padded):
        with pytest.raises(ValueError, match="expected 0 or more, got -1"):
            method(-1)


def test_arrays_mapped_from_a_file_are_kept_and_others_copied(tmp_path):
    items = np.array([3, 1, 4, 1, 5], dtype=np.int32)
    offsets = np.array([0, 3, 5])
    np.save(tmp_path / "items.npy", items)
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    kept = Histories(mapped, offsets)
    assert np.shares_memory(kept.items, mapped)
    assert kept == Histories(items, offsets)
    assert as_lists(kept.drop_last(2)) == [[3], []]

    writeable = np.load(tmp_path / "items.npy", mmap_mode="r+")
    assert not np.shares_memory(Histories(writeable, offsets).items, writeable)
    shown = writeable[:]
    shown.flags.writeable = False
    assert not np.shares_memory(Histories(shown, offsets).items, writeable)
    view = items[:]
    view.flags.writeable = False  # what it shows can still be changed
    assert not np.shares_memory(Histories(view, offsets).items, items)


def test_mapped_numbers_are_checked_and_of_another_type_copied(tmp_path):
    np.save(tmp_path / "wide.npy", np.array([3, 1, 4]))
    wide = np.load(tmp_path / "wide.npy", mmap_mode="r")
    assert Histories(wide, [0, 3]).items.dtype == np.int32
    np.save(tmp_path / "negative.npy", np.array([3, -1], dtype=np.int32))
    with pytest.raises(ValueError, match="items: expected 0 to 2147483647, got -1"):
        Histories(np.load(tmp_path / "negative.npy", mmap_mode="r"), [0, 2])


@quick
@given(SEQUENCES, COUNTS)
def test_pieces_do_not_depend_on_how_many_users_are_copied_at_a_time(sequences, n):
    histories = Histories.of(sequences)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories_module, "_BLOCK_USERS", 2)
        few = histories.drop_last(n)
    assert few == histories.drop_last(n)
