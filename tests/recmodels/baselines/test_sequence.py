"""SASRec and BERT4Rec learn what they can, and no more."""

import numpy as np
import pytest

from recmodels.baselines import BERT4Rec, Popularity, SASRec
from recmodels.data import Histories, Split, planted_catalogue, synthetic_catalogue
from recmodels.evaluation import evaluate
from recmodels.training import Optimisation
from semantic_ids import Features

FEW = {"width": 32, "dropout": 0.1}


@pytest.fixture(scope="module")
def chains():
    """Item 3 c + 1 follows 3 c, 3 c + 2 follows that, then any chain; users stop anywhere."""
    rng = np.random.default_rng(0)
    whole = (3 * rng.integers(0, 20, (600, 5, 1)) + np.arange(3)).reshape(600, 15)
    users = [row[:end] for row, end in zip(whole, rng.integers(9, 16, 600), strict=True)]
    return Split.leave_one_out(Histories.of(users), size=60)


@pytest.mark.parametrize(("spec", "epochs"), [(SASRec, 10), (BERT4Rec, 40)])
def test_an_order_is_learnt(spec, epochs, chains):
    optimisation = Optimisation(epochs=epochs, learning_rate=5e-3)
    fitted = spec(optimisation=optimisation, batch_size=32, **FEW).fit(chains, progress=False)
    found = evaluate(fitted, chains.test, progress=False)
    first_of_chain = chains.test.targets % 3 == 0
    # Nothing tells which chain comes next, everything how one goes on.
    assert found.hits(1)[~first_of_chain].mean() > 0.9
    assert found.hits(1)[first_of_chain].mean() < 0.3
    popular = evaluate(Popularity.fit(chains), chains.test, progress=False)
    assert popular.hits(1).mean() < 0.2


def test_features_reach_items_without_training_interactions():
    """Targets never occur in training: by ids alone they are out of reach, by content not."""
    planted = planted_catalogue()
    split = planted.split()
    optimisation = Optimisation(epochs=8, learning_rate=5e-3)
    chance = 10 / planted.size
    hits = {}
    for parts in (("item",), ("item", "features")):
        fitted = SASRec(item_parts=parts, optimisation=optimisation, **FEW).fit(
            split, planted.features, progress=False
        )
        hits[parts] = evaluate(fitted, split.test, progress=False).metrics.hr_10
    assert hits["item", "features"] > 5 * chance
    assert hits["item",] < 3 * chance


@pytest.mark.parametrize("spec", [SASRec, BERT4Rec])
def test_fitting_repeats_bit_for_bit(spec):
    split = synthetic_catalogue(items=80, users=60).split()
    short = spec(width=16, optimisation=Optimisation(epochs=2))
    one, two = (short.fit(split, progress=False).weights() for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = short.model_copy(update={"seed": 1}).fit(split, progress=False).weights()
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_items_that_come_later_are_scored_by_their_features():
    dataset = synthetic_catalogue(items=60, users=40)
    split, features = dataset.split(), dataset.features
    short = Optimisation(epochs=1)
    fitted = SASRec(width=8, item_parts=("features",), optimisation=short).fit(
        split, features, progress=False
    )
    order = np.random.default_rng(0).permutation(60)
    more = fitted.extended(features.rows(np.concatenate([np.arange(60), order])))
    scores = more.scores(split.test.histories)
    before = fitted.scores(split.test.histories)
    np.testing.assert_allclose(scores[:, :60], before, atol=1e-5)
    np.testing.assert_allclose(scores[:, 60:], before[:, order], atol=1e-5)
    with pytest.raises(ValueError, match="by their features alone"):
        SASRec(width=8, optimisation=short).fit(split, progress=False).extended(features)


def test_bad_input_is_refused_by_name():
    dataset = synthetic_catalogue(items=60, users=40)
    split = dataset.split()
    wanting = SASRec(item_parts=("features",))
    with pytest.raises(ValueError, match="features: item_parts names features"):
        wanting.fit(split)
    with pytest.raises(ValueError, match="features: expected 60 rows, one an item, got 5"):
        wanting.fit(split, Features({"text": np.ones((5, 2))}))
    with pytest.raises(ValueError, match="heads=3 does not divide width=64"):
        SASRec(heads=3)


def test_features_in_another_order_are_refused():
    dataset = synthetic_catalogue(items=50, users=30)
    with pytest.raises(ValueError, match=r"features: row 0 is item .* in the split"):
        SASRec(item_parts=("features",)).fit(
            dataset.split(), dataset.features.rows(np.arange(50)[::-1])
        )
