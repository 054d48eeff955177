"""CodeTrie: every answer against a dict of prefixes."""

import dataclasses
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids.trie import CodeTrie

CODES = [[0, 1], [2, 0], [0, 3]]
SIZES = (3, 4)


def prefix_dict(codes):
    """For each prefix of a code the codes that come next, and the rows in code order."""
    following, rows = defaultdict(set), defaultdict(list)
    for code, row in sorted((tuple(code), row) for row, code in enumerate(codes)):
        for level in range(len(code) + 1):
            rows[code[:level]].append(row)
            if level < len(code):
                following[code[:level]].add(code[level])
    return following, rows


@st.composite
def catalogues(draw, largest=5, items=12):
    """Code sizes and a few distinct codes."""
    sizes = draw(st.lists(st.integers(1, largest), min_size=1, max_size=4))
    code = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    return draw(st.lists(code, max_size=items, unique=True)), tuple(sizes)


@st.composite
def asked(draw, largest=5):
    """A trie, its dict of prefixes, and prefixes of one length: some of codes, some of any."""
    codes, sizes = draw(catalogues(largest))
    level = draw(st.integers(0, len(sizes) - 1))
    known = st.sampled_from([code[:level] for code in codes] or [(0,) * level])
    unknown = st.tuples(*(st.integers(0, size - 1) for size in sizes[:level]))
    prefixes = draw(st.lists(known | unknown, max_size=6))
    array = np.array(prefixes, dtype=np.int64).reshape(len(prefixes), level)
    return CodeTrie.of(np.reshape(codes, (-1, len(sizes))), sizes), prefix_dict(codes), array


def naive_mask(following, prefixes, size):
    mask = np.zeros((len(prefixes), size), dtype=bool)
    for row, prefix in enumerate(map(tuple, prefixes.tolist())):
        for code in following.get(prefix, ()):
            mask[row, code] = True
    return mask


def check(case):
    trie, (following, _), prefixes = case
    level = prefixes.shape[1]
    allowed = trie.allowed(prefixes)
    assert allowed.indices.dtype == np.int32
    lists = np.split(allowed.indices, allowed.offsets[1:-1]) if len(prefixes) else []
    expected = [sorted(following.get(tuple(prefix), ())) for prefix in prefixes.tolist()]
    assert [part.tolist() for part in lists] == expected
    assert allowed.offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()

    mask = trie.allowed_mask(prefixes)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, naive_mask(following, prefixes, trie.sizes[level]))
    tensor = trie.torch_mask(torch.from_numpy(prefixes))
    assert tensor.dtype == torch.bool
    np.testing.assert_array_equal(tensor.numpy(), mask)


@given(asked())
def test_what_may_come_next_is_what_a_dict_of_prefixes_says(case):
    check(case)


@settings(max_examples=30)
@given(asked(largest=300_000))
def test_the_code_space_may_exceed_64_bits(case):
    check(case)


def test_the_code_space_exceeds_64_bits_for_sure():
    sizes = (2**31, 2**31, 70_000)
    codes = [[2**31 - 1, 5, 69_999], [2**31 - 1, 2**31 - 1, 0], [2**31 - 1, 5, 3], [0, 256, 1]]
    trie = CodeTrie.of(codes, sizes)
    assert trie.allowed([[]]).indices.tolist() == [0, 2**31 - 1]
    assert trie.allowed([[2**31 - 1]]).indices.tolist() == [5, 2**31 - 1]
    assert trie.allowed([[2**31 - 1, 5]]).indices.tolist() == [3, 69_999]
    assert trie.rows_under([]).tolist() == [3, 2, 0, 1]


@given(catalogues(), st.data())
def test_rows_under_a_prefix_are_those_of_the_dict(case, data):
    codes, sizes = case
    trie, (_, rows) = CodeTrie.of(np.reshape(codes, (-1, len(sizes))), sizes), prefix_dict(codes)
    level = data.draw(st.integers(0, len(sizes)))
    for prefix in {code[:level] for code in codes} | {tuple(size - 1 for size in sizes[:level])}:
        under = trie.rows_under(prefix)
        assert under.dtype == np.int64
        assert under.tolist() == rows.get(prefix, [])


