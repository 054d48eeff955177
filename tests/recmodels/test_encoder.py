"""The sequence model against loops in float64, for masked and causal reading, in all positions."""

import numpy as np
import pytest
import torch

from recmodels.data import Histories
from recmodels.encoder import SequenceEncoder
from recmodels.item_vectors import CodeVectors, FeatureVectors, ItemVectors, OwnVectors
from recmodels.objectives import item_softmax
from recmodels.sequence_model import SequenceModel, SequenceScorer

SIZES = (5, 4, 3)
ITEMS = 30


#: Slots in which an item is read, and in which a masked one is named.
POSITIONS = {"item": (1, 1), "code": (3, 3), "transfer": (1, 3)}


def sequence_model(cosine=True, causal=False, own_dropout=0.0, positions="item"):
    torch.manual_seed(0)
    inputs, outputs = POSITIONS[positions]
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, size, ITEMS) for size in SIZES], axis=1)
    parts = {
        "codes": CodeVectors(torch.from_numpy(codes), SIZES, 16, outputs),
        "item": OwnVectors(torch.arange(ITEMS) < 25, 16, own_dropout),
        "features": FeatureVectors(torch.randn(ITEMS, 7), 16),
    }
    encoder = SequenceEncoder(
        width=16,
        layers=2,
        heads=2,
        dropout=0.3,
        positions=9,
        causal=causal,
        inputs=inputs,
        outputs=outputs,
    )
    return SequenceModel(ItemVectors(parts, outputs), encoder, cosine=cosine, temperature=0.2)


@pytest.fixture(params=POSITIONS)
def positions(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["cosine", "plain sums"])
def model(request, positions):
    return sequence_model(cosine=request.param, positions=positions).eval()


@pytest.fixture(params=["causal", *POSITIONS])
def either(request):
    if request.param == "causal":
        return sequence_model(causal=True).eval()
    return sequence_model(positions=request.param).eval()


def test_item_vectors_are_the_sum_of_their_parts(model):
    """A double loop over items and levels, in float64, from the tables themselves."""
    parts = model.items.parts
    table = parts["codes"].table.weight.detach().double().numpy()
    own = parts["item"].table.weight.detach().double().numpy()
    weight = parts["features"].projection.weight.detach().double().numpy()
    latents = parts["features"].latents.double().numpy()
    slots = model.items.slots
    vectors = model.items().detach().numpy().reshape(ITEMS, slots, 16)
    for item in range(ITEMS):
        embedded = [table[token] for token in parts["codes"].tokens[item].numpy()]
        others = (own[item] if item < 25 else 0) + weight @ latents[item]
        for slot in range(slots):
            codes = sum(embedded) if slots == 1 else embedded[slot]
            np.testing.assert_allclose(vectors[item, slot], codes + others / slots, atol=1e-5)
    rows = torch.tensor([7, 0, 29, 7])
    torch.testing.assert_close(model.items(rows), model.items()[rows])
    by_level = parts["codes"].by_level(rows)
    assert by_level.shape == (4, 3, 16 * slots)
    torch.testing.assert_close(by_level.sum(dim=1), parts["codes"](rows))


def test_scores_are_products_with_item_vectors(model):
    histories = Histories.of([[3, 7], [4, 4, 9]])
    scorer = SequenceScorer(model, max_history=8)
    scores = scorer.scores(histories)
    items = torch.tensor([[-1, 3, 7, -1], [4, 4, 9, -1]])
    masked = torch.tensor([[False, False, False, True]] * 2)
    vectors = model.items().detach()
    with torch.inference_mode():
        hidden, _ = model.read(items, masked, vectors[items.clamp(min=0)])
    hidden, vectors = hidden.double().numpy(), vectors.double().numpy()
    for user in range(2):
        for item in range(ITEMS):
            score = hidden[user] @ vectors[item]
            if model.cosine:
                score /= 0.2 * np.linalg.norm(vectors[item]) * np.linalg.norm(hidden[user])
            assert scores[user, item] == pytest.approx(score, abs=1e-5)


def test_the_last_layer_leaves_out_only_what_nobody_reads(model):
    """Every position read in full by torch's own transformer, then those that are asked for."""
    encoder = model.encoder
    if encoder.outputs > encoder.inputs:
        pytest.skip("test_slots.py spells out slots that are added")
    items = torch.tensor([[-1, 3, 7, 2], [4, 4, 9, 1], [-1, -1, 5, 8]])
    masked = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 1, 1]]).bool()
    given = model.items().detach()[items.clamp(min=0)]
    slots = given.unflatten(-1, (encoder.inputs, -1))
    stream = torch.where(masked[..., None, None], encoder.mask.view(encoder.inputs, -1), slots)
    stream = (stream + encoder.position.weight[:4].flip(0)[:, None]).flatten(1, 2)
    there = (items >= 0).repeat_interleave(encoder.inputs, dim=1)
    with torch.no_grad():
        whole = encoder.head(encoder.norm(encoder.transformer(stream, src_key_padding_mask=~there)))
        expected = whole.unflatten(1, (4, -1))[masked].flatten(1)
        torch.testing.assert_close(encoder.masked(given, items, masked), expected)


