"""What every quantizer promises; a new one joins by a line in contract.py."""

import functools
import math
import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from semantic_ids import Latent, NearestFree, Quantizer, Suffix, Tokenizer
from tests.semantic_ids.quantizers.contract import (
    ITEMS,
    QUANTIZERS,
    WIDTHS,
    features,
    latent,
    name_of,
    side,
)

every_quantizer = pytest.mark.parametrize("spec", QUANTIZERS, ids=name_of)
seeded = pytest.mark.parametrize(
    "spec", [spec for spec in QUANTIZERS if "seed" in type(spec).model_fields], ids=name_of
)

#: More codes than this are not listed one by one.
LISTED = 3000


@functools.cache
def _fitted(number):
    return QUANTIZERS[number].fit(latent(), side=side(), progress=False)


def fitted_from(spec):
    """The quantizer fitted on the items of seed 0, once for all tests."""
    return _fitted(QUANTIZERS.index(spec))


def fit(spec, rows):
    return spec.fit(rows, side=side(len(rows)), progress=False)


def same_arrays(one, other):
    one, other = one.arrays(), other.arrays()
    assert one.keys() == other.keys()
    return all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def distances(rows, decoded):
    """Squared distances (N, m) in float64 of rows to decoded vectors (N, m, d)."""
    gaps = rows.matrix.astype(np.float64)[:, None] - decoded.astype(np.float64)
    return (gaps**2).sum(axis=2)


def decode_all(fitted, codes):
    """Decode codes (N, m, l) to (N, m, d)."""
    decoded = fitted.decode(codes.reshape(-1, codes.shape[2]))
    return decoded.reshape(*codes.shape[:2], -1)


def assert_close(errors, expected):
    # decode rounds to float32 what the errors are measured to.
    assert np.allclose(errors, expected, rtol=1e-4, atol=1e-4)


# --- the spec


@every_quantizer
def test_a_spec_survives_json(spec):
    text = spec.model_dump_json()
    assert type(spec).model_validate_json(text) == spec
    assert Quantizer.parse(spec.model_dump(mode="json")) == spec


@every_quantizer
def test_a_spec_is_frozen_and_has_no_other_fields(spec):
    with pytest.raises(ValidationError, match="frozen"):
        spec.kind = "other"
    with pytest.raises(ValidationError, match="no_such_field"):
        Quantizer.parse(spec.model_dump(mode="json") | {"no_such_field": 1})


@every_quantizer
def test_sizes_follow_from_the_spec_alone(spec):
    sizes = spec.codebook_sizes
    assert isinstance(sizes, tuple)
    assert all(type(size) is int and size >= 1 for size in sizes)
    fitted = fitted_from(spec)
    assert fitted.codebook_sizes == sizes
    assert fitted.spec == spec
    assert isinstance(fitted.ordered, bool)


# --- fitting


@every_quantizer
def test_fitting_again_gives_the_same_arrays_bit_for_bit(spec):
    assert same_arrays(fit(spec, latent()), fitted_from(spec))


@seeded
def test_another_seed_gives_other_arrays(spec):
    other = spec.model_copy(update={"seed": spec.model_dump()["seed"] + 1})
    assert not same_arrays(fit(other, latent()), fitted_from(spec))