@given(catalogues(), st.data())
def test_best_rows_are_a_sorted_list_cut_at_k(case, data):
    codes, sizes = case
    trie, (_, rows) = CodeTrie.of(np.reshape(codes, (-1, len(sizes))), sizes), prefix_dict(codes)
    dtype = data.draw(st.sampled_from([np.float64, np.float32, np.int8, np.uint8]))
    drawn = data.draw(st.lists(st.integers(0, 3), min_size=len(codes), max_size=len(codes)))
    k = data.draw(st.none() | st.integers(0, 6))
    for prefix in [(), *(code[:1] for code in codes), *codes]:
        best = sorted(rows.get(prefix, []), key=lambda row: (-drawn[row], row))[:k]
        assert trie.best_under(prefix, np.array(drawn, dtype=dtype), k).tolist() == best


def test_infinite_scores_are_ordered():
    assert CodeTrie.of(CODES, SIZES).best_under([], [-np.inf, 0.0, np.inf]).tolist() == [2, 1, 0]


@given(asked())
def test_a_walk_finds_what_whole_prefixes_do(case):
    trie, _, prefixes = case
    level = prefixes.shape[1]
    walk = trie.on("cpu")
    nodes, tensor = trie.root(len(prefixes)), walk.root(len(prefixes))
    for codes in prefixes.T:
        nodes = trie.step(nodes, codes)
        tensor = walk.step(tensor, torch.tensor(codes))
    assert tensor.tolist() == nodes.tolist()
    mask = trie.allowed_mask(prefixes)
    np.testing.assert_array_equal(trie.mask(nodes, level), mask)
    np.testing.assert_array_equal(walk.mask(tensor, level).numpy(), mask)


@given(catalogues())
def test_walking_every_code_of_a_code_space_finds_exactly_the_items(case):
    codes, sizes = case
    trie = CodeTrie.of(np.reshape(codes, (-1, len(sizes))), sizes)
    walk = trie.on("cpu")
    nodes, tensor = trie.root(1)[0], walk.root(1)[0]
    for size in sizes:  # all children of all nodes at once: one axis more a level
        nodes = trie.step(nodes[..., None], np.arange(size))
        tensor = walk.step(tensor[..., None], torch.arange(size))
    expected = np.full(sizes, -1)
    for row, code in enumerate(codes):
        expected[code] = row
    np.testing.assert_array_equal(trie.rows_at(nodes), expected)
    np.testing.assert_array_equal(walk.rows_at(tensor).numpy(), expected)


@pytest.mark.parametrize("beams", [(), (2,), (2, 3)])
def test_masks_have_the_shape_of_the_nodes(beams):
    trie = CodeTrie.of(CODES, SIZES)
    nodes = np.broadcast_to(trie.step(0, 0), beams)
    expected = np.broadcast_to([False, True, False, True], (*beams, 4))
    np.testing.assert_array_equal(trie.mask(nodes, 1), expected)
    tensor = torch.tensor(nodes)
    np.testing.assert_array_equal(trie.on("cpu").mask(tensor, 1).numpy(), expected)


def test_nodes_may_be_transposed():
    walk = CodeTrie.of(CODES, SIZES).on("cpu")
    nodes = walk.root(6).reshape(2, 3).T
    assert walk.step(nodes, torch.tensor([[0, 1], [2, 0], [1, 2]]).T.contiguous().T).shape == (3, 2)
    assert walk.mask(nodes, 0).shape == (3, 2, 3)


@pytest.mark.parametrize("code", [-1, 3, 4, 2**40])
def test_a_step_out_of_the_codes_is_unknown(code):
    # With a key of parent and code, code 4 of one node could be taken for code 0 of the next.
    trie = CodeTrie.of([[0, 0], [1, 0]], sizes=(3, 4))
    first = trie.step(0, 0)
    assert trie.step(first, code) == -1
    walk = trie.on("cpu")
    assert walk.step(torch.tensor(int(first)), torch.tensor(code)).item() == -1
    assert trie.step(-1, 0) == -1
    assert trie.step(trie.step(first, 0), 0) == -1  # a whole code has no children
    assert walk.step(torch.tensor(-1), torch.tensor(0)).item() == -1


def test_nodes_of_another_level_are_refused_or_on_a_device_unknown():
    trie = CodeTrie.of(CODES, SIZES)
    with pytest.raises(ValueError, match="nodes: 0 is none of level 1, whose nodes are 1 to 2"):
        trie.mask([1, 0], level=1)
    assert not trie.on("cpu").mask(torch.tensor([0, -1, 3, 5]), level=1).any()
    for walk in (trie, trie.on("cpu")):
        with pytest.raises(ValueError, match="level=2 should be between 0 and 1"):
            walk.mask(walk.root(1), level=2)  # pyright: ignore[reportArgumentType]
    assert trie.rows_at(np.arange(-1, 6)).tolist() == [-1, -1, -1, -1, 0, 2, 1]
    assert trie.on("cpu").rows_at(torch.arange(-1, 6)).tolist() == [-1, -1, -1, -1, 0, 2, 1]


