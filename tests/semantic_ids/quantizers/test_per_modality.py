"""PerModality against every code decoded naively, on its own and in a tokenizer."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from semantic_ids import (
    CollisionError,
    Features,
    Latent,
    NearestFree,
    Optimal,
    PerModality,
    Quantizer,
    RQKMeans,
    Side,
    Sinkhorn,
    Suffix,
    Tokenizer,
    TokenizerSpec,
)

BLOCKS = {"text": slice(0, 4), "image": slice(4, 7)}


def latent(n=60, seed=0, missing=True):
    """Rows of two modalities; every fifth lacks the text and every fifth the image."""
    matrix = np.random.default_rng(seed).normal(size=(n, 7)).astype(np.float32)
    present = np.ones((n, 2), dtype=bool)
    if missing:
        present[0::5, 0] = present[1::5, 1] = False
        matrix[~present[:, 0], :4] = matrix[~present[:, 1], 4:] = 0
    return Latent(matrix, BLOCKS, present)


def two(text=(3, 2), image=(4,)):
    """Image codes first: the order of the code is not that of the columns."""
    quantizers = {"image": image, "text": text}
    return PerModality(
        quantizers={
            name: RQKMeans(levels=len(sizes), codebook_size=sizes, iterations=3)
            for name, sizes in quantizers.items()
        }
    )


def naive_decode(fitted, code):
    """Decode one code, or the beginning of one, entry by entry in float64."""
    vector, place = np.zeros(7), 0
    for (name, _), inner in zip(fitted.spec.quantizers, fitted.quantizers, strict=True):
        sizes = inner.codebook_sizes
        part = code[place : place + len(sizes)]
        place += len(sizes)
        if not any(c == size for c, size in zip(part, sizes)):  # noqa: B905 (prefixes)
            for level, entry in enumerate(part):
                vector[BLOCKS[name]] += inner.codebooks[level][entry]
    return vector


def every_code(fitted):
    return np.array(list(itertools.product(*map(range, fitted.codebook_sizes))))


def says_rightly(fitted, code, present):
    """Whether a code holds, for each modality, reserved indices alone or none as it should."""
    place = 0
    for (name, _), inner in zip(fitted.spec.quantizers, fitted.quantizers, strict=True):
        sizes = inner.codebook_sizes
        reserved = [c == size for c, size in zip(code[place:], sizes)]  # noqa: B905
        place += len(sizes)
        if reserved != [not present[list(BLOCKS).index(name)]] * len(sizes):
            return False
    return True


@pytest.fixture(scope="module")
def fitted():
    return two().fit(latent())


# --- the spec


def test_a_mapping_and_pairs_are_the_same_and_their_order_counts():
    text, image = RQKMeans(levels=2), RQKMeans(levels=1, codebook_size=8)
    spec = PerModality(quantizers={"text": text, "image": image})
    assert spec == PerModality(quantizers=(("text", text), ("image", image)))
    assert spec != PerModality(quantizers={"image": image, "text": text})
    assert spec.codebook_sizes == (257, 257, 9)


@pytest.mark.parametrize("names", [("text", "image"), ("image", "text"), ("z", "a", "m")])
def test_the_order_survives_json(names):
    spec = PerModality(quantizers={name: RQKMeans(levels=i + 1) for i, name in enumerate(names)})
    assert Quantizer.parse(spec.model_dump(mode="json")) == spec
    assert [
        name for name, _ in PerModality.model_validate_json(spec.model_dump_json()).quantizers
    ] == list(names)
    whole = TokenizerSpec(quantizer=spec)
    assert TokenizerSpec.model_validate_json(whole.model_dump_json()) == whole


@pytest.mark.parametrize(
    ("quantizers", "message"),
    [
        ({}, "quantizers"),
        ((("text", RQKMeans()), ("text", RQKMeans())), "'text' has several quantizers"),
        ({"text": {"kind": "rq"}}, "unknown quantizer kind 'rq'"),
        ({"text": {"kind": "rq-kmeans", "levels": 0}}, "levels"),
    ],
)
def test_fields_are_checked_when_the_spec_is_made(quantizers, message):
    with pytest.raises(ValueError, match=message):
        PerModality(quantizers=quantizers)


# --- encoding


def test_each_modality_has_the_codes_of_its_own_quantizer():
    rows, spec = latent(), two()
    codes = spec.fit(rows).encode(rows)
    assert codes.dtype == np.int32
    for (name, quantizer), levels in zip(spec.quantizers, (slice(0, 1), slice(1, 3)), strict=True):
        has = rows.present[:, list(BLOCKS).index(name)]
        columns = rows.matrix[has, BLOCKS[name]]
        assert np.array_equal(codes[has, levels], quantizer.fit(columns).encode(columns))
        assert (codes[~has, levels] == quantizer.codebook_sizes).all()


def test_only_who_has_a_modality_teaches_its_quantizer_and_side_goes_along():
    class Spy(RQKMeans):
        def fit(self, latent, *, side=None, progress=None):
            seen.append((latent, side))
            return super().fit(latent, side=side, progress=progress)

    rows, seen = latent(), []
    spec = PerModality(quantizers={name: Spy(levels=1, codebook_size=4) for name in BLOCKS})
    spec.fit(rows, side=Side(counts=np.arange(60)))
    for (part, side), (name, block), has in zip(seen, BLOCKS.items(), rows.present.T, strict=True):
        assert np.array_equal(part.matrix, rows.matrix[has, block])
        assert part.present.all()
        assert part.blocks == {name: slice(0, block.stop - block.start)}
        assert np.array_equal(side.counts, np.flatnonzero(has))


def test_one_modality_is_its_quantizer_with_one_more_code():
    x = np.random.default_rng(0).normal(size=(100, 5))
    inner = RQKMeans(levels=2, codebook_size=8)
    alone, fitted = inner.fit(x), PerModality(quantizers={"features": inner}).fit(x)
    assert (alone.ordered, fitted.ordered, two().fit(latent()).ordered) == (True, True, False)
    codes = fitted.encode(x)
    assert np.array_equal(codes, alone.encode(x))
    assert np.array_equal(fitted.decode(codes), alone.decode(codes))
    assert np.array_equal(fitted.errors(x, codes), alone.errors(x, codes))
    for found, expected in zip(fitted.candidates(x, 20), alone.candidates(x, 20), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("method", ["encode", "candidates", "errors"])
def test_a_row_has_its_results_in_any_company_and_on_any_threads(fitted, method):
    def ask(rows):
        if method == "candidates":
            return np.concatenate(
                [part.reshape(len(rows), -1) for part in fitted.candidates(rows, 40)], 1
            )
        codes = fitted.encode(rows)
        return codes if method == "encode" else fitted.errors(rows, codes)

    rows = latent(seed=1)
    whole, order = ask(rows), np.random.default_rng(1).permutation(60)
    assert np.array_equal(ask(rows.rows(order)), whole[order])
    singles = [ask(rows.rows(np.array([i]))) for i in range(60)]
    assert np.array_equal(np.concatenate(singles), whole)
    with threadpool_limits(2):
        assert np.array_equal(ask(rows), whole)


def test_what_is_restored_does_the_same_bit_for_bit(fitted):
    rows = latent(seed=1)
    again = Quantizer.parse(fitted.spec.model_dump(mode="json")).restore(fitted.arrays())
    codes = fitted.encode(rows)
    assert np.array_equal(again.encode(rows), codes)
    assert np.array_equal(again.decode(codes), fitted.decode(codes))
    assert np.array_equal(again.errors(rows, codes), fitted.errors(rows, codes))
    assert again.blocks == fitted.blocks
    assert again.arrays().keys() == fitted.arrays().keys()


# --- decoding and errors


@pytest.mark.parametrize("sizes", [(3, 2), (2, 2, 2)])
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_every_code_and_every_prefix_decodes_as_said(sizes, length):
    fitted = two(sizes).fit(latent())
    codes = every_code(fitted)[:, :length]
    expected = np.array([naive_decode(fitted, code) for code in codes])
    vectors = fitted.decode(codes)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, expected, atol=1e-6)


def test_absent_modalities_decode_to_zeros(fitted):
    rows = latent()
    vectors = fitted.decode(fitted.encode(rows))
    for block, has in zip(BLOCKS.values(), rows.present.T, strict=True):
        assert (vectors[~has, block] == 0).all()
        assert (vectors[has, block] != 0).all()


@pytest.mark.parametrize("sizes", [(3, 2), (2, 2, 2)])
def test_errors_are_squared_distances_to_what_the_first_levels_decode_to(sizes):
    fitted = two(sizes).fit(latent())
    codes = every_code(fitted)
    rows = latent(len(codes), missing=False)
    errors = fitted.errors(rows, codes)
    assert errors.shape == codes.shape
    for length in range(1, codes.shape[1] + 1):
        decoded = np.array([naive_decode(fitted, code[:length]) for code in codes])
        expected = ((rows.matrix - decoded) ** 2).sum(axis=1)
        assert np.allclose(errors[:, length - 1], expected, rtol=1e-6)


def test_an_absent_block_counts_against_zeros():
    rows = latent()
    rows.matrix[~rows.present[:, 0], :4] = 2.0  # a fuser may predict what is missing
    fitted = two().fit(rows)
    errors = fitted.errors(rows, fitted.encode(rows))
    image_only = ~rows.present[:, 0]
    assert (errors[image_only] >= 16).all()
    assert np.array_equal(errors[image_only, 0], errors[image_only, 2])


# --- candidates


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    text=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    image=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    share=st.floats(0, 1.1),
)
def test_candidates_are_the_best_codes_that_say_rightly_then_the_best_of_all_others(
    seed, text, image, share
):
    rows = latent(20, seed)
    fitted = two(text, image).fit(rows)
    every = every_code(fitted)
    # A beam is sure to be the best of all codes only where it holds all of them.
    m = max(math.prod(text), math.prod(image), round(share * len(every)))
    decoded = np.array([naive_decode(fitted, code) for code in every])
    codes, errors = fitted.candidates(rows, m)
    assert codes.dtype == np.int32
    assert codes.shape == (20, min(m, len(every)), len(text) + len(image))
    for i in range(6):  # all patterns of presence occur in five rows
        expected = ((rows.matrix[i] - decoded) ** 2).sum(axis=1)
        right = np.array([says_rightly(fitted, code, rows.present[i]) for code in every])
        number = {tuple(code): place for place, code in enumerate(every.tolist())}
        places = np.array([number[tuple(code)] for code in codes[i].tolist()])
        assert len(np.unique(places)) == len(places)
        assert np.allclose(errors[i], expected[places], rtol=1e-5, atol=1e-5)
        split = min(m, right.sum())
        assert right[places[:split]].all()
        assert not right[places[split:]].any()
        for some, chosen in ((right, places[:split]), (~right, places[split:])):
            best = np.sort(expected[some])[: len(chosen)]
            assert np.allclose(expected[chosen], best, rtol=1e-5, atol=1e-5)
        for part in (slice(0, split), slice(split, None)):
            pairs = list(zip(errors[i, part].tolist(), codes[i, part].tolist(), strict=True))
            assert pairs == sorted(pairs)


def test_fewer_candidates_are_the_first_of_more(fitted):
    rows, total = latent(), math.prod(fitted.codebook_sizes)
    codes, errors = fitted.candidates(rows, total)
    for m in (24, 25, 30, total - 1):  # from all 24 codes that say rightly on
        some = fitted.candidates(rows, m)
        assert np.array_equal(some[0], codes[:, :m])
        assert np.array_equal(some[1], errors[:, :m])


def test_the_errors_of_candidates_are_those_of_their_codes(fitted):
    rows = latent()
    codes, errors = fitted.candidates(rows, 50)
    for place in range(50):
        assert np.array_equal(errors[:, place], fitted.errors(rows, codes[:, place])[:, -1])


def test_the_code_of_an_item_is_among_its_candidates(fitted):
    rows = latent()
    codes, best = fitted.encode(rows), fitted.candidates(rows, 24)[0]
    assert (best == codes[:, None]).all(axis=2).any(axis=1).all()


# --- in a tokenizer


def items(n, seed=0, copies=1):
    rng = np.random.default_rng(seed)
    arrays = {
        name: np.repeat(rng.normal(size=(-(-n // copies), width)), copies, axis=0)[:n]
        for name, width in (("text", 5), ("image", 3))
    }
    numbers = np.arange(n) // copies
    return Features(arrays, present={"text": numbers % 5 != 0, "image": numbers % 5 != 1})


@pytest.mark.parametrize("resolver", [NearestFree(), Optimal(), Sinkhorn()], ids=lambda r: r.kind)
@pytest.mark.parametrize("copies", [1, 30])
@pytest.mark.parametrize("spare", [0, 1, 20])
def test_items_get_unique_codes_until_every_code_is_given_out(resolver, copies, spare):
    quantizer = two((3, 2), (4,))
    total = math.prod(quantizer.codebook_sizes)
    features = items(total - spare, copies=copies)
    tokenizer = Tokenizer.fit(features, quantizer=quantizer, resolver=resolver)
    assert len(np.unique(tokenizer.codes, axis=0)) == total - spare
    with pytest.raises(CollisionError, match=f"only {total} codes"):
        Tokenizer.fit(items(total + 1), quantizer=quantizer, resolver=resolver)


@pytest.mark.parametrize("resolver", [NearestFree(), Optimal()], ids=lambda r: r.kind)
def test_while_there_are_enough_codes_that_say_rightly_what_an_item_has_it_gets_one(resolver):
    features = items(300, copies=3)
    quantizer = two((16, 16), (16, 16))
    tokenizer = Tokenizer.fit(features, quantizer=quantizer, resolver=resolver)
    assert len(np.unique(tokenizer.codes, axis=0)) == 300
    for has, levels in zip(features.present.T, (slice(2, 4), slice(0, 2)), strict=True):
        assert ((tokenizer.codes[:, levels] == 16) == ~has[:, None]).all()


def test_a_tokenizer_is_saved_loaded_and_grows(tmp_path):
    features = items(120)
    tokenizer = Tokenizer.fit(
        features,
        ids=[f"i{n}" for n in range(120)],
        quantizer=two((8, 8), (8, 8)),
        resolver=Suffix(),
    )
    tokenizer.save(tmp_path / "codes")
    loaded = Tokenizer.load(tmp_path / "codes")
    assert loaded.spec == tokenizer.spec
    assert not loaded.ordered
    assert np.array_equal(loaded.encode(features), tokenizer.encode(features))
    new = loaded.add({"text": features.modalities["text"][:3]}, ids=["a", "b", "c"])
    assert (new[:, :2] == 8).all()
    assert loaded.lookup(new) == ["a", "b", "c"]
    decoded = loaded.decode(new)
    mean = features.modalities["image"][features.present[:, 1]].mean(axis=0)
    assert np.allclose(decoded["image"], mean, atol=1e-5)
    assert len(loaded) == 123


def test_a_catalogue_as_large_as_the_largest_codebook_is_enough():
    features = Features({name: np.random.default_rng(0).normal(size=(16, 3)) for name in BLOCKS})
    tokenizer = Tokenizer.fit(features, quantizer=two((16,), (8,)))
    assert tokenizer.code_sizes == (9, 17)
    with pytest.raises(ValueError, match="codebook_size=17 needs at least 17 items, got 16"):
        Tokenizer.fit(features, quantizer=two((17,), (8,)))


def test_films_without_posters(films):
    text, posters, has_poster = films
    features = Features({"text": text, "image": posters}, present={"image": has_poster})
    inner = RQKMeans(levels=2, codebook_size=32, iterations=5)
    tokenizer = Tokenizer.fit(
        features, quantizer=PerModality(quantizers={"text": inner, "image": inner})
    )
    content = tokenizer.content_codes
    assert ((content[:, 2:] == 32) == ~has_poster[:, None]).all()
    assert (content[:, :2] < 32).all()
    assert len(np.unique(tokenizer.codes, axis=0)) == len(text)
    assert ((tokenizer.codes[:, 2:] == 32) == ~has_poster[:, None]).all()
    assert np.array_equal(tokenizer.encode(features), content)
    # What the text alone says is what the text says beside a poster.
    assert np.array_equal(tokenizer.encode({"text": text})[:, :2], content[:, :2])
    errors = tokenizer.statistics(features).levels
    assert [level.relative_error for level in errors] == sorted(
        (level.relative_error for level in errors), reverse=True
    )


# --- what is refused


def test_blocks_and_quantizers_belong_together():
    inner = RQKMeans(levels=1, codebook_size=4)
    with pytest.raises(ValueError, match=r"no block 'img' among the fused \['text', 'image'\]"):
        PerModality(quantizers={"text": inner, "img": inner}).fit(latent())
    with pytest.raises(ValueError, match=r"quantizers: none for block 'image'"):
        PerModality(quantizers={"text": inner}).fit(latent())
    mixed = Latent(latent().matrix, {"fused": slice(0, 7)}, latent().present)
    with pytest.raises(ValueError, match=r"2 modalities in the blocks \['fused'\]; .* Concat"):
        PerModality(quantizers={"fused": inner}).fit(mixed)


def test_a_quantizer_that_cannot_be_fitted_is_named():
    with pytest.raises(
        ValueError, match=r"quantizers\['image'\]: codebook_size=50 needs .* got 48"
    ):
        two((3,), (50,)).fit(latent())


def test_vectors_of_other_blocks_are_not_encoded(fitted):
    rows = latent()
    other = Latent(rows.matrix, {"text": slice(0, 3), "image": slice(3, 7)}, rows.present)
    with pytest.raises(ValueError, match="vectors: expected the blocks"):
        fitted.encode(other)
    with pytest.raises(ValueError, match="vectors: expected the blocks"):
        fitted.candidates(rows.matrix, 3)


def test_codes_out_of_range_are_not_decoded(fitted):
    with pytest.raises(ValueError, match="row 0 has 5 at level 0, whose codes are 0 to 4"):
        fitted.decode([[5, 0, 0]])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("blocks", lambda a: a.astype(np.int32), r"blocks: expected int64 of shape \(2, 2\)"),
        ("blocks", lambda a: a[:1], r"blocks: expected int64 of shape \(2, 2\)"),
        ("blocks", lambda a: a + 1, "blocks: expected columns side by side"),
        ("blocks", lambda a: a[::-1], r"quantizers\['image'\]: 3 columns, but its block has 4"),
        ("0.codebook.0", lambda a: a[:-1], r"codebook\.0: expected float32 of shape \(4,"),
        ("1.codebook.1", lambda a: a * np.nan, r"codebook\.1: 2 rows hold NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_not_restored(fitted, name, change, message):
    arrays = fitted.arrays()
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    with pytest.raises(ValueError, match=message):
        fitted.spec.restore(arrays)
