"""The tree against walks by direct differences in float64, and the fit against scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from semantic_ids import HierarchicalKMeans, NearestFree, Suffix, Tokenizer
from semantic_ids.quantizers import families, tree
from semantic_ids.quantizers.subclusters import subclusters
from semantic_ids.quantizers.tree import ClusterTree

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def random_tree(rng, sizes, width, *, grid=False):
    """A tree in which each node has some of the children that it may have."""
    children, level = [], 1
    for size in sizes:
        children.append(rng.integers(1, size + 1, size=level))
        level = int(children[-1].sum())
    shape = (1 + sum(int(counts.sum()) for counts in children), width)
    centroids = rng.integers(-2, 3, size=shape) if grid else rng.normal(size=shape)
    return centroids.astype(np.float32), np.concatenate(children).astype(np.int32)


def naive_nodes(children, sizes):
    """The node at the end of each path that exists, of all lengths."""
    found, upcoming, level = {(): 0}, 1, [()]
    counts = iter(children)
    for _ in sizes:
        below = []
        for path in level:
            for entry in range(next(counts)):
                found[(*path, entry)] = upcoming
                below.append((*path, entry))
                upcoming += 1
        level = below
    return found


def naive_walk(centroids, nodes, sizes, row):
    """From the root on, always the nearest child, the first of equally near ones."""
    path = ()
    for size in sizes:
        there = [(*path, entry) for entry in range(size) if (*path, entry) in nodes]
        path = min(there, key=lambda child: distance(centroids, nodes[child], row))
    return path


def distance(centroids, node, row):
    return ((centroids[node].astype(np.float64) - row) ** 2).sum()


def last_node(nodes, path):
    """The node where a path ends, or leaves the tree."""
    while path not in nodes:
        path = path[:-1]
    return nodes[path]


# --- the search


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 12), grid=st.booleans())
def test_codes_are_walks_to_the_nearest_child(seed, sizes, width, grid):
    rng = np.random.default_rng(seed)
    centroids, children = random_tree(rng, sizes, width, grid=grid)
    x = rng.integers(-4, 5, size=(30, width)) / 2 if grid else rng.normal(size=(30, width))
    x = x.astype(np.float32)
    codes = ClusterTree(sizes, centroids, children).codes(x)
    nodes = naive_nodes(children, sizes)
    assert codes.dtype == np.int32
    assert [tuple(code) for code in codes.tolist()] == [
        naive_walk(centroids, nodes, sizes, row) for row in x.astype(np.float64)
    ]


@given(seed=SEEDS, width=st.integers(1, 64), ulps=st.integers(1, 3))
def test_children_a_rounding_apart_are_told_apart(seed, width, ulps):
    rng = np.random.default_rng(seed)
    near = rng.normal(size=(1, width)).astype(np.float32)
    twins = [near]
    for _ in range(5):
        for _ in range(ulps):
            near = np.nextafter(near, rng.choice([-9, 9], size=near.shape).astype(np.float32))
        twins.append(near)
    centroids = np.concatenate([twins[0], *twins])
    x = rng.normal(size=(40, width)).astype(np.float32)
    codes = ClusterTree((6,), centroids, np.array([6], dtype=np.int32)).codes(x)[:, 0]
    distances = ((x[:, None].astype(np.float64) - centroids[1:]) ** 2).sum(axis=2)
    assert np.array_equal(codes, distances.argmin(axis=1))


@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 6))
def test_a_path_stands_for_its_last_node(seed, sizes, width):
    rng = np.random.default_rng(seed)
    centroids, children = random_tree(rng, sizes, width)
    nodes, searched = naive_nodes(children, sizes), ClusterTree(sizes, centroids, children)
    every = np.array(list(itertools.product(*map(range, sizes))), dtype=np.int32)
    for length in range(1, len(sizes) + 1):
        ends = [last_node(nodes, tuple(path)) for path in every[:, :length].tolist()]
        assert np.array_equal(searched.decode(every[:, :length]), centroids[ends])


@settings(max_examples=60)
@given(seed=SEEDS, sizes=SIZES, width=st.integers(1, 6), more=st.integers(0, 3), grid=st.booleans())
def test_a_beam_as_wide_as_all_codes_sorts_them_all(seed, sizes, width, more, grid):
    rng = np.random.default_rng(seed)
    centroids, children = random_tree(rng, sizes, width, grid=grid)
    x = rng.integers(-3, 4, size=(5, width)) if grid else rng.normal(size=(5, width))
    x = x.astype(np.float32)
    nodes = naive_nodes(children, sizes)
    every = list(itertools.product(*map(range, sizes)))
    codes, errors = ClusterTree(sizes, centroids, children).beam_codes(x, len(every) + more)
    for row, found, error in zip(x.astype(np.float64), codes.tolist(), errors, strict=True):
        expected = sorted(
            (distance(centroids, last_node(nodes, path), row), path) for path in every
        )
        assert [tuple(code) for code in found] == [path for _, path in expected]
        assert np.allclose(error, [value for value, _ in expected], rtol=1e-12, atol=1e-12)


@settings(max_examples=40)
@given(seed=SEEDS, sizes=SIZES, m=st.integers(1, 20))
def test_a_beam_keeps_the_best_of_all_continuations(seed, sizes, m):
    rng = np.random.default_rng(seed)
    centroids, children = random_tree(rng, sizes, 5)
    nodes = naive_nodes(children, sizes)
    x = rng.normal(size=(4, 5)).astype(np.float32)
    codes, errors = ClusterTree(sizes, centroids, children).beam_codes(x, m)
    for row, found, error in zip(x.astype(np.float64), codes.tolist(), errors, strict=True):
        kept = [()]
        for size in sizes:
            longer = [(*path, entry) for path in kept for entry in range(size)]
            kept = sorted(
                longer, key=lambda path: distance(centroids, last_node(nodes, path), row)
            )[:m]
        # Paths that leave the tree are as good as each other: which of them are kept is open.
        expected = sorted(distance(centroids, last_node(nodes, path), row) for path in kept)
        assert np.allclose(error, expected, rtol=1e-12, atol=1e-12)
        assert len({tuple(code) for code in found}) == len(kept)


def test_the_size_of_the_work_blocks_does_not_matter(monkeypatch):
    x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    fitted = HierarchicalKMeans(levels=3, codebook_size=5).fit(x)
    codes, candidates = fitted.encode(x), fitted.candidates(x, 7)
    monkeypatch.setattr(tree, "_BLOCK_VALUES", 100)
    monkeypatch.setattr(families, "_BLOCK_VALUES", 100)
    assert np.array_equal(fitted.encode(x), codes)
    assert all(
        np.array_equal(a, b) for a, b in zip(fitted.candidates(x, 7), candidates, strict=True)
    )


# --- clusters within groups


@given(seed=SEEDS, groups=st.integers(1, 6), size=st.integers(1, 6), spread=st.integers(1, 4))
def test_a_group_has_a_cluster_for_each_of_few_distinct_points(seed, groups, size, spread):
    rng = np.random.default_rng(seed)
    points = rng.integers(spread, size=(60, 2)).astype(np.float32)
    group = np.append(np.arange(groups), rng.integers(groups, size=60 - groups))
    centroids, counts = subclusters(points, group, size, iterations=4, seed=0)
    begins = np.cumsum(counts) - counts
    for number in range(groups):
        distinct = np.unique(points[group == number], axis=0)
        own = centroids[begins[number] : begins[number] + counts[number]]
        assert len(own) == min(size, len(distinct))
        if len(distinct) <= size:
            assert np.array_equal(np.unique(own, axis=0), distinct)


def test_clusters_are_as_tight_as_those_of_scikit_learn_group_by_group():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1500, 5)).astype(np.float32) + 100
    group = rng.integers(5, size=1500)
    points[:, 0] += 50 * group
    centroids, counts = subclusters(points, group, 12, iterations=50, seed=0)
    assert counts.tolist() == [12] * 5
    for number in range(5):
        own = points[group == number].astype(np.float64)
        theirs = KMeans(12, n_init=1, max_iter=50, random_state=0).fit(own).inertia_
        gaps = own[:, None] - centroids[12 * number : 12 * number + 12]
        assert (gaps**2).sum(axis=2).min(axis=1).sum() <= 1.05 * theirs


def test_points_and_their_order_do_not_change():
    rng = np.random.default_rng(0)
    points, group = rng.normal(size=(50, 3)).astype(np.float32), rng.permutation(50) % 4
    before = points.copy(), group.copy()
    subclusters(points, group, 5, iterations=3, seed=0)
    assert np.array_equal(points, before[0])
    assert np.array_equal(group, before[1])


# --- the quantizer


def nested(n=900, seed=0):
    """Three clusters of three clusters of points."""
    rng = np.random.default_rng(seed)
    outer, inner = rng.normal(size=(3, 6)) * 20, rng.normal(size=(3, 3, 6)) * 4
    first, second = rng.integers(3, size=n), rng.integers(3, size=n)
    x = outer[first] + inner[first, second] + 0.1 * rng.normal(size=(n, 6))
    return x.astype(np.float32), first, second


def test_nested_clusters_are_found():
    x, first, second = nested()
    codes = HierarchicalKMeans(levels=2, codebook_size=3, seed=1).fit(x).encode(x)
    assert len(np.unique(np.column_stack([codes[:, 0], first]), axis=0)) == 3
    assert len(np.unique(np.column_stack([codes, first, second]), axis=0)) == 9


def test_a_node_that_items_took_is_nobody_elses():
    x, _, _ = nested()
    fitted = HierarchicalKMeans(levels=4, codebook_size=4).fit(x)
    for level in range(1, 5):
        paths = np.unique(fitted.encode(x)[:, :level], axis=0)
        assert len(np.unique(fitted.decode(paths), axis=0)) == len(paths)
    arrays = fitted.arrays()
    codes = fitted.encode(x)
    nodes = 1 + sum(len(np.unique(codes[:, :level], axis=0)) for level in range(1, 5))
    assert len(arrays["centroids"]) == nodes


def test_enough_levels_tell_all_distinct_items_apart():
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    fitted = HierarchicalKMeans(levels=8, codebook_size=4).fit(x)
    codes = fitted.encode(x)
    assert len(np.unique(codes, axis=0)) == 200
    assert np.array_equal(fitted.decode(codes), x)


def test_colliding_items_stay_below_their_node():
    x = np.repeat(np.random.default_rng(0).normal(size=(100, 4)), 3, axis=0)
    spec = HierarchicalKMeans(levels=3, codebook_size=16)
    tokenizer = Tokenizer.fit(x, quantizer=spec, resolver=NearestFree(), progress=False)
    content = Tokenizer.fit(x, quantizer=spec, resolver=Suffix(), progress=False).codes[:, :3]
    assert len(np.unique(tokenizer.codes, axis=0)) == 300
    assert np.array_equal(tokenizer.codes[:, :2], content[:, :2])


def test_the_error_on_real_vectors_is_that_of_scikit_learn_or_better(scientific):
    x = scientific.astype(np.float32)
    fitted = HierarchicalKMeans(levels=2, codebook_size=(16, 16)).fit(x)
    ours = fitted.errors(x, fitted.encode(x))[:, -1].sum()
    label = KMeans(16, n_init=1, max_iter=25, random_state=0).fit_predict(x)
    theirs = sum(
        KMeans(16, n_init=1, max_iter=25, random_state=0).fit(x[label == number]).inertia_
        for number in range(16)
    )
    assert ours <= 1.03 * theirs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"children": a["children"] + np.int32(9)}, "codebook_size"),
        (lambda a: a | {"children": a["children"] * np.int32(0)}, "codebook_size"),
        (lambda a: a | {"children": a["children"][:-1]}, "codebook_size"),
        (lambda a: a | {"children": np.append(a["children"], np.int32(1))}, "inner nodes"),
        (lambda a: a | {"children": a["children"].astype(np.int64)}, "children: expected int32"),
        (lambda a: a | {"centroids": a["centroids"][:-1]}, "centroids: expected float32"),
    ],
)
def test_arrays_that_make_no_tree_are_not_restored(change, message):
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    fitted = HierarchicalKMeans(levels=2, codebook_size=5).fit(x)
    with pytest.raises(ValueError, match=message):
        fitted.spec.restore(change(fitted.arrays()))