@given(catalogues(largest=6, items=30), st.integers(0, 2**32 - 1))
def test_greedy_generation_emits_only_items(case, seed):
    codes, sizes = case
    codes = codes or [(0,) * len(sizes)]
    trie = CodeTrie.of(codes, sizes)
    generator = torch.Generator().manual_seed(seed)
    emitted = torch.zeros((16, 0), dtype=torch.int64)
    walk, nodes = trie.on("cpu"), trie.on("cpu").root(16)
    for level, size in enumerate(sizes):
        logits = torch.randn((16, size), generator=generator)
        mask = trie.torch_mask(emitted)
        assert torch.equal(mask, walk.mask(nodes, level))
        chosen = logits.masked_fill(~mask, -torch.inf).argmax(dim=1)
        emitted = torch.cat([emitted, chosen[:, None]], dim=1)
        nodes = walk.step(nodes, chosen)
    rows = walk.rows_at(nodes).tolist()
    assert [codes[row] for row in rows] == [tuple(code) for code in emitted.tolist()]


def test_masks_serve_a_loss_after_arrays_were_copied_in_inference_mode():
    trie = CodeTrie.of(CODES, SIZES)
    with torch.inference_mode():
        trie.torch_mask(torch.zeros((1, 1), dtype=torch.int64))
    logits = torch.zeros((1, 4), requires_grad=True)
    mask = trie.torch_mask(torch.zeros((1, 1), dtype=torch.int64))
    logits.masked_fill(~mask, -1e9).logsumexp(dim=1).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0, 0.5, 0.0, 0.5]]


def test_arrays_are_copied_to_a_device_once():
    trie = CodeTrie.of(CODES, SIZES)
    assert trie.on("cpu") is trie.on(torch.device("cpu"))
    assert trie.on("cpu").keys is trie.on("cpu").keys
    assert trie.on("meta") is not trie.on("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_masks_are_equal_on_a_gpu_and_need_no_waiting():
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 16, (2000, 3)), axis=0)
    trie = CodeTrie.of(codes, (16, 16, 16))
    prefixes = rng.integers(0, 16, (64, 2))
    mask = trie.torch_mask(torch.tensor(prefixes, device="cuda"))
    np.testing.assert_array_equal(mask.cpu().numpy(), trie.allowed_mask(prefixes))
    assert trie.on("cuda") is trie.on("cuda:0")
    walk, columns = trie.on("cuda"), torch.tensor(prefixes.T.copy(), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        nodes = walk.root(64)
        for level, column in enumerate(columns):
            walk.mask(nodes, level)
            nodes = walk.step(nodes, column)
        walk.rows_at(nodes)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    np.testing.assert_array_equal(walk.mask(nodes, 2).cpu().numpy(), mask.cpu().numpy())


def test_one_item():
    trie = CodeTrie.of([[7]], sizes=[9])
    assert len(trie) == 1
    assert trie.allowed_mask([[]]).nonzero()[1].tolist() == [7]
    assert trie.rows_under([7]).tolist() == trie.rows_under([]).tolist() == [0]
    assert trie.rows_under([6]).tolist() == []
    assert trie.rows_at(trie.step(trie.root(1), [7])).tolist() == [0]


def test_no_items():
    trie = CodeTrie.of(np.zeros((0, 2), dtype=np.int32), SIZES)
    assert len(trie) == 0
    assert not trie.allowed_mask(np.zeros((2, 0), dtype=int)).any()
    assert trie.torch_mask(torch.zeros((2, 1), dtype=torch.int64)).tolist() == [[False] * 4] * 2
    assert trie.rows_under([]).tolist() == []


def test_the_order_of_the_catalogue_decides_rows_and_nothing_else():
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 9, (500, 3)), axis=0)
    order = rng.permutation(len(codes))
    first, second = CodeTrie.of(codes, (9, 9, 9)), CodeTrie.of(codes[order], (9, 9, 9))
    np.testing.assert_array_equal(first.keys, second.keys)
    np.testing.assert_array_equal(first.children, second.children)
    np.testing.assert_array_equal(order[second.rows_under([])], first.rows_under([]))


