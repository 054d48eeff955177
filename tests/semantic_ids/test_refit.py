"""A tokenizer fitted anew, beside a fresh fit of the same spec."""

import numpy as np
import pytest

from semantic_ids import NoCodecError, Popularity, RQKMeans, Side, Suffix, Tokenizer

SPEC = {"quantizer": RQKMeans(levels=2, codebook_size=32), "resolver": Suffix()}


def vectors(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 6))


@pytest.fixture
def tokenizer():
    tokenizer = Tokenizer.fit(vectors(300), ids=[f"item {k}" for k in range(300)], **SPEC)
    tokenizer.remove(["item 3", "item 9"])
    return tokenizer


def test_a_refit_is_a_fit_of_the_same_spec(tokenizer):
    before, generation = tokenizer.codes.copy(), tokenizer.generation
    names = [f"item {k}" for k in range(399, 99, -1)]
    refit = tokenizer.refit(vectors(300, seed=1), ids=names, progress=False)
    fresh = Tokenizer.fit(vectors(300, seed=1), ids=names, **SPEC)
    assert refit.tokenizer.spec == tokenizer.spec
    assert np.array_equal(refit.tokenizer.codes, fresh.codes)
    assert refit.tokenizer.fingerprint == fresh.fingerprint != tokenizer.fingerprint
    assert refit.tokenizer.generation == 0
    assert np.array_equal(tokenizer.codes, before)
    assert tokenizer.generation == generation


def test_the_items_in_both_are_mapped(tokenizer):
    names = [f"item {k}" for k in range(399, 0, -1)]
    refit = tokenizer.refit(vectors(399, seed=1), ids=names)
    both = [item for item in tokenizer.ids.tolist() if item in set(names)]
    assert "item 3" not in both
    assert refit.ids.tolist() == both
    assert refit.mapping() == {
        item: (
            tuple(tokenizer.encode(item)[0].tolist()),
            tuple(refit.tokenizer.encode(item)[0].tolist()),
        )
        for item in both
    }
    moved = [old != new for old, new in refit.mapping().values()]
    assert refit.changed == pytest.approx(np.mean(moved))
    assert f"{len(both)} items in both" in repr(refit)


def test_the_same_features_give_the_same_codes():
    tokenizer = Tokenizer.fit(vectors(300), **SPEC)
    refit = tokenizer.refit(vectors(300))
    assert refit.changed == 0
    assert refit.ids.tolist() == list(range(300))
    assert len(tokenizer.refit(vectors(50), ids=np.arange(900, 950)).mapping()) == 0
    assert tokenizer.refit(vectors(50), ids=np.arange(900, 950)).changed == 0


def test_side_goes_to_the_fit():
    spec = {"quantizer": RQKMeans(levels=1, codebook_size=8), "resolver": Popularity()}
    tokenizer = Tokenizer.fit(vectors(60), side=Side(counts=np.arange(60)), **spec)
    refit = tokenizer.refit(vectors(60), side=Side(counts=np.arange(60)[::-1]))
    fresh = Tokenizer.fit(vectors(60), side=Side(counts=np.arange(60)[::-1]), **spec)
    assert np.array_equal(refit.tokenizer.codes, fresh.codes)
    assert refit.changed > 0.5


def test_what_cannot_be_mapped_is_refused_before_the_fit(tokenizer, monkeypatch):
    monkeypatch.setattr(Tokenizer, "of", None)
    with pytest.raises(ValueError, match="this catalogue's ids are str, got 0"):
        tokenizer.refit(vectors(300))
    with pytest.raises(NoCodecError):
        Tokenizer.from_codes(["a"], [[0]]).refit(vectors(3), ids=["a", "b", "c"])
