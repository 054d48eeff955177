"""The tokenizer end to end: fit, encode, decode, look up; and what it refuses."""

import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from semantic_ids import (
    CollisionError,
    Concat,
    Features,
    NearestFree,
    NoCodecError,
    Popularity,
    RQKMeans,
    Suffix,
    Tokenizer,
    TokenizerSpec,
    UnknownItemError,
)
from semantic_ids.features import BLOCK_ROWS

SMALL = RQKMeans(levels=2, codebook_size=16, iterations=5)
IDS = [f"item-{number}" for number in range(120)]


def vectors(n=120, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width))


def modalities(n=120, seed=0):
    return {"text": vectors(n, 6, seed), "image": 5 + 3 * vectors(n, 4, seed + 1)}


@pytest.fixture(scope="module")
def tokenizer():
    """Two modalities, string ids, a position that the resolver adds."""
    return Tokenizer.fit(modalities(), ids=IDS, quantizer=SMALL, resolver=Suffix())


# --- Tokenizer.fit(features).encode(items)


@pytest.mark.parametrize("resolver", [NearestFree(), Suffix()], ids=lambda spec: spec.kind)
@pytest.mark.parametrize("features", [vectors(), modalities()], ids=["array", "mapping"])
def test_fit_and_encode_in_one_sentence(features, resolver):
    fields = {"quantizer": SMALL, "resolver": resolver}
    codes = Tokenizer.fit(features, **fields).encode(features)
    assert codes.shape == (120, 2)
    assert codes.dtype == np.int32
    unique = Tokenizer.fit(features, ids=IDS, **fields).encode(IDS)
    assert len(np.unique(unique, axis=0)) == 120
    assert np.array_equal(unique[:, :2][:5], unique[:5, :2])


def test_defaults_are_four_levels_of_256_unique_codes(tiny):
    tokenizer = Tokenizer.fit(tiny)
    assert tokenizer.spec == TokenizerSpec(
        fuser=Concat(), quantizer=RQKMeans(levels=4, codebook_size=256), resolver=NearestFree()
    )
    assert tokenizer.code_sizes == (256,) * 4
    assert len(np.unique(tokenizer.codes, axis=0)) == len(tiny)
    assert np.array_equal(tokenizer.encode(range(len(tiny))), tokenizer.codes)


def test_without_ids_row_numbers_are_the_ids():
    tokenizer = Tokenizer.fit(vectors(), quantizer=SMALL)
    assert tokenizer.ids.tolist() == list(range(120))
    assert tokenizer.lookup(tokenizer.codes[7:9]) == [7, 8]


def test_ids_may_come_with_the_features():
    tokenizer = Tokenizer.fit(Features(vectors(), ids=IDS), quantizer=SMALL)
    assert tokenizer.ids.tolist() == IDS


def test_fit_is_that_of_the_spec():
    by_class = Tokenizer.fit(modalities(), ids=IDS, quantizer=SMALL)
    by_spec = TokenizerSpec(quantizer=SMALL).fit(modalities(), ids=IDS)
    assert by_class.spec == by_spec.spec
    assert np.array_equal(by_class.codes, by_spec.codes)


def test_stages_may_be_plain_dicts():
    plain = TokenizerSpec(quantizer=SMALL, resolver=Suffix()).model_dump(mode="json")
    tokenizer = Tokenizer.fit(modalities(), ids=IDS, **plain)
    assert tokenizer.spec == TokenizerSpec(quantizer=SMALL, resolver=Suffix())


def test_fitting_again_gives_the_same_codes():
    first, again = (Tokenizer.fit(modalities(), quantizer=SMALL) for _ in range(2))
    assert np.array_equal(first.codes, again.codes)
    assert first.statistics() == again.statistics()


# --- encode


def test_ids_give_unique_codes_in_the_order_asked(tokenizer):
    order = np.random.default_rng(0).integers(0, 120, size=300)
    expected = tokenizer.codes[order]
    for ids in ([IDS[row] for row in order], np.array(IDS)[order], tokenizer.ids[order]):
        assert np.array_equal(tokenizer.encode(ids), expected)


def test_one_bare_id_gives_one_code(tokenizer):
    assert np.array_equal(tokenizer.encode("item-7"), tokenizer.codes[7:8])
    numbered = Tokenizer.fit(vectors(), quantizer=SMALL)
    for number in (7, np.int64(7), np.array([7])):
        assert np.array_equal(numbered.encode(number), numbered.codes[7:8])


