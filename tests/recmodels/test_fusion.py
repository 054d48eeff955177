import json
import math

import numpy as np
import pytest
import torch

from recmodels import DynamicFusion, FusionReport, Optimisation, code_agreement, fusion_report
from recmodels.data import read_dataset, synthetic_catalogue
from semantic_ids import RQVAE, Concat, Features, NoCodecError, RQKMeans, Tokenizer
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


def worded(items=60, seed=0):
    """A modality of 4 tokens of 6 columns, item i with 1 + i % 4 of them, and a plain one."""
    rng = np.random.default_rng(seed)
    words = rng.normal(size=(items, 4, 6))
    words[np.arange(4) > (np.arange(items) % 4)[:, None]] = 0
    present = np.ones(items, dtype=bool)
    present[5] = False
    return Features(
        {"words": words.reshape(items, 24), "image": rng.normal(size=(items, 5))},
        {"words": present},
        np.arange(items),
    )


TOKENS = SMALL.model_copy(update={"tokens": {"words": 4}, "id_in_code": True})


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


@pytest.fixture(scope="module")
def with_ids(features):
    return SMALL.model_copy(update={"id_in_code": True}).fit(features, progress=False)


@pytest.mark.parametrize("kind", ["features alone", "ids", "tokens"])
def test_a_row_is_fused_alike_in_any_company(features, fitted, with_ids, kind):
    fitted = {"features alone": fitted, "ids": with_ids}.get(kind)
    if fitted is None:
        features = worded()
        fitted = TOKENS.fit(features, progress=False)
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


def test_zeroing_the_id_queries_changes_codes_and_leaves_the_cold_way(features, with_ids):
    known = with_ids.transform(features).matrix
    arrays = with_ids.arrays()
    arrays["network.own.weight"] = np.zeros_like(arrays["network.own.weight"])
    zeroed = with_ids.spec.restore(with_ids.widths, arrays).transform(features).matrix
    quantizer = RQKMeans(levels=2, codebook_size=16).fit(known)
    assert (quantizer.encode(zeroed) != quantizer.encode(known)).any()
    assert np.array_equal(zeroed, with_ids.transform(features.without_ids()).matrix)


def test_permuting_the_features_changes_the_codes_of_known_items(features, with_ids):
    known = with_ids.transform(features).matrix
    quantizer = RQKMeans(levels=2, codebook_size=16).fit(known)
    order = np.random.default_rng(0).permutation(len(features))
    other = features.rows(order)
    moved = Features(other.modalities, {"image": other.present[:, 1]}, features.ids)
    changed = (quantizer.encode(with_ids.transform(moved).matrix) != quantizer.encode(known)).any(
        axis=1
    )
    # The features decide, not the query: nine items in ten are among others than before.
    assert changed.mean() > 0.6


def nearest(vectors, k=10):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1)[:, :k]


def recall(fused, features, name):
    """Share of the 10 nearest by a modality that are among the 10 nearest fused vectors."""
    values, present = features.modality(name)
    pairs = zip(nearest(fused[present]), nearest(values[present].astype(np.float64)), strict=True)
    return np.mean([len(np.intersect1d(one, other)) / 10 for one, other in pairs])


def shuffled(features, seed=0):
    """The same values and masks, the rows in another order; ids stay where they are."""
    other = features.rows(np.random.default_rng(seed).permutation(len(features)))
    present = dict(zip(other.modalities, other.present.T, strict=True))
    return Features(other.modalities, present, features.ids)


def test_neighbours_follow_every_modality():
    features = synthetic_catalogue(items=600, users=1).features
    spec = DynamicFusion(width=32, optimisation=Optimisation(epochs=15, learning_rate=5e-3))
    fused = spec.fit(features, progress=False).transform(features).matrix
    mixed = shuffled(features)
    control = spec.fit(mixed, progress=False).transform(mixed).matrix
    for name in features.modalities:
        assert recall(fused, features, name) > 5 * recall(control, features, name), name


