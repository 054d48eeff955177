"""TIGER: its lists against a double loop of teacher forcing, item by item, in float64."""

import copy
import dataclasses
import sys

import numpy as np
import pytest
import torch

from recmodels.baselines import TIGER, TIGERSpec
from recmodels.data import Histories, Split, synthetic_catalogue
from recmodels.list_evaluation import evaluate_lists
from recmodels.training import Optimisation
from semantic_ids import RQKMeans, Tokenizer

pytest.importorskip("transformers")

SMALL = {"width": 16, "layers": 1, "heads": 2, "head_width": 8, "feed_forward": 32}
ITEMS = 60
ASKED = [[5, 9, 30], [7], [], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [9, 9]]


@pytest.fixture(scope="module")
def dataset():
    return synthetic_catalogue(items=ITEMS, users=80)


@pytest.fixture(scope="module")
def tokenizer(dataset):
    return Tokenizer.fit(dataset.features, quantizer=RQKMeans(levels=3, codebook_size=8))


@pytest.fixture(scope="module")
def tiger(dataset, tokenizer):
    fields = {**SMALL, "max_history": 8, "beams": 12, "optimisation": Optimisation(epochs=2)}
    return TIGER.fit(dataset.split(), tokenizer, progress=False, **fields)


@pytest.fixture(scope="module")
def forced(tiger, tokenizer):
    """The log-probability of each item's code after a history, one item at a time."""
    model = copy.deepcopy(tiger.network.t5).double()
    vocabulary = tokenizer.vocabulary

    def score(history):
        read = [tokenizer.codes[history[-8:]].reshape(-1, 3)]
        inputs = torch.tensor(vocabulary.encode_batch(read, eos=True).input_ids)
        scores = np.empty(ITEMS)
        for item in range(ITEMS):
            wanted = vocabulary.encode(tokenizer.codes[item : item + 1])[0].tolist()
            started = torch.tensor([[vocabulary.special("<bos>"), *wanted[:-1]]])
            with torch.no_grad():
                logits = model(input_ids=inputs, decoder_input_ids=started).logits[0]
            chosen = logits.log_softmax(dim=-1)[range(len(wanted)), wanted]
            scores[item] = float(chosen.sum())
        return scores

    known = [score(np.array(history, dtype=int)) for history in ASKED]
    return np.stack(known)


