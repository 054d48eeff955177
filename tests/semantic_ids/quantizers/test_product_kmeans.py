"""ProductKMeans, OPQ and RQOPQ: known cases, faiss as the yardstick, and whole tokenizers."""

import faiss
import numpy as np
import pytest

from semantic_ids import (
    OPQ,
    RQOPQ,
    NearestFree,
    Optimal,
    ProductKMeans,
    Quantizer,
    RQKMeans,
    Tokenizer,
)
from semantic_ids.quantizers.kmeans import kmeans


def mixed(n=1500, width=16, seed=0):
    """Rows whose variance lies in directions that no column is alone with."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(width, width)))[0]
    values = rng.normal(size=(n, width)) * np.linspace(3, 0.3, width) + 1
    return (values @ directions).astype(np.float32)


X = mixed()


def relative_error(x, decoded):
    x = x.astype(np.float64)
    return ((x - decoded) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()


def error_of(spec, x):
    fitted = spec.fit(x, progress=False)
    return relative_error(x, fitted.decode(fitted.encode(x)))


def error_of_faiss(x, slots, bits):
    quantizer = faiss.ProductQuantizer(x.shape[1], slots, bits)
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(x)
    return relative_error(x, quantizer.decode(quantizer.compute_codes(x)))


# --- ProductKMeans


def test_one_slot_is_one_level_of_residual_codes():
    product = ProductKMeans(slots=1, codebook_size=40, seed=3).fit(X)
    residual = RQKMeans(levels=1, codebook_size=40, seed=3).fit(X)
    assert np.array_equal(product.codebooks[0], residual.codebooks[0])
    codes = product.encode(X)
    assert np.array_equal(codes, residual.encode(X))
    assert np.array_equal(product.decode(codes), residual.decode(codes))
    for ours, theirs in zip(product.candidates(X, 5), residual.candidates(X, 5), strict=True):
        assert np.allclose(ours, theirs)


def test_a_slot_is_k_means_of_its_columns_alone():
    fitted = ProductKMeans(slots=3, codebook_size=20, seed=5).fit(X)
    assert [book.shape for book in fitted.codebooks] == [(20, 6), (20, 5), (20, 5)]
    for slot, (start, stop) in enumerate([(0, 6), (6, 11), (11, 16)]):
        book = kmeans(X[:, start:stop], 20, iterations=25, seed=5 + slot)
        assert np.array_equal(fitted.codebooks[slot], book)


def test_the_error_is_that_of_faiss():
    assert error_of(ProductKMeans(slots=4, codebook_size=64), X) <= 1.02 * error_of_faiss(X, 4, 6)


def test_a_shared_codebook_is_k_means_of_all_blocks():
    fitted = ProductKMeans(slots=4, codebook_size=30, shared=True, seed=2).fit(X)
    book = kmeans(X.reshape(-1, 4), 30, iterations=25, seed=2)
    assert all(np.array_equal(one, book) for one in fitted.codebooks)
    assert set(fitted.arrays()) == {"codebook", "mean"}
    # Whatever slot columns stand in, they have the same code there.
    moved = np.roll(X, 4, axis=1)
    assert np.array_equal(fitted.encode(moved), np.roll(fitted.encode(X), 1, axis=1))


def test_what_a_prefix_leaves_open_is_the_mean_of_the_fit():
    fitted = ProductKMeans(slots=4, codebook_size=10).fit(X)
    decoded = fitted.decode(fitted.encode(X)[:, :1])
    mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    assert np.array_equal(decoded[:, 4:], np.tile(mean[4:], (len(X), 1)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ProductKMeans(slots=17), "slots=17 needs at least 17 columns, got 16; choose slots <= 16"),
        (ProductKMeans(slots=3, shared=True), "slots=3 do not divide 16 columns"),
        (ProductKMeans(slots=2, codebook_size=1501), "needs at least 1501 items, got 1500"),
        (OPQ(slots=17), "slots=17 needs at least 17 columns"),
        (OPQ(slots=2, codebook_size=1501), "needs at least 1501 items, got 1500"),
        (RQOPQ(head=RQKMeans(levels=1), tail=OPQ(slots=17)), "slots=17 needs at least 17 columns"),
    ],
)
def test_what_cannot_be_fitted_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        spec.fit(X, progress=False)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("codebook.1", lambda a: a[:9], r"codebook\.1: expected float32 of shape \(10, 8\)"),
        ("codebook.1", lambda a: a[:, :7], r"codebook\.1: expected float32 of shape \(10, 8\)"),
        ("mean", lambda a: a[:1], "slots=2 needs at least 2 columns, got 1"),
        ("rotation", lambda a: a[:15], r"rotation: expected float64 of shape \(16, 16\)"),
        ("rotation", lambda a: a * 1.001, "rotation: its columns are not orthogonal unit vectors"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, change, message):
    fitted = OPQ(slots=2, codebook_size=10, rounds=1).fit(X, progress=False)
    arrays = fitted.arrays()
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=message):
        fitted.spec.restore(arrays)


# --- OPQ


def test_opq_on_few_rows_is_no_worse_than_faiss():
    theirs = faiss.OPQMatrix(16, 4)
    theirs.pq = quantizer = faiss.ProductQuantizer(16, 4, 6)
    quantizer.cp.min_points_per_centroid = 1
    theirs.train(X)
    expected = error_of_faiss(theirs.apply_py(X), 4, 6)
    ours = error_of(OPQ(slots=4, codebook_size=64), X)
    assert ours <= 1.02 * expected
    assert ours < 0.9 * error_of(ProductKMeans(slots=4, codebook_size=64), X)


def test_without_rounds_the_rotation_is_the_principal_axes():
    fitted = OPQ(slots=4, codebook_size=32, rounds=0).fit(X, progress=False)
    covariance = np.cov((X.astype(np.float64) @ fitted.rotation).T)
    assert np.allclose(covariance, np.diag(np.diagonal(covariance)), atol=1e-5)


def test_errors_are_those_before_the_rotation_up_to_rounding():
    fitted = OPQ(slots=5, codebook_size=32, rounds=2).fit(X, progress=False)
    x = (mixed(seed=1) * 100).astype(np.float32)
    codes = fitted.encode(x)
    errors = fitted.errors(x, codes)
    for slots in range(1, 6):
        decoded = fitted.decode(codes[:, :slots]).astype(np.float64)
        direct = np.linalg.norm(x - decoded, axis=1)
        bound = 2.0**-23 * (np.linalg.norm(x, axis=1) + np.linalg.norm(decoded, axis=1))
        assert (np.abs(np.sqrt(errors[:, slots - 1]) - direct) <= bound).all()


def test_opq_on_real_vectors_is_no_worse_than_faiss(scientific):
    x = np.ascontiguousarray(scientific[:2000, :64])
    theirs = faiss.OPQMatrix(64, 8)
    theirs.pq = quantizer = faiss.ProductQuantizer(64, 8, 5)
    quantizer.cp.min_points_per_centroid = 1
    theirs.train(x)
    expected = error_of_faiss(theirs.apply_py(x), 8, 5)
    assert error_of(OPQ(slots=8, codebook_size=32), x) <= 1.02 * expected


def test_the_error_on_real_vectors_is_that_of_faiss(scientific):
    x = scientific[:2000]
    expected = error_of_faiss(x, 16, 5)
    assert error_of(ProductKMeans(slots=16, codebook_size=32, iterations=10), x) <= 1.02 * expected


# --- RQOPQ


def test_the_head_is_rq_kmeans_and_the_tail_quantizes_what_it_leaves():
    spec = RQOPQ(
        head=RQKMeans(levels=2, codebook_size=16),
        tail=OPQ(slots=3, codebook_size=8, rounds=2),
    )
    fitted = spec.fit(X, progress=False)
    head = spec.head.fit(X, progress=False)
    codes = fitted.encode(X)
    assert np.array_equal(codes[:, :2], head.encode(X))
    left = X - head.decode(codes[:, :2])
    tail = spec.tail.fit(left, progress=False)
    assert np.array_equal(codes[:, 2:], tail.encode(left))
    assert np.array_equal(fitted.decode(codes[:, :1]), head.decode(codes[:, :1]))
    expected = head.decode(codes[:, :2]) + tail.decode(codes[:, 2:])
    assert np.array_equal(fitted.decode(codes), expected)
    assert relative_error(X, expected) < relative_error(X, head.decode(codes[:, :2]))


def test_all_candidates_of_a_small_code_space_are_sorted_by_error():
    spec = RQOPQ(
        head=RQKMeans(levels=2, codebook_size=3), tail=ProductKMeans(slots=2, codebook_size=4)
    )
    fitted, x = spec.fit(X, progress=False), X[:5]
    every = np.stack(np.meshgrid(*map(np.arange, (3, 3, 4, 4)), indexing="ij"), -1).reshape(-1, 4)
    direct = ((x[:, None].astype(np.float64) - fitted.decode(every)) ** 2).sum(axis=2)
    for m in (144, 150):
        codes, errors = fitted.candidates(x, m)
        assert np.array_equal(
            np.sort(codes @ [48, 16, 4, 1], axis=1), np.tile(np.arange(144), (5, 1))
        )
        assert np.allclose(errors, np.sort(direct, axis=1), rtol=1e-5)
    for m in range(1, 144):
        assert fitted.candidates(x, m)[0].shape == (5, m, 4)


def test_few_candidates_are_close_to_the_best_of_all():
    spec = RQOPQ(
        head=RQKMeans(levels=2, codebook_size=6), tail=ProductKMeans(slots=2, codebook_size=6)
    )
    fitted = spec.fit(X, progress=False)
    x = mixed(200, seed=1)
    every = np.sort(fitted.candidates(x, 6**4)[1], axis=1)[:, :16]
    assert fitted.candidates(x, 16)[1].sum() <= 1.1 * every.sum()


def test_parts_of_different_widths_are_not_restored():
    spec = RQOPQ(
        head=RQKMeans(levels=1, codebook_size=4), tail=ProductKMeans(slots=2, codebook_size=4)
    )
    arrays = spec.fit(X, progress=False).arrays()
    other = spec.fit(X[:, :8], progress=False).arrays()
    mixed_up = arrays | {name: array for name, array in other.items() if name.startswith("tail.")}
    with pytest.raises(ValueError, match="tail: expected 16 columns as in the head, got 8"):
        spec.restore(mixed_up)


def test_a_tail_of_another_kind_survives_json():
    spec = RQOPQ(tail=ProductKMeans(slots=2))
    again = Quantizer.parse(spec.model_dump(mode="json"))
    assert again == spec
    assert isinstance(again, RQOPQ)
    assert isinstance(again.tail, ProductKMeans)


# --- whole tokenizers


def check_tokenizer(tokenizer, folder, new):
    """Codes of many positions work in everything that a tokenizer does."""
    n = len(tokenizer)
    assert len(np.unique(tokenizer.codes, axis=0)) == n
    tokenizer.save(folder)
    loaded = Tokenizer.load(folder)
    assert np.array_equal(loaded.codes, tokenizer.codes)
    assert np.array_equal(loaded.encode(new), tokenizer.encode(new))
    assert loaded.lookup(loaded.codes[:5]) == list(loaded.ids[:5])
    added = loaded.add(new, ids=[n + 1000 + row for row in range(len(next(iter(new.values()))))])
    assert len(np.unique(loaded.codes, axis=0)) == len(loaded)
    assert loaded.lookup(added[:1]) == [n + 1000]
    code = tokenizer.codes[7]
    for length in (0, 1, len(code) // 2, len(code) - 1):
        following = tokenizer.trie.allowed_mask(code[None, :length])
        same = (tokenizer.codes[:, :length] == code[:length]).all(axis=1)
        assert np.array_equal(
            np.flatnonzero(following[0]), np.unique(tokenizer.codes[same, length])
        )


@pytest.mark.parametrize("resolver", [NearestFree(), Optimal()], ids=["nearest-free", "optimal"])
def test_32_slots_of_real_vectors_with_equal_texts(scientific, resolver, tmp_path):
    x = scientific[:, :64]
    repeated = np.concatenate([x, x[:40]])
    quantizer = ProductKMeans(slots=32, codebook_size=256, iterations=2)
    tokenizer = Tokenizer.fit(
        {"text": repeated}, quantizer=quantizer, resolver=resolver, progress=False
    )
    assert tokenizer.statistics().items_in_collisions >= 80
    assert not tokenizer.ordered
    check_tokenizer(tokenizer, tmp_path / "tokenizer", {"text": x[:20]})


@pytest.mark.parametrize(
    "quantizer",
    [
        OPQ(slots=32, codebook_size=16, rounds=1, iterations=3),
        RQOPQ(
            head=RQKMeans(levels=2, codebook_size=32, iterations=3),
            tail=OPQ(slots=2, codebook_size=16, rounds=1, iterations=3),
        ),
    ],
    ids=["opq", "rq-opq"],
)
def test_films_with_missing_posters(films, quantizer, tmp_path):
    from semantic_ids import Features

    text, image, mask = films
    features = Features(
        {"text": text[:600, :48], "image": image[:600, :48]}, present={"image": mask[:600]}
    )
    tokenizer = Tokenizer.fit(features, quantizer=quantizer, resolver=Optimal(), progress=False)
    new = {"text": text[600:610, :48], "image": image[600:610, :48]}
    check_tokenizer(tokenizer, tmp_path / "tokenizer", new)
