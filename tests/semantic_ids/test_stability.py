"""On one machine a row has one code, in whatever company and shape it comes.

The rows are real ones, copies of them, copies that are off by the last bit, and rows on the very
borders between codes, where a sum that is added up in another order would give another code.
"""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from semantic_ids import Features, NearestFree, RQKMeans, Suffix, Tokenizer
from semantic_ids.features import BLOCK_ROWS

QUANTIZERS = [
    RQKMeans(levels=3, codebook_size=64, iterations=5),
    RQKMeans(levels=2, codebook_size=(256, 16), iterations=5),
]


@pytest.fixture(scope="module", params=QUANTIZERS, ids=lambda spec: str(spec.codebook_sizes))
def tokenizer(request, scientific):
    return Tokenizer.fit(
        scientific[:3000], quantizer=request.param, resolver=Suffix(max_suffix=4096), progress=False
    )


def on_borders(encode, one, other):
    """Pairs of rows a last step of halving apart on the way from `one` to `other`."""
    low, high = np.zeros(len(one)), np.ones(len(one))
    codes = encode(one)
    for _ in range(60):
        middle = (low + high) / 2
        there = encode((one + (other - one) * middle[:, None]).astype(np.float32))
        beyond = (there != codes).any(axis=1)
        high, low = np.where(beyond, middle, high), np.where(beyond, low, middle)
    pairs = [one + (other - one) * share[:, None] for share in (low, high)]
    return np.concatenate(pairs).astype(np.float32)


def between_entries(codebooks, rng, count):
    """Rows (.., d) float32 halfway between two entries of a level, and close to there."""
    rows, start = [], np.zeros(codebooks[0].shape[1])
    for book in (np.asarray(book, dtype=np.float64) for book in codebooks):
        for _ in range(count):
            one, other = book[rng.choice(len(book), size=2, replace=False)]
            steps = np.concatenate([[0], 2.0 ** -np.arange(4, 44, 4)])
            signed = np.concatenate([steps, -steps[1:]])[:, None]
            rows.append(start + (one + other) / 2 + signed * (one - other))
        start = start + book[rng.integers(len(book))]
    return np.concatenate(rows).astype(np.float32)


@pytest.fixture(scope="module")
def rows(tokenizer, scientific):
    """Real rows, and rows that are hard to tell apart, (N, 384) float32, in any order."""
    rng = np.random.default_rng(0)
    real = scientific[rng.choice(len(scientific), size=600, replace=False)]
    up, down = (np.nextafter(real[:150], np.float32(to)) for to in (np.inf, -np.inf))
    one_bit = real[:150].copy()
    place = rng.integers(real.shape[1], size=150)
    one_bit[np.arange(150), place] = np.nextafter(one_bit[np.arange(150), place], np.float32(9))
    borders = on_borders(tokenizer.encode, real[:100], real[100:200])
    codec = tokenizer._fitted.codec
    halfway = codec.fuser.inverse(between_entries(codec.quantizer.codebooks, rng, 8))
    table = [real, real[:150], up, down, one_bit, borders, halfway["features"]]
    table = np.concatenate(table).astype(np.float32)
    return table[rng.permutation(len(table))]


@pytest.fixture(scope="module")
def codes(tokenizer, rows):
    return tokenizer.encode(rows)


def test_the_rows_are_hard(tokenizer, rows, codes, scientific):
    """The other tests could fail: last bits do change codes here, and equal rows there are."""
    assert len(np.unique(rows, axis=0)) < len(rows)
    pairs = on_borders(tokenizer.encode, scientific[:100], scientific[100:200])
    low, high = np.split(pairs, 2)
    assert np.abs(low - high).max() < 1e-6
    different = (tokenizer.encode(low) != tokenizer.encode(high)).any(axis=1)
    assert different.mean() > 0.5


def test_equal_rows_have_equal_codes(rows, codes):
    _, names = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(names, kind="stable")
    equal = names[order][1:] == names[order][:-1]
    assert equal.sum() >= 150
    assert np.array_equal(codes[order][1:][equal], codes[order][:-1][equal])


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 1000])
def test_the_batch_does_not_matter(tokenizer, rows, codes, size):
    part = slice(None) if size > 3 else slice(0, 250)
    parts = range(0, len(rows[part]), size)
    found = [tokenizer.encode(rows[part][start : start + size]) for start in parts]
    assert np.array_equal(np.concatenate(found), codes[part])


