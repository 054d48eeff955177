"""Neighbourhood figures against random orders counted out, scikit-learn and scipy."""

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from semantic_ids import Features, RQKMeans, Suffix, Tokenizer
from semantic_ids import neighbourhoods as module
from semantic_ids.neighbourhoods import CodeSpace, VectorSpace, measure_neighbourhoods


def space(points, block=4):
    """Points in blocks of a few."""

    def blocks(rows=None):
        chosen = points if rows is None else points[rows]
        return (chosen[start : start + block] for start in range(0, len(chosen), block))

    return VectorSpace(blocks)


def ranks_of_all_orders(distances):
    """Every order of the items in which no farther item stands before a nearer one."""
    n = len(distances)
    return [
        order
        for order in permutations(range(n))
        if all(distances[a] <= distances[b] for a, b in pairwise(order))
    ]


def expected(features, codes, k):
    """Recall and NDCG of one query's candidates, averaged over all orders of both sides."""
    recalls, ndcgs = [], []
    discounts = [1 / np.log2(rank + 2) for rank in range(k)]
    for wanted in ranks_of_all_orders(features):
        for found in ranks_of_all_orders(codes):
            hits = [item in wanted[:k] for item in found[:k]]
            recalls.append(sum(hits) / k)
            gained = sum(d for d, hit in zip(discounts, hits, strict=True) if hit)
            ndcgs.append(gained / sum(discounts))
    return np.mean(recalls), np.mean(ndcgs)


def without(row, values):
    return [value for other, value in enumerate(values) if other != row]


@settings(max_examples=25)
@given(
    x=arrays(np.float32, (5, 2), elements=st.integers(0, 2)),
    y=arrays(np.float32, (5, 1), elements=st.integers(0, 3)),
    k=st.integers(1, 4),
)
def test_ties_count_as_the_mean_over_all_orders(x, y, k):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_K", k)
        (figures,) = measure_neighbourhoods(space(x, 2), [space(y, 2)], 5)
    far, near = (cdist(points, points, "sqeuclidean").tolist() for points in (x, y))
    naive = [expected(without(q, far[q]), without(q, near[q]), k) for q in range(5)]
    assert (figures.recall, figures.ndcg) == pytest.approx(np.mean(naive, axis=0))
    assert figures.by_chance == k / 4
    assert (figures.k, figures.queries, figures.pairs) == (k, 5, 10)
    pairs = list(combinations(range(5), 2))
    one, other = ([d[i][j] for i, j in pairs] for d in (far, near))
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert figures.spearman is None
    else:
        assert figures.spearman == pytest.approx(spearmanr(one, other).statistic)


def test_figures_equal_sklearns_on_vectors_without_ties():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 5)).astype(np.float32)
    y = np.round(x[:, :3] + rng.normal(size=(150, 3)), 0).astype(np.float32)  # these tie
    (figures,) = measure_neighbourhoods(space(x, 64), [space(y, 64)], 150)
    relevant, scores = np.zeros((150, 149)), np.zeros((150, 149))
    for query in range(150):
        far = without(query, cdist(x[query : query + 1], x)[0])
        relevant[query, np.argsort(far)[:10]] = 1
        scores[query] = np.negative(without(query, cdist(y[query : query + 1], y)[0]))
    assert figures.ndcg == pytest.approx(ndcg_score(relevant, scores, k=10))  # averages ties
    assert 0.1 < figures.recall < 0.9


def test_the_same_distances_are_all_found_and_others_are_not():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    other = rng.normal(size=(3000, 4)).astype(np.float32)
    same, random = measure_neighbourhoods(
        space(x, 999), [space(2 * x, 999), space(other, 999)], 3000
    )
    assert (same.recall, same.ndcg) == pytest.approx((1, 1))
    assert same.spearman == pytest.approx(1)
    assert (same.queries, same.pairs) == (1000, 20_000)
    assert random.recall == pytest.approx(random.by_chance, abs=0.003)
    assert random.spearman == pytest.approx(0, abs=0.05)


def test_codes_that_are_all_equal_reach_what_chance_does():
    x = np.random.default_rng(2).normal(size=(60, 3)).astype(np.float32)
    (figures,) = measure_neighbourhoods(space(x), [space(np.ones((60, 2), np.float32))], 60)
    assert (figures.recall, figures.ndcg) == pytest.approx((figures.by_chance,) * 2)
    assert figures.spearman is None


