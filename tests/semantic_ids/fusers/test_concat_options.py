"""Concat's scales, reductions and imputations against scikit-learn, and against themselves."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.preprocessing import Normalizer, StandardScaler
from threadpoolctl import threadpool_limits

from semantic_ids import Concat, Features, RQKMeans, Tokenizer
from semantic_ids.features import BLOCK_ROWS
from semantic_ids.fusers.imputation import RidgeImputation

WIDTHS = {"text": 6, "image": 9, "sound": 4}

SPECS = [
    Concat(scale="l2"),
    Concat(scale="l2", weights={"image": 0.5}, impute="ridge"),
    Concat(reduction="pca", width=3),
    Concat(reduction="whiten", width={"image": 5}, scale="l2"),
    Concat(reduction="whiten", width=4, impute="ridge", ridge=2.0),
    Concat(impute="ridge", weights={"text": 3.0}),
]


def correlated(n=80, seed=0):
    """Three modalities that share hidden causes, far from zero and of different scales."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(n, 3))
    return {
        name: (causes @ rng.normal(size=(3, width)) + 0.3 * rng.normal(size=(n, width)) + 1) * scale
        for (name, width), scale in zip(WIDTHS.items(), (1, 20, 0.01), strict=True)
    }


def with_gaps(n=80, seed=0):
    """Items of every pattern of missing modalities."""
    arrays = correlated(n, seed)
    patterns = [p for p in itertools.product([True, False], repeat=3) if any(p)]
    present = np.array([patterns[i % len(patterns)] for i in range(n)])
    for column, array in enumerate(arrays.values()):
        array[~present[:, column]] = np.nan
    return Features(arrays, present=dict(zip(arrays, present.T, strict=True)))


def scaled(array):
    """The standardised columns at total variance 1, in float64."""
    return StandardScaler().fit_transform(array) / np.sqrt(array.shape[1])


def block(latent, name):
    return latent.matrix[:, latent.blocks[name]].astype(np.float64)


# --- what holds of every choice


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_a_row_is_fused_the_same_in_any_company_and_on_any_threads(spec):
    features = with_gaps()
    fitted = spec.fit(features)
    whole = fitted.transform(features).matrix
    order = np.random.default_rng(1).permutation(len(features))
    assert np.array_equal(fitted.transform(features.rows(order)).matrix, whole[order])
    for i in range(len(features)):
        alone = fitted.transform(features.rows(slice(i, i + 1))).matrix
        assert np.array_equal(alone, whole[i : i + 1])
    with threadpool_limits(2):
        assert np.array_equal(fitted.transform(features).matrix, whole)


# Where terms cancel, float32 keeps the digits in which plain matrix products differ.


def test_rows_that_all_but_vanish_are_projected_the_same_in_any_company():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(400, 200))
    array -= array.mean(axis=0)
    fitted = Concat(reduction="pca", width=40).fit(Features(array))
    kept = fitted.inverse(fitted.transform(Features(array)).matrix)["features"]
    rows = (array - kept).astype(np.float32)
    whole = fitted.transform(Features(rows)).matrix
    assert np.abs(whole).max() < 1e-5
    singles = [fitted.transform(Features(row[None])).matrix for row in rows]
    assert np.array_equal(np.concatenate(singles), whole)


def test_predictions_that_all_but_vanish_are_the_same_in_any_company():
    rng = np.random.default_rng(0)
    blocks = [slice(0, 150), slice(150, 200)]
    half = rng.normal(size=(500, 150)) @ rng.normal(size=(150, 200))
    imputation = RidgeImputation.of([half, -half], 30.0, blocks)
    first_only = np.tile([True, False], (300, 1))
    weights = imputation.fill(np.eye(150, 200), first_only[:150])[:, 150:]
    null = np.linalg.svd(weights)[0][:, 50:]
    rows = np.zeros((300, 200), dtype=np.float32)
    rows[:, :150] = rng.normal(size=(300, 100)) @ null.T
    whole = imputation.fill(rows, first_only)
    assert np.abs(whole[:, 150:]).max() < 1e-4
    singles = [imputation.fill(rows[i : i + 1], first_only[:1]) for i in range(300)]
    assert np.array_equal(np.concatenate(singles), whole)


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_layout_of_the_features_does_not_matter(spec):
    arrays = correlated()
    fitted = spec.fit(Features(arrays))
    expected = fitted.transform(Features(arrays)).matrix
    turned = {name: np.asfortranarray(array) for name, array in arrays.items()}
    assert np.array_equal(fitted.transform(Features(turned)).matrix, expected)


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_what_is_restored_fuses_and_inverts_bit_for_bit(spec):
    features = with_gaps()
    fitted = spec.fit(features)
    again = Concat.parse(spec.model_dump(mode="json")).restore(fitted.widths, fitted.arrays())
    found, expected = again.transform(features), fitted.transform(features)
    assert np.array_equal(found.matrix, expected.matrix)
    assert found.blocks == expected.blocks
    for name, array in fitted.inverse(expected.matrix).items():
        assert np.array_equal(again.inverse(found.matrix)[name], array)
        assert array.dtype == np.float32
        assert array.shape == (len(features), WIDTHS[name])


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_total_variance_of_a_modality_is_its_weight_squared_over_the_items_that_have_it(spec):
    features = with_gaps(200)
    latent = spec.fit(features).transform(features)
    for column, name in enumerate(latent.blocks):
        values = block(latent, name)[features.present[:, column]]
        assert values.mean(axis=0) == pytest.approx(0, abs=1e-5)
        assert values.var(axis=0).sum() == pytest.approx(spec.weights.get(name, 1) ** 2, rel=1e-4)


