"""FSQ: the paper's bound and rounding, and codes that all get used."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import FSQ, Optimisation
from semantic_ids.quantizers.neural.finite_scalar import Bounded, FiniteScalars
from tests.semantic_ids.quantizers.test_rqvae import planted, relative_error

sizes = st.lists(st.integers(2, 9), min_size=1, max_size=5)


def bound(z, size):
    """The bound of the paper for one number, before it is divided by half the size."""
    half = (size - 1) * (1 + 1e-3) / 2
    offset = 0.5 if size % 2 == 0 else 0.0
    return np.tanh(z + np.arctanh(offset / half)) * half - offset


@given(sizes=sizes, seed=st.integers(0, 2**32 - 1))
def test_codes_are_the_rounded_bounds_of_a_naive_loop(sizes, seed):
    z = 3 * np.random.default_rng(seed).normal(size=(20, len(sizes))).astype(np.float32)
    books = FiniteScalars(sizes)
    bounded = Bounded(sizes)(torch.from_numpy(z))
    quantized, search = books(bounded), books.search()
    codes = search.codes(bounded.numpy())
    for row in range(20):
        for column, size in enumerate(sizes):
            value = bound(float(z[row, column]), size)
            if abs(value % 1 - 0.5) > 1e-3:
                expected = round(value) + size // 2
                assert quantized.codes[row, column] == codes[row, column] == expected
    assert np.allclose(
        search.decode(codes), (codes - np.array(sizes) // 2) / (np.array(sizes) // 2)
    )


@given(sizes=sizes)
def test_every_grid_point_can_be_reached_and_none_beyond(sizes):
    line = torch.linspace(-20, 20, 4001)[:, None].expand(-1, len(sizes))
    codes = FiniteScalars(sizes)(Bounded(sizes)(line)).codes
    for column, size in enumerate(sizes):
        assert codes[:, column].unique().tolist() == list(range(size))


def test_a_latent_of_zero_lies_on_a_grid_point():
    assert torch.allclose(Bounded([2, 3, 8])(torch.zeros(1, 3)), torch.zeros(1, 3), atol=1e-6)


def test_gradients_go_straight_through_the_rounding():
    z = torch.zeros(4, 2, requires_grad=True)
    bounded = Bounded([8, 5])(z)
    values = FiniteScalars([8, 5])(bounded).values
    gradients = [torch.autograd.grad(v.sum(), z, retain_graph=True)[0] for v in (values, bounded)]
    assert torch.equal(*gradients)
    assert (gradients[0] != 0).all()


def test_planted_rows_are_rebuilt_and_all_grid_points_used():
    x, _ = planted()
    spec = FSQ(
        sizes=(5,) * 6,
        hidden=(32,),
        batch_size=64,
        optimisation=Optimisation(epochs=25, learning_rate=1e-2),
    )
    fitted = spec.fit(x, progress=False)
    codes = fitted.encode(x)
    assert not fitted.ordered
    assert set(fitted.log.terms) == {"reconstruction"}
    assert relative_error(x, fitted.decode(codes)) < 0.1
    assert all(len(np.unique(codes[:, column])) >= 4 for column in range(6))


@pytest.mark.parametrize("sizes", [(), (1,), (8, 0), (8,) * 65])
def test_grids_without_a_choice_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes"):
        FSQ(sizes=sizes)
