"""Streams: the search is a loop over streams and levels; absent streams have their own code."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.streams import ClusteredStreams, Streams
from semantic_ids.training import seeded

SIZES, WIDTH = (5, 3), 4
OPTIONAL = (False, True, True)


def streams(shared=False, lookup=None, seed=0):
    with seeded(seed):
        return Streams(SIZES, WIDTH, OPTIONAL, shared=shared, lookup=lookup or Lookup()).eval()


def items(seed, n=40):
    """Vectors (n, S, c), who lacks which stream (n, S), and both as latents."""
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.normal(size=(n, len(OPTIONAL), WIDTH)).astype(np.float32))
    absent = torch.from_numpy((rng.random((n, len(OPTIONAL))) < 0.4) & np.array(OPTIONAL))
    return vectors, absent, streams().joined(vectors, absent).numpy()


def naive_codes(module, vectors, absent):
    codes = []
    for row, lacks in zip(vectors.double().numpy(), absent.numpy(), strict=True):
        code = []
        for stream, residual in enumerate(row):
            for book in module.books(stream):
                entries = book.entries().detach().double().numpy()
                chosen = ((residual - entries) ** 2).sum(axis=1).argmin()
                residual = residual - entries[chosen]
                code.append(len(entries) if lacks[stream] else chosen)
        codes.append(code)
    return np.array(codes)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), shared=st.booleans())
def test_search_and_module_choose_what_a_loop_chooses(seed, shared):
    module = streams(shared, seed=seed % 1000)
    vectors, absent, latents = items(seed)
    expected = naive_codes(module, vectors, absent)
    assert np.array_equal(module.search().codes(latents), expected)
    assert np.array_equal(module(torch.from_numpy(latents)).codes.numpy(), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_decoding_gives_the_values_that_the_decoder_read(shared):
    module = streams(shared)
    _, absent, latents = items(1)
    found = module(torch.from_numpy(latents))
    decoded = torch.from_numpy(module.search().decode(module.search().codes(latents)))
    for one, other in zip(module.split(decoded), module.split(found.values), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert torch.equal(module.split(decoded)[1], absent)


def test_prefixes_decode_to_zeros_behind_them():
    module = streams()
    codes = module.search().codes(items(2)[2])
    decoded = module.split(torch.from_numpy(module.search().decode(codes[:, :2])))
    assert not decoded[0][:, 1:].any()
    assert not decoded[1].any()


@pytest.mark.parametrize("shared", [False, True])
def test_the_list_of_all_codes_is_complete(shared):
    module = Streams((2, 2), WIDTH, (False, True), shared=shared, lookup=Lookup()).eval()
    vectors = torch.randn(5, 2, WIDTH, generator=torch.Generator().manual_seed(0))
    latents = module.joined(vectors, torch.tensor([[False, i % 2 > 0] for i in range(5)])).numpy()
    codes, _ = module.search().best(latents, 1000)
    expected = set(itertools.product(range(2), range(2), range(3), range(3)))
    assert all({tuple(code) for code in row} == expected for row in codes.tolist())


def test_the_best_candidate_of_an_item_is_its_code():
    module = streams()
    latents = items(3)[2]
    codes, _ = module.search().best(latents, 200)
    own = module.search().codes(latents)
    assert (codes == own[:, None]).all(axis=2).any(axis=1).mean() > 0.9


def test_a_present_stream_is_never_said_to_be_absent_however_far_it_is():
    module = streams()
    vectors = 1e6 * torch.randn(20, 3, WIDTH, generator=torch.Generator().manual_seed(0))
    nobody = torch.zeros(20, 3, dtype=torch.bool)
    codes = module.search().codes(module.joined(vectors, nobody).numpy())
    assert (codes < np.tile(SIZES, 3)).all()


@pytest.mark.parametrize("shared", [False, True])
def test_losses_see_present_streams_alone(shared):
    module = streams(shared)
    vectors, absent, latents = items(4)
    found = module(torch.from_numpy(latents))
    rows = [len(part) for part in found.vectors]
    expected = (~absent).sum(dim=0).repeat_interleave(len(SIZES)).tolist()
    assert rows == expected
    assert torch.equal(found.vectors[0], vectors[:, 0])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("decay", [None, 0.9])
def test_it_starts_at_centroids_and_restarts_what_nobody_uses(shared, decay):
    module = streams(shared, Lookup(decay=decay))
    latents = items(5, n=200)[2]
    before = module(torch.from_numpy(latents))
    module.start(latents, seed=0)
    started = module(torch.from_numpy(latents))

    def error(found):
        parts = zip(found.vectors, found.entries, strict=True)
        return sum(float((v - e).detach().square().sum()) for v, e in parts)

    assert error(started) < error(before)
    with torch.no_grad():
        book = module.books(2)[0]
        book.replace(torch.tensor([1]), torch.full((1, WIDTH), 1e3))
    codes = module(torch.from_numpy(latents)).codes.numpy()
    assert not (codes[:, 4] == 1).any()
    module.restart(latents, codes, np.random.default_rng(0), None)
    assert float(book.entries()[1].detach().norm()) < 100


def test_a_modality_that_fewer_items_have_than_entries_can_be_started():
    module = Streams((6,), WIDTH, (True, True), shared=False, lookup=Lookup())
    vectors = torch.randn(20, 2, WIDTH, generator=torch.Generator().manual_seed(0))
    absent = torch.zeros(20, 2, dtype=torch.bool)
    absent[2:, 1] = True
    module.start(module.joined(vectors, absent).numpy(), seed=0)
    assert all(bool(book.entries().isfinite().all()) for s in range(2) for book in module.books(s))


def test_clustered_streams_pass_through_until_they_are_started():
    module = ClusteredStreams((8,), WIDTH, (False, False), shared=False, lookup=Lookup())
    latents = np.random.default_rng(0).normal(size=(300, module.width)).astype(np.float32)
    assert module.width == 2 * WIDTH, "nothing is absent, so there are no marks"
    found = module(torch.from_numpy(latents))
    assert torch.equal(found.values, torch.from_numpy(latents))
    module.start(latents, seed=0)
    assert len(np.unique(module.search().codes(latents)[:, 1])) == 8