def test_features_give_content_codes(tokenizer):
    assert np.array_equal(tokenizer.encode(modalities()), tokenizer.content_codes)
    assert np.array_equal(tokenizer.encode(Features(modalities())), tokenizer.content_codes)
    assert np.array_equal(tokenizer.content_codes, tokenizer.codes[:, :2])


def test_a_table_of_whole_numbers_is_features():
    counts = np.random.default_rng(0).integers(0, 9, size=(120, 5))
    tokenizer = Tokenizer.fit(counts, quantizer=SMALL)
    assert np.array_equal(tokenizer.encode(counts), tokenizer.content_codes)


def test_content_codes_are_the_nearest_centroids_of_standardised_features(tokenizer):
    stored = tokenizer.to_state().files["codec"]
    residual = np.concatenate(
        [StandardScaler().fit_transform(x) / np.sqrt(x.shape[1]) for x in modalities().values()],
        axis=1,
    )
    for level in range(2):
        book = stored[f"quantizer.codebook.{level}"].astype(np.float64)
        codes = ((residual[:, None] - book) ** 2).sum(axis=2).argmin(axis=1)
        assert np.array_equal(codes, tokenizer.content_codes[:, level])
        residual = residual - book[codes]


def test_no_ids_give_no_codes(tokenizer):
    assert tokenizer.encode([]).shape == (0, 3)
    assert tokenizer.lookup([]) == []
    assert tokenizer.decode([])["text"].shape == (0, 6)


@given(st.lists(st.integers(0, 119), min_size=1, max_size=20))
def test_a_row_has_its_code_in_any_company(tokenizer, rows):
    part = {name: array[rows] for name, array in modalities().items()}
    assert np.array_equal(tokenizer.encode(part), tokenizer.content_codes[rows])


def test_blocks_do_not_show():
    x = vectors(2 * BLOCK_ROWS + 7, 3)
    tokenizer = Tokenizer.fit(x[:200], quantizer=SMALL)
    parts = [tokenizer.encode(x[start : start + 1000]) for start in range(0, len(x), 1000)]
    assert np.array_equal(tokenizer.encode(x), np.concatenate(parts))
    whole = Tokenizer.fit(x, quantizer=SMALL, resolver=Suffix())
    assert np.array_equal(whole.encode(x), whole.content_codes)


def test_the_ids_of_features_do_not_enter_their_codes(tokenizer):
    named = Features(modalities(), ids=[f"other-{number}" for number in range(120)])
    assert np.array_equal(tokenizer.encode(named), tokenizer.content_codes)


def test_missing_modalities(films):
    text, posters, has_poster = (array[:500] for array in films)
    features = Features({"text": text, "image": posters}, present={"image": has_poster})
    assert not has_poster.all()
    tokenizer = Tokenizer.fit(features, quantizer=RQKMeans(levels=3, codebook_size=64))
    assert len(np.unique(tokenizer.codes, axis=0)) == len(text)
    without = tokenizer.encode(Features({"text": text[~has_poster]}))
    assert np.array_equal(without, tokenizer.content_codes[~has_poster])


# --- decode and lookup


def test_codes_are_decoded_to_the_sum_of_their_entries(tokenizer):
    stored = tokenizer.to_state().files["codec"]
    latent = sum(
        stored[f"quantizer.codebook.{level}"].astype(np.float64)[tokenizer.codes[:, level]]
        for level in range(2)
    )
    decoded = tokenizer.decode(tokenizer.codes)
    assert list(decoded) == ["text", "image"]
    for name, block in (("text", slice(0, 6)), ("image", slice(6, 10))):
        features = modalities()[name]
        scaler = StandardScaler().fit(features)
        expected = scaler.inverse_transform(latent[:, block] * np.sqrt(features.shape[1]))
        assert decoded[name].dtype == np.float32
        assert np.allclose(decoded[name], expected, atol=1e-4)


