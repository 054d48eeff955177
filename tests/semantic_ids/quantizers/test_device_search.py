"""Searching on a torch device; torch's own CPU device stands in for a card."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import (
    RQVAE,
    Concat,
    Optimisation,
    PerModality,
    RQKMeans,
    Tokenizer,
    device,
    on_device,
)
from semantic_ids.quantizers import residual
from semantic_ids.quantizers.device_search import DeviceSearch
from semantic_ids.quantizers.residual import ResidualCodebooks

CPU = torch.device("cpu")


@pytest.fixture
def beside(monkeypatch):
    """Use torch's CPU device as if it were a card, and count the rows that it was given."""
    rows = []
    found = DeviceSearch.codes

    def counted(self, matrix):
        rows.append(len(matrix))
        return found(self, matrix)

    monkeypatch.setattr(DeviceSearch, "codes", counted)
    monkeypatch.setattr(
        device, "_beside_the_processor", lambda name: CPU if name == "cuda" else None
    )
    return rows


def search(books, x, rows=None):
    """Return the codes that the device finds, and which it is sure of."""
    codebooks = ResidualCodebooks(books)
    found = DeviceSearch(codebooks.codebooks, codebooks._half_norms, CPU)
    if rows is not None:
        found._rows = rows
    return found.codes(x)


def test_what_is_far_apart_is_sure_and_right():
    book = np.eye(4, dtype=np.float32) * 8
    codes, sure = search([book, book / 2], np.float32([[8, 0, 0, 4], [0, 0, 12, 0]]))
    assert codes.tolist() == [[0, 3], [2, 2]]
    assert sure.all()


def test_what_is_as_near_is_not_sure_nor_what_comes_after_it():
    book = np.float32([[1, 0], [-1, 0]])
    _, sure = search([book, book * 3], np.float32([[0, 5], [2, 0]]))
    assert sure.tolist() == [False, True]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_not_sure(number):
    book = np.float32([[1, 0], [-2, 0], [2, 2]])
    _, sure = search([book], np.float32([[number, number], [1, 0.1]]))
    assert sure.tolist() == [False, True]


def test_a_single_entry_is_sure():
    codes, sure = search([np.ones((1, 3), np.float32)], np.zeros((2, 3), np.float32))
    assert codes.tolist() == [[0], [0]]
    assert sure.all()


@given(n=st.integers(1, 20), rows=st.integers(1, 25), seed=st.integers(0, 2**32 - 1))
def test_blocks_change_nothing(n, rows, seed):
    rng = np.random.default_rng(seed)
    books = [rng.normal(size=(5, 3)).astype(np.float32) for _ in range(3)]
    x = rng.normal(size=(n, 3)).astype(np.float32)
    whole, parts = search(books, x), search(books, x, rows)
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


@pytest.mark.parametrize("x", ["read-only", "backwards"])
def test_any_array_will_do(x):
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    book = rows[:8].copy()
    given = rows[::-1] if x == "backwards" else rows
    given.setflags(write=x != "read-only")
    assert np.array_equal(search([book], given)[0], search([book], given.copy())[0])


@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.sampled_from([-30, -6, 0, 6, 12, 14]),
    closeness=st.sampled_from([0.0, 1e-17, 1e-15, 1e-12, 1e-8]),
)
def test_where_it_is_sure_float64_decides_the_same(seed, exponent, closeness):
    """Twins of entries, and rows so much longer than they that float64 cannot tell."""
    rng = np.random.default_rng(seed)
    book = rng.normal(size=(6, 5)).astype(np.float32)
    twins = (book.astype(np.float64) * (1 + closeness)).astype(np.float32)
    books = [np.concatenate([book, twins])[rng.permutation(12)], book / 8]
    x = (rng.normal(size=(40, 5)) * 10.0**exponent).astype(np.float32)
    codes, sure = search(books, x)
    left = x.astype(np.float64)
    for level, entries in enumerate(books):
        distances = ((left[:, None] - entries) ** 2).sum(axis=2)
        assert np.array_equal(codes[sure, level], distances.argmin(axis=1)[sure])
        left -= entries[codes[:, level]]


def test_hardly_anything_of_ordinary_vectors_is_left_to_the_processor():
    rng = np.random.default_rng(0)
    books = [rng.normal(size=(64, 32)).astype(np.float32) / 2**level for level in range(4)]
    _, sure = search(books, rng.normal(size=(2000, 32)).astype(np.float32))
    assert sure.all()


def test_what_is_long_for_float32_is_not_for_it():
    """A product of these leaves float32 on the way, and gives minus infinity."""
    books = [np.float32([[1.4e19, -1.1e19]]), np.float32([[1.30e19, 2.03e19], [1.11e19, 1.21e19]])]
    codes, sure = search(books, np.float32([[-2.2e18, 7.9e18]]))
    assert (codes.tolist(), sure.tolist()) == ([[0, 1]], [True])


def test_all_of_a_fit_and_its_codes_are_the_same_there(beside):
    vectors = np.random.default_rng(0).normal(size=(600, 12)).astype(np.float32)
    here = Tokenizer.fit(vectors)
    assert not beside
    with on_device("cuda"):
        there = Tokenizer.fit(vectors)
    assert sum(beside) > 600 * 4 * 2  # iterations of k-means, and encoding
    assert there.fingerprint == here.fingerprint
    beside.clear()
    assert np.array_equal(here.encode(vectors, device="cuda"), here.content_codes)
    assert sum(beside) == 600
    assert np.array_equal(here.encode(vectors), here.content_codes)
    with on_device("cuda"):
        here.encode(vectors, device="cpu")
    assert sum(beside) == 600


