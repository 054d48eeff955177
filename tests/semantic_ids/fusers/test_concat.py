"""Concat against scikit-learn's StandardScaler, and its own inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from semantic_ids import Concat, Features, RQKMeans, Tokenizer
from semantic_ids.features import BLOCK_ROWS


def modalities(n=40, seed=0):
    """Text of scale 1, pictures that are wide, far from zero and large."""
    rng = np.random.default_rng(seed)
    return {
        "text": rng.normal(size=(n, 3)),
        "image": 50 + 7 * rng.normal(size=(n, 8)) @ rng.normal(size=(8, 8)),
    }


def scaled(array, present=None):
    """The oracle: scikit-learn in float64, on the present rows, at total variance 1."""
    rows = slice(None) if present is None else present
    scaler = StandardScaler().fit(np.asarray(array, dtype=np.float64)[rows])
    varying = max(1, int((scaler.var_ > 0).sum()))
    return scaler.transform(np.asarray(array, dtype=np.float64)) / np.sqrt(varying)


def test_each_modality_is_standardised_and_divided_by_the_root_of_its_width():
    arrays = modalities()
    latent = Concat().fit(Features(arrays)).transform(Features(arrays))
    assert latent.matrix.dtype == np.float32
    assert latent.blocks == {"text": slice(0, 3), "image": slice(3, 11)}
    for name, block in latent.blocks.items():
        assert np.allclose(latent.matrix[:, block], scaled(arrays[name]), atol=1e-6)


def test_only_rows_that_have_the_modality_are_measured():
    arrays, present = modalities(), np.arange(40) % 3 > 0
    arrays["image"][~present] = 1e30
    features = Features(arrays, present={"image": present})
    latent = Concat().fit(features).transform(features)
    image = latent.matrix[:, latent.blocks["image"]]
    assert np.allclose(image[present], scaled(arrays["image"], present)[present], atol=1e-6)
    assert (image[~present] == 0).all()
    assert latent.present.tolist() == [[True, has] for has in present.tolist()]


def test_what_absent_rows_hold_does_not_matter():
    present = np.arange(40) % 2 == 0
    outcomes = []
    for filler in (0.0, np.nan, -1e9):
        arrays = modalities()
        arrays["image"][~present] = filler
        features = Features(arrays, present={"image": present})
        outcomes.append(Concat().fit(features).transform(features).matrix)
    assert np.array_equal(outcomes[0], outcomes[1])
    assert np.array_equal(outcomes[0], outcomes[2])


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 50),
    width=st.integers(1, 6),
    exponent=st.integers(-12, 12),
    weight=st.floats(0.01, 100),
)
def test_inverse_gives_the_features_back(seed, n, width, exponent, weight):
    array = np.random.default_rng(seed).normal(1, 1, size=(n, width)) * 10.0**exponent
    features = Features({"text": array})
    fitted = Concat(weights={"text": weight}).fit(features)
    back = fitted.inverse(fitted.transform(features).matrix)["text"]
    assert back.dtype == np.float32
    assert np.allclose(back, array, rtol=1e-5, atol=1e-5 * np.abs(array).max())


def test_missing_rows_come_back_as_the_mean():
    arrays, present = modalities(), np.arange(40) > 9
    features = Features(arrays, present={"image": present})
    fitted = Concat().fit(features)
    back = fitted.inverse(fitted.transform(features).matrix)
    assert np.allclose(back["image"][:10], arrays["image"][10:].mean(axis=0), rtol=1e-5)
    assert np.allclose(back["image"][10:], arrays["image"][10:], rtol=1e-5)
    assert np.allclose(back["text"], arrays["text"], atol=1e-5)


def test_total_variance_of_a_modality_is_its_weight_squared():
    features = Features(modalities())
    latent = Concat(weights={"text": 3.0}).fit(features).transform(features)
    variances = {
        name: latent.matrix[:, block].var(axis=0, dtype=np.float64).sum()
        for name, block in latent.blocks.items()
    }
    assert variances == pytest.approx({"text": 9.0, "image": 1.0}, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 5.0, 0.1, -1e20])
def test_a_constant_column_becomes_zero_and_comes_back(value):
    array = modalities()["text"]
    array[:, 1] = value
    features = Features(array)
    fitted = Concat().fit(features)
    matrix = fitted.transform(features).matrix
    assert np.allclose(matrix[:, 1], 0)
    assert np.allclose(matrix[:, [0, 2]], scaled(array)[:, [0, 2]], atol=1e-6)
    assert np.allclose(fitted.inverse(matrix)["features"], array, rtol=1e-5, atol=1e-5)


def test_a_column_that_varies_by_rounding_alone_is_constant():
    rng = np.random.default_rng(0)
    array = np.stack([rng.normal(size=40), 1000 + rng.normal(size=40) * 1e-5], axis=1)
    matrix = Concat().fit(Features(array)).transform(Features(array)).matrix
    assert np.abs(matrix[:, 1]).max() < 1e-3
    assert matrix[:, 0].var() == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("unit", [1.0, 0.05, 1e4])
@pytest.mark.parametrize("noise", [[6e-8, 1.2e-7], [0.0, 0.0]])
def test_a_column_of_noise_beside_columns_that_vary_counts_little_later(unit, noise):
    rng = np.random.default_rng(0)
    array = rng.normal(size=(1000, 16)) * unit
    array[:, 0] = rng.choice(noise, 1000) * unit
    fitted = Concat().fit(Features(array))
    matrix = fitted.transform(Features(array)).matrix
    assert np.allclose(matrix[:, 1:], scaled(array[:, 1:]), atol=1e-5)
    assert np.abs(matrix[:, 0]).max() < 1e-6
    later = array.copy()
    later[:, 0] = 0.5 * unit
    ordinary = 0.5 / np.sqrt(15)  # what half a deviation is elsewhere
    assert fitted.transform(Features(later)).matrix[:, 0] == pytest.approx(ordinary, rel=0.1)


def test_codes_outlast_a_usual_value_in_a_column_that_was_noise_at_the_fit():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(1000, 16))
    array[:, 0] = rng.choice([6e-8, 1.2e-7], 1000)
    tokenizer = Tokenizer.fit(array, quantizer=RQKMeans(levels=3, codebook_size=64))
    later = array.copy()
    later[:, 0] = 0.02
    same = (tokenizer.encode(later) == tokenizer.encode(array)).all(axis=1)
    assert same.mean() > 0.97


def test_small_units_beside_large_ones_are_not_noise():
    rng = np.random.default_rng(0)
    units = {"revenue": 1e8, "budget": 4e7, "votes": 1e5, "minutes": 30.0, "rating": 1.0}
    array = rng.normal(size=(200, 5)) * list(units.values())
    for columns in (slice(None), slice(2, None), [0, 4]):
        features = Features(array[:, columns])
        matrix = Concat().fit(features).transform(features).matrix
        assert np.allclose(matrix, scaled(array[:, columns]), atol=1e-5)


@pytest.mark.parametrize("smallest", [1e-45, 1e-40])
def test_numbers_below_the_normal_floats_do_not_divide_by_zero(smallest):
    array = np.zeros((2000, 2), dtype=np.float32)
    array[3] = smallest
    assert np.isfinite(Concat().fit(Features(array)).transform(Features(array)).matrix).all()


def test_a_single_row_is_its_own_mean():
    features = Features([[3.0, 4.0]])
    fitted = Concat().fit(features)
    assert fitted.transform(features).matrix.tolist() == [[0.0, 0.0]]
    assert fitted.inverse(np.zeros((1, 2)))["features"].tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.uint8])
def test_dtypes_give_what_their_float64_copy_gives(dtype):
    array = (np.random.default_rng(0).random((30, 4)) * 200).astype(dtype)
    copies = [
        Concat().fit(Features(kind)).transform(Features(kind)).matrix
        for kind in (array, array.astype(np.float64))
    ]
    assert np.array_equal(*copies)


def test_strides_do_not_matter():
    array = modalities()["image"]
    fortran, strided = np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]
    expected = Concat().fit(Features(array)).transform(Features(array)).matrix
    for layout in (fortran, strided):
        found = Concat().fit(Features(layout)).transform(Features(layout)).matrix
        assert np.array_equal(found, expected)


def test_a_fit_over_several_blocks_equals_one_over_all_rows():
    array = np.random.default_rng(0).normal(3, 2, size=(2 * BLOCK_ROWS + 5, 2))
    matrix = Concat().fit(Features(array)).transform(Features(array)).matrix
    assert np.allclose(matrix, scaled(array), atol=1e-6)


def test_a_row_is_fused_the_same_in_any_company():
    features = Features(modalities(), present={"image": np.arange(40) % 4 > 0})
    fitted = Concat().fit(features)
    whole = fitted.transform(features).matrix
    order = np.random.default_rng(1).permutation(40)
    assert np.array_equal(fitted.transform(features.rows(order)).matrix, whole[order])
    assert np.array_equal(fitted.transform(features.rows(slice(7, 8))).matrix, whole[7:8])


def test_a_modality_may_be_left_out_later():
    arrays = modalities()
    fitted = Concat().fit(Features(arrays))
    latent = fitted.transform(Features({"text": arrays["text"]}))
    assert (latent.matrix[:, latent.blocks["image"]] == 0).all()
    assert latent.present.tolist() == [[True, False]] * 40
    whole = fitted.transform(Features(arrays)).matrix
    assert np.array_equal(latent.matrix[:, :3], whole[:, :3])


def test_the_order_of_the_mapping_does_not_matter_after_the_fit():
    arrays = modalities()
    fitted = Concat().fit(Features(arrays))
    turned = Features(dict(reversed(arrays.items())))
    assert np.array_equal(
        fitted.transform(turned).matrix, fitted.transform(Features(arrays)).matrix
    )


def test_what_is_restored_fuses_bit_for_bit():
    features = Features(modalities())
    spec = Concat(weights={"image": 0.3})
    fitted = spec.fit(features)
    restored = spec.restore(fitted.widths, fitted.arrays())
    assert np.array_equal(restored.transform(features).matrix, fitted.transform(features).matrix)


def test_unknown_modalities_and_other_widths_are_refused_by_name():
    arrays = modalities()
    fitted = Concat().fit(Features(arrays))
    with pytest.raises(ValueError, match=r"features\['sound'\]: unknown modality; .*'text', 'ima"):
        fitted.transform(Features({"sound": arrays["text"]}))
    with pytest.raises(ValueError, match=r"features\['text'\]: expected 3 columns .* got 2"):
        fitted.transform(Features({"text": arrays["text"][:, :2]}))


def test_a_weight_of_no_modality_is_refused_by_name():
    with pytest.raises(ValueError, match=r"weights: no modality 'txt' among .*'text', 'image'"):
        Concat(weights={"txt": 1.0}).fit(Features(modalities()))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_are_positive_and_finite(weight):
    with pytest.raises(ValueError, match="weights"):
        Concat(weights={"text": weight})


def test_numbers_that_leave_float32_are_refused_not_made_infinite():
    with pytest.raises(ValueError, match=r"features\['features'\]: .* as large as 3e\+38 leaves"):
        Concat().fit(Features([[3e38], [-3e38]]))
    fitted = Concat().fit(Features(modalities()))
    with pytest.raises(ValueError, match=r"features, standardised: 1 rows .*\(first: 1\)"):
        fitted.transform(Features({"text": [[0, 0, 0], [1e38, 0, 0]]}))


def test_arrays_that_do_not_fit_the_widths_are_not_restored():
    fitted = Concat().fit(Features(modalities()))
    arrays = fitted.arrays()
    with pytest.raises(ValueError, match=r"mean\.text: expected float32 of shape \(4,\)"):
        Concat().restore({"text": 4, "image": 8}, arrays)
    del arrays["scale.image"]
    with pytest.raises(ValueError, match=r"scale\.image: no such array"):
        Concat().restore(fitted.widths, arrays)


def test_films_without_posters(films):
    text, posters, has_poster = films
    features = Features({"text": text, "image": posters}, present={"image": has_poster})
    latent = Concat().fit(features).transform(features)
    image = latent.matrix[:, latent.blocks["image"]]
    assert np.allclose(image[has_poster], scaled(posters, has_poster)[has_poster], atol=1e-5)
    assert (image[~has_poster] == 0).all()
    found = latent.matrix[:, latent.blocks["text"]]
    # Three columns are constant, or what float16 left of zero.
    noise = text.std(axis=0, dtype=np.float64) < 1e-6
    assert np.flatnonzero(noise).tolist() == [127, 223, 319]
    assert np.allclose(found[:, ~noise], scaled(text[:, ~noise]), atol=1e-5)
    assert np.abs(found[:, noise]).max() < 1e-6
