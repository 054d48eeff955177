"""Structure as modalities: near where paths are near, blind to what is held out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recmodels.data import (
    Histories,
    category_vectors,
    cooccurrence_vectors,
    synthetic_catalogue,
    with_category_vectors,
    with_collaborative_vectors,
)

PATHS = st.lists(
    st.lists(st.sampled_from(["Tea", "Milk", "Black", "Green & White", "Oat"]), max_size=4).map(
        ", ".join
    ),
    min_size=1,
    max_size=12,
).filter(any)


def naive_cosine(one, other, paths):
    """Cosine of two sets of elements, each weighted by its smoothed inverse document frequency."""
    sets = [{name.strip() for name in path.split(",")} - {""} for path in paths]

    def weight(name):
        return 1 + np.log((1 + len(sets)) / (1 + sum(name in elements for elements in sets)))

    def product(a, b):
        return sum(weight(name) ** 2 for name in sets[a] & sets[b])

    if not sets[one] or not sets[other]:
        return 0.0
    return product(one, other) / np.sqrt(product(one, one) * product(other, other))


@settings(max_examples=40)
@given(paths=PATHS)
def test_products_are_the_cosines_of_weighted_paths(paths):
    vectors = category_vectors(paths, width=20)
    assert vectors.dtype == np.float32
    assert vectors.shape[1] <= min(len(paths), 5)
    places = range(len(paths))
    expected = [[naive_cosine(one, other, paths) for other in places] for one in places]
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-5)


def test_fewer_columns_keep_the_leading_directions():
    paths = synthetic_catalogue(items=300, users=1).categories
    whole = category_vectors(paths, width=300).astype(np.float64)
    values = np.linalg.svd(whole, compute_uv=False)
    kept = category_vectors(paths, width=8).astype(np.float64)
    # No eight columns keep more than the eight largest singular values.
    np.testing.assert_allclose((kept**2).sum(), (values[:8] ** 2).sum(), rtol=1e-3)


def test_category_vectors_repeat_bit_for_bit():
    paths = synthetic_catalogue(items=300, users=1).categories
    assert category_vectors(paths).tobytes() == category_vectors(paths).tobytes()


def test_an_item_without_a_category_lacks_the_modality():
    dataset = synthetic_catalogue(items=100, users=20)
    paths = tuple("" if i % 7 == 0 else path for i, path in enumerate(dataset.categories))
    added = with_category_vectors(replace(dataset, categories=paths), width=6)
    assert added.features.present[:, 2].tolist() == [i % 7 != 0 for i in range(100)]
    assert np.array_equal(added.features.present[:, :2], dataset.features.present)
    assert np.array_equal(added.features.modalities["category"], category_vectors(paths, width=6))
    assert added.features.ids.tolist() == dataset.ids.tolist()


def test_held_out_items_leave_no_trace_in_the_collaborative_modality():
    dataset = synthetic_catalogue(items=100, users=60)
    rng = np.random.default_rng(0)
    others = [
        np.concatenate([items[:-2], rng.integers(100, size=2)]) for items in dataset.histories
    ]
    changed = replace(dataset, histories=Histories.of(others))
    assert changed.histories != dataset.histories
    one, other = (with_collaborative_vectors(part, width=8).features for part in (dataset, changed))
    assert one.modalities["collaborative"].tobytes() == other.modalities["collaborative"].tobytes()
    assert np.array_equal(one.present, other.present)


def test_items_of_no_training_pair_lack_the_collaborative_modality():
    """Also where the vectors have more columns than there is anything to decompose."""
    dataset = synthetic_catalogue(items=60, users=2)
    histories = Histories.of([[0, 1, 2, 3, 50, 51], [2, 3, 4, 52, 53]])
    dataset = replace(dataset, histories=histories)
    added = with_collaborative_vectors(dataset, width=40).features
    assert np.flatnonzero(added.present[:, 2]).tolist() == [0, 1, 2, 3, 4]
    vectors = cooccurrence_vectors(dataset.split(), width=40)
    assert not vectors[5:].any()
    assert vectors[:5].any(axis=1).all()


def test_what_cannot_be_added_is_refused():
    dataset = synthetic_catalogue(items=60, users=5)
    with pytest.raises(ValueError, match="'synthetic' has no categories"):
        with_category_vectors(replace(dataset, categories=None))
    with pytest.raises(ValueError, match="'synthetic' has a modality 'category' already"):
        with_category_vectors(with_category_vectors(dataset))
    with pytest.raises(ValueError, match="'synthetic' has no histories to split"):
        with_collaborative_vectors(replace(dataset, histories=None, users=()))
    with pytest.raises(ValueError, match="categories: no item has one"):
        category_vectors(["", " , "])
    with pytest.raises(ValueError, match="width: expected at least 1, got 0"):
        category_vectors(["Tea"], width=0)
