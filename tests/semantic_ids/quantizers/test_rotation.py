"""Rotations against sums in a fixed order, and against what defines a good one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from semantic_ids.quantizers import rotation as module
from semantic_ids.quantizers.product_kmeans import ProductKMeans
from semantic_ids.quantizers.rotation import balanced_axes, learn_rotation, rotate

SEEDS = st.integers(0, 2**32 - 1)


def drawn_rotation(rng, width):
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def one_after_the_other(x, rotation):
    """Each value as a plain sum of floats from the first column to the last."""
    sums = np.zeros(x.shape)
    for column in range(len(rotation)):
        sums = sums + x[:, column, None].astype(np.float64) * rotation[column]
    return sums.astype(np.float32)


@given(seed=SEEDS, n=st.integers(1, 30), width=st.integers(1, 60), exponent=st.integers(-20, 15))
def test_values_are_sums_in_a_fixed_order_rounded_to_float32(seed, n, width, exponent):
    rng = np.random.default_rng(seed)
    rotation = drawn_rotation(rng, width)
    x = (rng.normal(size=(n, width)) * 10.0**exponent).astype(np.float32)
    rotated = rotate(x, rotation)
    assert rotated.dtype == np.float32
    assert np.array_equal(rotated, one_after_the_other(x, rotation))


def cancelling(rng, n, width):
    """Rows and a rotation whose products cancel up to the rounding of each, which depends on how
    they are summed: with fused multiplications, in which order, into how many partial sums.
    """
    half = np.sqrt(0.5)
    rotation = np.kron(np.eye(width // 2), np.array([[half, half], [-half, half]]))
    return np.repeat(rng.normal(size=(n, width // 2)), 2, axis=1).astype(np.float32), rotation


@given(seed=SEEDS, n=st.integers(1, 30))
def test_sums_that_depend_on_their_order_are_taken_again(seed, n):
    x, rotation = cancelling(np.random.default_rng(seed), n, 32)
    rotated = rotate(x, rotation)
    assert np.array_equal(rotated, one_after_the_other(x, rotation))
    assert (rotated[:, ::2] == 0).all()


@given(seed=SEEDS, n=st.integers(2, 60))
def test_a_row_is_rotated_alike_in_any_company(seed, n):
    rng = np.random.default_rng(seed)
    rotation = drawn_rotation(rng, 48)
    x = rng.normal(size=(n, 48)).astype(np.float32)
    whole, order = rotate(x, rotation), rng.permutation(n)
    assert rotate(x[order], rotation).tobytes() == whole[order].tobytes()
    assert b"".join(rotate(row[None], rotation).tobytes() for row in x) == whole.tobytes()


def test_the_size_of_the_work_blocks_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    rotation, x = drawn_rotation(rng, 20), rng.normal(size=(100, 20)).astype(np.float32)
    whole = rotate(x, rotation)
    monkeypatch.setattr(module, "_BLOCK_VALUES", 100)
    assert rotate(x, rotation).tobytes() == whole.tobytes()


def test_rotating_there_and_back_returns_the_rows():
    rng = np.random.default_rng(0)
    rotation, x = drawn_rotation(rng, 30), rng.normal(size=(50, 30)).astype(np.float32)
    assert np.allclose(rotate(rotate(x, rotation), rotation.T), x, atol=1e-6)


@given(seed=SEEDS, width=st.integers(1, 12), slots=st.integers(1, 12))
def test_axes_are_orthogonal_and_shared_out(seed, width, slots):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(50, width)) * np.arange(1, width + 1)).astype(np.float32)
    widths = ProductKMeans(slots=min(slots, width)).widths(width)
    axes = balanced_axes(x, widths)
    assert np.allclose(axes.T @ axes, np.eye(width), atol=1e-9)
    covariance = np.cov((x.astype(np.float64) @ axes).T).reshape(width, width)
    assert np.allclose(covariance - np.diag(np.diagonal(covariance)), 0, atol=1e-6)


def test_the_slots_get_like_products_of_variances():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(5000, 8)) * 2.0 ** np.arange(8)).astype(np.float32)
    variances = (x.astype(np.float64) @ balanced_axes(x, [4, 4])).var(axis=0)
    first, second = np.log2(variances).reshape(2, 4).sum(axis=1)
    assert abs(first - second) < 1  # 0 to 7 twice over can be halved: 28 each


@pytest.mark.parametrize("x", [np.zeros((40, 6)), np.ones((40, 6)), np.eye(6)[np.arange(40) % 2]])
def test_rows_without_variance_in_most_directions(x):
    rotation = learn_rotation(
        x.astype(np.float32), ProductKMeans(slots=2, codebook_size=2), rounds=2, progress=False
    )
    assert np.allclose(rotation.T @ rotation, np.eye(6), atol=1e-9)


@given(seed=SEEDS)
def test_procrustes_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(2, 40, 7)).astype(np.float32)
    expected = orthogonal_procrustes(x.astype(np.float64), target.astype(np.float64))[0]
    assert np.allclose(module._procrustes(x, target), expected, atol=1e-9)


def test_rounds_help_where_rows_are_clustered():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 12))
    x = centres[rng.integers(40, size=1500)] + 0.2 * rng.normal(size=(1500, 12))
    x = x.astype(np.float32)
    product = ProductKMeans(slots=4, codebook_size=16)
    errors = []
    for rounds in (0, 4, 30):
        rotated = rotate(x, learn_rotation(x, product, rounds=rounds, progress=False))
        fitted = product.fit(rotated, progress=False)
        errors.append(fitted.errors(rotated, fitted.encode(rotated))[:, -1].sum())
    assert errors[0] > errors[1] > errors[2]