def test_the_added_position_is_not_decoded(tokenizer):
    assert tokenizer.code_length == 3
    unique = tokenizer.codes.copy()
    expected = tokenizer.decode(tokenizer.content_codes)
    unique[:, -1] = 255
    for codes in (tokenizer.codes, unique):
        decoded = tokenizer.decode(codes)
        assert all(np.array_equal(decoded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("resolver", [NearestFree(), Suffix()], ids=lambda spec: spec.kind)
def test_a_prefix_is_decoded_to_the_sum_of_its_entries(resolver):
    quantizer = RQKMeans(levels=3, codebook_size=16, iterations=5)
    tokenizer = Tokenizer.fit(modalities(), quantizer=quantizer, resolver=resolver)
    stored = tokenizer.to_state().files["codec"]
    latent, books = 0.0, [stored[f"quantizer.codebook.{level}"] for level in range(3)]
    for level in range(3):
        latent = latent + books[level].astype(np.float64)[tokenizer.codes[:, level]]
        decoded = tokenizer.decode(tokenizer.codes[:, : level + 1])
        for name, block in (("text", slice(0, 6)), ("image", slice(6, 10))):
            features = modalities()[name]
            scaler = StandardScaler().fit(features)
            expected = scaler.inverse_transform(latent[:, block] * np.sqrt(features.shape[1]))
            assert np.allclose(decoded[name], expected, atol=1e-4)
    # As many columns as unique codes have: those are read as unique codes.
    whole = tokenizer.decode(tokenizer.codes)
    assert all(np.array_equal(whole[name], decoded[name]) for name in whole)


def test_one_code_is_decoded_as_one_row(tokenizer):
    for code in ([3], [3, 4], [3, 4, 0]):
        assert tokenizer.decode(code)["text"].shape == (1, 6)


def test_every_code_is_that_of_its_item(tokenizer):
    assert tokenizer.lookup(tokenizer.codes) == IDS
    assert tokenizer.lookup(tokenizer.encode("item-3")) == ["item-3"]


def test_a_code_of_nobody_is_none(tokenizer):
    taken = set(map(tuple, tokenizer.codes.tolist()))
    free = next(code for code in np.ndindex(16, 16, 256) if code not in taken)
    assert tokenizer.lookup([free, tokenizer.codes[0], free]) == [None, "item-0", None]


def test_strings_of_codes_come_back_as_items(tokenizer):
    strings = tokenizer.vocabulary.to_strings(tokenizer.codes)
    assert tokenizer.lookup(tokenizer.vocabulary.from_strings(strings)) == IDS
    assert len(tokenizer.vocabulary) == 6 + 16 + 16 + 256


def test_length_membership_and_repr(tokenizer):
    assert len(tokenizer) == 120
    assert "item-3" in tokenizer
    assert "item-120" not in tokenizer
    assert 3 not in tokenizer
    assert repr(tokenizer) == "Tokenizer(120 items, codes of 3 positions [16, 16, 256])"


def test_the_catalogue_cannot_be_written_to(tokenizer):
    for array in (tokenizer.ids, tokenizer.codes, tokenizer.content_codes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_what_came_in_is_left_as_it_was():
    x, ids = vectors(), np.arange(120)
    before = x.copy()
    tokenizer = Tokenizer.fit(x, ids=ids, quantizer=SMALL)
    tokenizer.encode(x)
    assert np.array_equal(x, before)
    ids[0] = 999
    assert tokenizer.ids[0] == 0


# --- statistics


def test_the_error_is_what_decoding_loses(tokenizer):
    fused = [StandardScaler().fit_transform(x) / np.sqrt(x.shape[1]) for x in modalities().values()]
    decoded = tokenizer.decode(tokenizer.content_codes)
    back = [
        StandardScaler().fit(x).transform(decoded[name]) / np.sqrt(x.shape[1])
        for name, x in modalities().items()
    ]
    lost = sum(((a - b) ** 2).sum() for a, b in zip(fused, back, strict=True))
    expected = lost / sum((x**2).sum() for x in fused)  # fused columns have mean 0
    assert tokenizer.statistics().relative_error == pytest.approx(expected, rel=1e-4)


def test_measuring_the_same_features_gives_the_figures_of_the_fit(tokenizer):
    again, fitted = tokenizer.statistics(modalities()), tokenizer.statistics()
    assert again.levels == fitted.levels
    assert again.relative_error == fitted.relative_error


def test_moved_items_are_counted(tiny):
    coarse = RQKMeans(levels=2, codebook_size=32)
    tokenizer = Tokenizer.fit(tiny, quantizer=coarse)
    figures = tokenizer.statistics()
    distinct = len({tuple(code) for code in tokenizer.content_codes.tolist()})
    assert figures.moved == len(tiny) - distinct > 0
    assert figures.collision_rate == pytest.approx(1 - distinct / len(tiny))


def test_the_item_nearest_to_what_its_code_decodes_to_keeps_it():
    x = StandardScaler().fit_transform(vectors(60)) / np.sqrt(6)
    tokenizer = Tokenizer.fit(vectors(60), quantizer=RQKMeans(levels=3, codebook_size=4))
    stored = tokenizer.to_state().files["codec"]
    content = tokenizer.content_codes
    sums = sum(stored[f"quantizer.codebook.{level}"][content[:, level]] for level in range(3))
    errors = ((x - sums) ** 2).sum(axis=1)
    kept = (tokenizer.codes == content).all(axis=1)
    for code in np.unique(content, axis=0):
        bucket = np.flatnonzero((content == code).all(axis=1))
        assert bucket[kept[bucket]].tolist() == [bucket[errors[bucket].argmin()]]
    assert not kept.all()


def test_other_numbers_of_features_are_not_measured(tokenizer):
    with pytest.raises(ValueError, match=r"features: 5 rows, the catalogue has 120 items"):
        tokenizer.statistics(modalities(5))


# --- from_codes


def test_published_codes_are_taken_as_they_are(data_folder):
    published = data_folder / "amazon18_instruments_mql" / "sid"
    text, image = (
        np.load(published / f"{name}.npz", allow_pickle=False)["codes"]
        for name in ("mql4grec_text_llama", "mql4grec_image_vit")
    )
    alone = Tokenizer.from_codes(None, text)
    assert np.array_equal(alone.content_codes, text)
    distinct = len({tuple(code) for code in text.tolist()})
    assert alone.statistics().collision_rate == pytest.approx(1 - distinct / len(text))
    assert len(np.unique(alone.codes, axis=0)) == len(text)

    both = Tokenizer.from_codes(None, [text, image], resolver=None, ordered=False)
    assert np.array_equal(both.codes, np.concatenate([text, image], axis=1))
    assert not both.ordered
    assert both.lookup(both.codes[::500]) == list(range(0, len(text), 500))


def test_sizes_are_the_largest_codes_unless_given():
    codes = [[0, 5], [2, 1]]
    assert Tokenizer.from_codes(["a", "b"], codes).code_sizes == (3, 6, 256)
    given = Tokenizer.from_codes(["a", "b"], codes, codebook_sizes=[8, 8], resolver=None)
    assert given.code_sizes == (8, 8)


def test_sizes_may_be_a_numpy_array():
    codes = np.array([[0, 5], [2, 1]])
    tokenizer = Tokenizer.from_codes(None, codes, codebook_sizes=codes.max(axis=0) + 1)
    assert tokenizer.code_sizes == (3, 6, 256)
    wide = Tokenizer.from_codes(None, np.eye(20, dtype=int), codebook_sizes=np.full(20, 256))
    assert wide.lookup(wide.codes) == list(range(20))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16])
def test_the_largest_number_of_a_dtype_is_a_code(dtype):
    top = np.iinfo(dtype).max
    tokenizer = Tokenizer.from_codes(None, np.array([[top, 0], [1, 2]], dtype=dtype))
    assert tokenizer.code_sizes == (top + 1, 3, 256)
    assert tokenizer.content_codes.tolist() == [[top, 0], [1, 2]]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
@pytest.mark.parametrize("ids", [None, ["a", "b", "c"]])
def test_a_tensor_holds_the_codes_of_an_array(ids, dtype):
    array = np.array([[3, 200, 0], [0, 7, 1], [3, 200, 0]])
    tensor = torch.from_numpy(array).to(dtype)
    expected, found = Tokenizer.from_codes(ids, array), Tokenizer.from_codes(ids, tensor)
    assert np.array_equal(found.codes, expected.codes)
    assert found.codes.dtype == np.int32
    assert found.code_sizes == expected.code_sizes
    assert found.ids.tolist() == expected.ids.tolist()
    assert np.array_equal(Tokenizer.from_codes(ids, tensor.T.contiguous().T).codes, found.codes)
    tensor[:] = 0  # the catalogue is a copy
    assert np.array_equal(found.codes, expected.codes)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(3, 2), r"got float32 of shape \(3, 2\)"),
        (torch.zeros(3, 2, dtype=torch.bfloat16), "BFloat16"),
        (torch.zeros(3, 2, requires_grad=True), "requires grad"),
        (torch.zeros(3, 2, dtype=torch.int64).to_sparse(), "Sparse"),
        (torch.zeros(3, 2, dtype=torch.bool), r"got bool of shape \(3, 2\)"),
        (torch.zeros(3, dtype=torch.int64), r"got int64 of shape \(3,\)"),
        (torch.zeros(1, 3, 2, dtype=torch.int64), r"got int64 of shape \(1, 3, 2\)"),
        (torch.zeros(3, 0, dtype=torch.int64), r"got int64 of shape \(3, 0\)"),
    ],
)
def test_a_tensor_of_other_things_is_refused(tensor, message):
    with pytest.raises(ValueError, match=rf"^codes: expected integers .*{message}"):
        Tokenizer.from_codes(None, tensor)


