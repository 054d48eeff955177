"""Arrays that only fitting uses: checked on the way in, cut to the sample, used by resolvers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array

from semantic_ids import Popularity, RQKMeans, Side, Tokenizer

QUANTIZER = RQKMeans(levels=2, codebook_size=8)


def vectors(n=120):
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(size=(n // 3, 4)), 3, axis=0)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12))
def test_rows_of_a_side_are_the_rows_of_its_arrays(seed, n):
    rng = np.random.default_rng(seed)
    dense = rng.random((n, n)) * (rng.random((n, n)) < 0.4)
    side = Side(
        collaborative=rng.normal(size=(n, 3)),
        graph=coo_array(dense),
        counts=rng.integers(0, 9, n),
        labels=rng.integers(-1, 4, n),
        prototypes=np.eye(2),
    )
    index = np.sort(rng.choice(n, size=rng.integers(1, n + 1), replace=False))
    part = side.rows(index)
    assert len(part) == len(index)
    np.testing.assert_array_equal(part.collaborative, side.collaborative[index])
    np.testing.assert_allclose(part.graph.toarray(), dense[np.ix_(index, index)])
    np.testing.assert_array_equal(part.counts, side.counts[index])
    np.testing.assert_array_equal(part.labels, side.labels[index])
    np.testing.assert_array_equal(part.prototypes, np.eye(2))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"counts": [1.0, np.nan]}, "side.counts: 1 items have NaN"),
        ({"counts": [[1]]}, "side.counts: expected numbers of shape"),
        ({"labels": [0.5]}, "side.labels: expected integers"),
        ({"labels": [-2]}, "side.labels: expected categories"),
        ({"collaborative": [[np.inf]]}, "side.collaborative: 1 rows hold NaN, infinity"),
        ({"graph": [[0, 1]]}, r"side.graph: expected shape \(N, N\)"),
        ({"graph": [[-1.0]]}, "side.graph: expected finite weights"),
        ({"counts": [1], "labels": [1, 2]}, "counts has 1, side.labels has 2"),
    ],
)
def test_what_is_wrong_is_named(arrays, message):
    with pytest.raises(ValueError, match=message):
        Side(**arrays)


def test_a_side_of_another_length_is_refused_before_work_begins():
    with pytest.raises(ValueError, match=r"side.counts: 3 rows, but there are 120 items"):
        Tokenizer.fit(vectors(), side=Side(counts=[1, 2, 3]), quantizer=QUANTIZER)


def test_popularity_ranks_by_the_counts_of_the_side():
    counts = np.random.default_rng(1).permutation(120)
    tokenizer = Tokenizer.fit(
        vectors(), side=Side(counts=counts), quantizer=QUANTIZER, resolver=Popularity()
    )
    assert tokenizer.code_length == 3
    for content in np.unique(tokenizer.content_codes, axis=0):
        bucket = np.flatnonzero((tokenizer.content_codes == content).all(axis=1))
        ranked = bucket[np.argsort(-counts[bucket])]
        assert tokenizer.codes[ranked, -1].tolist() == list(range(len(bucket)))


def test_items_that_come_later_go_behind_those_that_are_ranked():
    tokenizer = Tokenizer.fit(
        vectors(), side=Side(counts=np.arange(120)), quantizer=QUANTIZER, resolver=Popularity()
    )
    before = tokenizer.codes.copy()
    alike = int((tokenizer.content_codes == tokenizer.content_codes[0]).all(axis=1).sum())
    new = tokenizer.add(vectors()[:2], ids=[500, 501])
    assert new[:, -1].tolist() == [alike, alike + 1]
    np.testing.assert_array_equal(tokenizer.codes[:120], before)
