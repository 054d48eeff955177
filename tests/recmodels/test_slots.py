"""Positions a code: what slots know of one another, and what they can and cannot rank first.

The next item is A = (0, 0) in 45 of 100 cases, B = (1, 1) in 45 and C = (0, 1) in 10; D = (1, 0)
never comes. Level by level 0.55 of the items begin with 0 and 0.55 end with 1: the product of the
levels' chances has C first.
"""

import numpy as np
import pytest
import torch

from recmodels.data import Histories
from recmodels.encoder import SequenceEncoder
from recmodels.item_vectors import CodeVectors, ItemVectors, OwnVectors
from recmodels.objectives import item_softmax, level_softmax
from recmodels.sequence_model import SequenceModel, SequenceScorer

A, B, C, D = (0, 0), (1, 1), (0, 1), (1, 0)
BEFORE = (2, 2)
NEXT = {A: 9, B: 9, C: 2}
PRODUCTS = {A: 0.55 * 0.45, B: 0.45 * 0.55, C: 0.55 * 0.55, D: 0.45 * 0.45}

#: Slots in which an item is read, and in which a masked one is named.
POSITIONS = {"item": (1, 1), "code": (2, 2), "transfer": (1, 2)}


@pytest.fixture(params=POSITIONS)
def positions(request):
    return request.param


def sequence_model(positions, codes, *, cosine=False, own=False, width=8, dropout=0.0):
    torch.manual_seed(0)
    inputs, outputs = POSITIONS[positions]
    known = torch.ones(len(codes), dtype=torch.bool)
    parts = {"codes": CodeVectors(torch.tensor(codes), (3, 3), width, outputs)}
    parts |= {"item": OwnVectors(known, width)} if own else {}
    encoder = SequenceEncoder(
        width=width,
        layers=1,
        heads=2,
        dropout=dropout,
        positions=4,
        inputs=inputs,
        outputs=outputs,
    )
    return SequenceModel(ItemVectors(parts, outputs), encoder, cosine=cosine, temperature=0.1)


def learnt(positions, objective, catalogue, **fields):
    """Train until nothing moves any more; return the chance of each item after `BEFORE`."""
    codes = [*catalogue, BEFORE]
    model = sequence_model(positions, codes, **fields)
    before = len(catalogue)
    items = torch.tensor(
        [[before, catalogue.index(item)] for item, count in NEXT.items() for _ in range(count)]
    )
    masked = torch.tensor([[False, True]]).repeat(len(items), 1)
    loss = objective(model)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def step():
        optimiser.zero_grad()
        value = loss(items, masked)
        value.backward()
        return value

    optimiser.step(step)
    scores = SequenceScorer(model.eval(), 3).scores(Histories.of([[before]]))
    chances = torch.from_numpy(scores)[0].softmax(0).tolist()
    return dict(zip(catalogue, chances, strict=False))


def test_levels_by_themselves_put_a_rare_item_first(positions):
    """Slots that see one another do not help: the loss asks each for its own level's chances."""
    found = learnt(positions, level_softmax, [A, B, C, D])
    assert found == pytest.approx(PRODUCTS, abs=0.01)
    assert max(found, key=found.__getitem__) == C


def test_the_item_softmax_is_bound_where_every_combination_is_an_item(positions):
    """Of sums over codes A + B = C + D, in one position or two; the best fit is the product."""
    found = learnt(positions, item_softmax, [A, B, C, D])
    assert found == pytest.approx(PRODUCTS, abs=0.01)
    assert max(found, key=found.__getitem__) == C


def test_the_item_softmax_is_right_where_the_catalogue_leaves_it_free(positions):
    found = learnt(positions, item_softmax, [A, B, C])
    assert found == pytest.approx({A: 0.45, B: 0.45, C: 0.1}, abs=0.01)
    # Levels by themselves are not, of the same catalogue.
    bound = learnt(positions, level_softmax, [A, B, C])
    assert max(bound, key=bound.__getitem__) == C