@pytest.mark.slow
def test_neighbours_follow_the_posters_and_the_texts_of_real_films(data_folder):
    features = read_dataset(data_folder / "ml100k").features
    fused = DynamicFusion().fit(features, progress=False).transform(features).matrix
    mixed = fused[np.random.default_rng(0).permutation(len(fused))]
    for name in features.modalities:
        assert recall(fused, features, name) > 5 * recall(mixed, features, name), name


@pytest.mark.parametrize("seed", range(3))
def test_code_agreement_is_that_of_a_loop_over_items(features, seed):
    spec = SMALL.model_copy(update={"id_in_code": True, "seed": seed})
    tokenizer = Tokenizer.fit(
        features, fuser=spec, quantizer=RQKMeans(levels=3, codebook_size=8), progress=False
    )
    cold = tokenizer.encode(features)
    counts = np.zeros(3)
    for row, known in zip(cold.tolist(), tokenizer.content_codes.tolist(), strict=True):
        for level in range(3):
            counts[level] += row[: level + 1] == known[: level + 1]
    shares = code_agreement(tokenizer, features)
    assert shares.tolist() == (counts / len(features)).tolist()
    # Chance is 1 / 8 for the first level.
    assert 0.5 < shares[0] <= 1
    some = features.rows(np.array([7, 3]))
    same = (tokenizer.content_codes[[7, 3]] == tokenizer.encode(some)).all(axis=1)
    assert code_agreement(tokenizer, some)[-1] == same.mean()


def test_own_queries_are_found_by_id(features, fitted, with_ids):
    for one in (fitted, with_ids):
        queries = one.arrays()["network.own.weight"]
        assert np.array_equal(one.own_queries(["item 3", "item 0"]), queries[[3, 0]])
        assert queries.any(axis=1).all()
        assert not one.own_queries(["item 3", "nobody"])[1].any()
        assert not one.own_queries([3]).any()


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


def test_fitting_does_not_see_what_fills_absent_rows(fitted, features):
    absent = ~features.present[:, 1:]
    filled = np.where(absent, np.nan, features.modalities["image"])
    filled[::2] = np.where(absent[::2], -1e5, filled[::2])
    other = Features(
        {"text": features.modalities["text"], "image": filled},
        {"image": features.present[:, 1]},
        features.ids,
    )
    again = SMALL.fit(other, progress=False).arrays()
    for name, array in fitted.arrays().items():
        assert np.array_equal(again[name], array), name


def test_a_modality_may_be_left_out(fitted, features):
    text_alone = {"text": features.modalities["text"]}
    fused = fitted.transform(Features(text_alone))
    assert not fused.present[:, 1].any()
    absent = ~features.present[:, 1]
    assert np.array_equal(fused.matrix[absent], fitted.transform(features).matrix[absent])


def naive_weights(fitted, features, ids):
    """Token and modality weights of each item by the formulas, in float64, item by item."""
    arrays = {
        name: array.astype(np.float64)
        for name, array in fitted.arrays().items()
        if array.dtype == np.float32
    }
    tau, found = fitted.spec.alignment_temperature, []
    for row in range(len(features)):
        query = arrays["network.common"] + (arrays["network.own.weight"][row] if ids else 0)
        logits = []
        for m, name in enumerate(fitted.widths):
            values, present = features.modality(name)
            count = fitted.spec.tokens.get(name, 1)
            vectors = []
            for token in values[row].reshape(count, -1).astype(np.float64):
                if count == 1 or token.any():
                    scaled = (token - arrays[f"mean.{name}"]) / arrays[f"scale.{name}"]
                    shared = arrays[f"network.projections.{m}.weight"] @ scaled
                    vectors.append(shared / np.linalg.norm(shared))
            if not present[row]:
                logits.append(-np.inf)
                continue
            shares = [np.exp(query @ v / np.linalg.norm(query) / tau) for v in vectors]
            pooled = sum(s * v for s, v in zip(shares, vectors, strict=True)) / sum(shares)
            logits.append(query @ pooled / np.linalg.norm(query) / np.linalg.norm(pooled) / tau)
        shares = np.exp(logits)
        found.append(shares / shares.sum())
    return np.array(found)


