"""Fitting on a sample of the rows, and reading memory-mapped files block by block."""

import numpy as np
import pytest

from semantic_ids import RQKMeans, Side, Suffix, Tokenizer, TokenizerSpec
from semantic_ids.mapped import release

QUANTIZER = RQKMeans(levels=2, codebook_size=8)
STAGES = {"quantizer": QUANTIZER, "resolver": Suffix(max_suffix=9000)}


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(9000, 6)).astype(np.float16)


def test_by_default_there_are_256_rows_an_entry():
    assert TokenizerSpec().sample_size == 65536
    assert TokenizerSpec(quantizer=RQKMeans(codebook_size=1024)).sample_size == 262144


def test_a_sample_smaller_than_a_codebook_is_refused():
    with pytest.raises(ValueError, match="fit_sample=7 should be at least 8"):
        TokenizerSpec(quantizer=QUANTIZER, fit_sample=7)


def test_a_sample_of_all_rows_is_no_sample(vectors):
    one = Tokenizer.fit(vectors, **STAGES, fit_sample=9000)
    np.testing.assert_array_equal(one.codes, Tokenizer.fit(vectors, **STAGES).codes)


def test_the_sample_alone_decides_the_codebooks(vectors):
    """Rows outside of the sample may be anything: the codes of the others stay."""
    spec = TokenizerSpec(**STAGES, fit_sample=500, seed=3)
    drawn = np.random.default_rng(3).choice(9000, size=500, replace=False)
    other = np.full_like(vectors, 5)
    other[drawn] = vectors[drawn]
    side = Side(counts=np.arange(9000))
    one, two = spec.fit(vectors, side=side), spec.fit(other, side=side)
    np.testing.assert_array_equal(one.content_codes[drawn], two.content_codes[drawn])
    alone = TokenizerSpec(**STAGES).fit(vectors[np.sort(drawn)])
    np.testing.assert_array_equal(alone.content_codes, one.content_codes[np.sort(drawn)])


def test_the_relative_error_is_that_of_all_rows(vectors):
    tokenizer = Tokenizer.fit(vectors, **STAGES, fit_sample=500)
    decoded = tokenizer.decode(tokenizer.content_codes)["features"].astype(np.float64)
    scale = vectors.astype(np.float64).std(axis=0)  # Concat standardises by the sample's
    lost = (((decoded - vectors) / scale) ** 2).sum()
    total = (((vectors - vectors.mean(axis=0, dtype=np.float64)) / scale) ** 2).sum()
    assert tokenizer.statistics().relative_error == pytest.approx(lost / total, rel=0.02)


def test_a_mapped_file_gives_the_codes_of_its_array(vectors, tmp_path):
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    one = Tokenizer.fit(mapped, **STAGES, fit_sample=500)
    two = Tokenizer.fit(vectors, **STAGES, fit_sample=500)
    np.testing.assert_array_equal(one.codes, two.codes)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_released_pages_read_the_same_again(vectors, tmp_path, mode):
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode=mode)
    expected = vectors.copy()
    if mode != "r":
        mapped[0] = expected[0] = 1
    release(mapped[10:20])
    np.testing.assert_array_equal(mapped, expected)
