"""The network and the losses of the fusion, against loops over items."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from recmodels.fusion_losses import contrast, info_nce, near_duplicates, rebuilding_error
from recmodels.fusion_network import FusionNetwork


def random_network(layers=3, adaptive=True):
    torch.manual_seed(0)
    network = FusionNetwork(
        [(1, 6), (2, 4)],
        20,
        width=8,
        layers=layers,
        heads=2,
        adaptive=adaptive,
        temperature=0.1,
        gate_threshold=0.5,
    ).double()
    values = [torch.randn(20, 1, 6).double(), torch.randn(20, 2, 4).double()]
    there = [torch.ones(20, 1, dtype=torch.bool), torch.rand(20, 2) > 0.3]
    present = torch.stack([part.any(dim=1) for part in there], dim=1)
    return network, values, there, present


def test_gates_stop_items_as_a_loop_over_items_does():
    network, values, there, present = random_network()
    # Queries of many lengths, so that the gates differ.
    queries = network.common.detach() + 3 * torch.randn(20, 8).double()
    with torch.no_grad():
        for gate in network.gates:
            gate[-1].weight.mul_(8)
            gate[-1].bias.zero_()
        aligned = network.align(values, there, queries)
        fused, depths, weights = network.fuse_hard(aligned, present, queries)
        reopened = 0
        for item in range(20):
            hidden, depth, stopped = queries[item : item + 1], 0, False
            keys = aligned[item] * weights[item][:, None] * 8**0.5
            for number, (layer, gate) in enumerate(zip(network.layers, network.gates, strict=True)):
                opening = torch.sigmoid(gate(hidden)).item()
                reopened += stopped and opening >= 0.5
                stopped = stopped or (number > 0 and opening < 0.5)
                if not stopped:
                    update = layer(hidden, keys[None], present[item : item + 1])
                    hidden, depth = hidden + opening * update, depth + 1
            vector = network.out(hidden)[0]
            assert depths[item] == depth
            np.testing.assert_allclose(fused[item], vector / vector.norm(), atol=1e-9)
    assert set(depths.tolist()) == {1, 2, 3}
    assert reopened  # some would have gone on if they had not been stopped before


def test_soft_gates_mix_a_layer_with_what_was_before_it():
    network, values, there, present = random_network(layers=1)
    queries = network.common + network.own.weight
    aligned = network.align(values, there, queries)
    fused, gates = network.fuse_soft(aligned, present, queries)
    keys = aligned * network.weigh(aligned, present, queries)[..., None] * 8**0.5
    block = queries + network.layers[0](queries, keys, present)
    expected = network.out((1 - gates) * queries + gates * block)
    expected = expected / expected.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(fused.detach(), expected.detach(), atol=1e-9)


def test_gradients_reach_queries_projections_and_gates():
    network, values, there, present = random_network()
    queries = network.common + network.own.weight
    aligned = network.align(values, there, queries)
    fused, gates = network.fuse_soft(aligned, present, queries)
    alike = torch.zeros(20, 20, dtype=torch.bool)
    apart = contrast(fused, aligned, present, alike, 0.1)
    rebuilt = rebuilding_error(network.rebuild(fused), values, there)
    (apart + rebuilt + 0.01 * gates[:, 1:].sum(dim=1).mean()).backward()
    for name, weight in network.named_parameters():
        # A softmax of keys does not see what is added to all of them.
        if "in_proj_bias" not in name:
            assert weight.grad is not None, name
            assert weight.grad.abs().max() > 1e-9, name
    assert (network.own.weight.grad.abs().sum(dim=1) > 0).all()


def test_queries_learn_through_the_alignment_alone():
    network, values, there, _ = random_network()
    queries = network.common + network.own.weight
    network.align(values, there, queries)[:, 1].square().sum().backward()
    two = there[1].all(dim=1)
    assert (network.own.weight.grad.abs().sum(dim=1)[two] > 0).all()


def test_without_gates_a_layer_counts_whole():
    network, values, there, present = random_network(layers=2)
    bare, *_ = random_network(layers=2, adaptive=False)
    assert not len(bare.gates)
    bare.load_state_dict(
        {name: value for name, value in network.state_dict().items() if "gates" not in name}
    )
    wide_open = deepcopy(network)
    with torch.no_grad():
        for gate in wide_open.gates:
            gate[-1].bias.fill_(1e4)
    queries = network.common + network.own.weight
    aligned = network.align(values, there, queries)
    one, other = (net.fuse_hard(aligned, present, queries)[0] for net in (bare, wide_open))
    assert torch.equal(one, other)


def test_info_nce_equals_a_loop_over_rows():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6, 4))
    there = np.array([1, 1, 0, 1, 1, 1], dtype=bool)
    alike = np.zeros((6, 6), dtype=bool)
    alike[0, 3] = alike[3, 0] = True
    losses = []
    for one, other in ((first, second), (second, first)):
        for i in np.flatnonzero(there):
            rivals = [j for j in np.flatnonzero(there) if not alike[i, j]]
            logits = np.array([one[i] @ other[j] / 0.1 for j in rivals])
            losses.append(np.log(np.exp(logits).sum()) - one[i] @ other[i] / 0.1)
    found = info_nce(
        torch.tensor(first),
        torch.tensor(second),
        torch.tensor(there),
        torch.tensor(alike),
        temperature=0.1,
    )
    assert found.item() == pytest.approx(np.mean(losses))


def test_near_duplicates_are_told_by_what_both_items_have():
    batch = [
        torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, -1.0]]),
        torch.tensor([[3.0], [0.0], [3.0]]),
    ]
    present = torch.tensor([[True, True], [True, False], [True, True]])
    alike = near_duplicates(batch, present, 0.95)
    # 0 and 1 have equal texts; 1 has no image. 0 and 2 have equal images and other texts.
    assert alike.tolist() == [[False, True, False], [True, False, False], [False, False, False]]