@every_quantizer
def test_fitting_leaves_its_input_and_all_random_states_alone(spec):
    rows = latent()
    before, numpy_state, state = rows.matrix.copy(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    fit(spec, rows)
    assert np.array_equal(rows.matrix, before)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert random.getstate() == state
    if torch_state is not None:
        assert torch.equal(torch.get_rng_state(), torch_state)


@every_quantizer
def test_nothing_is_written_to_standard_output(spec, capfd):
    fit(spec, latent()).encode(latent(1))
    assert capfd.readouterr() == ("", "")


@every_quantizer
def test_progress_is_shown_to_its_end_on_request(spec, capfd):
    spec.fit(latent(), side=side(), progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


@every_quantizer
def test_as_many_items_as_entries_are_enough(spec):
    rows = latent(n=max(spec.codebook_sizes))
    rows = Latent(rows.matrix, rows.blocks, np.ones_like(rows.present))
    check_codes_of(fit(spec, rows), rows)


@every_quantizer
def test_items_that_are_all_the_same_have_one_code(spec):
    rows = latent().rows(np.zeros(ITEMS, dtype=np.int64))
    fitted = fit(spec, rows)
    codes = check_codes_of(fitted, rows)
    assert (codes == codes[0]).all()
    assert np.isfinite(fitted.decode(codes)).all()


@every_quantizer
def test_fewer_distinct_items_than_entries(spec):
    rows = latent().rows(np.arange(ITEMS) % 3)
    codes = check_codes_of(fit(spec, rows), rows)
    assert np.array_equal(codes, codes[np.arange(ITEMS) % 3])


@every_quantizer
def test_one_column_a_modality(spec):
    rows = latent(widths=dict.fromkeys(WIDTHS, 1))
    try:
        fitted = fit(spec, rows)
    except ValueError as error:  # some need a column a level
        assert "columns" in str(error)  # noqa: PT017
    else:
        check_codes_of(fitted, rows)


# --- encoding


def check_codes_of(fitted, rows):
    codes = fitted.encode(rows)
    assert codes.dtype == np.int32
    assert codes.shape == (len(rows), len(fitted.codebook_sizes))
    assert ((codes >= 0) & (codes < fitted.codebook_sizes)).all()
    return codes


@every_quantizer
@pytest.mark.parametrize("seed", [0, 1])
def test_codes_are_within_their_codebooks(spec, seed):
    check_codes_of(fitted_from(spec), latent(seed))


@every_quantizer
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), parts=st.integers(1, ITEMS))
def test_a_row_has_its_code_in_any_company(spec, seed, parts):
    fitted, rows = fitted_from(spec), latent(1)
    rng = np.random.default_rng(seed)
    order = rng.permutation(ITEMS)
    cuts = np.sort(rng.choice(np.arange(1, ITEMS), size=parts - 1, replace=False))
    codes = [fitted.encode(rows.rows(part)) for part in np.split(order, cuts)]
    assert np.array_equal(np.concatenate(codes), fitted.encode(rows)[order])


@every_quantizer
def test_a_row_has_its_candidates_and_errors_in_any_company(spec):
    fitted, rows = fitted_from(spec), latent(1)
    order = np.random.default_rng(0).permutation(ITEMS)
    codes, errors = fitted.candidates(rows, 5)
    measured = fitted.errors(rows, fitted.encode(rows))
    for part in np.split(order, [1, 20]):
        few = rows.rows(part)
        some_codes, some_errors = fitted.candidates(few, 5)
        assert np.array_equal(some_codes, codes[part])
        assert np.array_equal(some_errors, errors[part])
        assert np.array_equal(fitted.errors(few, fitted.encode(few)), measured[part])


# --- decoding and errors


@every_quantizer
@pytest.mark.parametrize("seed", [0, 1])
def test_errors_are_the_distances_to_what_the_first_levels_decode_to(spec, seed):
    fitted, rows = fitted_from(spec), latent(seed)
    codes = fitted.encode(rows)
    errors = fitted.errors(rows, codes)
    assert errors.dtype == np.float64
    assert errors.shape == codes.shape
    for level in range(codes.shape[1]):
        decoded = fitted.decode(codes[:, : level + 1])
        assert decoded.dtype == np.float32
        assert decoded.shape == rows.matrix.shape
        assert_close(errors[:, level], distances(rows, decoded[:, None])[:, 0])


@every_quantizer
def test_errors_of_any_codes(spec):
    fitted, rows = fitted_from(spec), latent()
    rng = np.random.default_rng(0)
    codes = rng.integers(fitted.codebook_sizes, size=(ITEMS, len(fitted.codebook_sizes)))
    codes = codes.astype(np.int32)
    expected = distances(rows, fitted.decode(codes)[:, None])[:, 0]
    assert_close(fitted.errors(rows, codes)[:, -1], expected)


@every_quantizer
def test_codes_out_of_range_are_not_decoded(spec):
    fitted = fitted_from(spec)
    codes = fitted.encode(latent())
    codes[2, -1] = fitted.codebook_sizes[-1]
    with pytest.raises(ValueError, match=f"row 2 has {codes[2, -1]}"):
        fitted.decode(codes)


# --- candidates


def check_candidates(fitted, rows, m):
    codes, errors = fitted.candidates(rows, m)
    expected = min(m, math.prod(fitted.codebook_sizes))
    assert codes.dtype == np.int32
    assert codes.shape == (len(rows), expected, len(fitted.codebook_sizes))
    assert ((codes >= 0) & (codes < fitted.codebook_sizes)).all()
    assert errors.dtype == np.float64
    assert errors.shape == (len(rows), expected)
    assert (np.diff(errors, axis=1) >= 0).all()
    assert all(len(np.unique(row, axis=0)) == expected for row in codes)
    assert_close(errors, distances(rows, decode_all(fitted, codes)))
    return codes, errors


