"""MMQ on planted factors: what shared and specific experts say, and what its losses are for."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import normalized_mutual_info_score as nmi

from semantic_ids import MMQ, Concat, Features, Latent, Optimisation
from semantic_ids.quantizers.neural.losses import codebook_loss
from semantic_ids.quantizers.neural.objectives import decorrelation

VALUES, WIDTH, ITEMS = 16, 16, 1000
TEXT, IMAGE = slice(2, 4), slice(4, 6)


def planted(seed=0, image_scale=5.0):
    """A factor that both modalities show, one of the text alone and one of the image alone."""
    rng = np.random.default_rng(seed)
    shared, text, image = (rng.integers(VALUES, size=ITEMS) for _ in range(3))

    def shown(factor, weight=1.0):
        return weight * rng.normal(size=(VALUES, WIDTH))[factor]

    def noise():
        return 0.3 * rng.normal(size=(ITEMS, WIDTH))

    features = Features(
        {
            "text": shown(shared, 0.7) + shown(text) + noise(),
            "image": image_scale * (shown(shared, 0.7) + shown(image) + noise()),
        },
        present={"text": np.arange(ITEMS) % 50 != 1, "image": np.arange(ITEMS) % 50 != 2},
    )
    return features, shared, text, image


def spec(epochs=25, **fields):
    training = Optimisation(epochs=epochs, learning_rate=1e-2)
    return MMQ(
        modalities=("text", "image"),
        **{"codebook_size": VALUES, "code_dim": 16, "hidden": 32, "batch_size": 125} | fields,
        optimisation=training,
    )


def latent_of(features):
    return Concat().fit(features).transform(features)


@pytest.fixture(scope="module")
def latent():
    return latent_of(planted()[0])


@pytest.fixture(scope="module")
def fitted(latent):
    return spec().fit(latent, progress=False)


def best(codes, factor, there):
    return max(nmi(codes[there, slot], factor[there]) for slot in range(codes.shape[1]))


def test_specific_experts_find_the_factors_of_their_modality(latent, fitted):
    _, _, text, image = planted()
    codes = fitted.encode(latent)
    assert best(codes[:, TEXT], text, latent.present[:, 0]) >= 0.4
    assert best(codes[:, IMAGE], image, latent.present[:, 1]) >= 0.4


def test_nearly_all_entries_are_in_use(latent, fitted):
    codes = fitted.encode(latent)
    used = [len(np.unique(codes[codes[:, slot] < VALUES, slot])) for slot in range(6)]
    assert np.mean(used) / VALUES >= 0.95


def told(fitted, latent):
    """R^2 of the image by linear regression on the sum of its own experts' entries, other rows."""
    network = fitted.network
    rows = torch.from_numpy(latent.matrix)
    with torch.no_grad():
        step = network(torch.arange(ITEMS), rows, torch.from_numpy(latent.present))
        weighted = network.weighted(step.x, step.present, step.quantized.values)
    there = np.flatnonzero(latent.present[:, 1])
    own, half = weighted[there, IMAGE].sum(dim=1).numpy(), len(there) // 2
    image = latent.matrix[there, latent.blocks["image"]]
    model = LinearRegression().fit(own[:half], image[:half])
    return model.score(own[half:], image[half:])


def test_the_auxiliary_loss_lets_own_experts_tell_their_modality(latent, fitted):
    """What it is for. That leaving it out costs the image's slots 0.2 of their NMI with the
    image's factor does not show here: where modalities are normalised, they keep it.
    """
    without = spec(auxiliary=0.0).fit(latent, progress=False)
    assert told(fitted, latent) > told(without, latent) + 0.01


@pytest.mark.parametrize("scale", [100.0, 128.0])
def test_scaling_a_modality_leaves_all_codes_where_inputs_are_normalised(latent, fitted, scale):
    scaled = latent_of(planted(image_scale=5.0 * scale)[0])
    assert np.array_equal(fitted.encode(scaled), fitted.encode(latent))


def test_a_fit_on_scaled_and_normalised_inputs_is_the_same(latent):
    # A power of two, since a training does not forget how a number was rounded.
    scaled = latent_of(planted(image_scale=5.0 * 128)[0])
    short = spec(epochs=2)
    one, other = (short.fit(rows, progress=False) for rows in (latent, scaled))
    assert np.array_equal(one.encode(latent), other.encode(latent))