@pytest.mark.parametrize("id_in_code", [False, True])
def test_alignment_weights_are_those_of_the_formula(features, fitted, with_ids, id_in_code):
    one = with_ids if id_in_code else fitted
    weights = one.modality_weights(features)
    np.testing.assert_allclose(weights, naive_weights(one, features, id_in_code), atol=1e-5)
    # Also without an ID query the weights depend on the item.
    assert weights[features.present.all(axis=1), 0].std() > 0.01


def test_token_alignment_is_that_of_a_loop_over_tokens():
    features = worded()
    fitted = TOKENS.fit(features, progress=False)
    weights = fitted.modality_weights(features)
    np.testing.assert_allclose(weights, naive_weights(fitted, features, True), atol=1e-5)
    assert (weights[5] == [0, 1]).all()


def test_padding_is_no_token_and_order_no_matter():
    features = worded()
    fitted = TOKENS.fit(features, progress=False)
    words = features.modalities["words"].reshape(60, 4, 6)
    turned = features.replaced({"words": words[:, ::-1].reshape(60, 24)})
    np.testing.assert_allclose(
        fitted.transform(turned).matrix, fitted.transform(features).matrix, atol=1e-5
    )


def test_token_fusion_comes_back_from_its_arrays():
    features = worded()
    fitted = TOKENS.fit(features, progress=False)
    again = TOKENS.restore(fitted.widths, fitted.arrays())
    assert np.array_equal(again.transform(features).matrix, fitted.transform(features).matrix)
    assert fitted.inverse(fitted.transform(features).matrix)["words"].shape == (60, 24)


def test_tokens_are_refused_where_they_do_not_fit():
    features = worded()
    with pytest.raises(ValueError, match="tokens: no modality 'text' among the features"):
        SMALL.model_copy(update={"tokens": {"text": 2}}).fit(features)
    with pytest.raises(ValueError, match="5 tokens an item do not divide the 24 columns"):
        SMALL.model_copy(update={"tokens": {"words": 5}}).fit(features)
    bare = np.vstack([np.ones((2, 24)), np.zeros((1, 24))])
    for refused in (
        lambda: TOKENS.fit(Features({"words": bare}), progress=False),
        lambda: TOKENS.fit(features, progress=False).transform(Features({"words": bare})),
    ):
        with pytest.raises(ValueError, match=r"1 rows hold zeros throughout.*\(first: 2\)"):
            refused()


def test_a_high_threshold_stops_items_after_one_layer(fitted, features):
    shut = fitted.spec.model_copy(update={"gate_threshold": 1.0})
    assert set(shut.restore(fitted.widths, fitted.arrays()).depths(features)) == {1}
    open_ = fitted.spec.model_copy(update={"gate_threshold": 0.0})
    assert set(open_.restore(fitted.widths, fitted.arrays()).depths(features)) == {SMALL.layers}


def test_a_depth_cost_shuts_gates(features):
    costly = SMALL.model_copy(
        update={"depth_cost": 20.0, "gate_threshold": 0.5, "optimisation": Optimisation(epochs=40)}
    )
    assert costly.fit(features, progress=False).depths(features).mean() < SMALL.layers


@pytest.mark.parametrize("depth", [1, 2])
def test_a_fixed_depth_has_no_gates(features, depth):
    fitted = SMALL.model_copy(update={"fixed_depth": depth}).fit(features, progress=False)
    assert set(fitted.depths(features)) == {depth}
    assert not [name for name in fitted.arrays() if "gates" in name]
    assert "depth" not in fitted.log.terms
    again = fitted.spec.restore(fitted.widths, fitted.arrays())
    assert np.array_equal(again.transform(features).matrix, fitted.transform(features).matrix)


def test_weight_0_leaves_the_contrast_out(features):
    terms = SMALL.model_copy(update={"contrast": 0.0}).fit(features, progress=False).log.terms
    assert set(terms) == {"reconstruction", "depth"}


def test_near_duplicates_are_not_pushed_apart():
    """Of two equal items none can be told from the other: contrasted, they cost log 2 at least."""
    vectors = np.repeat(np.random.default_rng(0).normal(size=(16, 12)), 2, axis=0)
    spec = DynamicFusion(
        width=16,
        heads=2,
        id_dropout=1.0,
        contrast=1.0,
        contrast_temperature=0.05,
        batch_size=32,
        optimisation=Optimisation(epochs=80, learning_rate=5e-3),
    )
    losses = {
        threshold: spec.model_copy(update={"near_duplicate": threshold})
        .fit(Features({"text": vectors}), progress=False)
        .log.terms["contrast"][-1]
        for threshold in (0.95, 1.5)
    }
    assert losses[1.5] >= math.log(2) - 1e-4
    assert losses[0.95] < 0.1


