"""ProductVQ: one table for all levels, and a decoder that listens."""

import numpy as np
import pytest
import torch

from semantic_ids import FSQ, Optimisation, ProductVQ
from semantic_ids.quantizers.neural.codebooks import as_numpy
from semantic_ids.quantizers.neural.diagnostics import shuffle_gap
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.slots import ParallelSlots
from tests.semantic_ids.quantizers.test_rqvae import planted, relative_error

SMALL = ProductVQ(
    levels=3,
    codebook_size=16,
    slot_dim=3,
    hidden=(32,),
    batch_size=64,
    optimisation=Optimisation(epochs=30, learning_rate=5e-3),
)


@pytest.fixture(scope="module")
def fitted():
    return SMALL.fit(planted()[0], progress=False)


def test_codes_are_the_nearest_entries_of_each_slot(fitted):
    x, _ = planted(200, seed=1)
    codes, latents = fitted.encode(x), fitted.latents(x).reshape(200, 3, 3).astype(np.float64)
    (table,) = (as_numpy(book.entries()) for book in fitted.network.codebooks.tables())
    for slot in range(3):
        distances = ((latents[:, slot, None] - table) ** 2).sum(axis=2)
        assert np.array_equal(codes[:, slot], distances.argmin(axis=1))


def test_one_table_serves_all_levels(fitted):
    own = ProductVQ(**{**dict(SMALL), "shared": False})
    sizes = [
        sum(array.size for name, array in quantizer.arrays().items() if "codebooks" in name)
        for quantizer in (fitted, own.fit(planted()[0], progress=False))
    ]
    assert sizes[1] == 3 * sizes[0]


def test_planted_rows_are_rebuilt_and_the_table_is_used(fitted):
    x, _ = planted()
    codes = fitted.encode(x)
    assert not fitted.ordered
    assert relative_error(x, fitted.decode(codes)) < 0.1
    assert len(np.unique(codes)) == 16


def test_an_entry_that_one_level_uses_is_not_dead():
    torch.manual_seed(0)
    slots = ParallelSlots((4, 4), 2, Lookup(), shared=True)
    before = slots.tables()[0].table.detach().clone()
    latents = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    codes = np.stack([np.arange(10) % 2, 2 + np.arange(10) % 2], axis=1)
    slots.restart(latents, codes, np.random.default_rng(0), None)
    assert torch.equal(slots.tables()[0].table, before)


# --- the gap of another row's code


def test_the_decoder_listens_to_every_level(fitted):
    x, _ = planted()
    gaps = shuffle_gap(fitted, x)
    assert gaps.shape == (4,)
    assert (gaps[:3] > 0.02).all()
    assert gaps[3] > 1


def test_the_gap_of_the_whole_code_is_that_of_a_naive_loop(fitted):
    x, _ = planted(50, seed=2)
    codes = fitted.encode(x)
    own, other = fitted.decode(codes), fitted.decode(codes[np.arange(50) - 1])
    total = sum(
        float(((row - b) ** 2).sum() - ((row - a) ** 2).sum())
        for row, a, b in zip(x.astype(np.float64), own, other, strict=True)
    )
    variance = ((x - x.mean(axis=0, dtype=np.float64)) ** 2).sum()
    assert shuffle_gap(fitted, x)[-1] == pytest.approx(total / variance, rel=1e-4)


def test_a_decoder_that_ignores_its_codes_has_no_gap():
    """Posterior collapse, planted: the decoder's first layer no longer reads the latent."""
    x, _ = planted()
    fitted = FSQ(sizes=(5, 5), hidden=(8,), optimisation=Optimisation(epochs=1)).fit(
        x, progress=False
    )
    arrays = fitted.arrays()
    arrays["network.decoder.0.weight"] = np.zeros_like(arrays["network.decoder.0.weight"])
    assert np.allclose(shuffle_gap(fitted.spec.restore(arrays), x), 0, atol=1e-9)


def test_rows_without_variance_have_no_gap():
    x = np.ones((20, 3), dtype=np.float32)
    spec = FSQ(sizes=(3,), hidden=(4,), optimisation=Optimisation(epochs=1))
    assert np.array_equal(shuffle_gap(spec.fit(x, progress=False), x), np.zeros(2))


def test_a_shared_codebook_has_one_size():
    with pytest.raises(ValueError, match="a shared codebook has one size"):
        ProductVQ(levels=2, codebook_size=(4, 8))
