"""LETTER: codes that follow who interacts with an item, without collapse."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from semantic_ids import LETTER, Latent, Optimisation, Side, Tokenizer
from semantic_ids.quantizers.neural.diversity import (
    balanced_clusters,
    cluster_mates,
    diversity_loss,
)

SMALL = LETTER(
    levels=2,
    codebook_size=8,
    hidden=(32,),
    code_dim=8,
    batch_size=64,
    clusters=4,
    optimisation=Optimisation(epochs=15, learning_rate=1e-2),
)


def items(n=500, seed=0):
    """Rows of two kinds of factors; people follow the one that moves the rows least."""
    rng = np.random.default_rng(seed)
    loud, quiet = rng.integers(8, size=n), rng.integers(8, size=n)
    fixed = np.random.default_rng(9)
    looks, tastes = 2 * fixed.normal(size=(8, 12)), fixed.normal(size=(8, 12))
    crowds = fixed.normal(size=(8, 6))
    x = looks[loud] + tastes[quiet] + 0.1 * rng.normal(size=(n, 12))
    return x.astype(np.float32), crowds[quiet] + 0.1 * rng.normal(size=(n, 6)), quiet


def about_behaviour(alignment):
    x, collaborative, quiet = items()
    spec = SMALL.model_copy(update={"alignment": alignment})
    codes = spec.fit(x, side=Side(collaborative=collaborative), progress=False).encode(x)
    return normalized_mutual_info_score(quiet, codes[:, 0]), codes


def test_aligned_codes_say_more_about_behaviour_and_do_not_collapse():
    without, _ = about_behaviour(0.0)
    aligned, codes = about_behaviour(0.5)
    assert aligned > without + 0.1
    assert all(len(np.unique(codes[:, level])) == 8 for level in range(2))


def test_unseen_items_are_encoded_by_their_features_alone():
    x, collaborative, _ = items()
    fitted = SMALL.fit(x, side=Side(collaborative=collaborative), progress=False)
    new, _, quiet = items(300, seed=1)
    codes = fitted.encode(new)
    shuffled = np.random.default_rng(0).permutation(quiet)
    informed = normalized_mutual_info_score(quiet, codes[:, 0] * 8 + codes[:, 1])
    assert informed > normalized_mutual_info_score(shuffled, codes[:, 0] * 8 + codes[:, 1]) + 0.1
    assert not any("projection" in name for name in fitted.arrays())
    assert set(fitted.log.terms) >= {"alignment", "diversity", "reconstruction"}


def test_collaborative_vectors_are_needed():
    x, _, _ = items()
    for side in (None, Side(counts=np.ones(len(x)))):
        with pytest.raises(ValueError, match="LETTER needs collaborative"):
            SMALL.fit(x, side=side, progress=False)
    with pytest.raises(ValueError, match="LETTER needs collaborative"):
        Tokenizer.fit(x, quantizer=SMALL, progress=False)


def test_side_of_other_items_is_refused():
    x, collaborative, _ = items()
    with pytest.raises(ValueError, match=r"side\.collaborative: 499 rows"):
        SMALL.fit(Latent.of(x), side=Side(collaborative=collaborative[1:]), progress=False)


def test_running_means_cannot_be_drawn_together():
    with pytest.raises(ValueError, match="diversity"):
        LETTER(lookup={"decay": 0.9})


# --- diversity


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 8))
def test_clusters_are_balanced(seed, points, count):
    count = min(count, points)
    rows = np.random.default_rng(seed).normal(size=(points, 3)).astype(np.float32)
    sizes = np.bincount(balanced_clusters(rows, count, 0), minlength=count)
    assert sizes.max() - sizes.min() <= 1


def test_clusters_of_equal_size_are_found():
    rng = np.random.default_rng(0)
    centres = 10 * rng.normal(size=(4, 3))
    truth = np.repeat(np.arange(4), 8)
    points = (centres[truth] + rng.normal(size=(32, 3))).astype(np.float32)
    assert normalized_mutual_info_score(truth, balanced_clusters(points, 4, 0)) == pytest.approx(1)


@given(st.integers(0, 2**31 - 1))
def test_mates_are_other_entries_of_the_same_cluster(seed):
    labels = torch.from_numpy(np.random.default_rng(seed).permutation(np.arange(12) % 4))
    codes = torch.arange(12).repeat(20)
    torch.manual_seed(seed)
    mates = cluster_mates(codes, labels)
    assert torch.equal(labels[mates], labels[codes])
    assert (mates != codes).all()
    assert len(mates[codes == 0].unique()) == 2, "each of the two is drawn sooner or later"


def test_the_diversity_loss_is_that_of_a_naive_loop():
    rng = np.random.default_rng(0)
    table, codes, mates = rng.normal(size=(5, 3)), [0, 3, 3], [1, 2, 4]
    total = 0.0
    for code, mate in zip(codes, mates, strict=True):
        scores = [np.exp(table[code] @ table[k]) for k in range(5) if k != code]
        total -= np.log(np.exp(table[code] @ table[mate]) / sum(scores)) / 3
    tensors = torch.from_numpy(table), torch.tensor(codes), torch.tensor(mates)
    loss = diversity_loss(tensors[0][tensors[1]], tensors[1], tensors[0], tensors[2])
    assert float(loss) == pytest.approx(total)


@pytest.mark.slow
def test_no_level_collapses_on_real_vectors(scientific):
    collaborative = np.random.default_rng(0).normal(size=(len(scientific), 32))
    spec = LETTER(optimisation=Optimisation(epochs=15, learning_rate=3e-3, weight_decay=1e-4))
    codes = spec.fit(scientific, side=Side(collaborative=collaborative)).encode(scientific)
    assert all(len(np.unique(codes[:, level])) / 256 > 0.95 for level in range(4))