def test_one_item_has_no_neighbours():
    assert measure_neighbourhoods(space(np.ones((1, 2))), [space(np.ones((1, 2)))], 1) == [None]


def test_squared_distances_far_from_the_origin():
    rng = np.random.default_rng(3)
    x = (1000 + rng.normal(size=(40, 6))).astype(np.float32)
    found = space(x).between(x, x)
    np.testing.assert_allclose(found, cdist(x, x, "sqeuclidean"), rtol=1e-6, atol=1e-5)
    assert (np.diagonal(found) == 0).all()
    np.testing.assert_array_equal(space(x).along(x[:20], x[20:]), found[:20, 20:].diagonal())


@given(st.lists(st.tuples(*(st.integers(0, 2) for _ in range(4))), min_size=1, max_size=12))
def test_levels_that_differ_are_counted(rows):
    codes = np.array(rows)
    prefix, hamming = (CodeSpace(codes, ordered=ordered) for ordered in (True, False))
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            shared = 0
            while shared < 4 and one[shared] == other[shared]:
                shared += 1
            assert prefix.between(codes, codes)[i, j] == 4 - shared
            differing = sum(a != b for a, b in zip(one, other, strict=True))
            assert hamming.between(codes, codes)[i, j] == differing
    np.testing.assert_array_equal(
        prefix.along(codes, codes[::-1]), prefix.between(codes, codes[::-1]).diagonal()
    )


# --- of a tokenizer


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(4).normal(size=(300, 6)).astype(np.float32)


def naive_recall(features, codes):
    found = []
    for query in range(len(features)):
        rest = [item for item in range(len(features)) if item != query]
        far = {i: ((features[i] - features[query]) ** 2).sum() for i in rest}
        near = {i: np.float32(((codes[i] - codes[query]) ** 2).sum()) for i in rest}
        wanted = sorted(rest, key=far.get)[:10]
        last = sorted(near.values())[9]
        nearer = sum(value < last for value in near.values())
        ties = sum(value == last for value in near.values())
        share = [
            1.0 if near[i] < last else (10 - nearer) / ties * (near[i] == last) for i in wanted
        ]
        found.append(sum(share) / 10)
    return np.mean(found)


def test_both_codes_of_a_tokenizer_are_measured(vectors):
    tokenizer = Tokenizer.fit(vectors, quantizer=RQKMeans(levels=2, codebook_size=24))
    figures = tokenizer.statistics(vectors)
    scaled = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    for codes, found in (
        (tokenizer.content_codes, figures.neighbourhoods),
        (tokenizer.codes, figures.unique_neighbourhoods),
    ):
        decoded = (tokenizer.decode(codes)["features"] - vectors.mean(axis=0)) / vectors.std(axis=0)
        assert found.recall == pytest.approx(naive_recall(scaled, decoded), abs=0.002)
    assert figures.moved > 0
    assert figures.neighbourhoods != figures.unique_neighbourhoods
    assert "neighbours by unique codes" in str(figures)


def test_published_codes_are_judged_without_a_codec(vectors):
    fitted = Tokenizer.fit(vectors, quantizer=RQKMeans(levels=3, codebook_size=8))
    names = [f"i{row}" for row in range(300)]
    by_prefix, by_level = (
        Tokenizer.from_codes(
            names, fitted.content_codes, ordered=ordered, resolver=Suffix(max_suffix=300)
        ).statistics(vectors)
        for ordered in (True, False)
    )
    random = Tokenizer.from_codes(names, np.random.default_rng(0).permuted(fitted.codes, axis=0))
    for figures in (by_prefix, by_level):
        assert figures.neighbourhoods.recall > 3 * random.statistics(vectors).neighbourhoods.recall
        assert figures.unique_neighbourhoods == figures.neighbourhoods
        assert figures.relative_error is None
    assert by_prefix.neighbourhoods != by_level.neighbourhoods


def test_features_in_another_order_give_the_same_figures(vectors):
    tokenizer = Tokenizer.fit(vectors, quantizer=RQKMeans(levels=2, codebook_size=24))
    order = np.random.default_rng(0).permutation(300)
    one = tokenizer.statistics(vectors, categories=order % 7)
    two = tokenizer.statistics(Features(vectors[order], ids=order), categories=order[order] % 7)
    assert two.relative_error == pytest.approx(one.relative_error)
    assert two.neighbourhoods.recall == pytest.approx(one.neighbourhoods.recall)
    assert [level.categories.ami for level in two.levels] == pytest.approx(
        [level.categories.ami for level in one.levels]
    )