def test_none_leaves_the_device_as_it_is(beside):
    vectors = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    tokenizer = Tokenizer.fit(vectors)
    with on_device("cuda"), on_device(None):
        tokenizer.encode(vectors)
    assert sum(beside) == 300
    assert device.device_in_use() is None


def test_what_the_device_is_not_sure_of_the_processor_decides(beside, monkeypatch):
    rng = np.random.default_rng(0)
    book = rng.integers(-2, 3, size=(40, 3)).astype(np.float32)
    x = rng.integers(-4, 5, size=(200, 3)).astype(np.float32) / 2
    decided = []
    here = ResidualCodebooks._codes_here

    def counted(self, matrix, screening=None):
        decided.append(len(matrix))
        return here(self, matrix, screening)

    monkeypatch.setattr(residual.ResidualCodebooks, "_codes_here", counted)
    with on_device("cuda"):
        codes = ResidualCodebooks([book]).greedy_codes(x)[:, 0]
    distances = ((x[:, None].astype(np.float64) - book) ** 2).sum(axis=2)
    assert np.array_equal(codes, distances.argmin(axis=1))  # exact on this grid, ties everywhere
    assert len(decided) == 1
    assert 0 < decided[0] < len(x)


def test_the_encoder_of_a_neural_quantizer_runs_there(beside, monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    spec = RQVAE(
        levels=2, codebook_size=8, code_dim=4, hidden=(8,), optimisation=Optimisation(epochs=1)
    )
    fitted = spec.fit(vectors, progress=False)
    with on_device("cuda"):
        moved = fitted.latents(vectors)
        codes = fitted.encode(vectors)
    assert list(fitted._on_devices) == [CPU]
    assert not pickle.loads(pickle.dumps(fitted))._on_devices
    assert np.array_equal(moved, fitted.latents(vectors))
    assert np.array_equal(codes, fitted.encode(vectors))
    assert sum(beside) == 300


def test_copies_of_codebooks_leave_the_device_behind(beside):
    books = ResidualCodebooks([np.eye(3, dtype=np.float32)])
    with on_device("cuda"):
        books.greedy_codes(np.eye(3, dtype=np.float32))
    assert books._on_devices
    assert not pickle.loads(pickle.dumps(books))._on_devices
    assert not copy.copy(books)._on_devices


def test_a_beam_runs_on_the_processor(beside):
    vectors = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    fitted = RQKMeans(levels=2, codebook_size=8, beam=4).fit(vectors)
    with on_device("cuda"):
        codes = fitted.encode(vectors)
    assert not beside
    assert np.array_equal(codes, fitted.encode(vectors))


def test_a_card_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    tokenizer = Tokenizer.fit(np.random.default_rng(0).normal(size=(300, 4)))
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        tokenizer.encode(np.zeros((1, 4)), device="cuda")
    with pytest.raises(ValueError, match="expected 'auto', 'cpu' or 'cuda', got 'tpu'"):
        tokenizer.encode(np.zeros((1, 4)), device="tpu")


def test_a_later_stage_s_card_is_asked_for_before_the_first_is_fitted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Concat, "fit", lambda *_, **__: pytest.fail("fitted"))
    for quantizer in (
        RQVAE(device="cuda"),
        PerModality(quantizers={"features": RQVAE(device="cuda")}),
    ):
        with pytest.raises(ValueError, match="torch finds no CUDA device"):
            Tokenizer.fit(np.zeros((300, 4)), quantizer=quantizer)


def test_a_card_goes_by_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    with on_device("cuda"):
        assert device.device_in_use() == torch.device("cuda:1")
    with on_device("auto"), on_device("cpu"):
        assert device.device_in_use() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_card_finds_the_codes_of_the_processor():
    rng = np.random.default_rng(0)
    codebooks = ResidualCodebooks([rng.normal(size=(256, 64)) * 0.5**level for level in range(4)])
    x = rng.normal(size=(20_000, 64)).astype(np.float32)
    with on_device("cuda"):
        codes = codebooks.greedy_codes(x)
    assert np.array_equal(codes, codebooks.greedy_codes(x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_neural_encoder_runs_on_a_card():
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    spec = RQVAE(levels=2, codebook_size=8, optimisation=Optimisation(epochs=1))
    fitted = spec.fit(vectors, progress=False)
    with on_device("cuda"):
        codes = fitted.encode(vectors)
    assert (codes == fitted.encode(vectors)).mean() > 0.999


@given(seed=st.integers(0, 2**32 - 1), exponent=st.sampled_from([-40, -9, -3]))
def test_entries_of_one_length_are_not_told_apart_by_rows_that_are_short(seed, exponent):
    """Their half norms differ by the order in which they were added up, and by nothing else."""
    rng = np.random.default_rng(seed)
    entry = rng.normal(size=24)
    book = np.stack([rng.permutation(entry) for _ in range(8)]).astype(np.float32)
    x = (rng.normal(size=(20, 24)) * 10.0**exponent).astype(np.float32)
    codes, sure = search([book], x)
    distances = ((x[:, None].astype(np.float64) - book) ** 2).sum(axis=2)
    assert np.array_equal(codes[sure, 0], distances.argmin(axis=1)[sure])
    assert not sure.any() or exponent > -40


def test_repeated_entries_leave_nothing_open():
    book = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    codes, sure = search([np.concatenate([book, book])], book * 1.1)
    assert sure.all()
    assert codes[:, 0].tolist() == list(range(8))


def test_entries_that_are_too_long_for_float32_are_chosen_all_the_same():
    books = [np.float32([[3e19, 0], [0, 3e19], [1, 0]])]
    with np.errstate(over="ignore"):
        codes, sure = search(books, np.float32([[3e19, 0], [0, 2.9e19], [1, 1], [1e19, 0]]))
    assert codes[sure, 0].tolist() == np.array([0, 1, 2, 2])[sure].tolist()
    assert sure[:2].all()
