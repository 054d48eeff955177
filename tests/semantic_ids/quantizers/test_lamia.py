"""LAMIA on independent aspects, one field each: the palette tells them apart, levels do not."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score as nmi

from semantic_ids import LAMIA, Latent, Optimisation, RQKMeans
from semantic_ids.quantizers.kmeans import kmeans
from semantic_ids.quantizers.residual import ResidualCodebooks

ASPECTS, VALUES, WIDTH = 4, 8, 12
SEEDS = range(2)


def planted(seed, items=800):
    """Aspects of unequal scales, each in a field of its own.

    Were each scale a half of the one before, residual levels would find the aspects in turn.
    """
    rng = np.random.default_rng(seed)
    aspects = rng.integers(VALUES, size=(items, ASPECTS))
    fields = [
        scale * (rng.normal(size=(VALUES, WIDTH))[values] + 0.1 * rng.normal(size=(items, WIDTH)))
        for scale, values in zip((1, 0.7, 0.5, 0.35), aspects.T, strict=True)
    ]
    blocks = {f"field {a}": slice(a * WIDTH, (a + 1) * WIDTH) for a in range(ASPECTS)}
    matrix = np.concatenate(fields, axis=1).astype(np.float32)
    return Latent(matrix, blocks, np.ones((items, ASPECTS), dtype=bool)), aspects


def spec(seed, **fields):
    training = Optimisation(epochs=30, learning_rate=1e-2)
    small = {"slots": ASPECTS, "codebook_size": VALUES, "code_dim": 8, "hidden": 32}
    return LAMIA(**small | fields, batch_size=125, optimisation=training, seed=seed)


def best(codes, aspects):
    """Mean over the aspects of the NMI with the position that says most of it."""
    return np.mean([max(nmi(code, aspect) for code in codes.T) for aspect in aspects.T])


def crossed(codes):
    """Mean NMI of two positions."""
    return np.mean([nmi(codes[:, a], codes[:, b]) for a in range(codes.shape[1]) for b in range(a)])


@pytest.fixture(scope="module", params=SEEDS)
def coded(request):
    seed = request.param
    latent, aspects = planted(seed)
    return seed, latent, aspects, spec(seed).fit(latent, progress=False).encode(latent)


def test_the_palette_tells_aspects_apart_and_residual_levels_do_not(coded):
    seed, latent, aspects, codes = coded
    levels = RQKMeans(levels=ASPECTS, codebook_size=VALUES, seed=seed).fit(latent).encode(latent)
    assert best(codes, aspects) >= 0.95
    assert best(codes, aspects) >= best(levels, aspects) + 0.03
    assert len(np.unique(codes, axis=0)) > len(np.unique(levels, axis=0))


def test_it_is_as_good_as_clusters_of_each_field(coded):
    seed, latent, aspects, codes = coded
    fields = [latent.matrix[:, block] for block in latent.blocks.values()]
    by_field = np.stack(
        [
            ResidualCodebooks([kmeans(f, VALUES, iterations=20, seed=seed)]).greedy_codes(f)[:, 0]
            for f in fields
        ],
        axis=1,
    )
    assert best(codes, aspects) >= best(by_field, aspects) - 0.05


def test_slots_are_independent(coded):
    assert crossed(coded[3]) < 0.05


def test_without_decorrelation_slots_repeat_each_other(coded):
    seed, latent, _, codes = coded
    without = spec(seed, decorrelation=0.0).fit(latent, progress=False).encode(latent)
    assert crossed(without) > 2 * crossed(codes)


def test_codes_are_the_nearest_centroids_of_the_slots():
    latent, _ = planted(0, items=200)
    fitted = spec(0).fit(latent, progress=False)
    slots = fitted.latents(latent).reshape(200, ASPECTS, -1).astype(np.float64)
    codes = fitted.encode(latent)
    for slot in range(ASPECTS):
        entries = fitted.network.codebooks.books(slot)[0].entries().numpy().astype(np.float64)
        gaps = ((slots[:, slot, None] - entries) ** 2).sum(axis=2)
        assert np.array_equal(codes[:, slot], gaps.argmin(axis=1))
        members = [slots[codes[:, slot] == k, slot] for k in range(VALUES)]
        centres = np.stack([m.mean(axis=0) if len(m) else e for m, e in zip(members, entries)])  # noqa: B905
        assert np.abs(centres - entries).max() < 0.5, "entries are centroids, not the first draw"


def test_one_field_is_read_through_as_many_projections_as_slots():
    latent, _ = planted(0)
    fitted = spec(0).fit(latent.matrix, progress=False)
    codes = fitted.encode(latent.matrix)
    assert crossed(codes) < 0.3
    assert len(np.unique(codes, axis=0)) > 100
    assert fitted.network.encoder.tokens == ASPECTS


def test_a_missing_field_is_not_attended_to():
    latent, _ = planted(0, items=200)
    present = np.ones((200, ASPECTS), dtype=bool)
    present[::2, 1] = False
    fitted = spec(0).fit(Latent(latent.matrix, latent.blocks, present), progress=False)
    attention = fitted.network.encoder.attention(torch.from_numpy(present)).numpy()
    assert not attention[::2, :, 1].any()
    assert np.allclose(attention.sum(axis=2), 1)
    other = latent.matrix.copy()
    other[::2, latent.blocks["field 1"]] = 9
    codes = [fitted.encode(Latent(rows, latent.blocks, present)) for rows in (latent.matrix, other)]
    assert np.array_equal(*codes)
