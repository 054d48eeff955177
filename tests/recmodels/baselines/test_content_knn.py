"""Cosines of content, against a naive double loop in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from recmodels.baselines import ContentKNN, Popularity
from recmodels.data import Held, Histories, Split, synthetic_catalogue
from recmodels.evaluation import evaluate
from semantic_ids import Features

SIZE = 9
SPLIT = Split.leave_one_out(Histories.of([[0, 1, 2]]), size=SIZE)
HISTORIES = st.lists(st.lists(st.integers(0, SIZE - 1), max_size=5), min_size=1, max_size=5)


@st.composite
def some_features(draw):
    """One to three modalities at scales of their own, some rows missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = ["text", "image", "sound"][: draw(st.integers(1, 3))]
    arrays = {
        name: rng.normal(3, 1, (SIZE, draw(st.integers(1, 4)))) * 10.0 ** draw(st.integers(-2, 3))
        for name in names
    }
    present = rng.random((SIZE, len(names))) < 0.7
    present[np.arange(SIZE), rng.integers(len(names), size=SIZE)] = True
    present[:3] = True
    return Features(arrays, dict(zip(names, present.T, strict=True)))


def scores_by_loop(features, history):
    """Compare item by item; None where the sum of a history all but vanishes by chance."""
    standard = {}
    for name, array in features.modalities.items():
        has = features.modality(name)[1]
        rows = StandardScaler().fit(array[has]).transform(array.astype(np.float32))
        standard[name] = rows, has
    scores = []
    for item in range(SIZE):
        cosines = []
        for rows, has in standard.values():
            shown = [rows[other] for other in history if has[other]]
            if shown and has[item]:
                mean = np.mean(shown, axis=0)
                if np.linalg.norm(mean) < 1e-3:
                    return None
                lengths = np.linalg.norm(mean) * np.linalg.norm(rows[item])
                cosines.append(mean @ rows[item] / lengths)
        scores.append(np.mean(cosines) if cosines else 0.0)
    return scores


@given(some_features(), HISTORIES)
def test_scores_are_mean_cosines_of_a_double_loop(features, asked):
    scores = ContentKNN.fit(SPLIT, features).scores(Histories.of(asked))
    assert scores.dtype == np.float32
    assert scores.shape == (len(asked), SIZE)
    for history, found in zip(asked, scores, strict=True):
        expected = scores_by_loop(features, history)
        if expected is not None:
            # float32 standardises values around 3 deviations from 0.
            assert np.allclose(found, expected, atol=2e-3)


@given(some_features(), HISTORIES)
def test_scores_hardly_depend_on_the_batch(features, asked):
    knn = ContentKNN.fit(SPLIT, features)
    together = knn.scores(Histories.of(asked))
    for row, history in zip(together, asked, strict=True):
        if scores_by_loop(features, history) is not None:
            assert np.allclose(knn.scores(Histories.of([history]))[0], row, atol=1e-5)


@given(some_features())
def test_what_stands_in_missing_rows_plays_no_part(features):
    arrays = {}
    for name, array in features.modalities.items():
        has = features.modality(name)[1]
        arrays[name] = np.where(has[:, None], array, np.nan)
    same = Features(arrays, missing="nan")
    asked = Histories.of([[0, 4, 5], [8], []])
    one, other = (ContentKNN.fit(SPLIT, each).scores(asked) for each in (features, same))
    assert np.array_equal(one, other)


def test_scores_by_hand():
    features = Features(
        {"a": np.array([[1.0], [-1.0], [0.0], [0.0]]), "b": np.array([[0.0], [0.0], [2.0], [4.0]])},
        {"a": [True, True, False, False], "b": [False, False, True, True]},
    )
    split = Split.leave_one_out(Histories.of([[0, 1, 2]]), size=4)
    scores = ContentKNN.fit(split, features).scores(Histories.of([[0], [1, 3], [0, 1], []]))
    # Who has only "a" says nothing of who has only "b"; 0 and 1 cancel out; nobody is nothing.
    assert scores.tolist() == [[1, -1, 0, 0], [-1, 1, -1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_it_finds_what_nobody_took_yet():
    """People stay near their kind of item, which content tells and counts do not."""
    dataset = synthetic_catalogue(items=1500, users=300)
    split = dataset.split()
    popularity = Popularity.fit(split)
    unseen = np.flatnonzero(popularity.counts[split.test.targets] == 0)
    held = Held(split.test.histories.take(unseen), split.test.targets[unseen])
    assert len(unseen) > 20
    content = evaluate(ContentKNN.fit(split, dataset.features), held, progress=False)
    assert np.median(evaluate(popularity, held, progress=False).ranks) > 1000
    assert np.median(content.ranks) < 200


def test_one_row_an_item_is_expected():
    with pytest.raises(ValueError, match="one row for each of 9 items, got 4"):
        ContentKNN.fit(SPLIT, Features(np.eye(4)))
    with pytest.raises(TypeError, match="raw text"):
        ContentKNN.fit(SPLIT, Features({"title": ["a"] * SIZE}))
    with pytest.raises(ValueError, match="item 9 is not in the catalogue"):
        ContentKNN.fit(SPLIT, Features(np.eye(SIZE))).scores(Histories.of([[9]]))


def test_it_cannot_be_changed():
    knn = ContentKNN.fit(SPLIT, Features({"text": np.eye(SIZE), "image": np.ones((SIZE, 2))}))
    for array in (knn.present, *knn.vectors.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert repr(knn) == "ContentKNN(9 items; text, image)"
    assert knn.size == SIZE
