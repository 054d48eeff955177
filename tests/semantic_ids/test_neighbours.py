"""Neighbours against sorting all distances."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids import NearestFree, NoCodecError, RQKMeans, Suffix, Tokenizer
from semantic_ids import neighbours as module
from semantic_ids.neighbours import nearest_codes, nearest_vectors

SEEDS = st.integers(0, 2**32 - 1)


def by_sorting(distances, k):
    """Rows and distances of the k smallest of each row, the first where they are equal."""
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


@settings(max_examples=60)
@given(
    seed=SEEDS,
    n=st.integers(0, 9),
    size=st.integers(1, 40),
    width=st.integers(1, 20),
    k=st.integers(1, 12),
    offset=st.sampled_from([0, 1e3, 1e6]),
    values=st.sampled_from([20, 1 << 21]),
)
def test_vectors_are_ranked_as_by_all_differences(seed, n, size, width, k, offset, values):
    rng = np.random.default_rng(seed)
    k = min(k, size)
    table = (offset + rng.normal(size=(size, width))).astype(np.float32)
    table[size // 2 :] = table[rng.integers(size, size=size - size // 2)]  # many are equal
    table[size // 3] = np.nextafter(table[0], np.float32(np.inf))
    x = np.concatenate([table, rng.normal(size=(9, width)).astype(np.float32)])
    x = x[rng.permutation(len(x))[:n]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_ROWS", 7)
        patch.setattr(module, "_BLOCK_VALUES", values)
        rows, found = nearest_vectors(x, lambda c: table[c[:, 0]], np.arange(size)[:, None], k)
    differences = x.astype(np.float64)[:, None] - table.astype(np.float64)
    expected, distances = by_sorting((differences**2).sum(axis=2), k)
    assert np.array_equal(rows, expected)
    assert np.array_equal(found, np.sqrt(distances))


def steps(one, other, ordered):
    """The distance by its definition, one pair at a time."""
    levels = len(one)
    different = sum(a != b for a, b in zip(one, other, strict=True))
    if not ordered:
        return Fraction(different)
    prefix = next((i for i in range(levels) if one[i] != other[i]), levels)
    return levels - prefix + Fraction(different, levels)


CODES = st.integers(1, 5).flatmap(
    lambda levels: st.lists(
        st.tuples(*(st.integers(0, 2) for _ in range(levels))), min_size=1, max_size=30
    )
)


@settings(max_examples=60)
@given(CODES, st.data(), st.booleans())
def test_codes_are_ranked_as_by_all_pairs(codes, data, ordered):
    wanted = data.draw(st.lists(st.sampled_from(codes), max_size=4))
    wanted += [tuple(2 - code for code in row) for row in wanted[:2]]
    k = data.draw(st.integers(1, len(codes)))
    table = np.array(codes, dtype=np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_ROWS", 8)
        patch.setattr(module, "_BLOCK_VALUES", 20)
        queries = np.array(wanted, dtype=np.int32).reshape(-1, table.shape[1])
        rows, found = nearest_codes(queries, table, k, ordered=ordered)
    for query, row, distances in zip(wanted, rows.tolist(), found.tolist(), strict=True):
        expected = sorted((steps(query, code, ordered), i) for i, code in enumerate(codes))[:k]
        assert row == [i for _, i in expected]
        assert distances == pytest.approx([float(d) for d, _ in expected])


@pytest.mark.parametrize("ordered", [True, False])
def test_a_longer_prefix_goes_before_all_else_where_levels_are_ordered(ordered):
    ids, codes = ["far", "near"], [[1, 0, 0, 0], [0, 1, 1, 1]]
    tokenizer = Tokenizer.from_codes(ids, codes, codebook_sizes=[2] * 4, ordered=ordered)
    best = tokenizer.neighbours([0, 0, 0, 0], k=2)
    assert best.ids == ((("near", "far"),) if ordered else (("far", "near"),))
    assert best.distances.tolist() == [[3.75, 4.25] if ordered else [1, 3]]


def vectors(n=400, width=6):
    x = np.random.default_rng(0).normal(size=(n, width))
    x[n // 2 : n // 2 + 20] = x[:20]
    return x


@pytest.mark.parametrize("resolver", [NearestFree(), Suffix()], ids=lambda spec: spec.kind)
def test_items_are_their_own_nearest(resolver):
    ids = [f"item {k}" for k in range(400)]
    quantizer = RQKMeans(levels=3, codebook_size=8)
    tokenizer = Tokenizer.fit(vectors(), ids=ids, quantizer=quantizer, resolver=resolver)
    found = tokenizer.neighbours(tokenizer.codes, k=400)
    assert len(found) == 400
    assert all(sorted(row) == sorted(ids) for row in found.ids)
    assert (found.distances[:, 0] == 0).all()
    places = {item: row for row, item in enumerate(ids)}
    fused = tokenizer._fitted.codec.quantizer.decode(tokenizer.codes[:, :3]).astype(np.float64)
    for query in (0, 17, 399):
        distances = np.sqrt(((fused[query] - fused) ** 2).sum(axis=1))
        expected = sorted(range(400), key=lambda row: (distances[row], row))
        assert [places[item] for item in found.ids[query]] == expected
        assert np.array_equal(found.distances[query], distances[expected])
    content = tokenizer.neighbours(tokenizer.codes[:9, :3], k=5)
    assert content.ids == tuple(row[:5] for row in found.ids[:9])
    by_codes = tokenizer.neighbours(tokenizer.codes[:3], k=4, by="codes")
    assert (by_codes.distances[:, 0] == 0).all()


def test_items_that_went_are_nobodys_neighbours():
    tokenizer = Tokenizer.fit(vectors(), quantizer=RQKMeans(levels=2, codebook_size=32))
    codes = tokenizer.encode([5, 6])
    first, second = tokenizer.neighbours(codes[0], k=2).ids[0]
    tokenizer.remove(first)
    assert tokenizer.neighbours(codes[0], k=1).ids == ((second,),)
    tokenizer.remove(tokenizer.ids)
    with pytest.raises(ValueError, match="the catalogue is empty"):
        tokenizer.neighbours(codes)


def test_real_vectors(scientific):
    tokenizer = Tokenizer.fit(scientific[:3000], quantizer=RQKMeans(levels=3, codebook_size=64))
    found = tokenizer.neighbours(tokenizer.codes[:40], k=20)
    fused = tokenizer._fitted.codec.quantizer.decode(tokenizer.codes).astype(np.float64)
    squares = ((fused[:40, None] - fused) ** 2).sum(axis=2)
    expected, distances = by_sorting(squares, 20)
    assert found.ids == tuple(map(tuple, expected.tolist()))
    assert np.array_equal(found.distances, np.sqrt(distances))


def test_bad_input_is_refused_by_name():
    tokenizer = Tokenizer.from_codes(["a", "b"], [[0, 1], [1, 0]])
    for k in (0, 3, -1):
        with pytest.raises(ValueError, match=f"k={k}: expected 1 to 2, the number of items"):
            tokenizer.neighbours([[0, 0]], k=k)
    with pytest.raises(TypeError):
        tokenizer.neighbours([[0, 0]], k=1.5)
    with pytest.raises(ValueError, match='by: expected "vectors", "codes" or None, got \'sound\''):
        tokenizer.neighbours([[0, 0]], k=1, by="sound")
    with pytest.raises(NoCodecError):
        tokenizer.neighbours([[0, 0]], k=1, by="vectors")
    with pytest.raises(ValueError, match=r"codes: row 0 has 2 at level 1"):
        tokenizer.neighbours([[0, 2]], k=1)
    with pytest.raises(ValueError, match=r"codes: expected integers of shape \(n, 2\)"):
        tokenizer.neighbours([[0]], k=1)
    assert tokenizer.neighbours([], k=1).ids == ()
