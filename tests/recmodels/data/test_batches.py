import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import Histories
from recmodels.data.batches import bucket_width, length_batches, prefix_ends, windows

SEQUENCES = st.lists(st.lists(st.integers(0, 50), max_size=9), min_size=1, max_size=12)


@given(SEQUENCES, st.integers(1, 4))
def test_prefixes_are_those_of_a_double_loop(sequences, least):
    expected = [
        (user, end)
        for user, sequence in enumerate(sequences)
        for end in range(least, len(sequence) + 1)
    ]
    users, ends = prefix_ends(Histories.of(sequences), least)
    assert list(zip(users.tolist(), ends.tolist(), strict=True)) == expected


@given(SEQUENCES, st.integers(1, 12))
def test_windows_are_slices(sequences, width):
    users, ends = prefix_ends(Histories.of(sequences), 1)
    found = windows(Histories.of(sequences), users, ends, width)
    for row, user, end in zip(found, users, ends, strict=True):
        shown = sequences[user][max(0, end - width) : end]
        assert row.tolist() == [-1] * (width - len(shown)) + shown


@given(st.lists(st.integers(1, 60), min_size=1, max_size=400), st.integers(1, 9), st.integers(0, 9))
def test_batches_hold_every_row_once(lengths, batch_size, seed):
    batches = length_batches(np.array(lengths), batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert all(len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


def test_rows_of_a_batch_are_of_similar_length():
    lengths = np.repeat(np.arange(1, 9), 64)
    batches = length_batches(lengths, 64, np.random.default_rng(0))
    assert all(len(set(lengths[batch])) == 1 for batch in batches)


@pytest.mark.parametrize("most", [3, 4, 21, 51])
def test_few_widths_hold_every_length(most):
    widths = {bucket_width(longest, most) for longest in range(1, most + 1)}
    assert len(widths) <= 5 + most / 4
    for longest in range(1, most + 1):
        assert longest <= bucket_width(longest, most) <= max(4, 1.25 * longest, longest + 1)