@pytest.mark.parametrize("spec", SPECS, ids=repr)
@pytest.mark.parametrize("change", ["shape", "dtype", "missing"])
def test_arrays_that_do_not_fit_are_not_restored(spec, change):
    fitted = spec.fit(with_gaps())
    for name in fitted.arrays():
        arrays = dict(fitted.arrays())
        if change == "missing":
            del arrays[name]
        else:
            arrays[name] = arrays[name][:-1] if change == "shape" else arrays[name].astype(int)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            spec.restore(fitted.widths, arrays)


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_numbers_that_leave_float32_are_refused_or_harmless(spec):
    fitted = spec.fit(Features(correlated()))
    far = {name: np.full((2, width), 3e38) for name, width in WIDTHS.items()}
    far["text"][0] = 0
    if spec.scale == "l2":
        assert np.isfinite(fitted.transform(Features(far)).matrix).all()
    else:
        with pytest.raises(ValueError, match="features, standardised: 2 rows"):
            fitted.transform(Features({name: far[name] for name in ("image", "sound")}))


def test_a_tokenizer_with_all_options_survives_a_save(tmp_path):
    features = with_gaps(120)
    tokenizer = Tokenizer.fit(
        features, fuser=SPECS[4], quantizer=RQKMeans(levels=2, codebook_size=16)
    )
    tokenizer.save(tmp_path / "codes")
    loaded = Tokenizer.load(tmp_path / "codes")
    assert loaded.spec == tokenizer.spec
    assert np.array_equal(loaded.encode(features), tokenizer.encode(features))


# --- scale


def test_l2_is_the_normalizer_centred_and_scaled():
    arrays = correlated()
    arrays["image"][3] = 0
    latent = Concat(scale="l2").fit(Features(arrays)).transform(Features(arrays))
    for name, array in arrays.items():
        rows = Normalizer().fit_transform(array)
        rows = rows - rows.mean(axis=0)
        expected = rows / np.sqrt((rows**2).sum(axis=1).mean())
        assert np.allclose(block(latent, name), expected, atol=1e-6)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30), width=st.integers(2, 6))
def test_l2_keeps_directions_and_loses_lengths(seed, n, width):
    array = np.random.default_rng(seed).normal(size=(n, width))
    lengths = 10.0 ** np.random.default_rng(seed).integers(-9, 9, size=(n, 1))
    fitted = Concat(scale="l2").fit(Features(array))
    matrix = fitted.transform(Features(array)).matrix
    assert np.allclose(fitted.transform(Features(array * lengths)).matrix, matrix, atol=1e-5)
    back = fitted.inverse(matrix)["features"]
    assert np.allclose(back, Normalizer().fit_transform(array), atol=1e-5)


def test_rows_of_zeros_alone_stay_zeros():
    fitted = Concat(scale="l2", reduction="whiten").fit(Features(np.zeros((5, 3))))
    assert (fitted.transform(Features(np.zeros((2, 3)))).matrix == 0).all()
    assert (fitted.inverse(np.zeros((2, 3), np.float32))["features"] == 0).all()


# --- reduction


@pytest.mark.parametrize("whiten", [False, True])
def test_reductions_are_those_of_scikit_learn_at_total_variance_one(whiten):
    arrays = correlated(500)
    spec = Concat(reduction="whiten" if whiten else "pca", width={"text": 4, "image": 7})
    latent = spec.fit(Features(arrays)).transform(Features(arrays))
    for name, array in arrays.items():
        oracle = PCA(spec.width.get(name, WIDTHS[name]), whiten=whiten, svd_solver="full")
        expected = oracle.fit_transform(scaled(array))
        expected /= np.sqrt(expected.var(axis=0).sum())
        found = block(latent, name)
        assert found.shape == expected.shape
        assert np.allclose(found, expected * np.sign((found * expected).sum(axis=0)), atol=1e-5)


