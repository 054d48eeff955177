"""Progressive codebooks and PSRQ on planted classes: what the prefix keeps, and what it costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from semantic_ids import PSRQ, Latent, RQKMeans
from semantic_ids.quantizers.progressive import ProgressiveCodebooks
from semantic_ids.quantizers.psrq import _next_codes
from semantic_ids.quantizers.residual import ResidualCodebooks


def naive_codes(books, weight, x):
    """Nearest by direct differences in float64 to (residual, weighted prefix) in float32."""
    width = books[0].shape[1]
    codes = np.empty((len(x), len(books)), dtype=np.int64)
    for number, row in enumerate(x.astype(np.float64)):
        residual = row.copy()
        for level, book in enumerate(books):
            seen = residual if level == 0 else np.append(residual, weight * (row - residual))
            seen = seen.astype(np.float32).astype(np.float64)
            entry = ((seen - book.astype(np.float64)) ** 2).sum(axis=1).argmin()
            codes[number, level] = entry
            residual -= book[entry, :width]
    return codes


def random_books(rng, sizes, width):
    return [
        (rng.normal(size=(size, width * (1 + (level > 0)))) * 0.5**level).astype(np.float32)
        for level, size in enumerate(sizes)
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
    width=st.integers(1, 12),
    weight=st.sampled_from([0.1, 0.5, 1.0, 2.0]),
)
def test_codes_are_the_nearest_of_residual_and_prefix(seed, sizes, width, weight):
    rng = np.random.default_rng(seed)
    books = random_books(rng, sizes, width)
    x = rng.normal(size=(20, width)).astype(np.float32)
    codes = ProgressiveCodebooks(books, weight).codes(x)
    assert codes.dtype == np.int32
    assert np.array_equal(codes, naive_codes(books, weight, x))


def test_without_weight_the_codes_are_those_of_the_residual_halves():
    rng = np.random.default_rng(0)
    books = random_books(rng, (16, 16, 16), 8)
    for book in books[1:]:
        book[:, 8:] = 0  # the mean of what a weight of 0 leaves of the prefix
    search = ProgressiveCodebooks(books, 0.0)
    x = rng.normal(size=(500, 8)).astype(np.float32)
    assert np.array_equal(
        search.codes(x), ResidualCodebooks(search.residual_halves).greedy_codes(x)
    )


# --- planted classes: 8 classes, each with the same 8 finer factors


def planted(n=2400, width=16, seed=0):
    rng = np.random.default_rng(seed)
    classes, factors = rng.normal(size=(8, width)) * 3, rng.normal(size=(8, width))
    label, factor = rng.integers(8, size=n), rng.integers(8, size=n)
    x = classes[label] + factors[factor] + 0.1 * rng.normal(size=(n, width))
    return x.astype(np.float32), label


def latent_of(x, present=None):
    half = x.shape[1] // 2
    blocks = {"text": slice(0, half), "image": slice(half, x.shape[1])}
    return Latent(x, blocks, np.ones((len(x), 2), dtype=bool) if present is None else present)


def entropy(*columns):
    _, counts = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    share = counts / counts.sum()
    return -(share * np.log2(share)).sum()


@pytest.fixture(scope="module")
def by_weight():
    """Joint codes of the planted items for several weights, and their classes."""
    x, label = planted()
    specs = {
        weight: PSRQ(modalities=("text", "image"), codebook_size=16, prefix_weight=weight)
        for weight in (0.0, 0.25, 1.0)
    }
    return {
        w: spec.fit(latent_of(x)).encode(latent_of(x))[:, :3] for w, spec in specs.items()
    }, label


def test_the_second_code_knows_the_class_with_the_prefix_only(by_weight):
    codes, label = by_weight
    known = {w: normalized_mutual_info_score(label, c[:, 1]) for w, c in codes.items()}
    assert known[1.0] >= 0.8
    assert known[0.0] <= 0.4


def test_the_second_code_says_less_beyond_the_first_the_larger_the_weight(by_weight):
    codes, _ = by_weight
    added = [entropy(c[:, 0], c[:, 1]) - entropy(c[:, 0]) for c in codes.values()]
    assert added[0] > added[1] > added[2]


def test_far_fewer_items_have_a_code_of_their_own(by_weight):
    codes, _ = by_weight
    unique = {w: len(np.unique(c, axis=0)) for w, c in codes.items()}
    assert unique[1.0] < 0.5 * unique[0.0]


# --- PSRQ


def test_without_weight_the_parts_are_those_of_rq_kmeans():
    x, _ = planted(600)
    spec = PSRQ(modalities=("image", "text"), levels=2, codebook_size=8, prefix_weight=0, seed=3)
    codes = spec.fit(latent_of(x)).encode(latent_of(x))
    plain = RQKMeans(levels=2, codebook_size=8, seed=3)
    expected = [plain.fit(part).encode(part) for part in (x, x[:, 8:], x[:, :8])]
    assert np.array_equal(codes, np.concatenate(expected, axis=1))


def test_an_absent_modality_has_the_reserved_code():
    x, _ = planted(300)
    present = np.ones((300, 2), dtype=bool)
    present[::3, 1] = False
    fitted = PSRQ(modalities=("text", "image"), levels=2, codebook_size=(8, 6)).fit(
        latent_of(x, present)
    )
    codes = fitted.encode(latent_of(x, present))
    assert fitted.codebook_sizes == (8, 6, 9, 7, 9, 7)
    assert (codes[::3, 4:] == [8, 6]).all()
    assert (codes[present[:, 1], 4:] < [8, 6]).all()
    assert (codes[:, :4] < [8, 6, 8, 6]).all()


def test_a_modality_is_fitted_on_the_items_that_have_it():
    x, _ = planted(300)
    present = np.ones((300, 2), dtype=bool)
    present[::3, 1] = False
    spec = PSRQ(modalities=("image", "text"), levels=2, codebook_size=8)
    fitted = spec.fit(latent_of(x, present))
    expected = spec.part.fit(x[present[:, 1], 8:]).codebooks
    for mine, theirs in zip(fitted.own.quantizers[0].codebooks, expected, strict=True):
        assert np.array_equal(mine, theirs)


@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_codes_that_follow_go_once_through_all(seed, sizes):
    rng = np.random.default_rng(seed)
    total = int(np.prod(sizes))
    codes = rng.integers(sizes, size=(3, len(sizes)))
    following = _next_codes(codes, tuple(sizes), total)
    assert np.array_equal(following[:, 0], codes)
    assert all(len(np.unique(row, axis=0)) == total for row in following)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": ()}, "modalities"),
        ({"modalities": ("text", "text")}, "each once"),
        ({"modalities": ("text",), "codebook_size": (4, 4)}, "has 2 entries, levels=3"),
    ],
)
def test_fields_are_checked_when_the_spec_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        PSRQ(**fields)


def test_modalities_that_are_not_there_are_refused_by_name():
    x, _ = planted(100)
    with pytest.raises(ValueError, match=r"blocks are .* give modalities=\('text', 'image'\)"):
        PSRQ(modalities=("audio",), codebook_size=4).fit(latent_of(x))


def test_a_modality_that_few_items_have_is_refused_by_name():
    x, _ = planted(100)
    present = np.ones((100, 2), dtype=bool)
    present[3:, 1] = False
    with pytest.raises(ValueError, match=r"quantizers\['image'\]: .* 4 items, got 3"):
        PSRQ(modalities=("text", "image"), codebook_size=4).fit(latent_of(x, present))


def test_a_prefix_goes_with_the_greedy_search_only():
    for fields in ({"beam": 2}, {"refine": 1}):
        with pytest.raises(ValueError, match=r"prefix_weight=1: .* expected beam=1 and refine=0"):
            RQKMeans(prefix_weight=1, **fields)