def test_a_batch_of_many_blocks_does_not_matter(tokenizer, rows, codes):
    times = 1 + 2 * BLOCK_ROWS // len(rows)
    many = np.concatenate([rows] * times + [rows[:7]])
    assert len(many) > 2 * BLOCK_ROWS
    expected = np.concatenate([codes] * times + [codes[:7]])
    assert np.array_equal(tokenizer.encode(many), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_matter(tokenizer, rows, codes, threads):
    with threadpool_limits(threads):
        assert {library["num_threads"] for library in threadpool_info()} == {threads}
        for size in (len(rows), 400, 33):
            parts = range(0, len(rows), size)
            found = [tokenizer.encode(rows[start : start + size]) for start in parts]
            assert np.array_equal(np.concatenate(found), codes)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_does_not_matter(tokenizer, rows, codes, seed):
    order = np.random.default_rng(seed).permutation(len(rows))
    assert np.array_equal(tokenizer.encode(rows[order]), codes[order])
    assert np.array_equal(tokenizer.encode(rows[::-1]), codes[::-1])


def unaligned(x):
    whole = np.zeros(x.nbytes + 1, dtype=np.uint8)
    view = whole[1:].view(x.dtype).reshape(x.shape)
    view[:] = x
    return view


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "every third column": lambda x: np.repeat(x, 3, axis=1)[:, ::3],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "columns from the back": lambda x: x[:, ::-1].copy()[:, ::-1],
    "part of a wider table": lambda x: np.pad(x, ((1, 2), (3, 1)))[1:-2, 3:-1],
    "unaligned": unaligned,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "float64": lambda x: x.astype(np.float64),
    "long double": lambda x: x.astype(np.longdouble),
    "lists": lambda x: x.tolist(),
    "Features": Features,
    "a mapping": lambda x: {"features": x},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_does_not_matter(tokenizer, rows, codes, layout):
    assert np.array_equal(tokenizer.encode(LAYOUTS[layout](rows)), codes)


def test_float16_gives_the_codes_of_the_same_values(tokenizer, rows):
    half = rows.astype(np.float16)
    expected = tokenizer.encode(half.astype(np.float32))
    for same in (half, np.asfortranarray(half), half.astype(np.float64)):
        assert np.array_equal(tokenizer.encode(same), expected)


def test_a_memory_mapped_file_gives_the_same_codes(tokenizer, rows, codes, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    for mode in ("r", "c"):
        mapped = np.load(tmp_path / "rows.npy", mmap_mode=mode)
        assert np.array_equal(tokenizer.encode(mapped), codes)


def test_save_and_load_do_not_matter(tokenizer, rows, codes, tmp_path):
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert np.array_equal(loaded.encode(rows), codes)
    assert np.array_equal(loaded.encode(rows[5:9]), codes[5:9])


def test_what_the_catalogue_holds_does_not_matter(tokenizer, rows, codes):
    grown = tokenizer.copy()
    names = np.arange(10_000, 10_000 + len(rows))
    grown.add(rows, ids=names)
    assert np.array_equal(grown.content_codes[-len(rows) :], codes)
    grown.remove(names[::2])
    assert np.array_equal(grown.encode(rows), codes)


def test_rows_between_entries_have_the_nearest_in_float64(tokenizer):
    """Against direct differences, the lowest index where two entries are equally near."""
    quantizer = tokenizer._fitted.codec.quantizer
    x = between_entries(quantizer.codebooks, np.random.default_rng(1), 4)
    residual, expected = x.astype(np.float64), []
    for book in quantizer.codebooks:
        distances = [((row - book.astype(np.float64)) ** 2).sum(axis=1) for row in residual]
        expected.append(np.argmin(distances, axis=1))
        residual = residual - book[expected[-1]]
    assert np.array_equal(quantizer.encode(x), np.stack(expected, axis=1))


def test_unique_codes_do_not_depend_on_threads(scientific):
    found = []
    spec = {"quantizer": RQKMeans(levels=2, codebook_size=32, iterations=3)}
    part = np.concatenate([scientific[:500], scientific[:40]])  # some have to move
    tokenizer = Tokenizer.fit(part[:300], resolver=NearestFree(), progress=False, **spec)
    for threads in (1, 2):
        with threadpool_limits(threads):
            grown = tokenizer.copy()
            found.append(grown.add(part[300:], ids=np.arange(1000, 1240)))
    assert np.array_equal(*found)