def test_collisions_are_suffixed_by_id_or_refused():
    codes = [[1, 1], [0, 0], [1, 1], [1, 1]]
    tokenizer = Tokenizer.from_codes(["c", "x", "a", "b"], codes)
    assert tokenizer.codes.tolist() == [[1, 1, 2], [0, 0, 0], [1, 1, 0], [1, 1, 1]]
    with pytest.raises(CollisionError, match=r"codes: 2 of 4 items repeat .*Suffix\(\)"):
        Tokenizer.from_codes(["c", "x", "a", "b"], codes, resolver=None)
    with pytest.raises(CollisionError, match="max_suffix=2: 3 items share"):
        Tokenizer.from_codes(["c", "x", "a", "b"], codes, resolver=Suffix(max_suffix=2))


def test_without_a_codec_what_needs_one_says_so():
    tokenizer = Tokenizer.from_codes(["a", "b"], [[0, 1], [1, 0]])
    assert tokenizer.encode(["b"]).tolist() == [[1, 0, 0]]
    assert tokenizer.statistics().relative_error is None
    for call in (
        lambda: tokenizer.encode(vectors()),
        lambda: tokenizer.decode(tokenizer.codes),
    ):
        with pytest.raises(NoCodecError, match=r"made from codes .*Tokenizer\.fit\(features\)"):
            call()