def test_the_largest_entry_of_a_component_is_positive():
    fitted = Concat(reduction="pca").fit(Features(correlated()))
    for name in WIDTHS:
        components = fitted.arrays()[f"components.{name}"]
        assert (components.max(axis=0) == np.abs(components).max(axis=0)).all()


@pytest.mark.parametrize("reduction", ["pca", "whiten"])
def test_without_dropped_dimensions_the_features_come_back(reduction):
    arrays = correlated()
    fitted = Concat(reduction=reduction, weights={"text": 7.0}).fit(Features(arrays))
    back = fitted.inverse(fitted.transform(Features(arrays)).matrix)
    for name, array in arrays.items():
        assert np.allclose(back[name], array, rtol=1e-4, atol=1e-5 * np.abs(array).max())


def test_with_dropped_dimensions_what_comes_back_is_what_scikit_learn_gives_back():
    arrays = correlated()
    fitted = Concat(reduction="whiten", width=3).fit(Features(arrays))
    back = fitted.inverse(fitted.transform(Features(arrays)).matrix)
    for name, array in arrays.items():
        mean, deviation = array.mean(axis=0), array.std(axis=0)
        oracle = PCA(3, svd_solver="full")
        rows = oracle.inverse_transform(oracle.fit_transform((array - mean) / deviation))
        expected = rows * deviation + mean
        assert np.allclose(back[name], expected, rtol=1e-4, atol=1e-5 * np.abs(array).max())


def test_components_that_all_but_vanish_stay_small():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8))  # of rank 3
    latent = Concat(reduction="whiten").fit(Features(array)).transform(Features(array))
    assert latent.matrix[:, :3].var(axis=0) == pytest.approx(1 / 3, rel=1e-4)
    assert np.abs(latent.matrix[:, 3:]).max() < 1e-2


def test_a_number_of_components_larger_than_the_modality_keeps_all():
    latent = (
        Concat(reduction="pca", width=5)
        .fit(Features(correlated()))
        .transform(Features(correlated()))
    )
    assert latent.blocks == {"text": slice(0, 5), "image": slice(5, 10), "sound": slice(10, 14)}


def test_a_reduction_fitted_over_several_blocks_equals_one_over_all_rows():
    array = np.random.default_rng(0).normal(3, 2, size=(2 * BLOCK_ROWS + 5, 3)) * [1, 2, 3]
    fitted = Concat(reduction="pca", width=2).fit(Features(array))
    found = fitted.transform(Features(array)).matrix.astype(np.float64)
    expected = PCA(2, svd_solver="full").fit_transform(scaled(array))
    expected /= np.sqrt(expected.var(axis=0).sum())
    assert np.allclose(found, expected * np.sign((found * expected).sum(axis=0)), atol=1e-4)


# --- imputation


def test_of_two_modalities_a_missing_one_is_predicted_by_ridge_regression():
    arrays = {name: array for name, array in correlated().items() if name != "sound"}
    has_text, has_image = np.arange(80) % 5 > 0, np.arange(80) % 5 < 4
    features = Features(arrays, present={"text": has_text, "image": has_image})
    latent = (
        Concat(impute="ridge", ridge=2.5, weights={"image": 0.5}).fit(features).transform(features)
    )
    both = has_text & has_image
    text, image = block(latent, "text"), block(latent, "image") / 0.5
    oracle = Ridge(alpha=2.5).fit(text[both], image[both])
    assert np.allclose(image[~has_image], oracle.predict(text[~has_image]), atol=1e-6)
    oracle = Ridge(alpha=2.5).fit(image[both], text[both])
    assert np.allclose(text[~has_text], oracle.predict(image[~has_text]), atol=1e-6)
    assert np.array_equal(latent.present, np.stack([has_text, has_image], axis=1))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), ridge=st.floats(0.01, 100))
def test_every_pattern_of_three_modalities_is_predicted_by_ridge_regression(seed, ridge):
    features = with_gaps(70, seed)
    latent = Concat(impute="ridge", ridge=ridge).fit(features).transform(features)
    complete = latent.present.all(axis=1)
    of_column = np.repeat(np.arange(3), list(WIDTHS.values()))
    for pattern in np.unique(latent.present[~complete], axis=0):
        known = pattern[of_column]
        rows = (latent.present == pattern).all(axis=1)
        learnt = latent.matrix[complete].astype(np.float64)
        oracle = Ridge(alpha=ridge).fit(learnt[:, known], learnt[:, ~known])
        expected = oracle.predict(latent.matrix[rows][:, known].astype(np.float64))
        assert np.allclose(latent.matrix[rows][:, ~known], expected, atol=1e-5)