@every_quantizer
@pytest.mark.parametrize("m", [1, 2, 7, 33])
def test_candidates_are_distinct_best_first_and_carry_their_errors(spec, m):
    check_candidates(fitted_from(spec), latent(1), m)


@every_quantizer
@pytest.mark.parametrize("more", [0, 5])
def test_the_list_of_all_codes_is_complete_and_begins_with_the_best(spec, more):
    total = math.prod(spec.codebook_sizes)
    if total > LISTED:
        pytest.skip(f"{total:,} codes are too many to list")
    fitted, rows = fitted_from(spec), latent(1).rows(np.arange(12))
    _, errors = check_candidates(fitted, rows, total + more)
    content = fitted.errors(rows, fitted.encode(rows))[:, -1]
    assert (errors[:, 0] <= content + 1e-9).all()


# --- saving


@every_quantizer
def test_what_is_restored_is_the_same_bit_for_bit(spec):
    fitted, rows = fitted_from(spec), latent(1)
    arrays = fitted.arrays()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    restored = spec.restore({name: array.copy() for name, array in arrays.items()})
    assert same_arrays(restored, fitted)
    assert restored.spec == spec
    codes = fitted.encode(rows)
    assert np.array_equal(restored.encode(rows), codes)
    assert np.array_equal(restored.decode(codes), fitted.decode(codes))
    assert np.array_equal(restored.errors(rows, codes), fitted.errors(rows, codes))
    for mine, theirs in zip(restored.candidates(rows, 4), fitted.candidates(rows, 4), strict=True):
        assert np.array_equal(mine, theirs)


@every_quantizer
def test_arrays_that_are_missing_or_not_finite_are_refused_by_name(spec):
    arrays = fitted_from(spec).arrays()
    for name, array in arrays.items():
        with pytest.raises(ValueError, match=name):
            spec.restore({key: value for key, value in arrays.items() if key != name})
        if array.dtype.kind == "f" and array.size:
            with pytest.raises(ValueError, match=name):
                spec.restore(arrays | {name: np.full_like(array, np.nan)})


@every_quantizer
def test_a_tokenizer_of_it_survives_a_save(spec, tmp_path):
    tokenizer = Tokenizer.fit(
        features(), quantizer=spec, resolver=Suffix(), side=side(), progress=False
    )
    tokenizer.save(tmp_path / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert np.array_equal(loaded.codes, tokenizer.codes)
    codes = tokenizer.encode(features(1))
    assert np.array_equal(loaded.encode(features(1)), codes)
    for name, array in tokenizer.decode(codes).items():
        assert np.array_equal(loaded.decode(codes)[name], array)


@every_quantizer
def test_colliding_items_find_free_codes(spec):
    if math.prod(spec.codebook_sizes) < ITEMS:
        pytest.skip("fewer codes than items")
    fitted, rows = fitted_from(spec), latent().rows(np.arange(ITEMS) // 4)
    codes = fitted.encode(rows)
    unique = NearestFree().resolve(
        codes,
        np.arange(ITEMS),
        fitted.codebook_sizes,
        candidates=lambda index, m: fitted.candidates(rows.rows(index), m),
        errors=fitted.errors(rows, codes)[:, -1],
    )
    assert len(np.unique(unique, axis=0)) == ITEMS


# --- what is refused


@every_quantizer
def test_too_few_items_are_refused_with_both_numbers(spec):
    if max(spec.codebook_sizes) == 1:
        pytest.skip("one item is enough")
    with pytest.raises(ValueError, match=r"\b1\b"):
        fit(spec, latent(n=1))


@every_quantizer
def test_rows_of_another_width_are_refused(spec):
    narrower = latent(widths=WIDTHS | {"image": WIDTHS["image"] - 1})
    fitted = fitted_from(spec)
    for refused in (fitted.encode, functools.partial(fitted.candidates, m=2)):
        with pytest.raises(ValueError, match="columns"):
            refused(narrower)
    with pytest.raises(ValueError, match="columns"):
        fitted.errors(narrower, fitted.encode(latent()))


@every_quantizer
def test_rows_that_are_not_finite_are_refused(spec):
    matrix = latent().matrix.copy()
    matrix[4, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        spec.fit(matrix, side=side(), progress=False)
    with pytest.raises(ValueError, match="NaN"):
        fitted_from(spec).encode(matrix)
