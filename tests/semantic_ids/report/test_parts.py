"""What a page is made of, against loops and scikit-learn."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from semantic_ids.neighbourhoods import Neighbourhoods
from semantic_ids.report.buckets import buckets
from semantic_ids.report.projection import principal_plane
from semantic_ids.report.sample import RUN, sample_runs
from semantic_ids.report.tree import code_tree
from semantic_ids.report.verdict import reach_verdict
from semantic_ids.statistics import codebook_statistics

SIZES = (4, 3, 5)
CODES = st.lists(
    st.tuples(*(st.integers(0, size - 1) for size in SIZES)), min_size=1, max_size=40
).map(lambda rows: np.array(rows, dtype=np.int32))


@given(CODES)
def test_buckets_count_items_by_the_size_of_their_bucket(codes):
    counts = Counter(map(tuple, codes.tolist()))
    found = buckets(codes, SIZES)
    for bucket in found:
        inside = [c for c in counts.values() if bucket.least <= c <= bucket.most]
        assert bucket.items == sum(inside)
    assert sum(bucket.items for bucket in found) == len(codes)
    assert found[-1].items
    edges = [(bucket.least, bucket.most) for bucket in found]
    assert edges == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64)][: len(found)]


@given(CODES.map(lambda codes: np.unique(codes, axis=0)), st.randoms(), st.integers(1, 60))
def test_the_tree_holds_the_prefixes_above_most_items(codes, random, most):
    rows = list(range(len(codes)))
    random.shuffle(rows)
    codes = codes[rows]
    under = Counter(tuple(code[:depth]) for code in codes.tolist() for depth in (1, 2, 3))
    expected = {p: n for p, n in under.items() if len(p) == 1 or under[p[:-1]] > 1}
    tree = code_tree(codes, SIZES, most)
    prefixes = []
    for place in range(len(tree)):
        parent = tree.parents[place]
        assert parent < place
        prefixes.append((() if parent < 0 else prefixes[parent]) + (int(tree.codes[place]),))
        assert len(prefixes[-1]) == tree.depths[place]
        first = min(
            code for code in codes.tolist() if tuple(code[: len(prefixes[-1])]) == prefixes[-1]
        )
        assert codes[tree.firsts[place]].tolist() == first
    assert tree.total == len(expected)
    assert len(tree) == min(most, len(expected)) == len(set(prefixes))
    assert tree.items.tolist() == [expected[prefix] for prefix in prefixes]
    assert tree.items.tolist() == sorted(expected.values(), reverse=True)[:most]


@pytest.mark.parametrize("rows", [3, 50, 400])
def test_the_plane_is_that_of_principal_components(rows):
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 7)) * np.arange(1, 8) ** 1.5 + 1000
    plane = principal_plane(np.array_split(x.astype(np.float32), min(rows, 6)))
    oracle = PCA(2, svd_solver="full").fit(x.astype(np.float32).astype(np.float64))
    assert plane.shares == pytest.approx(oracle.explained_variance_ratio_, rel=1e-9)
    assert np.abs(plane.axes.T @ oracle.components_.T) == pytest.approx(np.eye(2), abs=1e-6)
    drawn = plane.project(x.astype(np.float32))
    expected = oracle.transform(x.astype(np.float32).astype(np.float64))
    signs = np.sign((drawn * expected).sum(axis=0))
    assert drawn == pytest.approx(expected * signs, abs=1e-4)
    assert (plane.axes[np.abs(plane.axes).argmax(axis=0), [0, 1]] > 0).all()


def test_the_plane_does_not_depend_on_the_blocks():
    x = np.random.default_rng(0).normal(size=(90, 5)) * np.arange(1, 6)
    one, many = principal_plane([x]), principal_plane(np.array_split(x, 30))
    assert one.axes == pytest.approx(many.axes, abs=1e-12)
    assert one.mean == pytest.approx(x.mean(axis=0))


@pytest.mark.parametrize("x", [np.ones((4, 3)), np.ones((1, 2)), np.arange(4.0)[:, None]])
def test_planes_of_what_varies_in_less_than_two_directions(x):
    plane = principal_plane([x])
    drawn = plane.project(x)
    assert drawn.shape == (len(x), 2)
    assert np.ptp(drawn[:, 0]) == pytest.approx(np.ptp(x))
    assert drawn[:, 1] == pytest.approx(0)
    assert plane.shares == (1.0 if np.ptp(x) else 0.0, 0.0)


def test_no_vectors_have_no_plane():
    with pytest.raises(ValueError, match="at least one vector"):
        principal_plane([])


@given(st.integers(1, 300), st.integers(RUN, 100), st.integers(0, 5))
def test_samples_are_whole_runs_in_order(n, most, seed):
    order = np.random.default_rng(0).permutation(n)
    rows = sample_runs(order, most, seed=seed)
    places = np.argsort(order)[rows]
    assert (np.diff(places) > 0).all()
    if n <= most:
        assert len(rows) == n
        return
    assert 0 < len(rows) <= most
    runs = Counter((places // RUN).tolist())
    assert all(count == min(RUN, n - run * RUN) for run, count in runs.items())


def test_every_item_has_the_same_chance_to_be_drawn():
    drawn = np.zeros(101)
    for seed in range(2000):
        drawn[sample_runs(np.arange(101), 25, seed=seed)] += 1
    chance = 5 / 21  # of a run
    spread = np.sqrt(chance * (1 - chance) / 2000)
    assert np.abs(drawn / 2000 - chance).max() < 4.5 * spread


def grades(statistics):
    return [finding.grade for finding in reach_verdict(statistics).findings]


def test_a_level_with_one_code_is_poor():
    statistics = codebook_statistics(np.array([[0, 0], [0, 1], [0, 2]]), (3, 3))
    assert grades(statistics) == ["poor", "good"]
    verdict = reach_verdict(statistics)
    assert verdict.findings[0].text.startswith("Level a tells nothing")
    assert verdict.headline == "These codes have a serious weakness: 1 of 2 checks fail."
    assert len(verdict.unchecked) == 2


@pytest.mark.parametrize(
    ("codes", "grade"),
    [
        (np.arange(64) % 33, "good"),  # in effect 33 of 64
        (np.arange(64) % 31, "fair"),
        (np.arange(64) % 6, "poor"),
        (np.arange(6), "good"),  # six items can use no more than six
    ],
)
def test_the_use_of_a_level_is_that_in_effect(codes, grade):
    assert grades(codebook_statistics(codes[:, None], (64,)))[0] == grade


def test_a_level_that_repeats_the_one_before_adds_nothing():
    codes = np.repeat(np.arange(8), 2)[:, None]
    verdict = reach_verdict(codebook_statistics(np.hstack([codes, codes]), (8, 8)))
    assert verdict.findings[0].text == "Level b adds next to nothing to the levels before it."


@pytest.mark.parametrize(
    ("repeated", "grade"), [(0, "good"), (9, "good"), (11, "fair"), (199, "fair"), (201, "poor")]
)
def test_collisions_are_graded_by_their_rate(repeated, grade):
    codes = np.minimum(np.arange(1000), 999 - repeated)[:, None]
    assert grades(codebook_statistics(codes, (1000,)))[1] == grade


@pytest.mark.parametrize(("error", "grade"), [(0.5, "good"), (0.51, "fair"), (0.81, "poor")])
def test_the_error_is_graded(error, grade):
    statistics = replace(codebook_statistics(np.arange(4)[:, None], (4,)), relative_error=error)
    assert grades(statistics)[2] == grade


@pytest.mark.parametrize(
    ("recall", "chance", "grade"),
    [
        (0.3, 0.01, "good"),
        (0.29, 0.01, "fair"),
        (0.09, 0.001, "poor"),
        (0.3, 0.16, "poor"),  # below twice chance
        (1.0, 0.6, "fair"),  # no recall could be twice as much
    ],
)
def test_neighbours_are_graded_by_recall_and_chance(recall, chance, grade):
    near = Neighbourhoods(10, 100, recall, recall, chance, None, 100)
    statistics = codebook_statistics(np.arange(4)[:, None], (4,))
    assert grades(replace(statistics, neighbourhoods=near))[-1] == grade