def test_every_history_is_scored_an_empty_one_too(either):
    scorer = SequenceScorer(either, max_history=8)
    scores = scorer.scores(Histories.of([[1, 2, 3], [5], []]))
    assert scores.shape == (3, scorer.size) == (3, ITEMS)
    assert np.isfinite(scores).all()


def test_what_stands_before_a_history_does_not_matter(either):
    scorer = SequenceScorer(either, max_history=8)
    alone = scorer.scores(Histories.of([[1, 2]]))
    beside = scorer.scores(Histories.of([[1, 2], [7, 8, 9, 1, 2, 3, 4, 5]]))
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)


def test_only_the_latest_items_are_read(either):
    scorer = SequenceScorer(either, max_history=3)
    long, short = Histories.of([[9, 9, 9, 1, 2, 3]]), Histories.of([[1, 2, 3]])
    np.testing.assert_allclose(scorer.scores(long), scorer.scores(short), atol=1e-6)


def test_order_and_items_matter(either):
    scorer = SequenceScorer(either, max_history=8)
    scores = scorer.scores(Histories.of([[1, 2, 3], [3, 2, 1], [1, 2, 4]]))
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    assert np.abs(scores[0] - scores[2]).max() > 1e-3


def hidden(model, items, masked):
    with torch.inference_mode():
        return model.read(items, masked, model.items()[items.clamp(min=0)])


def test_a_masked_item_does_not_leak(model):
    """What stands under a mask does not reach what is said of it."""
    masked = torch.tensor([[False, True, False, True]])
    one, targets = hidden(model, torch.tensor([[1, 2, 3, 4]]), masked)
    other, _ = hidden(model, torch.tensor([[1, 9, 3, 8]]), masked)
    assert torch.equal(one, other)
    assert targets.tolist() == [2, 4]


def test_later_items_reach_an_earlier_mask(model):
    masked = torch.tensor([[False, True, False]])
    one, _ = hidden(model, torch.tensor([[1, 0, 3]]), masked)
    other, _ = hidden(model, torch.tensor([[1, 0, 4]]), masked)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("level", range(3))
def test_no_code_of_a_masked_item_leaks(model, level):
    """Other codes under the masks move nothing; of an item that is seen, every code does."""
    items, masked = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[False, True, False, True]])
    codes = model.items.parts["codes"]
    starts = torch.tensor((0, *SIZES[:-1])).cumsum(0)
    before, _ = hidden(model, items, masked)
    for item, moves in ((2, False), (4, False), (3, True)):
        content = codes.tokens - starts
        content[item, level] = (content[item, level] + 1) % SIZES[level]
        codes.set_codes(content)
        after, _ = hidden(model, items, masked)
        assert torch.equal(before, after) != moves
        before = after


def test_a_causal_model_names_an_item_from_those_before_it():
    """An item, and what comes after it, do not reach what is said of it; those before do."""
    model = sequence_model(causal=True).eval()
    items = torch.tensor([[-1, 5, 1, 2, 3]])
    masked = torch.tensor([[False, False, True, True, True]])
    base, targets = hidden(model, items, masked)
    assert targets.tolist() == [1, 2, 3]
    for place in range(1, 5):
        changed = items.clone()
        changed[0, place] = 20
        moved = (hidden(model, changed, masked)[0] - base).abs().amax(dim=1) > 1e-4
        # Row r names the item at place r + 2.
        assert moved.tolist() == [place < row + 2 for row in range(3)]


def test_a_causal_model_says_after_a_history_what_it_says_of_the_next_item():
    model = sequence_model(causal=True).eval()
    said, _ = hidden(
        model, torch.tensor([[4, 8, 2, 6]]), torch.tensor([[False, False, False, True]])
    )
    asked = SequenceScorer(model, max_history=8).asked(Histories.of([[4, 8, 2]]))
    # Positions count from the end of a sequence, which is one item later here.
    window = SequenceScorer(model, max_history=3).asked(Histories.of([[4, 8, 2]]))
    np.testing.assert_allclose(asked, window, atol=1e-6)
    np.testing.assert_allclose(model.asked(said).numpy(), asked, atol=1e-5)


def test_every_parameter_gets_a_gradient(either):
    model = either.train()
    model.items.parts["item"].dropout = 0.2
    items = torch.randint(0, ITEMS, (64, 9))
    masked = torch.zeros(64, 9, dtype=torch.bool)
    masked[:, 4] = True
    item_softmax(model)(items, masked).backward()
    for name, parameter in model.named_parameters():
        # Nothing is masked in the stream of a causal model.
        if model.encoder.causal and name == "encoder.mask":
            continue
        assert parameter.grad is not None, name
        # A bias on attention keys shifts all logits of a query alike: softmax cannot see it.
        if "in_proj_bias" not in name:
            assert parameter.grad.abs().max() > 0, name
        if name == "encoder.mask":
            assert parameter.grad.view(model.items.slots, -1).any(dim=1).all()


def test_an_own_vector_is_dropped_as_a_whole_and_never_in_evaluation():
    own = OwnVectors(torch.ones(200, dtype=torch.bool), 8, dropout=0.5)
    vectors = own()
    dropped = (vectors == 0).all(dim=1)
    assert 60 < int(dropped.sum()) < 140
    assert torch.equal(vectors[~dropped], own.table.weight[~dropped])
    assert torch.equal(own.eval()(), own.table.weight)
