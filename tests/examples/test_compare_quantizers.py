import re

import numpy as np
import pytest

from semantic_ids import Concat, Features, ProductKMeans, RQKMeans


def table(output):
    """The figures of each method: error, utilisation, collisions, recall, seconds."""
    rows = re.findall(r"^(\w[\w., ]*?) {2,}([\d.]+(?: +[\d.]+){4})$", output, re.M)
    return {name: [float(figure) for figure in figures.split()] for name, figures in rows}


def test_the_figures_are_those_of_a_count_by_hand(run_example, tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 12))[np.arange(120) % 30] + 0.4 * rng.normal(size=(120, 12))
    np.save(tmp_path / "mine.npy", vectors)
    output = run_example(
        "compare_quantizers", "--quick", "--data", "mine.npy", "--only", "RQKMeans", "ProductKMeans"
    )
    rows = table(output)
    assert list(rows) == ["RQKMeans", "ProductKMeans"]

    features = Features.of(vectors)
    fused = Concat().fit(features).transform(features).matrix
    specs = {
        "RQKMeans": RQKMeans(codebook_size=16),
        "ProductKMeans": ProductKMeans(slots=4, codebook_size=16),
    }
    for name, (error, used, collisions, recall, _) in rows.items():
        fitted = specs[name].fit(fused, progress=False)
        codes = fitted.encode(fused)
        decoded = fitted.decode(codes).astype(np.float64)
        spread = ((fused - fused.mean(axis=0, dtype=np.float64)) ** 2).sum()
        assert error == pytest.approx(((fused - decoded) ** 2).sum() / spread, abs=1e-4)
        assert used == pytest.approx(np.mean([len(set(level)) / 16 for level in codes.T]), abs=1e-3)
        assert collisions == pytest.approx(1 - len({tuple(c) for c in codes}) / 120, abs=1e-4)
        assert 0 < recall < 1


def test_a_made_up_catalogue_is_compared_by_all_methods(run_example):
    output = run_example("compare_quantizers", "--quick")
    rows = table(output)
    assert {"RQKMeans", "RQKMeans.fine", "RQKMeans, balanced", "OPQ", "RQOPQ"} < set(rows)
    assert rows["RQKMeans.fine"][0] < rows["RQKMeans"][0]
    assert rows["OPQ"][0] < rows["ProductKMeans"][0]
    least = min(rows, key=lambda name: rows[name][0])
    assert f"smallest error:     {least}\n" in output
