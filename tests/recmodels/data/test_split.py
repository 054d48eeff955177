import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recmodels.data import Held, Histories, Split

SIZE = 30
COMPLETE = st.lists(st.lists(st.integers(0, SIZE - 1), min_size=3, max_size=8), max_size=9)


def as_lists(histories: Histories) -> list[list[int]]:
    return [row.tolist() for row in histories]


@settings(deadline=None, max_examples=60)
@given(COMPLETE)
def test_leave_one_out_equals_slicing(sequences):
    split = Split.leave_one_out(Histories.of(sequences), SIZE)
    assert split.size == SIZE
    assert as_lists(split.train) == [items[:-2] for items in sequences]
    assert as_lists(split.validation.histories) == [items[:-2] for items in sequences]
    assert as_lists(split.test.histories) == [items[:-1] for items in sequences]
    assert split.validation.targets.tolist() == [items[-2] for items in sequences]
    assert split.test.targets.tolist() == [items[-1] for items in sequences]


@settings(deadline=None, max_examples=60)
@given(COMPLETE)
def test_the_parts_put_together_are_the_whole(sequences):
    split = Split.leave_one_out(Histories.of(sequences), SIZE)
    targets = zip(split.validation.targets, split.test.targets, strict=True)
    rebuilt = [[*row, *pair] for row, pair in zip(as_lists(split.train), targets, strict=True)]
    assert rebuilt == sequences


def test_targets_are_int32_and_read_only():
    held = Split.leave_one_out(Histories.of([[1, 2, 3]]), 4).test
    assert held.targets.dtype == np.int32
    assert len(held) == 1
    with pytest.raises(ValueError, match="read-only"):
        held.targets[0] = 0


def test_short_users_are_counted_and_the_first_is_named():
    histories = Histories.of([[1, 2, 3], [1, 2], [1]])
    with pytest.raises(ValueError, match=r"2 of 3 users have fewer \(first: user 1 with 2\)"):
        Split.leave_one_out(histories, SIZE)


@pytest.mark.parametrize("place", range(4))
def test_an_item_outside_the_catalogue_is_refused_wherever_it_stands(place):
    items = [0, 1, 2, 3]
    items[place] = 7
    with pytest.raises(ValueError, match=r"item 7 is not in the catalogue; expected 0 to 6"):
        Split.leave_one_out(Histories.of([items]), size=7)


def test_held_wants_one_target_a_history():
    with pytest.raises(ValueError, match="targets: expected one for each of 2 histories, got 1"):
        Held(Histories.of([[1], [2]]), np.array([3]))
    with pytest.raises(ValueError, match="targets: expected integers"):
        Held(Histories.of([[1]]), np.array([0.5]))


@given(COMPLETE, st.data())
def test_questions_of_some_users_keep_their_targets(sequences, data):
    held = Split.leave_one_out(Histories.of(sequences), SIZE).test
    anybody = st.integers(0, max(0, len(sequences) - 1))
    users = data.draw(st.lists(anybody, max_size=5 if sequences else 0))
    part = held.take(users)
    assert as_lists(part.histories) == [sequences[user][:-1] for user in users]
    assert part.targets.tolist() == [sequences[user][-1] for user in users]
    with pytest.raises(IndexError, match=f"got {len(sequences)}"):
        held.take([len(sequences)])