def test_the_report_says_what_the_fusion_does(fitted, features):
    report = FusionReport.of(fitted, features)
    depths = np.bincount(fitted.depths(features), minlength=SMALL.layers + 1)[1:]
    assert report.items == len(features)
    assert report.depths == tuple(depths.tolist())
    means = fitted.modality_weights(features).astype(np.float64).mean(axis=0)
    assert list(report.weights.values()) == pytest.approx(means.tolist())
    rebuilt = fitted.inverse(fitted.transform(features).matrix)
    for name in features.modalities:
        values, present = features.modality(name)
        real = values[present].astype(np.float64)
        lost = ((rebuilt[name][present] - real) ** 2).sum() / ((real - real.mean(0)) ** 2).sum()
        assert report.relative_errors[name] == pytest.approx(lost)
    assert report.agreement is None
    assert json.loads(json.dumps(report.to_dict()))["depths"] == list(report.depths)
    assert repr(report).startswith("200 items; layers: ")


def test_the_report_does_not_count_padding_and_names_what_nobody_has():
    features = worded()
    fitted = TOKENS.fit(features, progress=False)
    rebuilt = fitted.inverse(fitted.transform(features).matrix)["words"].reshape(60, 4, 6)
    words, present = features.modality("words")
    words = words.reshape(60, 4, 6).astype(np.float64)
    real = [words[i, j] for i in range(60) for j in range(4) if present[i] and words[i, j].any()]
    made = [rebuilt[i, j] for i in range(60) for j in range(4) if present[i] and words[i, j].any()]
    lost = np.square(np.subtract(made, real)).sum() / np.square(real - np.mean(real, 0)).sum()
    report = FusionReport.of(fitted, features)
    assert report.relative_errors["words"] == pytest.approx(lost)
    alone = FusionReport.of(fitted, Features({"image": features.modalities["image"]}))
    assert alone.relative_errors["words"] is None
    assert alone.weights == {"words": 0.0, "image": 1.0}
    assert "not measured" in repr(alone)


def test_the_report_of_a_tokenizer_has_the_agreement_of_its_codes(features):
    quantizer = RQKMeans(levels=2, codebook_size=16)
    tokenizer = Tokenizer.fit(features, fuser=SMALL, quantizer=quantizer, progress=False)
    report = fusion_report(tokenizer, features)
    assert report.agreement == (1.0, 1.0)
    assert "agree, by prefix: 100.0%, 100.0%" in repr(report)
    assert report.to_dict()["agreement"] == (1.0, 1.0)
    other = Tokenizer.fit(features, fuser=Concat(), quantizer=quantizer, progress=False)
    with pytest.raises(TypeError, match="expected one fitted with DynamicFusion, got Concat"):
        fusion_report(other, features)
    published = Tokenizer.from_codes(features.ids, tokenizer.codes)
    for measure in (fusion_report, code_agreement):
        with pytest.raises(NoCodecError):
            measure(published, features)


def test_the_fuser_of_a_tokenizer_gives_the_vectors_that_were_quantized(features):
    quantizer = RQKMeans(levels=2, codebook_size=16)
    tokenizer = Tokenizer.fit(features, fuser=SMALL, quantizer=quantizer, progress=False)
    fused = tokenizer.fuser.transform(features)
    again = quantizer.fit(fused).encode(fused)
    assert np.array_equal(again, tokenizer.content_codes)


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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 16, "heads": 3}, "heads=3 does not divide width=16"),
        ({"layers": 2, "fixed_depth": 3}, "fixed_depth=3 is more than layers=2"),
        ({"contrast": 0, "reconstruction": 0}, "both 0: there is nothing to learn"),
        ({"tokens": {"text": 1}}, "greater than or equal to 2"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DynamicFusion(**fields)


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