@pytest.mark.parametrize(
    ("ids", "codes", "fields", "error", "message"),
    [
        (None, [0, 1], {}, ValueError, r"codes: expected integers of shape \(N, L\), .*\(2,\)"),
        (None, [[0.0, 1.0]], {}, ValueError, r"codes: expected integers .* got float64"),
        (None, np.zeros((0, 2), dtype=int), {}, ValueError, r"got int64 of shape \(0, 2\)"),
        (None, np.zeros((2, 0), dtype=int), {}, ValueError, r"got int64 of shape \(2, 0\)"),
        (None, [[0, -1]], {}, ValueError, r"codes: row 0 has -1 at level 1"),
        (None, [[0, 2**40]], {}, ValueError, r"codes are 0 to 2147483647, got 1099511627776"),
        (None, [[0, 5]], {"codebook_sizes": [4, 4]}, ValueError, r"row 0 has 5 at level 1.*0 to 3"),
        (None, [[0, 5]], {"codebook_sizes": [9]}, ValueError, r"one size for each of the 2 levels"),
        (None, [[0, 1]], {"codebook_sizes": [1.5, 2]}, TypeError, r"got \[1.5, 2\]"),
        (["a"], [[0], [1]], {}, ValueError, r"ids: 1 ids for 2 codes"),
        (["a", "a"], [[0], [1]], {}, ValueError, r"ids: 1 of 2 repeat"),
        (["a", 1], [[0], [1]], {}, ValueError, r"ids: expected str or int ids, all of one kind"),
        (None, [[0]], {"resolver": NearestFree()}, ValueError, r"NearestFree needs vectors"),
        (
            None,
            [[0]],
            {"resolver": Popularity()},
            ValueError,
            r"Popularity needs counts, which codes",
        ),
    ],
)
def test_codes_that_are_none_are_refused_by_name(ids, codes, fields, error, message):
    with pytest.raises(error, match=message):
        Tokenizer.from_codes(ids, codes, **fields)


def test_arrays_side_by_side_need_equal_lengths():
    with pytest.raises(ValueError, match="dimension"):
        Tokenizer.from_codes(None, [np.zeros((2, 1), dtype=int), np.zeros((3, 1), dtype=int)])


# --- unusual input that works


@pytest.mark.parametrize("resolver", [NearestFree(), Suffix(max_suffix=300)])
def test_equal_rows_get_codes_of_their_own(resolver):
    quantizer = RQKMeans(levels=2, codebook_size=20)
    tokenizer = Tokenizer.fit(np.full((300, 5), 0.1), quantizer=quantizer, resolver=resolver)
    assert len(np.unique(tokenizer.codes, axis=0)) == 300
    assert len(np.unique(tokenizer.content_codes, axis=0)) == 1
    assert tokenizer.statistics().relative_error == 0


def test_as_many_items_as_codes():
    quantizer = RQKMeans(levels=2, codebook_size=6)
    tokenizer = Tokenizer.fit(vectors(36), quantizer=quantizer)
    assert sorted(map(tuple, tokenizer.codes.tolist())) == list(np.ndindex(6, 6))