def test_repeated_codes_are_refused_by_row():
    message = r"codes: 2 of 5 repeat an earlier row's code \(first: row 2 has that of row 1\)"
    with pytest.raises(ValueError, match=message):
        CodeTrie.of([[0, 0], [2, 1], [2, 1], [1, 1], [0, 0]], SIZES)


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([[0, 4]], SIZES, "codes: row 0 has 4 at level 1, whose codes are 0 to 3"),
        ([[0, 1, 2]], SIZES, r"codes: expected integers of shape \(n, 2\), got int64 .* \(1, 3\)"),
        ([[0.5, 1.0]], SIZES, "got float64"),
        ([], (), "sizes: expected"),
        ([[0]], (0,), "sizes: expected"),
        ([[0]], (2**31 + 1,), "sizes: expected"),
    ],
)
def test_invalid_codes_are_refused(codes, sizes, message):
    with pytest.raises(ValueError, match=message):
        CodeTrie.of(codes, sizes)


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        ([[0], [3]], "prefixes: row 1 has 3 at level 0, whose codes are 0 to 2"),
        ([[-1]], "prefixes: row 0 has -1 at level 0"),
        ([[0, 1]], r"prefixes: expected shape \(n, l\) with l < 2, got \(1, 2\)"),
        ([0], r"prefixes: expected shape \(n, l\) with l < 2, got \(1,\)"),
        ([[0.0]], r"prefixes: expected integers of shape \(n, 1\), got float64"),
    ],
)
def test_invalid_prefixes_are_refused(prefixes, message):
    trie = CodeTrie.of(CODES, SIZES)
    for ask in (trie.allowed, trie.allowed_mask, lambda rows: trie.torch_mask(torch.tensor(rows))):
        # torch makes 32-bit floats.
        with pytest.raises(ValueError, match=message.replace("float64", "float(32|64)")):
            ask(prefixes)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([[0]], r"prefix: expected shape \(l,\) with l <= 2, got \(1, 1\)"),
        (0, r"prefix: expected shape \(l,\) with l <= 2, got \(\)"),
        ([0, 0, 0], r"prefix: expected shape \(l,\) with l <= 2, got \(3,\)"),
        ([0, 4], "prefix: row 0 has 4 at level 1, whose codes are 0 to 3"),
    ],
)
def test_an_invalid_prefix_of_rows_is_refused(prefix, message):
    with pytest.raises(ValueError, match=message):
        CodeTrie.of(CODES, SIZES).rows_under(prefix)


@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [
        ([1.0, 2.0], None, r"scores: expected numbers of shape \(3,\), got float64 .* \(2,\)"),
        (["a", "b", "c"], None, "scores: expected numbers"),
        ([1.0, 2.0, np.nan], None, "scores: NaN for row 2"),
        ([1.0, 2.0, 3.0], -1, "k=-1 should be at least 0"),
    ],
)
def test_invalid_scores_are_refused(scores, k, message):
    with pytest.raises(ValueError, match=message):
        CodeTrie.of(CODES, SIZES).best_under([0], scores, k)


@pytest.mark.parametrize(("nodes", "codes"), [([0.0], [0]), ([0], [0.5])])
def test_steps_are_taken_by_integers(nodes, codes):
    with pytest.raises(ValueError, match=r"expected integers, got float64"):
        CodeTrie.of(CODES, SIZES).step(nodes, codes)


def test_nothing_can_be_changed():
    codes = np.array(CODES, dtype=np.int32)
    trie = CodeTrie.of(codes, SIZES)
    codes[:] = 0
    assert trie.rows_under([0]).tolist() == [0, 2]
    for array in (trie.keys, trie.children, trie.rows, trie.rows_under([])):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        trie.sizes = (1,)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_large_catalogue_takes_few_bytes_an_item():
    rng = np.random.default_rng(0)
    flat = rng.permutation(256 * 256 * 4)[:50_000]
    codes = np.stack([flat % 256, flat // 256 % 256, flat // 65536, flat % 7], axis=1)
    trie = CodeTrie.of(codes, (256, 256, 4, 256))
    assert trie.nbytes == trie.keys.nbytes + trie.children.nbytes + trie.rows.nbytes
    assert trie.nbytes < 100 * len(codes)


def test_torch_is_imported_where_it_is_used():
    code = (
        "import sys, semantic_ids.trie as t; trie = t.CodeTrie.of([[0]], [1]); "
        "trie.allowed_mask([[]]); print('torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "False"
