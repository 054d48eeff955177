"""The pure functions of the benchmarks of speed, and one small run of each measurement."""

import importlib.util
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

FOLDER = Path(__file__).parents[2] / "benchmarks"
POSITIVE = st.floats(1e-3, 1e3)


@pytest.fixture(scope="module")
def benchmarks():
    """The modules by name, found as a command of that folder finds its neighbours."""
    sys.path.insert(0, str(FOLDER))
    names = ("turns", "vectors", "peers", "ceilings", "encode", "meaning", "fit", "rqvae_steps")
    names = (*names, "imports", "scaling", "regression", "training")
    found = {}
    for name in names:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        found[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    yield found
    sys.path.remove(str(FOLDER))
    for name in names:
        del sys.modules[name]


def test_a_ratio_is_that_of_processor_time_round_by_round(benchmarks):
    spent = benchmarks["turns"].Spent
    ours = [spent(9.0, 1.0), spent(9.0, 2.0), spent(9.0, 4.0)]
    theirs = [spent(1.0, 3.0), spent(1.0, 2.0), spent(1.0, 8.0)]
    found = benchmarks["turns"].ratio(ours, theirs)
    assert (found.median, found.least, found.most) == (2.0, 1.0, 3.0)
    assert str(found) == "2.00 (1.00-3.00)"


def test_turns_go_round(benchmarks):
    called = []
    calls = {name: (lambda name=name: called.append(name)) for name in "ab"}
    taken = benchmarks["turns"].take_turns(calls, 2)
    assert called == ["a", "b"] * 3  # the first round warms up
    assert [len(runs) for runs in taken.values()] == [2, 2]


def test_waiting_is_wall_time_and_not_processor_time(benchmarks):
    found = benchmarks["turns"].spent(lambda: time.sleep(0.05))
    assert found.wall >= 0.05 > 2 * found.processor


def test_columns_are_equally_wide(benchmarks):
    text = benchmarks["turns"].columns(["", "b"], [["longer", "1"], ["x", "22"]])
    assert text.splitlines() == ["         b", "longer   1", "x       22"]


@given(a=POSITIVE, b=st.floats(-3, 3))
def test_an_exponent_is_found_again(benchmarks, a, b):
    values = [10.0, 100.0, 1000.0]
    figures = [a * value**b for value in values]
    found = benchmarks["scaling"].exponent(values, figures)
    if min(figures) > 1e-8:
        assert found == pytest.approx(b, abs=1e-6)


def test_memory_that_is_taken_at_one_time_is_seen(benchmarks):
    most = benchmarks["scaling"].traced_peak(lambda: [np.ones(500_000).sum() for _ in range(3)])
    assert 4e6 <= most < 4.5e6


def test_relative_error_against_direct_sums(benchmarks):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 4)).astype(np.float32)
    expected = ((x - y) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()
    assert benchmarks["vectors"].relative_error(x, y) == pytest.approx(expected, rel=1e-5)
    assert benchmarks["vectors"].relative_error(x, x) == 0


def test_a_mapped_file_holds_clustered_vectors(benchmarks, tmp_path):
    vectors = benchmarks["vectors"]
    x = vectors.mapped(tmp_path / "x.npy", 50, 8)
    assert (x.shape, x.dtype, x.flags.writeable) == ((50, 8), np.float32, False)
    assert np.array_equal(x, vectors.clustered(50, 8, seed=1))


@given(
    found=st.dictionaries(st.sampled_from("abc"), POSITIVE),
    stored=st.dictionaries(st.sampled_from("abc"), POSITIVE),
)
def test_only_what_fell_is_reported(benchmarks, found, stored):
    slower = benchmarks["regression"].slower(found, stored, 0.25)
    for name in "abc":
        both = name in found and name in stored
        assert (name in slower) == (both and found[name] < 0.75 * stored[name])


@pytest.mark.parametrize("case", ["rq-384", "beam-8", "product-32"])
def test_both_sides_make_the_same_codes(benchmarks, monkeypatch, tmp_path, case):
    encode = benchmarks["encode"]
    monkeypatch.setattr(encode, "SAMPLE", 600)
    ours, theirs = encode.measure(case, 64, 1, False, tmp_path)
    # faiss decides in float32: once in a long while it chooses another entry.
    assert theirs.equal_codes >= 0.95
    assert theirs.relative_error == pytest.approx(ours.relative_error, rel=0.01)
    assert case in encode.table([ours, theirs])


def test_training_is_measured(benchmarks):
    results = benchmarks["rqvae_steps"].measure(steps=1, batch=32, rounds=1)
    assert results[0].steps_a_second > 0
    assert results[0].share_of_floor > 0
    assert "RQVAE" in benchmarks["rqvae_steps"].table(results)


def test_the_floor_of_a_step_counts_all_its_products(benchmarks):
    module = benchmarks["rqvae_steps"]
    network, loss = module.ours(torch.randn(300, module.WIDTH))
    network.train()
    with FlopCounterMode(display=False) as counter:
        loss(torch.arange(64)).backward()
    # Sums of running means, too, are a product of ours, but need not be one.
    means = 2 * 64 * module.LEVELS * module.SIZE * module.CODE_DIM
    assert counter.get_total_flops() == module.operations(64) + means


def test_purity_is_counted_under_the_first_codes(benchmarks):
    labels = np.array([0, 0, 1, 1, 2, -1])
    given = benchmarks["fit"].Vectors("x", np.zeros((6, 1), np.float32), labels)
    codes = np.array([[7, 0, 9], [7, 0, 8], [7, 1, 7], [7, 0, 6], [200, 3, 5], [7, 7, 7]])
    assert given.purities(codes) == [3 / 5, 4 / 5]
    assert benchmarks["fit"].Vectors("x", given.rows).purities(codes) == []


def test_the_floor_of_training_counts_attention(benchmarks):
    training, b, h, t, d = benchmarks["training"], 2, 3, 50, 8
    queries = torch.nn.Parameter(torch.randn(b, h, t, d))

    def loss(*_):
        keys = queries * 2
        return torch.nn.functional.scaled_dot_product_attention(queries, keys, keys).sum()

    one = training.Contender(torch.nn.ParameterList([queries]), loss, lambda: None)
    products = 2 + 4  # forwards, and two more for each of these
    counted = training.operations({"x": one}, [(), ()])
    assert counted == {"x": products * 2 * b * h * t * t * d}


@pytest.mark.parametrize("items", [1000, 70_000])
def test_the_floor_of_a_fit_compares_all_rows_with_all_entries(benchmarks, items):
    sampled, multiplied = min(items, 65_536), 0
    for level in range(4):
        multiplied += 25 * sampled * 256 * 384  # the iterations
        multiplied += items * 256 * 384 if level < 3 else 0  # what the next level gets
    assert benchmarks["fit"].operations(items, 384, 25) == 2 * multiplied


def test_what_the_machine_does_stands_in_a_line(benchmarks):
    libraries, ceilings = benchmarks["ceilings"].machine_lines().splitlines()
    assert libraries == benchmarks["turns"].libraries_line()
    assert re.fullmatch(r"at most \d+ GFLOP/s float32, \d+ bfloat16, copies [\d.]+ GB/s", ceilings)


def test_what_comes_before_a_turn_comes_before_each(benchmarks):
    called = []
    calls = {name: (lambda name=name: called.append(name)) for name in "ab"}
    before = lambda: called.append("-")  # noqa: E731
    benchmarks["turns"].take_turns(calls, 2, warm=False, before=before)
    assert "".join(called) == "-a-b-a-b"


def test_rows_in_pieces_are_all_rows(benchmarks, monkeypatch):
    encode, given = benchmarks["encode"], []
    monkeypatch.setattr(encode, "PIECE", 4)
    double = encode.in_pieces(lambda rows: given.append(len(rows)) or 2 * rows)
    assert np.array_equal(double(np.arange(10)), 2 * np.arange(10))
    assert given == [4, 4, 2]


def test_the_stored_ratios_are_those_that_a_run_measures(benchmarks):
    regression, encode = benchmarks["regression"], benchmarks["encode"]
    stored = regression.json.loads(regression.STORED.read_text())["ratios"]
    assert all(value > 0 for value in stored.values())
    assert {f"{case}, beside faiss" for case in encode.CASES} <= set(stored)
