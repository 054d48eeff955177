"""Exact products and solutions against exact arithmetic, and bit for bit against themselves."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from semantic_ids.exact import exact_product, exact_solve, part_bits

SEEDS = st.integers(0, 2**32 - 1)
PARTS = st.integers(1, 3)


def operands(seed, n, d, k, exponent=0):
    """Rows and columns of very different sizes, some of them zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-6, 7, size=(n, 1)) * 10.0**exponent
    w = rng.normal(size=(d, k)) * 10.0 ** rng.integers(-6, 7, size=(1, k))
    x[rng.random(x.shape) < 0.1] = 0
    return x, w


def bound(x, w, parts):
    """What the docstring promises."""
    d = x.shape[1]
    units = (parts + 1) * 2.0 ** (-parts * (part_bits(d) + 1)) + parts**2 * 2.0**-53
    return 4 * d * np.abs(x).max(axis=1)[:, None] * np.abs(w).max(axis=0) * units


@settings(max_examples=40)
@given(
    seed=SEEDS,
    n=st.integers(1, 4),
    d=st.integers(1, 40),
    k=st.integers(1, 4),
    parts=PARTS,
    exponent=st.sampled_from([-40, 0, 40]),
)
def test_products_are_within_their_bound_of_the_exact_ones(seed, n, d, k, parts, exponent):
    x, w = operands(seed, n, d, k, exponent)
    found, limits = exact_product(x, w, parts=parts), bound(x, w, parts)
    for i in range(n):
        for j in range(k):
            exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x[i], w[:, j]))  # noqa: B905
            assert abs(Fraction(float(found[i, j])) - exact) <= Fraction(float(limits[i, j]))


@given(seed=SEEDS, n=st.integers(1, 30), d=st.integers(1, 500), k=st.integers(1, 20), parts=PARTS)
def test_products_do_not_depend_on_the_order_of_rows_or_terms_or_on_the_batch(seed, n, d, k, parts):
    x, w = operands(seed, n, d, k)
    whole = exact_product(x, w, parts=parts)
    rng = np.random.default_rng(seed)
    rows, terms, columns = rng.permutation(n), rng.permutation(d), rng.permutation(k)
    assert np.array_equal(exact_product(x[rows], w, parts=parts), whole[rows])
    assert np.array_equal(exact_product(x[:, terms], w[terms], parts=parts), whole)
    assert np.array_equal(exact_product(x, w[:, columns], parts=parts), whole[:, columns])
    cut = int(rng.integers(n + 1))
    halves = [exact_product(part, w, parts=parts) for part in (x[:cut], x[cut:]) if len(part)]
    assert np.array_equal(np.concatenate(halves), whole)
    strided = exact_product(np.asfortranarray(x), np.ascontiguousarray(w.T).T, parts=parts)
    assert np.array_equal(strided, whole)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 384, 1024, 1025])
def test_the_largest_parts_still_add_up_exactly(d):
    # All terms at the top of their range and of one sign: nothing may leave the 53 bits.
    almost = np.nextafter(1.0, 0)
    total = exact_product(np.full((1, d), almost), np.full((d, 1), almost), parts=1)[0, 0]
    assert total == d
    assert d * 4 ** part_bits(d) <= 2**53


def test_products_do_not_depend_on_threads():
    x, w = operands(0, 300, 700, 200)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(exact_product(x, w))
    assert np.array_equal(*found)


def positive_definite(seed, d):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d)) * 2.0 ** -rng.integers(0, 6, size=d)
    return root @ root.T + 1e-3 * np.eye(d)


@settings(max_examples=30)
@given(seed=SEEDS, d=st.integers(1, 150), k=st.integers(1, 5))
def test_solutions_are_as_good_as_those_of_lapack(seed, d, k):
    matrix = positive_definite(seed, d)
    right = np.random.default_rng(seed).normal(size=(d, k))
    found, expected = exact_solve(matrix, right), np.linalg.solve(matrix, right)
    scale = np.abs(matrix).sum(axis=1).max() * np.abs(expected).max()
    assert np.abs(matrix @ found - right).max() <= 1e-12 * scale
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("d", [64, 65, 300])
def test_a_column_has_its_solution_in_any_company(d):
    matrix = positive_definite(1, d)
    right = np.random.default_rng(0).normal(size=(d, 70))
    whole = exact_solve(matrix, right)
    for j in (0, 69):
        assert np.array_equal(exact_solve(matrix, right[:, j : j + 1]), whole[:, j : j + 1])


def test_solutions_do_not_depend_on_threads_and_leave_the_operands_alone():
    matrix, right = positive_definite(0, 300), np.eye(300, 4)
    before, found = matrix.copy(), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(exact_solve(matrix, right))
    assert np.array_equal(*found)
    assert np.array_equal(matrix, before)