def test_every_item_of_a_list_exists_once_and_scores_fall(tiger):
    top = tiger.top_k(Histories.of(ASKED), k=12)
    assert top.rows.shape == top.scores.shape == (len(ASKED), 12)
    assert top.rows.dtype == np.int64
    assert top.scores.dtype == np.float32
    assert ((top.rows >= 0) & (top.rows < ITEMS)).all()
    assert all(len(set(row)) == 12 for row in top.rows.tolist())
    assert (np.diff(top.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("k", [1, 5, 12])
def test_scores_are_log_probabilities_of_teacher_forcing(tiger, forced, k):
    top = tiger.top_k(Histories.of(ASKED), k)
    expected = np.take_along_axis(forced, top.rows, axis=1)
    assert np.allclose(top.scores, expected, atol=1e-4)


@pytest.mark.parametrize("beams", [ITEMS, 100])
def test_with_a_beam_an_item_every_item_is_scored(tiger, forced, beams):
    spec = tiger.spec.model_copy(update={"beams": beams})
    top = dataclasses.replace(tiger, spec=spec).top_k(Histories.of(ASKED), ITEMS)
    # No two of these scores are so near that float32 could take one for the other.
    assert np.diff(np.sort(forced, axis=1), axis=1).min() > 1e-5
    assert np.array_equal(top.rows, np.argsort(-forced, axis=1))
    assert np.allclose(top.scores, -np.sort(-forced, axis=1), atol=1e-4)


def test_ranks_of_complete_lists_are_those_of_exhaustive_scores(tiger, dataset, forced):
    complete = dataclasses.replace(tiger, spec=tiger.spec.model_copy(update={"beams": ITEMS}))
    targets = [3, 50, 9, 12, 7]
    held = dataset.split().test.take([0] * len(ASKED))
    held = type(held)(Histories.of(ASKED), targets)
    found = evaluate_lists(complete, held, k=ITEMS, progress=False)
    expected = [1 + (row > row[target]).sum() for row, target in zip(forced, targets, strict=True)]
    assert found.ranks.tolist() == expected


def test_a_list_hardly_depends_on_the_batch(tiger):
    together = tiger.top_k(Histories.of(ASKED), k=5)
    for user, history in enumerate(ASKED):
        alone = tiger.top_k(Histories.of([history]), k=5)
        assert np.allclose(alone.scores[0], together.scores[user], atol=1e-5)


def test_only_the_latest_items_are_read(tiger):
    long = [*range(40), *range(10, 18)]
    one, other = (tiger.top_k(Histories.of([items]), k=5) for items in (long, long[-8:]))
    assert np.array_equal(one.rows, other.rows)
    assert np.array_equal(one.scores, other.scores)
    shorter = tiger.top_k(Histories.of([long[-7:]]), k=5)
    assert not np.array_equal(one.scores, shorter.scores)


def test_no_history_at_all(tiger):
    assert tiger.top_k(Histories.of([]), k=3).rows.shape == (0, 3)


def test_it_learns_what_follows_what():
    """Items go in a circle; codes are given, so that one position says little of the next item."""
    rng = np.random.default_rng(0)
    order = rng.permutation(24)
    starts = rng.integers(24, size=120)
    walks = order[(starts[:, None] + np.arange(9)) % 24]
    codes = np.stack(np.unravel_index(rng.permutation(24), (4, 6)), axis=1)
    tokenizer = Tokenizer.from_codes(None, codes, codebook_sizes=(4, 6), resolver=None)
    split = Split.leave_one_out(Histories.of(walks), size=24)
    tiger = TIGER.fit(
        split,
        tokenizer,
        progress=False,
        **(SMALL | {"width": 32}),
        dropout=0.0,
        max_history=3,
        batch_size=64,
        optimisation=Optimisation(epochs=16, learning_rate=1e-2),
    )
    found = evaluate_lists(tiger, split.test, progress=False)
    assert found.metrics.hr_1 > 0.9
    assert tiger.log.losses[-1] < tiger.log.losses[0] / 4
    assert tiger.log.validation[-1] > tiger.log.validation[0]


def test_the_validation_figure_is_the_mean_log_probability(tiger, dataset, tokenizer):
    held = dataset.split().validation
    model, vocabulary = copy.deepcopy(tiger.network.t5).double(), tokenizer.vocabulary
    scores = []
    for history, target in zip(held.histories, held.targets, strict=True):
        read = [tokenizer.codes[history[-8:]].reshape(-1, 3)]
        wanted = vocabulary.encode(tokenizer.codes[target : target + 1])[0].tolist()
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor(vocabulary.encode_batch(read, eos=True).input_ids),
                decoder_input_ids=torch.tensor([[vocabulary.special("<bos>"), *wanted[:-1]]]),
            ).logits[0]
        scores.append(float(logits.log_softmax(dim=-1)[range(len(wanted)), wanted].sum()))
    assert tiger.log.best_epoch is not None
    assert tiger.log.validation[tiger.log.best_epoch] == pytest.approx(np.mean(scores), abs=1e-4)


def test_fits_repeat_by_seed_and_leave_the_random_numbers_alone(dataset, tokenizer):
    short = {**SMALL, "optimisation": Optimisation(epochs=1)}
    before = torch.get_rng_state()
    one, same, other = (
        TIGER.fit(dataset.split(), tokenizer, seed=seed, progress=False, **short)
        for seed in (3, 3, 4)
    )
    assert torch.equal(before, torch.get_rng_state())
    weights = [list(each.network.parameters()) for each in (one, same, other)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_a_catalogue_of_another_size_is_refused(tiger, dataset, tokenizer):
    grown = tokenizer.copy()
    grown.add(dataset.features.rows(np.arange(1)).without_ids(), ids=["NEW"])
    assert tiger.size == ITEMS == len(grown) - 1
    with pytest.raises(ValueError, match="expected the 60 items of the split, got 61"):
        TIGERSpec().fit(dataset.split(), grown, progress=False)


@pytest.mark.parametrize("k", [0, 13])
def test_lists_of_another_length_are_refused(tiger, k):
    with pytest.raises(ValueError, match=f"k={k} should be between 1 and 12"):
        tiger.top_k(Histories.of(ASKED), k)


def test_what_cannot_be_is_refused(tiger, tokenizer):
    with pytest.raises(ValueError, match="item 60 is not in the catalogue; expected 0 to 59"):
        tiger.top_k(Histories.of([[1], [60]]), 3)
    nothing = Split.leave_one_out(Histories.of([[0, 1, 2]]), size=ITEMS)
    with pytest.raises(ValueError, match="no training history has 2 items"):
        TIGER.fit(nothing, tokenizer, progress=False)
    with pytest.raises(ValueError, match="TIGERSpec has no field 'beam'; did you mean 'beams'"):
        TIGER.fit(nothing, tokenizer, beam=3)


def test_without_transformers_the_extra_is_named(monkeypatch, dataset, tokenizer):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'semantic-ids\[hf\]'"):
        TIGER.fit(dataset.split(), tokenizer, progress=False)


def test_it_says_how_large_it_is(tiger):
    parameters = sum(each.numel() for each in tiger.network.parameters())
    assert repr(tiger) == f"TIGER(60 items, {parameters:,} parameters)"
