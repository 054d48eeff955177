"""Parts of a score against the score itself."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn.functional import normalize

from recmodels.explanation import ScoreParts, score_parts

NUMBERS = st.floats(-10, 10, width=32)


@given(st.data(), st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
def test_parts_sum_to_the_product(data, count, width, items):
    query = data.draw(hnp.arrays(np.float32, width, elements=NUMBERS))
    vectors = data.draw(hnp.arrays(np.float32, (count, items, width), elements=NUMBERS))
    row = data.draw(st.integers(0, items - 1))
    explained = score_parts(query, {f"part {m}": part for m, part in enumerate(vectors)}, row)
    whole = vectors[:, row].astype(np.float64).sum(axis=0)
    assert explained.score == pytest.approx(float(whole @ query), abs=1e-6)
    for part, vector in zip(explained.parts, vectors[:, row], strict=True):
        assert part == pytest.approx(float(vector.astype(np.float64) @ query), abs=1e-6)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_parts_sum_to_the_cosine_by_its_temperature(temperature):
    rng = np.random.default_rng(0)
    query, vectors = rng.normal(size=16), rng.normal(size=(4, 30, 16))
    parts = {f"part {m}": part for m, part in enumerate(vectors)}
    unit = normalize(torch.tensor(query), dim=0), normalize(torch.tensor(vectors.sum(0)), dim=1)
    scores = (unit[1] @ unit[0] / temperature).tolist()
    for row in range(30):
        explained = score_parts(query, parts, row, temperature=temperature)
        assert explained.score == pytest.approx(scores[row], abs=1e-6)
        one = (
            vectors[0, row] @ query / np.linalg.norm(query) / np.linalg.norm(vectors[:, row].sum(0))
        )
        assert explained.parts[0] == pytest.approx(one / temperature, abs=1e-6)


def test_vectors_of_length_zero_have_cosine_zero():
    parts = {"a": np.ones((1, 2)), "b": -np.ones((1, 2))}
    assert score_parts(np.ones(2), parts, 0, temperature=1).parts == (0, 0)
    assert score_parts(np.zeros(2), {"a": np.ones((1, 2))}, 0, temperature=1).score == 0


def test_parts_are_read_largest_first():
    parts = ScoreParts("lamp", ("a", "b", "c", "d"), (0.5, -2.0, 0.25, 2.0))
    assert parts.ranked == (("b", -2.0), ("d", 2.0), ("a", 0.5), ("c", 0.25))
    assert parts.score == 0.75
    assert repr(parts).splitlines() == [
        "'lamp' scores 0.75",
        "  -2     b",
        "  +2     d",
        "  +0.5   a",
        "  +0.25  c",
    ]
    with pytest.raises(FrozenInstanceError):
        parts.item = "vase"  # type: ignore[misc]


def test_an_item_goes_by_its_row_or_its_name():
    assert score_parts(np.ones(1), {"a": np.ones((3, 1))}, 2).item == 2
    assert score_parts(np.ones(1), {"a": np.ones((3, 1))}, 2, item="vase").item == "vase"


@pytest.mark.parametrize(
    ("query", "parts", "options", "message"),
    [
        (np.ones((1, 2)), {"a": np.ones((3, 2))}, {}, r"query: .* \(1, 2\)"),
        (np.ones(2), {}, {}, "parts: expected one array or more"),
        (np.ones(2), {"a": np.ones((3, 3))}, {}, r"parts\['a'\]: expected shape \(N, 2\)"),
        (np.ones(2), {"a": np.ones((3, 2))}, {"row": 3}, r"row=3 .* 0 and 2"),
        (np.ones(2), {"a": np.ones((3, 2))}, {"row": -1}, "row=-1"),
        (np.ones(2), {"a": np.full((3, 2), np.nan)}, {}, "finite"),
        (np.ones(2), {"a": np.ones((3, 2))}, {"temperature": 0}, "temperature=0"),
    ],
)
def test_other_arguments_are_refused(query, parts, options, message):
    with pytest.raises(ValueError, match=message):
        score_parts(query, parts, **{"row": 0, **options})


def test_names_without_parts_are_refused():
    with pytest.raises(ValueError, match="names: 2 came with 1 parts"):
        ScoreParts(0, ("a", "b"), (1.0,))
