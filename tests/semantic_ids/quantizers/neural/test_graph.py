"""Smoothing over a graph: the definition, and what it does to codes of planted communities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import normalized_mutual_info_score as nmi

from semantic_ids import RQKMeans, Side
from semantic_ids.quantizers.neural.graph import smooth


def communities(seed, items=1200, width=16, groups=8, signal=0.45, neighbours=6, inside=0.85):
    """Weak content, and edges that mostly stay within a community."""
    rng = np.random.default_rng(seed)
    group = rng.integers(groups, size=items)
    centres = rng.normal(size=(groups, width))
    content = signal * centres[group] + rng.normal(size=(items, width))
    edges = np.zeros((items, items))
    members = [np.flatnonzero(group == g) for g in range(groups)]
    for item in range(items):
        own = rng.choice(members[group[item]], size=neighbours)
        anyone = rng.integers(items, size=neighbours)
        edges[item, np.where(rng.random(neighbours) < inside, own, anyone)] = 1
    np.fill_diagonal(edges, 0)
    return content.astype(np.float32), edges, group


def smooth_naively(vectors, edges, hops):
    symmetric = (edges + edges.T) / 2
    weights = symmetric.sum(axis=1)
    with_loops = symmetric + np.diag(np.where(weights > 0, weights, 1))
    degree = with_loops.sum(axis=1)
    for _ in range(hops):
        after = np.zeros_like(vectors)
        for i in range(len(vectors)):
            for j in range(len(vectors)):
                after[i] += with_loops[i, j] / np.sqrt(degree[i] * degree[j]) * vectors[j]
        vectors = after
    return vectors


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9), hops=st.integers(0, 3))
def test_a_hop_is_the_normalised_sum_over_neighbours(seed, n, hops):
    rng = np.random.default_rng(seed)
    edges = rng.random((n, n)) * (rng.random((n, n)) < 0.3)
    vectors = rng.normal(size=(n, 3))
    expected = smooth_naively(vectors, edges, hops)
    assert np.allclose(smooth(vectors, csr_array(edges), hops), expected, atol=1e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3))
def test_the_scale_of_the_weights_does_not_matter(seed, scale):
    rng = np.random.default_rng(seed)
    edges = rng.random((9, 9)) * (rng.random((9, 9)) < 0.3)
    vectors = rng.normal(size=(9, 3))
    assert np.allclose(
        smooth(vectors, csr_array(edges * scale)), smooth(vectors, csr_array(edges)), atol=1e-5
    )


def test_an_item_without_edges_stays_as_it_is():
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    edges = csr_array(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    assert np.array_equal(smooth(vectors, edges, 5)[2], vectors[2])


def test_the_graph_is_left_alone():
    content, edges, _ = communities(0, items=50)
    graph = Side(graph=edges).graph
    smooth(content, graph)
    assert np.array_equal(graph.toarray(), edges)


@pytest.mark.parametrize("seed", range(3))
def test_two_hops_bring_the_community_into_the_first_code(seed):
    content, edges, group = communities(seed)
    spec = RQKMeans(levels=1, codebook_size=8)
    found = []
    for rows in (content, smooth(content, csr_array(edges))):
        found.append(nmi(group, spec.fit(rows).encode(rows)[:, 0]))
    assert found[0] < 0.5, "the content alone is meant to be weak"
    assert found[1] >= found[0] + 0.15