def test_a_single_item():
    tokenizer = Tokenizer.fit([[1.0, 2.0]], ids=["a"], quantizer=RQKMeans(codebook_size=1))
    assert tokenizer.encode("a").tolist() == [[0, 0, 0, 0]]
    assert np.allclose(tokenizer.decode([0, 0, 0, 0])["features"], [[1.0, 2.0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8, bool])
def test_dtypes_give_the_codes_of_their_float64_copy(dtype):
    x = (100 + 40 * vectors()).clip(0, 255).astype(dtype)
    x[0] = 0
    expected = Tokenizer.fit(x.astype(np.float64), quantizer=SMALL)
    tokenizer = Tokenizer.fit(x, quantizer=SMALL)
    assert np.array_equal(tokenizer.codes, expected.codes)
    assert np.array_equal(expected.encode(x), tokenizer.content_codes)


def test_strides_do_not_matter():
    x = vectors()
    expected = Tokenizer.fit(x, quantizer=SMALL).codes
    for layout in (np.asfortranarray(x), np.repeat(x, 3, axis=1)[:, ::3], x[::-1][::-1]):
        assert np.array_equal(Tokenizer.fit(layout, quantizer=SMALL).codes, expected)


def test_a_column_of_constants_does_not_matter():
    x = vectors()
    constant = np.concatenate([x, np.full((120, 1), 7.0)], axis=1)
    expected = Tokenizer.fit(x, quantizer=SMALL).codes
    assert np.array_equal(Tokenizer.fit(constant, quantizer=SMALL).codes, expected)


# --- what is refused


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["item-1", "item-999"], r"ids: 1 of 2 are not in the catalogue \(first: 'item-999'\)"),
        ("item-999", r"ids: 1 of 1 are not in the catalogue \(first: 'item-999'\)"),
        (7, r"ids: this catalogue's ids are str, got 7"),
    ],
)
def test_unknown_items_are_named(tokenizer, items, message):
    with pytest.raises(UnknownItemError, match=f"^{message}$"):
        tokenizer.encode(items)


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([1.5, 2.5], ValueError, r"ids: expected str or int ids.*got float"),
        (["item-1", 2], ValueError, r"ids: expected str or int ids, all of one kind"),
        (None, TypeError, r"ids: expected a sequence .* got None"),
        ({}, ValueError, r"features: expected at least one modality"),
        (
            {"sound": vectors()},
            ValueError,
            r"features\['sound'\]: unknown modality; give a mapping with",
        ),
        ({"text": vectors()[:, :5]}, ValueError, r"features\['text'\]: expected 6 columns .*got 5"),
        (vectors(), ValueError, r"features\['features'\]: unknown modality"),
        ({"text": np.full((2, 6), np.nan)}, ValueError, r"features\['text'\]: 2 rows hold NaN"),
        ({"text": np.full((2, 6), 1e30)}, ValueError, r"features, standardised: 2 rows"),
        (np.float64(3), ValueError, r"features\['features'\]: expected two dimensions"),
    ],
)
def test_what_cannot_be_encoded_is_refused_by_name(tokenizer, items, error, message):
    with pytest.raises(error, match=message):
        tokenizer.encode(items)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[16, 0]], r"codes: row 0 has 16 at level 0, whose codes are 0 to 15"),
        ([[16]], r"codes: row 0 has 16 at level 0, whose codes are 0 to 15"),
        ([[0, 0, 0, 0]], r"expected integers of shape \(n, 2\)"),
        ([[0.0, 1.0]], r"expected integers .* got float64"),
    ],
)
def test_what_cannot_be_decoded_is_refused_by_name(tokenizer, codes, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.decode(codes)


def test_content_codes_are_not_looked_up_where_codes_are_longer(tokenizer):
    with pytest.raises(ValueError, match=r"codes: expected integers of shape \(n, 3\)"):
        tokenizer.lookup([[0, 0]])


def bare(row):
    """Features in which one item has no modality."""
    present = np.arange(120) != row
    return Features(modalities(), present={"text": present, "image": present})


UNFIT = {
    "NaN": (np.where(vectors() > 2, np.nan, vectors()), {}, ValueError, r"\d+ rows? holds? NaN"),
    "infinity": (vectors() / (vectors() < 9) * np.inf, {}, ValueError, "infinity"),
    "beyond float32": (vectors() * 1e300, {}, ValueError, r"120 rows hold a number beyond float32"),
    "one dimension": (vectors()[0], {}, ValueError, r"two dimensions .*\(6,\)"),
    "no rows": (vectors()[:0], {}, ValueError, r"at least one item .*\(0, 6\)"),
    "no columns": (vectors()[:, :0], {}, ValueError, r"one column, got \(120, 0\)"),
    "objects": (vectors().astype(object), {}, TypeError, r"real numeric array, got object"),
    "ragged": ([[1.0], [1.0, 2.0]], {}, ValueError, r"features\['features'\]: not a rectangular"),
    "fewer items than entries": (
        vectors(10),
        {},
        ValueError,
        r"codebook_size=16 needs at least 16 items, got 10; choose codebook_size <= 10",
    ),
    "more items than codes": (
        vectors(),
        {"quantizer": RQKMeans(levels=2, codebook_size=10)},
        CollisionError,
        r"120 items, but only 100 codes \(codebook sizes \[10, 10\]\); choose more levels",
    ),
    "more items than codes and suffixes": (
        vectors(),
        {
            "quantizer": RQKMeans(levels=1, codebook_size=10),
            "resolver": Suffix(max_suffix=3),
        },
        CollisionError,
        r"only 30 codes \(codebook sizes \[10\] and \[3\] of the resolver\); choose more levels or "
        r"larger codebooks or a resolver with more room",
    ),
    "a kind misspelt": (
        vectors(),
        {"quantizer": "rqkmeans"},
        ValueError,
        r"unknown quantizer kind 'rqkmeans'; did you mean 'rq-kmeans'\? known: ",
    ),
    "repeated ids": (vectors(), {"ids": ["x"] * 120}, ValueError, r"ids: 119 of 120 repeat .*'x'"),
    "too few ids": (vectors(), {"ids": IDS[:7]}, ValueError, r"features has 120, ids has 7"),
    "mixed ids": (vectors(), {"ids": [*IDS[:-1], 3]}, ValueError, r"ids: .*got int, str"),
    "ids twice": (
        Features(vectors(), ids=IDS),
        {"ids": IDS},
        ValueError,
        r"ids: the features carry ids of their own",
    ),
    "an unknown kind": (
        vectors(),
        {"quantizer": {"kind": "abacus"}},
        ValueError,
        r"unknown quantizer kind 'abacus'; known: \[.*'rq-kmeans'.*\]",
    ),
    "no stage": (vectors(), {"quantizer": 3}, TypeError, r"expected a Quantizer, .* got 3"),
    "the stage of another": (vectors(), {"fuser": Suffix()}, TypeError, r"expected a Fuser"),
    "an extra field": (
        vectors(),
        {"levels": 3},
        ValueError,
        r"TokenizerSpec has no field .levels.",
    ),
    "a weight of nothing": (
        vectors(),
        {"fuser": Concat(weights={"text": 2.0})},
        ValueError,
        r"weights: no modality 'text' among the features \['features'\]",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_cannot_be_fitted_is_refused_by_name(case):
    features, fields, error, message = UNFIT[case]
    with pytest.raises(error, match=message):
        Tokenizer.fit(features, **{"quantizer": SMALL, **fields})


def test_missing_modalities_are_refused_by_name():
    with pytest.raises(ValueError, match=r"features\['image'\]: missing for every one of the 120"):
        Tokenizer.fit(
            Features(modalities(), present={"image": np.zeros(120, dtype=bool)}), quantizer=SMALL
        )
    with pytest.raises(ValueError, match=r"1 items have no modality at all \(first: row 17\)"):
        bare(17)


def test_too_many_items_are_refused_before_any_work():
    class Untouchable(RQKMeans):
        def fit(self, latent, *, progress=None):
            raise AssertionError("work has begun")

    with pytest.raises(CollisionError, match="only 100 codes"):
        Tokenizer.fit(vectors(), quantizer=Untouchable(levels=2, codebook_size=10))


# --- progress


def test_progress_is_shown_on_request_and_never_on_standard_output(capfd):
    Tokenizer.fit(vectors(), quantizer=SMALL, progress=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert re.search(r"codebooks.*2/2", shown.err)
    for progress in (False, None):  # None: the test's standard error is no terminal
        Tokenizer.fit(vectors(), quantizer=SMALL, progress=progress)
        assert capfd.readouterr() == ("", "")


def test_resolvers_that_a_tokenizer_cannot_use_are_refused_before_work_begins():
    with pytest.raises(ValueError, match="capacity > 1"):
        TokenizerSpec(resolver=NearestFree(capacity=2))
    with pytest.raises(ValueError, match="Popularity needs counts"):
        Tokenizer.fit(vectors(), quantizer=SMALL, resolver=Popularity())


# --- arguments of the wrong kind are named


MISTAKES = {
    "several ids to explain": (lambda t: t.explain(IDS[:2]), TypeError, "^id: expected one"),
    "update": (lambda t: t.add(modalities(1), ids=["n"], update="yes"), TypeError, "^update: "),
    "an id to decode": (lambda t: t.decode("B1"), ValueError, "^codes: expected integers .* 'B1'"),
    "codes to compare": (lambda t: t.compare(t.codes), TypeError, "^other: .* got ndarray"),
    "half a neighbour": (lambda t: t.neighbours(t.codes[:1], k=2.5), TypeError, "^k: .* got 2.5"),
    "a bool of neighbours": (
        lambda t: t.neighbours(t.codes[:1], k=True),
        TypeError,
        "^k: .* got True",
    ),
    "one string": (
        lambda t: t.vocabulary.from_strings("<a_1><b_2>"),
        TypeError,
        r"^strings: .* give \['<a_1><b_2>'\]",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistaken_argument_is_named(tokenizer, mistake):
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        call(tokenizer)


def test_side_as_a_mapping_is_refused():
    side = {"counts": np.ones(120)}
    for fit in (Tokenizer.fit, TokenizerSpec(quantizer=SMALL).fit):
        with pytest.raises(TypeError, match=r"^side: expected Side\(\.\.\.\), got dict"):
            fit(vectors(), side=side)


def test_one_codebook_size_stands_for_all_levels():
    made = Tokenizer.from_codes(None, [[0, 1], [2, 0]], codebook_sizes=256, resolver=None)
    assert made.code_sizes == (256, 256)


@pytest.mark.parametrize(
    ("codes", "sizes", "error", "message"),
    [
        ([[0, 1], [2]], None, ValueError, "^codes: expected as many codes in each row"),
        ([[[0], [1]], [[2]]], None, ValueError, "^codes: expected as many codes in each row"),
        ([[0, 1]], (4, 4, 4), ValueError, "^codebook_sizes: .* 2 levels, .* got 3 sizes"),
        ([[0, 1]], (4, 0), ValueError, "^codebook_sizes: .* at least 1, got 0"),
        ([[0, 1]], 2.5, TypeError, "^codebook_sizes: expected whole numbers, got 2.5"),
        ([[0, 1], [3, -1]], None, ValueError, "^codes: row 1 has -1 at level 1; codes begin at 0"),
    ],
)
def test_codes_that_are_none_are_named(codes, sizes, error, message):
    with pytest.raises(error, match=message):
        Tokenizer.from_codes(None, codes, codebook_sizes=sizes)


def test_an_unknown_item_error_holds_all_unknown_ids(tokenizer):
    with pytest.raises(UnknownItemError) as caught:
        tokenizer.encode(["x", IDS[0], "y"])
    assert caught.value.ids == ["x", "y"]
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.ids, str(copied)) == (["x", "y"], str(caught.value))
    with pytest.raises(UnknownItemError) as caught:
        tokenizer.encode([1, 2])
    assert caught.value.ids == [1, 2]


# --- no items at all, and one


def test_no_items_have_no_codes_and_change_nothing(tokenizer):
    none = {name: array[:0] for name, array in modalities().items()}
    grown = tokenizer.copy()
    assert grown.encode(none).shape == (0, 2)
    assert grown.add(none, ids=[]).shape == (0, 3)
    assert grown.encode([]).shape == (0, 3)
    assert (grown.generation, len(grown)) == (tokenizer.generation, len(tokenizer))


def test_a_batch_in_which_nobody_has_a_modality_is_one_without_it(tokenizer):
    new = modalities(4, seed=9)
    nobody = Features(new, present={"image": np.zeros(4, dtype=bool)})
    np.testing.assert_array_equal(tokenizer.encode(nobody), tokenizer.encode({"text": new["text"]}))
    grown = tokenizer.copy()
    assert len(grown.add(nobody, ids=["a", "b", "c", "d"])) == 4


def test_ids_without_items_are_refused(tokenizer):
    with pytest.raises(ValueError, match="expected at least one item"):
        tokenizer.copy().add(vectors()[:0], ids=["a"])


def test_a_bare_array_is_told_the_names_of_the_fit(tokenizer):
    with pytest.raises(ValueError, match=r"a bare array has no name: give a mapping with \['text'"):
        tokenizer.encode(vectors())


def test_a_single_row_of_features_is_not_taken_for_ids(tokenizer):
    with pytest.raises(ValueError, match=r"got shape \(6,\); one row of features is items\[None\]"):
        tokenizer.encode(vectors()[0])
