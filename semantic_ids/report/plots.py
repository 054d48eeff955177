"""Plots: the figures of a tokenizer for a notebook, drawn by matplotlib."""

from typing import TYPE_CHECKING, Any

import numpy as np

from semantic_ids.errors import NoCodecError
from semantic_ids.features import Features
from semantic_ids.report.buckets import buckets
from semantic_ids.report.contents import item_map
from semantic_ids.statistics import CodebookStatistics
from semantic_ids.vocabulary import level_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from semantic_ids.tokenizer import Tokenizer

_ACCENT, _DARK, _GREY = "#2f86a6", "#808890", "#d3d6d9"


def plot_utilisation(statistics: CodebookStatistics, ax: "Axes | None" = None) -> "Axes":
    """Draw how many codes each level has, how many are in use, and how many in effect.

    In effect is the perplexity: the number of equally frequent codes with the same entropy.

    Parameters
    ----------
    statistics : of a tokenizer.
    ax : where to draw; a new figure's axes if left out.

    Returns
    -------
    ax : matplotlib axes.

    Raises
    ------
    ImportError
        if matplotlib is not installed (the extra ``report``).

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> tokenizer = Tokenizer.from_codes(None, [[0, 1], [1, 1], [1, 1]])
    >>> plot_utilisation(tokenizer.statistics()).get_ylabel()
    'codes'
    """
    ax = _axes(ax)
    levels = statistics.levels
    places = np.arange(len(levels))
    drawn = [
        ("in the codebook", [level.size for level in levels], _GREY),
        ("in use", [level.used for level in levels], _DARK),
        ("in effect", [level.perplexity for level in levels], _ACCENT),
    ]
    for shift, (name, values, colour) in enumerate(drawn):
        ax.bar(places + (shift - 1) * 0.27, values, width=0.27, color=colour, label=name)
    _levels(ax, len(levels), "codes")
    ax.legend()
    return ax


def plot_entropy(statistics: CodebookStatistics, ax: "Axes | None" = None) -> "Axes":
    """Draw the entropy of each level, and what is left of it given the codes before, in nats.

    Parameters, returns and raises as for `plot_utilisation`.

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> tokenizer = Tokenizer.from_codes(None, [[0, 1], [1, 1], [1, 1]])
    >>> plot_entropy(tokenizer.statistics()).get_ylabel()
    'nats'
    """
    ax = _axes(ax)
    levels = statistics.levels
    ceiling = [np.log(level.size) for level in levels]
    ax.plot(ceiling, "o:", color=_GREY, label="ceiling, ln(codes)")
    ax.plot([level.entropy for level in levels], "o-", color=_DARK, label="entropy")
    given = [level.conditional_entropy for level in levels]
    ax.plot(given, "o-", color=_ACCENT, label="given the codes before")
    _levels(ax, len(levels), "nats")
    ax.legend()
    return ax


def plot_errors(statistics: CodebookStatistics, ax: "Axes | None" = None) -> "Axes":
    """Draw the relative error after each level, of all features as fused and of each modality.

    Parameters and returns as for `plot_utilisation`.

    Raises
    ------
    ImportError
        if matplotlib is not installed (the extra ``report``).
    ValueError
        if the statistics hold no errors.

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> tokenizer = Tokenizer.fit(np.random.default_rng(0).normal(size=(300, 4)))
    >>> plot_errors(tokenizer.statistics()).get_ylabel()
    'relative error'
    """
    levels = statistics.levels
    if levels[0].relative_error is None:
        raise ValueError(
            "statistics: hold no errors; measure them with tokenizer.statistics(features) of a "
            "tokenizer that has a codec"
        )
    ax = _axes(ax)
    ax.plot([_number(level.relative_error) for level in levels], "o-", color=_ACCENT, label="all")
    for name in levels[0].modality_errors or {}:
        errors = [(level.modality_errors or {})[name] for level in levels]
        ax.plot(errors, "o--", label=name)
    _levels(ax, len(levels), "relative error")
    ax.legend()
    return ax


def plot_buckets(tokenizer: "Tokenizer", ax: "Axes | None" = None) -> "Axes":
    """Draw how many items share their content code with how many.

    Parameters
    ----------
    tokenizer : of at least one item.
    ax : as for `plot_utilisation`, as are what is returned and raised.

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> tokenizer = Tokenizer.from_codes(None, [[0, 1], [1, 1], [1, 1]])
    >>> plot_buckets(tokenizer).get_ylabel()
    'items'
    """
    content = tokenizer.content_codes
    found = buckets(content, tokenizer.code_sizes[: content.shape[1]])
    ax = _axes(ax)
    drawn = ax.bar([str(bucket) for bucket in found], [b.items for b in found], color=_ACCENT)
    ax.bar_label(drawn, [f"{bucket.items:,}" for bucket in found])
    ax.set(xlabel="items with the same content code", ylabel="items", ylim=(0, None))
    return ax


def plot_map(
    tokenizer: "Tokenizer", features: Any = None, ax: "Axes | None" = None, *, seed: int = 0
) -> "Axes":
    """Draw items in the plane in which they differ most, coloured by first code.

    Parameters
    ----------
    tokenizer : of at least one item.
    features : the catalogue's features, as in `Tokenizer.statistics`; without them the vectors
        that the unique codes decode to are drawn.
    ax : where to draw; a new figure's axes if left out.
    seed : of more than 4,000 items, so many are drawn at random.

    Returns
    -------
    ax : matplotlib axes.

    Raises
    ------
    ImportError
        if matplotlib is not installed (the extra ``report``).
    NoCodecError
        if the tokenizer was made from codes and there are no features.

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> tokenizer = Tokenizer.fit(np.random.default_rng(0).normal(size=(300, 4)))
    >>> len(plot_map(tokenizer).collections[0].get_offsets())
    300
    """
    ax = _axes(ax)
    given = None if features is None else Features.of(features)
    drawn = item_map(tokenizer._fitted, given, np.arange(len(tokenizer)), seed=seed)
    if drawn is None:
        raise NoCodecError(
            "this tokenizer was made from codes and has no vectors to draw; give features"
        )
    first = tokenizer.codes[drawn.rows, 0]
    # Neighbouring codes get hues that are far apart: steps of the golden ratio.
    ax.scatter(*drawn.points.T, c=first * 0.618034 % 1, cmap="hsv", vmin=0, vmax=1, s=8, alpha=0.75)
    ax.set(
        xlabel=f"first component ({drawn.shares[0]:.1%} of the variance)",
        ylabel=f"second component ({drawn.shares[1]:.1%} of the variance)",
    )
    return ax


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib; pip install 'semantic-ids[report]'") from error
    return pyplot.subplots(layout="constrained")[1]


def _levels(ax: "Axes", count: int, unit: str) -> None:
    names = [level_name(level) for level in range(count)]
    ax.set_xticks(range(count), names)
    ax.set(xlabel="level", ylabel=unit, ylim=(0, None))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