def raw(features):
    matrix = np.concatenate([features.modality(name)[0] for name in ("text", "image")], axis=1)
    blocks = {"text": slice(0, WIDTH), "image": slice(WIDTH, 2 * WIDTH)}
    return Latent(matrix.astype(np.float32), blocks, features.present)


def test_scaling_a_modality_changes_codes_where_inputs_are_raw():
    one, other = raw(planted()[0]), raw(planted(image_scale=500.0)[0])
    short = spec(epochs=2)
    codes = [short.fit(rows, progress=False).encode(rows) for rows in (one, other)]
    assert not np.array_equal(*codes)


def step_of(fitted, latent):
    network = fitted.network.requires_grad_(True)
    network.zero_grad()
    rows = torch.arange(64)
    return network, network(
        rows, torch.from_numpy(latent.matrix[:64]), torch.from_numpy(latent.present[:64])
    )


def test_the_losses_as_printed_give_the_codebooks_no_gradient_but_the_added_one_does(latent):
    network, step = step_of(spec(epochs=1).fit(latent, progress=False), latent)
    tables = [book.table for stream in range(6) for book in network.streams.books(stream)]
    step.rebuilt.square().sum().backward(retain_graph=True)
    assert all(table.grad is None or not table.grad.any() for table in tables)
    codebook_loss(step.quantized.vectors, step.quantized.entries).backward()
    assert all(table.grad.any() for table in tables)


def test_an_absent_modality_has_the_reserved_code_and_no_weight(latent, fitted):
    codes = fitted.encode(latent)
    lacks = ~latent.present
    assert (codes[lacks[:, 0], TEXT] == VALUES).all()
    assert (codes[lacks[:, 1], IMAGE] == VALUES).all()
    assert (codes[:, :2] < VALUES).all()
    assert (codes[~lacks[:, 0], TEXT] < VALUES).all()
    network = fitted.network
    present = torch.from_numpy(latent.present)
    batch = [torch.from_numpy(latent.matrix[:, block]) for block in latent.blocks.values()]
    weights = network.experts.weights(batch, present).numpy()
    assert not weights[lacks[:, 0], TEXT].any()
    assert np.allclose(weights[~lacks[:, 0], TEXT].sum(axis=1), 1)
    assert (weights[:, :2] == 1).all()


def test_values_of_an_absent_modality_do_not_matter(latent, fitted):
    matrix = latent.matrix.copy()
    matrix[~latent.present[:, 1], latent.blocks["image"]] = 7
    other = Latent(matrix, latent.blocks, latent.present)
    assert np.array_equal(fitted.encode(other), fitted.encode(latent))


def test_decoding_takes_the_mean_of_the_gates(latent, fitted):
    network = fitted.network
    x = network.standardised(torch.from_numpy(latent.matrix))
    batch = [x[:, block] for block in network.blocks]
    weights = network.experts.weights(batch, torch.from_numpy(latent.present)).numpy()
    there = latent.present[:, 1]
    means = network.get_buffer("mean_weights").numpy()
    assert np.allclose(means[IMAGE], weights[there, IMAGE].mean(axis=0), atol=0.05)
    assert np.allclose(means[:2], 1)


def test_decorrelated_outputs_are_less_alike(latent):
    def alike(weight):
        fitted = spec(epochs=5, decorrelation=weight).fit(latent, progress=False)
        latents = torch.from_numpy(fitted.latents(latent)[latent.present.all(axis=1)])
        outputs, _ = fitted.network.streams.split(latents)
        return float(decorrelation(outputs[:, :2]))

    assert alike(8.0) < 0.8 * alike(0.0)


def test_both_penalties_are_offered(latent):
    log = spec(epochs=1, orthogonality=0.005).fit(latent, progress=False).log
    assert {"orthogonality", "decorrelation", "auxiliary"} <= set(log.terms)


def test_sizes_are_those_of_experts():
    assert spec(shared=1, specific=3).codebook_sizes == (16,) + (17,) * 6
    assert MMQ(codebook_size=9).codebook_sizes == (9, 9, 9, 9)


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (("text", "sound"), r"the latent's blocks are \('text', 'image'\)"),
        (("image", "text"), r"the latent's blocks are \('text', 'image'\)"),
        (("text",), r"give modalities=\('text', 'image'\)"),
    ],
)
def test_other_modalities_are_refused(latent, modalities, message):
    with pytest.raises(ValueError, match=message):
        MMQ(modalities=modalities, codebook_size=8).fit(latent)


def test_modalities_are_named_once():
    with pytest.raises(ValueError, match="more than once"):
        MMQ(modalities=("text", "text"))
