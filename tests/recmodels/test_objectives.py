"""Objectives against sums over the catalogue in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recmodels.encoder import SequenceEncoder
from recmodels.item_vectors import CodeVectors, ItemVectors, OwnVectors
from recmodels.objectives import (
    evenly,
    in_order_of_codes,
    item_softmax,
    level_softmax,
    sampled_softmax,
)
from recmodels.sequence_model import SequenceModel

SIZES = (4, 3)
ITEMS = 12


#: Slots in which an item is read, and in which a masked one is named.
POSITIONS = {"item": (1, 1), "code": (2, 2), "transfer": (1, 2)}


@pytest.fixture(params=POSITIONS)
def positions(request):
    return request.param


def sequence_model(*, cosine, codes=True, positions="item", bonus=None, causal=False):
    torch.manual_seed(0)
    inputs, outputs = POSITIONS[positions]
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(3))
    parts = {"item": OwnVectors(torch.ones(ITEMS, dtype=torch.bool), 8)}
    if codes:
        parts["codes"] = CodeVectors(pairs, SIZES, 8, outputs)
    encoder = SequenceEncoder(
        width=8,
        layers=1,
        heads=2,
        dropout=0.0,
        positions=6,
        causal=causal,
        inputs=inputs,
        outputs=outputs,
    )
    model = SequenceModel(
        ItemVectors(parts, outputs),
        encoder,
        cosine=cosine,
        temperature=0.3,
        repeats=bonus is not None,
    )
    if bonus is not None:
        torch.nn.init.constant_(model.repeat, bonus * (0.3 if cosine else 1))
    return model


def batch():
    items = torch.tensor([[-1, 3, 7, 0], [4, 4, 9, 11]])
    masked = torch.tensor([[False, True, False, True], [False, False, True, False]])
    return items, masked


def hidden_of(model):
    items, masked = batch()
    with torch.no_grad():
        return model.read(items, masked, model.items()[items.clamp(min=0)])


def value(objective):
    return objective(*batch()).item()


def in_float64(tensor):
    return tensor.detach().double().numpy()


def score(model, hidden, vector, part=None):
    """Of a whole vector, or of one against a part of what was said."""
    told = hidden if part is None else part
    if model.cosine:
        return told @ vector / (np.linalg.norm(hidden) * np.linalg.norm(vector) * 0.3)
    return told @ vector


@pytest.mark.parametrize("cosine", [True, False])
def test_item_softmax(cosine, positions):
    model = sequence_model(cosine=cosine, positions=positions)
    hidden, targets = hidden_of(model)
    vectors = in_float64(model.items())
    expected = 0.0
    for row, target in zip(in_float64(hidden), targets.tolist(), strict=True):
        scores = [score(model, row, vector) for vector in vectors]
        expected += (np.logaddexp.reduce(scores) - scores[target]) / len(targets)
    assert value(item_softmax(model)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_an_item_that_was_seen_has_a_bonus_for_each_time(cosine, causal):
    """Of masked sequences all that is not masked is seen, of causal ones what came before."""
    model = sequence_model(cosine=cosine, bonus=-2.5, causal=causal)
    items = torch.tensor([[-1, 3, 7, 0], [4, 4, 9, 11]])
    masked = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 0]]).bool()
    seen = ([7], [7], [4, 4, 11]) if not causal else ([], [3, 7], [4, 4])
    with torch.no_grad():
        hidden, targets = model.read(items, masked, model.items()[items.clamp(min=0)])
    expected = 0.0
    for row, target, had in zip(in_float64(hidden), targets.tolist(), seen, strict=True):
        scores = np.array([score(model, row, vector) for vector in in_float64(model.items())])
        for item in had:
            scores[item] -= 2.5
        expected += (np.logaddexp.reduce(scores) - scores[target]) / len(targets)
    assert item_softmax(model)(items, masked).item() == pytest.approx(expected, abs=1e-5)
    torch.manual_seed(1)
    sampled = sampled_softmax(model, torch.arange(ITEMS), 200_000)(items, masked).item()
    assert sampled == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("cosine", [True, False])
def test_level_softmax(cosine, positions):
    model = sequence_model(cosine=cosine, positions=positions)
    hidden, targets = hidden_of(model)
    table = in_float64(model.items.parts["codes"].table.weight)
    expected = 0.0
    for row, target in zip(in_float64(hidden), targets.tolist(), strict=True):
        levels = (table[:4], row[:8], target // 3), (table[4:], row[-8:], target % 3)
        for rows, part, wanted in levels:
            logits = [score(model, row, vector, part) for vector in rows]
            expected += (np.logaddexp.reduce(logits) - logits[wanted]) / (2 * len(targets))
    assert value(level_softmax(model)) == pytest.approx(expected, abs=1e-5)


def test_level_softmax_needs_codes():
    with pytest.raises(ValueError, match="objective='levels'"):
        level_softmax(sequence_model(cosine=True, codes=False))


@pytest.mark.parametrize("cosine", [True, False])
def test_sampled_softmax_tends_to_the_whole(cosine, positions):
    """With many draws the estimate of the sum over the catalogue is the sum."""
    model = sequence_model(cosine=cosine, positions=positions)
    counts = torch.arange(ITEMS)
    whole = value(item_softmax(model))
    torch.manual_seed(1)
    sampled = value(sampled_softmax(model, counts, 200_000))
    assert sampled == pytest.approx(whole, rel=1e-4)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_places_come_nearly_as_often_as_expected(counts, n):
    chances = np.array(counts, dtype=np.float64) / sum(counts)
    drawn = evenly(torch.from_numpy(chances.cumsum()), n).numpy()
    assert len(drawn) == n
    assert (np.diff(drawn) >= 0).all()
    times = np.bincount(drawn, minlength=len(counts))
    assert (np.abs(times - n * chances) < 2 + 1e-9).all()


def test_places_come_as_often_as_expected_on_average():
    bounds = torch.tensor([0.05, 0.4, 1.0], dtype=torch.float64)
    torch.manual_seed(0)
    drawn = np.concatenate([evenly(bounds, 3).numpy() for _ in range(20_000)])
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.15, 1.05, 1.8], atol=0.015)


def test_sums_of_alike_scores_are_estimated_more_closely_than_by_independent_draws():
    """Scores of a prefix and a last code each, all items as likely: the hard case, a full grid."""
    rng = np.random.default_rng(0)
    terms = np.exp(2 * rng.normal(size=(64, 1)) + rng.normal(size=32)).ravel()
    bounds = torch.from_numpy(np.arange(1, 2049) / 2048)
    torch.manual_seed(0)
    ours = [terms[evenly(bounds, 256).numpy()].mean() for _ in range(400)]
    independent = terms[rng.integers(2048, size=(400, 256))].mean(axis=1)
    assert np.mean(ours) == pytest.approx(terms.mean(), abs=4 * np.std(ours) / 20)
    assert np.std(ours) < 0.8 * np.std(independent)


def test_an_objective_reads_the_codes_that_the_model_has_when_it_is_asked():
    model = sequence_model(cosine=True)
    objective = level_softmax(model)
    codes = model.items.parts["codes"]
    before = value(objective)
    codes.set_codes(torch.stack(torch.unravel_index(torch.arange(ITEMS).flip(0), SIZES), dim=1))
    assert value(objective) == value(level_softmax(model)) != before


def test_sampling_goes_along_the_codes():
    model = sequence_model(cosine=True)
    codes = np.random.default_rng(0).permutation(ITEMS)
    model.items.parts["codes"].set_codes(torch.from_numpy(np.stack(np.divmod(codes, 3), axis=1)))
    order = in_order_of_codes(model, ITEMS)
    assert codes[order].tolist() == list(range(ITEMS))


def test_without_codes_sampling_goes_along_the_rows():
    assert in_order_of_codes(sequence_model(cosine=True, codes=False), 5).tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_the_sampled_sum_over_the_other_items_is_unbiased():
    """The estimate behind the loss, exp(loss) - 1, has the whole catalogue's as its mean."""
    model = sequence_model(cosine=True)
    items, masked = torch.tensor([[3, 7, 5]]), torch.tensor([[False, False, True]])
    with torch.no_grad():
        whole = float(item_softmax(model)(items, masked).exp() - 1)
        torch.manual_seed(2)
        objective = sampled_softmax(model, torch.arange(ITEMS) ** 2, 4)
        found = [float(objective(items, masked).exp() - 1) for _ in range(4000)]
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(whole, abs=4 * error)
    # Without the correction the mean would be that of frequent items: the test can fail.
    assert error < 0.1 * whole


def test_the_gradient_of_the_sampled_softmax_is_that_of_the_whole():
    model = sequence_model(cosine=True)
    item_softmax(model)(*batch()).backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    torch.manual_seed(3)
    sampled_softmax(model, torch.ones(ITEMS), 100_000)(*batch()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name], atol=2e-2, rtol=0.05)
