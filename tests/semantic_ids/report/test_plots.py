"""Plots: what they draw is what was measured."""

import sys
from collections import Counter

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from sklearn.decomposition import PCA

from semantic_ids import NoCodecError, Tokenizer
from semantic_ids.report import (
    plot_buckets,
    plot_entropy,
    plot_errors,
    plot_map,
    plot_utilisation,
)


@pytest.fixture(autouse=True)
def _closed_figures():
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")


def heights(ax):
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}


def lines(ax):
    return {line.get_label(): line.get_ydata().tolist() for line in ax.lines}


def ticks(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


@pytest.fixture
def figures(tokenizer):
    return tokenizer.statistics()


def test_utilisation(figures):
    ax = plot_utilisation(figures)
    assert isinstance(ax, Axes)
    assert ticks(ax) == ["a", "b", "c"]
    assert heights(ax) == {
        "in the codebook": [16, 16, 16],
        "in use": [level.used for level in figures.levels],
        "in effect": [level.perplexity for level in figures.levels],
    }


def test_entropy(figures):
    drawn = lines(plot_entropy(figures))
    assert drawn["entropy"] == [level.entropy for level in figures.levels]
    assert drawn["given the codes before"] == [lv.conditional_entropy for lv in figures.levels]
    assert drawn["ceiling, ln(codes)"] == pytest.approx([np.log(16)] * 3)


def test_errors(figures):
    drawn = lines(plot_errors(figures))
    assert drawn["all"] == [level.relative_error for level in figures.levels]
    assert drawn["text"] == [level.modality_errors["text"] for level in figures.levels]


def test_buckets(tokenizer):
    ax = plot_buckets(tokenizer)
    counts = Counter(map(tuple, tokenizer.content_codes.tolist())).values()
    (drawn,) = heights(ax).values()
    assert drawn[0] == sum(count == 1 for count in counts)
    assert sum(drawn) == len(tokenizer)


def test_map_of_decoded_vectors_and_of_features(tokenizer, features):
    decode = tokenizer._fitted.codec.quantizer.decode
    fused = tokenizer._fitted.codec.fused(features).whole().matrix
    for given, vectors in ((None, decode(tokenizer.codes)), (features, fused)):
        points = plot_map(tokenizer, given).collections[0].get_offsets().data
        oracle = PCA(2, svd_solver="full").fit_transform(vectors.astype(np.float64))
        signs = np.sign((points * oracle).sum(axis=0))
        assert points == pytest.approx(oracle * signs, abs=1e-4)


def test_items_with_one_first_code_have_one_colour(tokenizer):
    colours = plot_map(tokenizer).collections[0].get_array().tolist()
    first = tokenizer.codes[:, 0].tolist()
    assert len(set(zip(colours, first, strict=True))) == len(set(first)) == len(set(colours))


def test_axes_that_are_given_are_drawn_on(tokenizer, figures):
    from matplotlib import pyplot

    _, ax = pyplot.subplots()
    for plot in (plot_utilisation, plot_entropy, plot_errors):
        assert plot(figures, ax) is ax
    assert plot_buckets(tokenizer, ax) is ax
    assert plot_map(tokenizer, ax=ax) is ax


def test_what_cannot_be_drawn_is_refused():
    tokenizer = Tokenizer.from_codes(None, [[0, 1], [1, 1]])
    with pytest.raises(NoCodecError, match="give features"):
        plot_map(tokenizer)
    with pytest.raises(ValueError, match="statistics: hold no errors"):
        plot_errors(tokenizer.statistics())


def test_without_matplotlib_the_error_names_the_extra(figures, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"semantic-ids\[report\]"):
        plot_utilisation(figures)