def test_the_item_softmax_is_right_with_vectors_of_the_items_own(positions):
    found = learnt(positions, item_softmax, [A, B, C, D], own=True)
    assert found == pytest.approx({A: 0.45, B: 0.45, C: 0.1, D: 0.0}, abs=0.01)


def test_cosines_are_no_sums_over_codes_and_so_less_bound(positions):
    """The length of an item's vector depends on its codes jointly."""
    found = learnt(positions, item_softmax, [A, B, C, D], cosine=True)
    assert max(found, key=found.__getitem__) in (A, B)
    assert found[C] < 0.2


@pytest.mark.parametrize("positions", ["code", "transfer"])
def test_slots_of_a_masked_item_see_one_another(positions):
    """Another query in the second slot moves what the first one says."""
    model = sequence_model(positions, [A, B, C, BEFORE]).eval()
    items, masked = torch.tensor([[0, 1, 2]]), torch.tensor([[False, False, True]])
    with torch.no_grad():
        given = model.items()[items]
        before = model.read(items, masked, given)[0].view(2, 8)
        model.encoder.mask.view(2, 8)[1].neg_()
        after = model.read(items, masked, given)[0].view(2, 8)
    assert ((after - before).abs().amax(dim=1) > 1e-2).all()


@pytest.mark.parametrize("positions", ["code", "transfer"])
def test_a_masked_item_is_read_alike_however_many_others_a_batch_masks(positions):
    """Rows that have fewer masks than others are filled up, which nobody sees."""
    model = sequence_model(positions, [A, B, C, BEFORE]).eval()
    items = torch.tensor([[-1, 0, 1, 3], [2, 1, 0, 2]])
    masked = torch.tensor([[False, False, True, False], [True, True, False, True]])
    with torch.no_grad():
        vectors = model.items()
        together, _ = model.read(items, masked, vectors[items.clamp(min=0)])
        for rows, found in ((slice(0, 1), together[:1]), (slice(1, 2), together[1:])):
            alone, _ = model.read(items[rows], masked[rows], vectors[items[rows].clamp(min=0)])
            torch.testing.assert_close(alone, found)


def naive_transfer(model, items, masked):
    """One sequence as a plain list of positions: a masked item's slots where the item stood."""
    vectors = model.items().double()
    encoder = model.encoder.double()
    stream, wanted = [], []
    for at, item in enumerate(items):
        place = encoder.position.weight[len(items) - 1 - at]
        if masked[at]:
            wanted.append(range(len(stream), len(stream) + 2))
            stream += [encoder.mask[:8] + place, encoder.mask[8:] + place]
        else:
            stream.append(vectors[item, :8] + vectors[item, 8:] + place)
    found = encoder.head(encoder.norm(encoder.transformer(torch.stack(stream)[None])))[0]
    return torch.stack([torch.cat([found[at] for at in two]) for two in wanted])


def test_transfer_expands_a_masked_item_where_it_stands():
    model = sequence_model("transfer", [A, B, C, BEFORE], own=True).eval()
    items, masked = [3, 0, 1, 2], [False, True, False, True]
    rows = torch.tensor([items])
    with torch.no_grad():
        found, _ = model.read(rows, torch.tensor([masked]), model.items()[rows])
        expected = naive_transfer(model, items, masked)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


def test_slots_sum_to_the_vector_of_one_slot(positions):
    """Of the same tables, whatever the positions: nothing is counted twice."""
    one, other = (sequence_model(name, [A, B, C], own=True) for name in ("item", positions))
    slots = other.items().view(3, -1, 8)
    torch.testing.assert_close(slots.sum(dim=1), one.items())


def test_an_encoder_refuses_slots_that_do_not_fit():
    sizes = {"width": 8, "layers": 1, "heads": 2, "dropout": 0.0, "positions": 4}
    with pytest.raises(ValueError, match="inputs=2 does not divide outputs=3"):
        SequenceEncoder(**sizes, inputs=2, outputs=3)
    with pytest.raises(ValueError, match="outputs=3: a causal encoder"):
        SequenceEncoder(**sizes, outputs=3, causal=True)
