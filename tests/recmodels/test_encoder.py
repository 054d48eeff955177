import numpy as np
import pytest
import torch

from recmodels.data import Histories
from recmodels.encoder import CodeEncoder, EncoderScorer

SIZES = (5, 4, 3)
ITEMS = 30


@pytest.fixture(params=[True, False], ids=["cosine", "plain sums"])
def encoder(request):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, size, ITEMS) for size in SIZES], axis=1)
    made = CodeEncoder(
        torch.from_numpy(codes),
        SIZES,
        width=16,
        layers=2,
        heads=2,
        dropout=0.3,
        positions=9,
        cosine=request.param,
        temperature=0.2,
    )
    return made.eval()


def test_scores_are_sums_of_level_logits(encoder):
    """A double loop over items and levels, in float64, from the tables themselves."""
    items = torch.tensor([[-1, 3, 7, 0], [4, 4, 9, 0]])
    masked = torch.tensor([[False, False, False, True]] * 2)
    with torch.inference_mode():
        hidden = encoder.hidden(items, masked, encoder.item_vectors()).double().numpy()
        scores = encoder(items, masked).numpy()
    table = encoder.table.weight.detach().double().numpy()
    tokens = encoder.tokens.numpy()
    for user in range(2):
        for item in range(ITEMS):
            score = sum(hidden[user] @ table[token] for token in tokens[item])
            if encoder.cosine:
                vector = sum(table[token] for token in tokens[item])
                score /= 0.2 * np.linalg.norm(vector) * np.linalg.norm(hidden[user])
            assert scores[user, item] == pytest.approx(score, abs=1e-5)


def test_every_history_is_scored_an_empty_one_too(encoder):
    scorer = EncoderScorer(encoder, max_history=8)
    scores = scorer.scores(Histories.of([[1, 2, 3], [5], []]))
    assert scores.shape == (3, scorer.size) == (3, ITEMS)
    assert np.isfinite(scores).all()


def test_what_stands_before_a_history_does_not_matter(encoder):
    scorer = EncoderScorer(encoder, max_history=8)
    alone = scorer.scores(Histories.of([[1, 2]]))
    beside = scorer.scores(Histories.of([[1, 2], [7, 8, 9, 1, 2, 3, 4, 5]]))
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)


def test_only_the_latest_items_are_read(encoder):
    scorer = EncoderScorer(encoder, max_history=3)
    long, short = Histories.of([[9, 9, 9, 1, 2, 3]]), Histories.of([[1, 2, 3]])
    np.testing.assert_allclose(scorer.scores(long), scorer.scores(short), atol=1e-6)


def test_order_and_items_matter(encoder):
    scorer = EncoderScorer(encoder, max_history=8)
    scores = scorer.scores(Histories.of([[1, 2, 3], [3, 2, 1], [1, 2, 4]]))
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    assert np.abs(scores[0] - scores[2]).max() > 1e-3


def test_a_masked_item_does_not_leak(encoder):
    """What stands under a mask does not reach the scores."""
    masked = torch.tensor([[False, True, False, True]])
    with torch.inference_mode():
        one = encoder(torch.tensor([[1, 2, 3, 4]]), masked)
        other = encoder(torch.tensor([[1, 9, 3, 8]]), masked)
    assert torch.equal(one, other)


def test_later_items_reach_an_earlier_mask(encoder):
    masked = torch.tensor([[False, True, False]])
    with torch.inference_mode():
        one = encoder(torch.tensor([[1, 0, 3]]), masked)
        other = encoder(torch.tensor([[1, 0, 4]]), masked)
    assert (one - other).abs().max() > 1e-3


def test_every_parameter_gets_a_gradient(encoder):
    encoder.train()
    items = torch.randint(0, ITEMS, (64, 9))
    masked = torch.zeros(64, 9, dtype=torch.bool)
    masked[:, 4] = True
    torch.nn.functional.cross_entropy(encoder(items, masked), items[masked]).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        # A bias on attention keys shifts all logits of a query alike: softmax cannot see it.
        if "in_proj_bias" not in name:
            assert parameter.grad.abs().max() > 0, name
