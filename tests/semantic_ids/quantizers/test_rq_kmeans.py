"""RQ-KMeans: exact codes on real vectors, errors as good as faiss, repeatable fits."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from semantic_ids import RQKMeans


@pytest.fixture(scope="module")
def fitted_scientific(scientific):
    return RQKMeans(levels=4, codebook_size=256).fit(scientific)


def vectors(n=300, width=10, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def relative_error(x, decoded):
    x = x.astype(np.float64)
    return ((x - decoded) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()


# --- the oracle of encoding


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(12, 120),
    width=st.integers(1, 30),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
)
def test_codes_are_the_nearest_centroids(brute_force, seed, n, width, sizes):
    x = vectors(n, width, seed)
    fitted = RQKMeans(levels=len(sizes), codebook_size=sizes, iterations=3).fit(x)
    codes = fitted.encode(x)
    assert fitted.codebook_sizes == sizes
    assert codes.dtype == np.int32
    assert np.array_equal(codes, brute_force(fitted.codebooks, x))


def test_codes_of_real_vectors_are_the_nearest_centroids(
    brute_force, fitted_scientific, scientific
):
    some = scientific[::4]
    codes = fitted_scientific.encode(some)
    assert np.array_equal(codes, brute_force(fitted_scientific.codebooks, some))


def test_near_duplicates_get_the_code_of_their_nearest_centroids(brute_force):
    rng = np.random.default_rng(0)
    x = np.repeat(vectors(40, 64), 10, axis=0)
    x += (rng.normal(size=x.shape) * 1e-6).astype(np.float32)
    fitted = RQKMeans(levels=3, codebook_size=64).fit(x)
    assert np.array_equal(fitted.encode(x), brute_force(fitted.codebooks, x))


def test_centroids_that_nearly_coincide(brute_force):
    # 30 distinct rows and 50 centroids: k-means leaves centroids that repeat or nearly do.
    x = np.repeat(vectors(30, 16), 5, axis=0)
    fitted = RQKMeans(levels=3, codebook_size=50).fit(x)
    assert np.array_equal(fitted.encode(x), brute_force(fitted.codebooks, x))


def test_points_halfway_between_two_centroids(brute_force):
    fitted = RQKMeans(levels=2, codebook_size=8).fit(vectors(200, 3))
    first = fitted.codebooks[0]
    halves = ((first[:, None] + first) / 2).reshape(-1, 3)
    assert np.array_equal(fitted.encode(halves), brute_force(fitted.codebooks, halves))


# --- a row's code depends on the row alone


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_codes_do_not_depend_on_the_batch(fitted_scientific, scientific, batch):
    rows = scientific[: min(len(scientific), 200 * batch)]
    whole = fitted_scientific.encode(scientific)[: len(rows)]
    parts = [fitted_scientific.encode(rows[i : i + batch]) for i in range(0, len(rows), batch)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_codes_do_not_depend_on_the_order(fitted_scientific, scientific):
    order = np.random.default_rng(0).permutation(len(scientific))
    codes = fitted_scientific.encode(scientific)
    assert np.array_equal(fitted_scientific.encode(scientific[order]), codes[order])


def test_codes_do_not_depend_on_threads(fitted_scientific, scientific):
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            assert faiss.omp_get_max_threads() == threads
            found.append(fitted_scientific.encode(scientific))
    assert np.array_equal(*found)


def test_equal_rows_have_equal_codes(fitted_scientific, scientific):
    _, group = np.unique(scientific, axis=0, return_inverse=True)
    assert group.max() + 1 < len(scientific), "the data set is known to hold repeated rows"
    codes = fitted_scientific.encode(scientific)
    first = np.unique(group, return_index=True)[1]
    assert np.array_equal(codes, codes[first[group]])


# --- the beam


def test_codes_of_a_beam_are_the_best_that_it_finds():
    x = vectors(400, 12)
    greedy = RQKMeans(levels=3, codebook_size=16).fit(x)
    fitted = RQKMeans(levels=3, codebook_size=16, beam=6).fit(x)
    assert all(
        np.array_equal(a, b) for a, b in zip(greedy.codebooks, fitted.codebooks, strict=True)
    )
    codes, errors = greedy.candidates(x, 6)
    assert np.array_equal(fitted.encode(x), codes[:, 0])
    assert errors[:, 0].sum() < greedy.errors(x, greedy.encode(x))[:, -1].sum()


def test_a_beam_wider_than_all_codes_finds_the_nearest_of_all():
    x = vectors(60, 5)
    fitted = RQKMeans(levels=2, codebook_size=6, beam=50).fit(x)
    sums = fitted.codebooks[0][:, None].astype(np.float64) + fitted.codebooks[1]
    nearest = ((x[:, None] - sums.reshape(36, 5)) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(fitted.encode(x), np.stack(np.divmod(nearest, 6), axis=1))


# --- fitting


def test_of_several_runs_the_best_is_kept():
    x = vectors(300, 3)

    def total(seed, restarts):
        spec = RQKMeans(levels=1, codebook_size=20, iterations=2, restarts=restarts, seed=seed)
        fitted = spec.fit(x)
        return fitted.errors(x, fitted.encode(x)).sum()

    alone = [total(1 + 64 * run, 1) for run in range(6)]
    assert len(set(alone)) == 6
    assert [total(1, restarts) for restarts in (1, 3, 6)] == [
        min(alone[:1]),
        min(alone[:3]),
        min(alone),
    ]


def test_the_error_is_that_of_faiss_or_better(fitted_scientific, scientific):
    peer = faiss.ResidualQuantizer(scientific.shape[1], 4, 8)
    peer.train_type = faiss.ResidualQuantizer.Train_default
    peer.max_beam_size = 1
    peer.train(scientific)
    theirs = relative_error(scientific, peer.decode(peer.compute_codes(scientific)))
    codes = fitted_scientific.encode(scientific)
    assert relative_error(scientific, fitted_scientific.decode(codes)) <= 1.02 * theirs


@pytest.mark.parametrize("threads", [1, 2])
def test_fitting_again_gives_the_same_codebooks_bit_for_bit(scientific, threads):
    spec = RQKMeans(levels=2, codebook_size=32, iterations=5, seed=5)
    with threadpool_limits(threads):
        first, again = (spec.fit(scientific[:1000]).codebooks for _ in range(2))
    assert [book.tobytes() for book in first] == [book.tobytes() for book in again]


def test_another_seed_gives_other_codebooks():
    first, other = (
        RQKMeans(levels=2, codebook_size=16, seed=seed).fit(vectors()).codebooks for seed in (0, 1)
    )
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_global_random_state_is_neither_read_nor_moved():
    spec = RQKMeans(levels=2, codebook_size=16)
    np.random.seed(1)  # noqa: NPY002 (the global state is what is tested)
    first = spec.fit(vectors()).codebooks
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    again = spec.fit(vectors()).codebooks
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_each_level_lowers_the_error():
    x = vectors(500, 8)
    fitted = RQKMeans(levels=4, codebook_size=16).fit(x)
    totals = fitted.errors(x, fitted.encode(x)).sum(axis=0)
    assert (np.diff(totals) < 0).all()


def test_as_many_entries_as_items_leave_no_error():
    x = vectors(20, 4)
    fitted = RQKMeans(levels=1, codebook_size=20).fit(x)
    assert np.allclose(fitted.decode(fitted.encode(x)), x, atol=1e-6)


def test_equal_rows_alone():
    x = np.full((300, 3), 2.5)
    fitted = RQKMeans(levels=2, codebook_size=20).fit(x)
    codes = fitted.encode(x)
    assert (codes == codes[0]).all()
    assert np.allclose(fitted.decode(codes), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16])
def test_dtypes_give_the_codes_of_their_float32_copy(dtype):
    x = (vectors() * 50).astype(dtype)
    spec = RQKMeans(levels=2, codebook_size=16)
    expected = spec.fit(x.astype(np.float32)).encode(x.astype(np.float32))
    assert np.array_equal(spec.fit(x).encode(x), expected)


def test_strides_do_not_matter():
    x = vectors()
    fitted = RQKMeans(levels=2, codebook_size=16).fit(x)
    for layout in (np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        assert np.array_equal(fitted.encode(layout), fitted.encode(x))
        assert np.array_equal(fitted.spec.fit(layout).codebooks[0], fitted.codebooks[0])


def test_what_is_restored_encodes_bit_for_bit():
    fitted = RQKMeans(levels=3, codebook_size=(16, 8, 4)).fit(vectors())
    restored = fitted.spec.restore(fitted.arrays())
    assert np.array_equal(restored.encode(vectors(seed=1)), fitted.encode(vectors(seed=1)))


# --- what is refused

X = vectors(40, 5)

BAD_VECTORS = {
    "fewer rows than entries": (X[:10], ValueError, r"codebook_size=16 needs .* 16 items, got 10"),
    "one dimension": (X[0], ValueError, r"vectors: expected two dimensions .* \(5,\)"),
    "no rows": (X[:0], ValueError, r"vectors: expected at least one item .* \(0, 5\)"),
    "no columns": (X[:, :0], ValueError, r"vectors: expected at least one item .* \(40, 0\)"),
    "NaN": (np.where(np.eye(40, 5) > 0, np.nan, X), ValueError, r"5 rows hold NaN.*first: 0"),
    "infinity": (np.where(X > 2, np.inf, X), ValueError, r"vectors: \d+ rows hold NaN, infinity"),
    "beyond float32": (X.astype(np.float64) * 1e300, ValueError, r"vectors: 40 rows hold"),
    "squares beyond float32": (X * np.float32(1e19), ValueError, r"squares leave float32"),
    "ragged": ([[1, 2], [3]], ValueError, r"vectors: not a rectangular array"),
    "objects": ([[None, 1.0]], TypeError, r"vectors: expected a real numeric array, got object"),
    "text": ([["a"]], TypeError, r"vectors: expected a real numeric array, got <U1"),
    "complex": (X * 1j, TypeError, r"vectors: expected a real numeric array, got complex64"),
}


@pytest.mark.parametrize("case", BAD_VECTORS)
def test_bad_vectors_are_refused_by_name(case):
    x, error, message = BAD_VECTORS[case]
    with pytest.raises(error, match=message):
        RQKMeans(levels=2, codebook_size=16).fit(x)


def test_vectors_of_another_width_are_not_encoded():
    fitted = RQKMeans(levels=2, codebook_size=16).fit(X)
    with pytest.raises(ValueError, match=r"vectors: expected 5 columns as in the fit, got 4"):
        fitted.encode(X[:, :4])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"levels": 0}, "levels"),
        ({"levels": 65}, "levels"),
        ({"codebook_size": 0}, r"codebook_size=0: expected 1 to 1048576"),
        ({"codebook_size": 2**20 + 1}, r"codebook_size=1048577"),
        ({"levels": 3, "codebook_size": (8, 8)}, r"has 2 entries, levels=3"),
        ({"iterations": 0}, "iterations"),
        ({"restarts": 0}, "restarts"),
        ({"beam": 0}, "beam"),
        ({"refine": -1}, "refine"),
        ({"prefix_weight": -0.5}, "prefix_weight"),
        ({"seed": -1}, "seed"),
        ({"level": 4}, "level"),
    ],
)
def test_fields_are_checked_when_the_spec_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        RQKMeans(**fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda book: book[:-1], r"codebook\.1: expected float32 of shape \(16, 5\)"),
        (lambda book: book[:, :-1], r"codebook\.1: expected float32 of shape \(16, 5\)"),
        (lambda book: book.astype(np.float64), r"codebook\.1: .* got float64"),
        (lambda book: book * np.float32(np.nan), r"codebook\.1: 16 rows hold NaN"),
        (lambda book: book[0], r"codebook\.1: expected float32 of shape \(16, 5\), got .*\(5,\)"),
    ],
)
def test_codebooks_that_do_not_fit_are_not_restored(change, message):
    fitted = RQKMeans(levels=2, codebook_size=16).fit(X)
    arrays = fitted.arrays()
    arrays["codebook.1"] = change(arrays["codebook.1"])
    with pytest.raises(ValueError, match=message):
        fitted.spec.restore(arrays)
