"""BBQRec on planted factors: behaviour parts follow behaviour, specific parts know little of it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from semantic_ids import BBQRec, Latent, Optimisation, Side, Tokenizer

FACTORS, WIDTH, ITEMS = 4, 16, 1000


def planted(seed=0):
    """Two modalities, each of the factors of behaviour, of factors of its own, and noise."""
    rng = np.random.default_rng(seed)
    behaviour = rng.normal(size=(ITEMS, FACTORS))

    def shown(factors):
        return factors @ rng.normal(size=(FACTORS, WIDTH)) / 2

    parts = [
        shown(behaviour)
        + shown(rng.normal(size=(ITEMS, FACTORS)))
        + 0.2 * rng.normal(size=(ITEMS, WIDTH))
        for _ in range(2)
    ]
    blocks = {"text": slice(0, WIDTH), "image": slice(WIDTH, 2 * WIDTH)}
    present = np.stack([np.arange(ITEMS) % 50 != 1, np.arange(ITEMS) % 50 != 2], axis=1)
    matrix = np.concatenate(
        [part * p[:, None] for part, p in zip(parts, present.T, strict=True)], 1
    )
    side = Side(collaborative=behaviour @ rng.normal(size=(FACTORS, 8)))
    return Latent(matrix.astype(np.float32), blocks, present), behaviour, side


def spec(epochs=40, **fields):
    small = {"levels": 2, "codebook_size": 8, "code_dim": 8, "hidden": 32, "batch_size": 125}
    training = Optimisation(epochs=epochs, learning_rate=5e-3)
    return BBQRec(modalities=("text", "image"), **small | fields, optimisation=training)


LATENT, BEHAVIOUR, SIDE = planted()


@pytest.fixture(scope="module")
def fitted():
    return spec().fit(LATENT, side=SIDE, progress=False)


@pytest.fixture(scope="module")
def without_club():
    return spec(club=0.0).fit(LATENT, side=SIDE, progress=False)


def parts_of(fitted):
    """Behaviour and specific parts (N, M, c), and the error of what is rebuilt of them."""
    network = fitted.network
    x = network.standardised(torch.from_numpy(LATENT.matrix))
    batch = [x[:, block] for block in network.blocks]
    parts, specific = network.branches(batch), network.branches.specific_parts(batch)
    rebuilt = network.branches.rebuild(parts, specific)
    there = torch.from_numpy(LATENT.present.all(axis=1))
    errors = [(m - r)[there].square().mean() for m, r in zip(rebuilt, batch, strict=True)]
    return parts.numpy(), specific.numpy(), float(sum(errors) / 2)


def probed(parts, modality):
    """R^2 of behaviour by linear regression on other rows."""
    rows = np.flatnonzero(LATENT.present[:, modality])
    half = len(rows) // 2
    model = LinearRegression().fit(parts[rows[:half], modality], BEHAVIOUR[rows[:half]])
    return model.score(parts[rows[half:], modality], BEHAVIOUR[rows[half:]])


@pytest.mark.parametrize("modality", [0, 1])
def test_club_takes_behaviour_out_of_the_specific_parts(fitted, without_club, modality):
    assert probed(parts_of(without_club)[1], modality) > 0.4
    assert probed(parts_of(fitted)[1], modality) < 0.1


@pytest.mark.parametrize("modality", [0, 1])
def test_behaviour_parts_tell_behaviour(fitted, modality):
    assert probed(parts_of(fitted)[0], modality) > 0.7


def test_club_costs_little_in_reconstruction(fitted, without_club):
    """The modalities have a variance of 1; nothing at all, as one might hope, it is not."""
    assert parts_of(fitted)[2] < parts_of(without_club)[2] + 0.05


def test_codes_tell_more_of_behaviour_than_of_the_rest(fitted):
    decoded = fitted.decode(fitted.encode(LATENT))
    own = LATENT.matrix - LinearRegression().fit(BEHAVIOUR, LATENT.matrix).predict(BEHAVIOUR)
    from_behaviour = LATENT.matrix - own

    def share(target):
        return LinearRegression().fit(decoded, target).score(decoded, target)

    assert share(from_behaviour) > share(own) + 0.2


def test_content_alone_is_encoded(fitted):
    """Items that nobody knows yet, and another collaborative vector, change nothing."""
    again = fitted.spec.restore(fitted.arrays())
    assert np.array_equal(again.encode(LATENT), fitted.encode(LATENT))
    assert not any(name.split(".")[-1] == "behaviour" for name in fitted.arrays())


def test_an_absent_modality_has_the_reserved_code_at_each_of_its_levels(fitted):
    codes = fitted.encode(LATENT)
    assert (codes[~LATENT.present[:, 0], :2] == 8).all()
    assert (codes[~LATENT.present[:, 1], 2:] == 8).all()
    assert (codes[LATENT.present[:, 0], :2] < 8).all()
    assert fitted.codebook_sizes == (9, 9, 9, 9)


def test_the_modalities_share_their_codebooks(fitted):
    streams = fitted.network.streams
    assert streams.books(0) == streams.books(1)


def test_items_without_interactions_do_not_break_the_fit():
    known = np.arange(ITEMS) % 3 > 0
    side = Side(collaborative=SIDE.collaborative * known[:, None])
    fitted = spec(epochs=1).fit(LATENT, side=side, progress=False)
    assert np.isfinite(fitted.log.losses).all()
    nobody = Side(collaborative=np.zeros((ITEMS, 3)))
    log = spec(epochs=1).fit(LATENT, side=nobody, progress=False).log
    assert np.isfinite(log.losses).all()


def test_without_collaborative_vectors_nothing_begins():
    with pytest.raises(ValueError, match="side: BBQRec needs collaborative"):
        spec().fit(LATENT, side=Side(counts=np.ones(ITEMS)))
    with pytest.raises(ValueError, match="side: BBQRec needs collaborative"):
        Tokenizer.fit(LATENT.matrix, quantizer=BBQRec(codebook_size=8))


def test_other_modalities_are_refused():
    with pytest.raises(ValueError, match=r"the latent's blocks are \('text', 'image'\)"):
        BBQRec(modalities=("text", "sound"), codebook_size=8).fit(LATENT, side=SIDE)
    with pytest.raises(ValueError, match=r"give modalities=\('text', 'image'\)"):
        BBQRec(codebook_size=8).fit(LATENT, side=SIDE)
