import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import Features, NoCodecError, RQKMeans, Tokenizer
from semantic_ids.drift import expected_distance


def vectors(count, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(count, 6)) + shift


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.fit(
        vectors(400), quantizer=RQKMeans(levels=2, codebook_size=32), progress=False
    )


def test_the_catalogue_itself_has_not_drifted(tokenizer):
    drift = tokenizer.drift(vectors(400))
    assert drift.distances == (0, 0)
    assert drift.unused == (0, 0)
    assert drift.unseen == 0
    np.testing.assert_allclose(drift.relative_error, drift.fitted_relative_error, rtol=1e-6)


def test_shifted_items_have(tokenizer):
    same, moved = tokenizer.drift(vectors(400, seed=1)), tokenizer.drift(vectors(400, 1, shift=3))
    assert moved.distances[0] > 2 * same.distances[0]
    assert moved.relative_error[1] > 2 * same.relative_error[1]
    assert moved.unused[0] > 0.5
    assert "new items" in str(moved)


def test_few_items_of_the_catalogue_are_as_far_as_by_chance(tokenizer):
    rng = np.random.default_rng(0)
    rows = [rng.choice(400, 20, replace=False) for _ in range(200)]
    drifts = [tokenizer.drift(vectors(400)[some]) for some in rows]
    for level in range(2):
        distance = np.mean([drift.distances[level] for drift in drifts])
        unused = np.mean([drift.unused[level] for drift in drifts])
        # Drawn without replacement: a little nearer than by chance.
        assert distance == pytest.approx(drifts[0].distances_by_chance[level], rel=0.05)
        assert unused == pytest.approx(drifts[0].unused_by_chance[level], rel=0.05)
    assert drifts[0].distances_by_chance[0] > 0.3


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any),
    st.integers(1, 4),
)
def test_the_expected_distance_is_that_of_all_draws(counts, n):
    shares = np.array(counts) / sum(counts)
    total = 0.0
    for drawn in itertools.product(range(len(shares)), repeat=n):
        found = np.bincount(drawn, minlength=len(shares)) / n
        total += np.prod(shares[list(drawn)]) * np.abs(found - shares).sum() / 2
    assert expected_distance(shares, n) == pytest.approx(total)


def test_figures_equal_a_naive_count(tokenizer):
    features = vectors(90, seed=2)
    drift = tokenizer.drift(features)
    codes = tokenizer.encode(features)
    for level in range(2):
        new = [(codes[:, level] == k).mean() for k in range(32)]
        old = [(tokenizer.content_codes[:, level] == k).mean() for k in range(32)]
        assert drift.shares[level] == pytest.approx(new)
        assert drift.catalogue_shares[level] == pytest.approx(old)
        assert drift.distances[level] == pytest.approx(
            sum(abs(n - o) for n, o in zip(new, old, strict=True)) / 2
        )
        used = [k for k in range(32) if old[k]]
        assert drift.unused[level] == pytest.approx(np.mean([new[k] == 0 for k in used]))
    codec = tokenizer._fitted.codec
    fused = codec.fuser.transform(Features(features)).matrix.astype(np.float64)
    fitted = codec.fuser.transform(Features(vectors(400))).matrix.astype(np.float64)
    spread = 90 / 400 * ((fitted - fitted.mean(axis=0)) ** 2).sum()
    for level in range(2):
        lost = ((fused - codec.quantizer.decode(codes[:, : level + 1])) ** 2).sum()
        assert drift.relative_error[level] == pytest.approx(lost / spread, rel=1e-5)
    known = {tuple(code) for code in tokenizer.content_codes.tolist()}
    strangers = [tuple(code) not in known for code in codes.tolist()]
    assert drift.unseen == pytest.approx(np.mean(strangers))
    assert drift.items == 90
    assert len(tokenizer) == 400


def test_drift_needs_a_codec():
    with pytest.raises(NoCodecError):
        Tokenizer.from_codes(["a"], [[0]]).drift(vectors(3))


def test_one_item_that_is_badly_coded_is_no_perfect_fit(tokenizer):
    one, five = tokenizer.drift(np.full((1, 6), 100.0)), tokenizer.drift(np.full((5, 6), 100.0))
    assert min(one.relative_error) > 1000
    assert five.relative_error == pytest.approx(one.relative_error)


def test_where_the_fit_saw_no_variance_an_error_has_no_measure():
    same = Tokenizer.fit(np.ones((40, 3)), quantizer=RQKMeans(levels=1, codebook_size=40))
    assert same.drift(np.ones((2, 3))).relative_error == (0,)
    drift = same.drift(np.full((2, 3), 5.0))
    assert drift.relative_error is None
    assert "2 new items" in str(drift)
