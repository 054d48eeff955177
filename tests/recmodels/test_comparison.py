"""Comparing two recommenders: against closed forms, naive resampling and scipy."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recmodels import comparison
from recmodels.comparison import BootstrapInterval, paired_bootstrap, paired_difference


@given(
    st.lists(
        st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
        min_size=2,
        max_size=30,
    )
)
def test_a_paired_difference_is_the_mean_and_its_error(pairs):
    a, b = zip(*pairs, strict=True)
    users = len(pairs)
    differences = [x - y for x, y in pairs]
    mean = sum(differences) / users
    variance = sum((difference - mean) ** 2 for difference in differences) / (users - 1)
    found = paired_difference(a, b)
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.standard_error == pytest.approx(sqrt(variance / users), abs=1e-12)


def test_equal_recommenders_do_not_differ():
    assert paired_difference([True, False], [True, False]) == (0, 0)


def test_pairs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        paired_difference([0, 1], [0, 1, 0])
    with pytest.raises(ValueError, match="at least 2 users, got 1"):
        paired_difference([1], [0])


@pytest.fixture(params=["hits", "gains", "any"])
def measures(request):
    """Two recommenders on 300 users: 3, some hundred or 300 distinct differences."""
    rng = np.random.default_rng(1)
    if request.param == "any":
        return rng.exponential(size=300), rng.exponential(size=300) ** 2
    ranks = rng.geometric(0.08, size=(2, 300))
    if request.param == "hits":
        return ranks[0] <= 10, ranks[1] <= 9
    return np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)


def close(found, lower, upper, measures):
    """Within a tenth of the standard error: five times what 20,000 resamples let ends move."""
    error = paired_difference(*measures).standard_error
    return abs(found.lower - lower) < 0.1 * error and abs(found.upper - upper) < 0.1 * error


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_bootstrap_interval_is_that_of_naive_resampling(measures, level):
    a, b = (np.asarray(each, dtype=float) for each in measures)
    rng = np.random.default_rng(2)
    means = []
    for _ in range(20_000):
        users = rng.integers(len(a), size=len(a))
        means.append(np.mean(a[users] - b[users]))
    lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    found = paired_bootstrap(*measures, level=level, resamples=20_000)
    assert found.mean == pytest.approx(np.mean(a - b))
    assert found.level == level
    assert close(found, lower, upper, measures)


def test_a_bootstrap_interval_is_that_of_scipy(measures):
    a, b = (np.asarray(each, dtype=float) for each in measures)
    expected = stats.bootstrap(
        (a - b,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = paired_bootstrap(*measures, resamples=20_000, seed=4)
    assert close(found, expected.low, expected.high, measures)


def test_of_many_users_it_is_the_normal_interval():
    rng = np.random.default_rng(5)
    a, b = rng.random(20_000) < 0.11, rng.random(20_000) < 0.1
    difference = paired_difference(a, b)
    half = stats.norm.ppf(0.975) * difference.standard_error
    found = paired_bootstrap(a, b, resamples=20_000)
    assert close(found, difference.mean - half, difference.mean + half, (a, b))


def test_it_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(6)
    held = 0
    for seed in range(400):
        a, b = rng.random((2, 200)) < [[0.3], [0.2]]
        found = paired_bootstrap(a, b, level=0.9, resamples=400, seed=seed)
        held += found.lower <= 0.1 <= found.upper
    assert stats.binomtest(held, 400, 0.9).pvalue > 0.001


def test_two_users_by_hand():
    # Means of two draws from 0 and 1 are 0, 1/2 and 1, a quarter, a half and a quarter of the time.
    assert paired_bootstrap([0, 1], [0, 0], level=0.95) == (0.5, 0, 1, 0.95)
    assert paired_bootstrap([0, 1], [0, 0], level=0.4) == (0.5, 0.5, 0.5, 0.4)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.integers(1, 400))
def test_it_does_not_depend_on_the_block(values, block):
    zeros = np.zeros(len(values))
    whole = paired_bootstrap(values, zeros, resamples=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "_BLOCK_COUNTS", block)
        assert paired_bootstrap(values, zeros, resamples=100) == whole
    assert whole.lower <= whole.upper
    assert min(values) - 1e-12 <= whole.lower
    assert whole.upper <= max(values) + 1e-12


def test_it_is_a_function_of_the_seed():
    measures = np.random.default_rng(7).random((2, 50))
    one, same, other = (paired_bootstrap(*measures, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_equal_measures_have_no_width():
    hits = [True, False, True]
    assert paired_bootstrap(hits, hits) == BootstrapInterval(0, 0, 0, 0.95)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"level": 0.0}, "level=0.0 should be above 0 and below 1"),
        ({"level": 1.0}, "level=1.0"),
        ({"resamples": 39}, "resamples=39 should be at least 40 for level=0.95"),
        ({"b": [0, 1]}, r"shapes \(3,\) and \(2,\)"),
        ({"a": [0, np.nan, 1]}, "nan for user 1"),
    ],
)
def test_what_cannot_be_resampled_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(**({"a": [0, 1, 1], "b": [1, 0, 1]} | fields))
