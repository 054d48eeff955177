"""The smallest values of rows against sorting them whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.quantizers.smallest import smallest


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    width=st.integers(1, 1500),
    m=st.integers(1, 24),
    different=st.sampled_from([2, 10, 2**40]),
    infinite=st.floats(0, 1),
)
def test_they_are_the_first_of_a_stable_sort(seed, n, width, m, different, infinite):
    rng = np.random.default_rng(seed)
    values = rng.integers(different, size=(n, width)).astype(float)
    values[rng.random(values.shape) < infinite] = np.inf
    wanted = np.argsort(values, axis=1, kind="stable")[:, :m]
    assert np.array_equal(smallest(values, m), wanted)


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(64, 4000))
def test_ordered_rows_keep_their_least_in_one_place(seed, width):
    """All that is wanted may stand side by side, or `lanes` apart, in one group."""
    rng = np.random.default_rng(seed)
    rising = np.sort(rng.normal(size=(3, width)), axis=1)
    values = np.concatenate([rising, rising[:, ::-1]])
    wanted = np.argsort(values, axis=1, kind="stable")[:, :8]
    assert np.array_equal(smallest(values, 8), wanted)


def test_columns_that_a_last_part_lacks_are_nobody():
    values = np.ones((2, 129))
    values[0, 12], values[1, 2], values[1, 50] = 0, -5, -6
    wanted = np.argsort(values, axis=1, kind="stable")[:, :2]
    assert np.array_equal(smallest(values, 2), wanted)
