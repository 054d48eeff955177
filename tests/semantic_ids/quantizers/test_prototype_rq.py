"""PrototypeRQ on planted names: what centring and the logit scale are for, and exact codes."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score as nmi

from semantic_ids import Latent, Optimisation, PrototypeRQ, RQKMeans, Side
from semantic_ids.quantizers.neural.prototypes import Prototypes
from semantic_ids.training import seeded

KINDS, WIDTH = 16, 32
NAMES = tuple(f"kind {number}" for number in range(KINDS))
STILL = Optimisation(epochs=0)
SEEDS = range(3)


def planted(seed, items=800, gap=2.0, noise=0.2):
    """Unit prototypes; an item is one of them, a constant gap, and noise."""
    rng = np.random.default_rng(seed)
    points, gaps = rng.normal(size=(KINDS, WIDTH)), rng.normal(size=WIDTH)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    kind = rng.integers(KINDS, size=items)
    items = points[kind] + gap * gaps / np.linalg.norm(gaps)
    items = items + noise * rng.normal(size=items.shape)
    return items.astype(np.float32), points.astype(np.float32), kind


def spec(**fields):
    return PrototypeRQ(**{"names": NAMES, "levels": 1, "seed": 0} | fields)


def accuracy(seed, **fields):
    items, points, kind = planted(seed)
    fitted = spec(**fields).fit(items, side=Side(prototypes=points), progress=False)
    codes = fitted.encode(items)[:, 0]
    return (codes == kind).mean(), len(np.unique(codes))


@pytest.mark.parametrize("seed", SEEDS)
def test_centred_prototypes_name_items_rightly_and_all_are_used(seed):
    centred, used = accuracy(seed)
    assert centred >= 0.85
    assert used == KINDS
    assert centred >= accuracy(seed, centre=False)[0] + 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_centring_alone_does_it_without_training(seed):
    centred, used = accuracy(seed, optimisation=STILL)
    assert centred >= 0.85
    assert used == KINDS
    assert centred >= accuracy(seed, optimisation=STILL, centre=False)[0] + 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_without_centring_anchored_training_makes_it_worse(seed):
    """An anchored offset spends itself on the gap: the worst of the four combinations."""
    assert accuracy(seed, centre=False)[0] < accuracy(seed, centre=False, optimisation=STILL)[0]


def sampled(seed, scale, temperature=1.0):
    items, points, kind = planted(seed)
    prototypes = Prototypes(points - points.mean(axis=0), items.mean(axis=0), scale=scale)
    with seeded(seed), torch.no_grad():
        assigned, _ = prototypes(torch.from_numpy(items), temperature)
    return assigned, (assigned.argmax(dim=1).numpy() == kind).mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_default_scale_samples_the_right_name(seed):
    assert sampled(seed, PrototypeRQ(names=NAMES).logit_scale)[1] >= 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scale_of_one_samples_almost_at_random(seed):
    """The trap: the cosines as the paper prints them, at its temperature of 1."""
    assert sampled(seed, 1.0)[1] < 0.25


def test_assignments_sharpen_as_the_temperature_falls():
    sharpness = [
        float(sampled(0, 20.0, temperature)[0].max(dim=1).values.mean())
        for temperature in (3.0, 1.0, 0.3)
    ]
    assert sharpness == sorted(sharpness)
    assert sharpness[-1] >= 0.95


def test_gradients_of_the_mixture_reach_items_and_offsets():
    items, points, _ = planted(0)
    prototypes = Prototypes(points, np.zeros(WIDTH), scale=20.0)
    rows = torch.from_numpy(items[:64]).requires_grad_()
    _, mixture = prototypes(rows, 1.0)
    mixture.square().matmul(torch.randn(WIDTH)).sum().backward()
    assert rows.grad.abs().sum() > 0
    assert prototypes.offset.grad.abs().sum() > 0


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("epochs", [0, 3])
def test_the_first_code_is_the_largest_cosine(centre, epochs):
    items, points, _ = planted(1)
    optimisation = Optimisation(epochs=epochs, learning_rate=0.01)
    fitted = spec(centre=centre, optimisation=optimisation).fit(
        items, side=Side(prototypes=points), progress=False
    )
    gap = items.mean(axis=0, dtype=np.float64) * centre
    book = fitted.codebooks[0].astype(np.float64) - gap
    lengths = np.linalg.norm(book, axis=1)
    assert np.allclose(lengths, lengths[0], rtol=1e-5)
    if not epochs:
        directions = points.astype(np.float64) - points.mean(axis=0) * centre
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        assert np.allclose(book / lengths[:, None], directions, atol=1e-5)
    expected = ((items - gap) @ book.T).argmax(axis=1)
    assert (fitted.encode(items)[:, 0] == expected).mean() > 0.999


def test_the_other_levels_are_rq_kmeans_of_what_is_left(brute_force):
    items, points, _ = planted(2)
    fitted = spec(levels=3, codebook_size=8).fit(items, side=Side(prototypes=points))
    first = fitted.codebooks[0]
    left = items - first[fitted.encode(items)[:, 0]]
    other = RQKMeans(levels=2, codebook_size=8).fit(left)
    for mine, theirs in zip(fitted.codebooks[1:], other.codebooks, strict=True):
        assert np.array_equal(mine, theirs)
    assert np.array_equal(fitted.encode(items), brute_force(fitted.codebooks, items))
    totals = fitted.errors(items, fitted.encode(items)).sum(axis=0)
    assert (np.diff(totals) < 0).all()


def test_labels_move_prototypes_that_the_names_misplace():
    items, points, kind = planted(0)
    wrong = points[np.roll(np.arange(KINDS), 1)] * 0.5 + points
    sides = Side(prototypes=wrong, labels=np.where(np.arange(len(kind)) % 2, kind, -1))
    optimisation = Optimisation(epochs=30, learning_rate=0.02, weight_decay=0.0)

    def right(**fields):
        fitted = spec(optimisation=optimisation, anchor=0.01, **fields).fit(items, side=sides)
        return (fitted.encode(items)[:, 0] == kind).mean()

    assert right(alignment=1.0) > right()


def test_prototypes_of_one_modality_read_its_columns_alone():
    items, points, kind = planted(0)
    rng = np.random.default_rng(5)
    other = 3 * rng.normal(size=(len(items), 7)).astype(np.float32)
    there = np.arange(len(items)) % 5 > 0
    matrix = np.concatenate([other, np.where(there[:, None], items, 0)], axis=1)
    blocks = {"image": slice(0, 7), "text": slice(7, 7 + WIDTH)}
    latent = Latent(matrix, blocks, np.stack([np.ones_like(there), there], axis=1))
    fitted = spec(modality="text").fit(latent, side=Side(prototypes=points), progress=False)
    alone = spec().fit(items[there], side=Side(prototypes=points), progress=False)
    codes = fitted.encode(latent)
    assert np.array_equal(codes[there], alone.encode(items[there]))
    assert (codes[there, 0] == kind[there]).mean() > 0.85
    assert (codes[~there] == codes[~there][0]).all()


def test_names_are_those_of_the_first_codes():
    items, points, _ = planted(0)
    fitted = spec(levels=2, codebook_size=4).fit(items, side=Side(prototypes=points))
    codes = fitted.encode(items)
    assert fitted.names_of(codes) == [NAMES[code] for code in codes[:, 0]]


@pytest.mark.parametrize("seed", SEEDS)
def test_named_first_codes_follow_the_kinds_more_than_k_means_does(seed):
    items, points, kind = planted(seed, noise=0.3)
    named = spec().fit(items, side=Side(prototypes=points), progress=False).encode(items)
    free = RQKMeans(levels=1, codebook_size=KINDS, seed=seed).fit(items).encode(items)
    assert nmi(kind, named[:, 0]) > nmi(kind, free[:, 0])


ITEMS, POINTS, _KIND = planted(0, items=40)

REFUSED = {
    "no side": ({}, None, r"side: PrototypeRQ needs prototypes"),
    "no prototypes": ({}, {"counts": np.ones(40)}, r"side: PrototypeRQ needs prototypes"),
    "fewer": ({}, {"prototypes": POINTS[1:]}, r"expected 16 rows .* 32 columns, got .*\(15, 32\)"),
    "narrower": ({}, {"prototypes": POINTS[:, 1:]}, r"of 32 columns, got shape \(16, 31\)"),
    "all alike": ({}, {"prototypes": np.ones((16, 32))}, r"'kind 0' has no direction"),
    "no modality": ({"modality": "text"}, {"prototypes": POINTS}, r"blocks are \['features'\]"),
    "no labels": ({"alignment": 1.0}, {"prototypes": POINTS}, r"alignment above 0 needs labels"),
    "labels": (
        {"alignment": 1.0},
        {"prototypes": POINTS, "labels": np.full(40, 16)},
        r"16 is none of the 16 names",
    ),
    "more entries": (
        {"levels": 2, "codebook_size": 41},
        {"prototypes": POINTS},
        r"codebook_size=41 needs at least 41 items, got 40",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_work_begins(case):
    fields, arrays, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        spec(**fields).fit(ITEMS, side=None if arrays is None else Side(**arrays))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"names": ("one",)}, "names"),
        ({"names": ("one", "two", "one")}, "'one' occurs more than once"),
        ({"levels": 3, "codebook_size": (4,)}, "2 levels follow the prototypes"),
        ({"levels": 2, "codebook_size": 0}, "codebook_size=0"),
        ({"logit_scale": 0}, "logit_scale"),
    ],
)
def test_fields_are_checked_when_the_spec_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        spec(**fields)
