import numpy as np
import pytest
import torch

from recmodels import DynamicFusion, Optimisation
from recmodels.fusion_losses import info_nce, near_duplicates
from semantic_ids import RQVAE, Features, RQKMeans, Tokenizer
from semantic_ids.checkpoints import checkpoints
from semantic_ids.quantizers.neural.fitting import _Fit

SHORT = Optimisation(epochs=8, learning_rate=3e-3)
SMALL = DynamicFusion(width=16, heads=2, batch_size=64, optimisation=SHORT)


def clustered(items=200, seed=0, missing=True):
    """Two modalities that tell the same 10 groups apart."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 10, items)
    text = rng.normal(size=(10, 12))[groups] + 0.3 * rng.normal(size=(items, 12))
    image = rng.normal(size=(10, 7))[groups] + 0.3 * rng.normal(size=(items, 7))
    present = np.ones(items, dtype=bool)
    present[::9] = not missing
    ids = [f"item {i}" for i in range(items)]
    return Features({"text": text, "image": image}, {"image": present}, ids), groups


@pytest.fixture(scope="module")
def features():
    return clustered()[0]


@pytest.fixture(scope="module")
def fitted(features):
    return SMALL.fit(features, progress=False)


def test_fused_vectors_are_unit_vectors(fitted, features):
    latent = fitted.transform(features)
    assert latent.matrix.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(latent.matrix, axis=1), 1, rtol=1e-5)
    assert latent.present.tolist() == features.present.tolist()


def test_training_lowers_the_loss(fitted):
    assert fitted.log.losses[-1] < 0.8 * fitted.log.losses[0]


def test_fitting_repeats_bit_for_bit(fitted, features):
    again = SMALL.fit(features, progress=False)
    for name, array in fitted.arrays().items():
        assert np.array_equal(array, again.arrays()[name]), name


def test_fitting_leaves_the_global_random_numbers_alone(features):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    SMALL.model_copy(update={"optimisation": Optimisation(epochs=1)}).fit(features, progress=False)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("id_in_code", [False, True])
def test_a_row_is_fused_alike_in_any_company(features, id_in_code):
    fitted = SMALL.model_copy(update={"id_in_code": id_in_code}).fit(features, progress=False)
    whole = fitted.transform(features).matrix
    order = np.random.default_rng(0).permutation(len(features))
    assert np.array_equal(fitted.transform(features.rows(order)).matrix, whole[order])
    assert np.array_equal(fitted.transform(features.rows(slice(5, 8))).matrix, whole[5:8])


def test_fusing_does_not_depend_on_the_number_of_threads(fitted, features):
    threads = torch.get_num_threads()
    whole = fitted.transform(features).matrix
    try:
        torch.set_num_threads(2)
        assert np.array_equal(fitted.transform(features).matrix, whole)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("id_in_code", [False, True])
def test_save_and_load_change_nothing(features, tmp_path, id_in_code):
    tokenizer = Tokenizer.fit(
        features,
        fuser=SMALL.model_copy(update={"id_in_code": id_in_code}),
        quantizer=RQKMeans(levels=3, codebook_size=16),
        progress=False,
    )
    tokenizer.save(tmp_path / "t")
    loaded = Tokenizer.load(tmp_path / "t")
    assert loaded.spec == tokenizer.spec
    assert np.array_equal(loaded.encode(features), tokenizer.encode(features))
    assert np.array_equal(loaded.codes, tokenizer.codes)
    for name, values in tokenizer.decode(tokenizer.codes).items():
        assert np.array_equal(loaded.decode(loaded.codes)[name], values)
    assert loaded.statistics(features) == tokenizer.statistics(features)


def test_without_ids_in_the_code_a_row_needs_no_id(features):
    tokenizer = Tokenizer.fit(
        features, fuser=SMALL, quantizer=RQKMeans(levels=2, codebook_size=16), progress=False
    )
    assert np.array_equal(tokenizer.encode(features), tokenizer.content_codes)


def test_ids_in_the_code_change_known_rows_only(features):
    fitted = SMALL.model_copy(update={"id_in_code": True, "id_dropout": 0.2}).fit(
        features, progress=False
    )
    known = fitted.transform(features).matrix
    anonymous = fitted.transform(features.without_ids()).matrix
    strangers = Features(
        features.modalities, {"image": features.present[:, 1]}, [f"new {i}" for i in range(200)]
    )
    assert not np.array_equal(known, anonymous)
    assert np.array_equal(fitted.transform(strangers).matrix, anonymous)


def test_codes_follow_content(features):
    """Neighbours among fused vectors share their group far more often than chance."""
    fitted = SMALL.fit(features, progress=False)
    matrix = fitted.transform(features).matrix
    groups = clustered()[1]
    similarity = matrix @ matrix.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :5]
    assert (groups[nearest] == groups[:, None]).mean() > 0.8


def test_decoding_rebuilds_much_of_the_features(features):
    fitted = SMALL.model_copy(update={"optimisation": Optimisation(epochs=60)}).fit(
        features, progress=False
    )
    rebuilt = fitted.inverse(fitted.transform(features).matrix)
    for column, name in enumerate(features.modalities):
        there = features.present[:, column]
        real = features.modalities[name][there]
        lost = ((rebuilt[name][there] - real) ** 2).sum() / ((real - real.mean(0)) ** 2).sum()
        assert lost < 0.5, name


def test_absent_modalities_have_no_weight_and_no_influence(fitted, features):
    weights = fitted.modality_weights(features)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    absent = ~features.present[:, 1]
    assert (weights[absent, 1] == 0).all()
    garbled = {
        "text": features.modalities["text"],
        "image": np.where(absent[:, None], 1e6, features.modalities["image"]),
    }
    other = Features(garbled, {"image": features.present[:, 1]})
    assert np.array_equal(fitted.transform(other).matrix, fitted.transform(features).matrix)


def test_a_modality_may_be_left_out(fitted, features):
    text_alone = {"text": features.modalities["text"]}
    fused = fitted.transform(Features(text_alone))
    assert not fused.present[:, 1].any()
    absent = ~features.present[:, 1]
    assert np.array_equal(fused.matrix[absent], fitted.transform(features).matrix[absent])


def test_a_high_threshold_stops_items_after_one_layer(features):
    fitted = SMALL.model_copy(update={"gate_threshold": 1.0}).fit(features, progress=False)
    assert set(fitted.depths(features)) == {1}
    open_ = SMALL.model_copy(update={"gate_threshold": 0.0}).fit(features, progress=False)
    assert set(open_.depths(features)) == {SMALL.layers}


def test_a_depth_cost_shuts_gates(features):
    costly = SMALL.model_copy(
        update={"depth_cost": 20.0, "gate_threshold": 0.5, "optimisation": Optimisation(epochs=40)}
    )
    assert costly.fit(features, progress=False).depths(features).mean() < SMALL.layers


def test_info_nce_equals_a_loop_over_rows():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6, 4))
    there = np.array([1, 1, 0, 1, 1, 1], dtype=bool)
    alike = np.zeros((6, 6), dtype=bool)
    alike[0, 3] = alike[3, 0] = True
    losses = []
    for one, other in ((first, second), (second, first)):
        for i in np.flatnonzero(there):
            rivals = [j for j in np.flatnonzero(there) if not alike[i, j]]
            logits = np.array([one[i] @ other[j] / 0.1 for j in rivals])
            losses.append(np.log(np.exp(logits).sum()) - one[i] @ other[i] / 0.1)
    found = info_nce(
        torch.tensor(first),
        torch.tensor(second),
        torch.tensor(there),
        torch.tensor(alike),
        temperature=0.1,
    )
    assert found.item() == pytest.approx(np.mean(losses))


def test_near_duplicates_are_told_by_what_both_items_have():
    batch = [
        torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, -1.0]]),
        torch.tensor([[3.0], [0.0], [3.0]]),
    ]
    present = torch.tensor([[True, True], [True, False], [True, True]])
    alike = near_duplicates(batch, present, 0.95)
    # 0 and 1 have equal texts; 1 has no image. 0 and 2 have equal images and other texts.
    assert alike.tolist() == [[False, True, False], [True, False, False], [False, False, False]]


@pytest.mark.parametrize("value", [1e20, 1e37, 3e38])
def test_numbers_that_would_overflow_are_refused(fitted, features, value):
    huge = np.full((1, 12), value, dtype=np.float32)
    with pytest.raises(ValueError, match=r"features\['text'\], standardised: 1 rows hold"):
        fitted.transform(Features({"text": huge}))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("network.common", None, "network.common: no such array"),
        ("mean.text", np.zeros(5, np.float32), "mean.text: expected"),
        ("network.common", np.full(16, np.nan, np.float32), "network.common: holds NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(fitted, name, change, message):
    arrays = {key: value for key, value in fitted.arrays().items() if key != name}
    if change is not None:
        arrays[name] = change
    with pytest.raises(ValueError, match=message):
        SMALL.restore(fitted.widths, arrays)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads=3 does not divide width=16"):
        DynamicFusion(width=16, heads=3)


def test_a_tokenizer_cut_off_while_its_quantizer_trains_goes_on_bit_for_bit(
    features, tmp_path, monkeypatch
):
    """Two trainings in one fit: the first is read back, the second goes on."""
    spec = RQVAE(
        levels=3,
        codebook_size=8,
        hidden=(16,),
        code_dim=8,
        batch_size=64,
        optimisation=Optimisation(epochs=4),
    )

    def fit():
        return Tokenizer.fit(features, fuser=SMALL, quantizer=spec, progress=False)

    whole = fit()
    batches, epochs = _Fit.batches, []

    def dying(self, epoch):
        epochs.append(epoch)
        for number, batch in enumerate(batches(self, epoch)):
            if len(epochs) == 3 and number == 1:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(_Fit, "batches", dying)
    with pytest.raises(KeyboardInterrupt), checkpoints(tmp_path, every=0):
        fit()
    with checkpoints(tmp_path, every=0):
        resumed = fit()
    assert epochs == [0, 1, 2, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fusion", "rq-vae"]
    assert np.array_equal(resumed.codes, whole.codes)
    for name, array in whole.decode(whole.codes).items():
        assert np.array_equal(resumed.decode(whole.codes)[name], array)