def test_what_is_there_is_not_touched_by_the_imputation():
    features = with_gaps()
    plain = Concat().fit(features).transform(features)
    filled = Concat(impute="ridge").fit(features).transform(features)
    there = np.repeat(plain.present, list(WIDTHS.values()), axis=1)
    assert np.array_equal(filled.matrix[there], plain.matrix[there])
    assert (plain.matrix[~there] == 0).all()
    assert (filled.matrix[~there] != 0).all()


def test_a_modality_that_is_left_out_later_is_predicted():
    arrays = correlated()
    fitted = Concat(impute="ridge", ridge=0.1).fit(Features(arrays))
    latent = fitted.transform(Features({"text": arrays["text"]}))
    whole = fitted.transform(Features(arrays))
    error = ((latent.matrix - whole.matrix) ** 2).sum()
    assert error < 0.5 * (whole.matrix[:, 6:] ** 2).sum()
    assert np.array_equal(latent.matrix[:, :6], whole.matrix[:, :6])


def test_one_modality_alone_has_nothing_to_predict():
    array = correlated()["text"]
    fitted = Concat(impute="ridge").fit(Features(array))
    assert fitted.arrays().keys() == Concat().fit(Features(array)).arrays().keys()
    assert np.array_equal(
        fitted.transform(Features(array)).matrix,
        Concat().fit(Features(array)).transform(Features(array)).matrix,
    )


def test_without_complete_items_there_is_nothing_to_learn_from():
    half = np.arange(80) < 40
    features = Features(correlated(), present={"text": half, "image": ~half})
    with pytest.raises(ValueError, match=r"impute='ridge' .* every modality, at least 2; got 0"):
        Concat(impute="ridge").fit(features)


def held_out_error(features, spec):
    """Squared error of predicting one modality of held-out items, relative to the mean's."""
    order = np.random.default_rng(0).permutation(len(features))
    learnt, held_out = features.rows(order[len(order) // 5 :]), order[: len(order) // 5]
    fitted = spec.fit(learnt)
    target = fitted.transform(features.rows(held_out))
    ratios = []
    for name in features.modalities:
        others = {key: value[held_out] for key, value in features.modalities.items() if key != name}
        found = block(fitted.transform(Features(others)), name)
        truth = block(target, name)
        mean = block(fitted.transform(learnt), name).mean(axis=0)
        ratios.append(((found - truth) ** 2).sum() / ((mean - truth) ** 2).sum())
    return dict(zip(features.modalities, ratios, strict=True))


def test_on_real_films_ridge_predicts_better_than_the_mean(films):
    text, posters, has_poster = films
    features = Features({"text": text[has_poster], "image": posters[has_poster]})
    errors = held_out_error(features, Concat(impute="ridge"))
    assert max(errors.values()) < 0.996, errors


def test_on_real_videos_ridge_predicts_better_than_the_mean(data_folder):
    folder = data_folder / "tiktok_features"
    features = Features({name: np.load(folder / f"{name}_feat.npy") for name in ("image", "audio")})
    errors = held_out_error(features, Concat(impute="ridge"))
    assert errors["image"] < 0.99, errors
    assert errors["audio"] < 0.95, errors


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": "l1"}, "scale"),
        ({"reduction": "svd"}, "reduction"),
        ({"width": 3}, "width=3 needs a reduction"),
        ({"width": 0, "reduction": "pca"}, "width"),
        ({"width": {"text": 0}, "reduction": "pca"}, "width"),
        ({"impute": "zero"}, "impute"),
        ({"ridge": 0.0}, "ridge"),
        ({"ridge": float("nan")}, "ridge"),
    ],
)
def test_fields_are_checked_when_the_spec_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        Concat(**fields)


def test_a_width_of_no_modality_is_refused_by_name():
    spec = Concat(reduction="pca", width={"txt": 3})
    with pytest.raises(ValueError, match=r"width: no modality 'txt' among .*'text', 'image'"):
        spec.fit(Features(correlated()))


@pytest.mark.parametrize("scale", ["standardise", "l2"])
def test_a_modality_that_the_sample_lacks_is_refused_by_name(scale):
    features = Features(correlated(), present={"image": np.arange(80) == 3})
    with pytest.raises(ValueError, match=r"features\['image'\]: missing for every one of the 3 it"):
        Concat(scale=scale).fit(features.rows(slice(0, 3)))
