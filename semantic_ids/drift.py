"""Drift: how well a codec that was fitted on one catalogue fits other items."""

from dataclasses import dataclass, field

import numpy as np

from semantic_ids.codec import Codec
from semantic_ids.codes import code_keys
from semantic_ids.features import Features


@dataclass(frozen=True)
class Drift:
    """How new items differ from those of the fit, as the codec sees them.

    Attributes
    ----------
    items : number of new items.
    relative_error : squared error an item, after each level, over the variance of the fit's
        items, (L,): far above that of the fit where the codec fits badly. None where the items
        of the fit were all alike.
    fitted_relative_error : that of the fit; None if it was not measured.
    distances : total variation distance at each level between the new items' codes and the
        catalogue's, (L,): 0 for equal shares, 1 for no code in common. Few items lie far from
        any shares: see the next.
    distances_by_chance : what is to be expected of as many items drawn from the catalogue, (L,).
    unused : share of the codes at each level that the catalogue uses and the new items do not.
    unused_by_chance : what is to be expected of as many items drawn from the catalogue, (L,).
    unseen : share of the new items whose content code no item of the catalogue has.
    shares, catalogue_shares : share of the new items and of the catalogue's that each code has,
        one array (K_l,) float64 a level.
    """

    items: int
    relative_error: tuple[float, ...] | None
    fitted_relative_error: tuple[float, ...] | None
    distances: tuple[float, ...]
    distances_by_chance: tuple[float, ...]
    unused: tuple[float, ...]
    unused_by_chance: tuple[float, ...]
    unseen: float
    shares: tuple[np.ndarray, ...] = field(repr=False, compare=False)
    catalogue_shares: tuple[np.ndarray, ...] = field(repr=False, compare=False)

    def __str__(self) -> str:
        lines = [
            f"{self.items:,} new items, {self.unseen:.1%} with a content code not seen before",
            "level  rel. error  at the fit  distance  by chance  unused codes  by chance",
        ]
        for level in range(len(self.distances)):
            now, before = (
                "" if errors is None else f"{errors[level]:.4f}"
                for errors in (self.relative_error, self.fitted_relative_error)
            )
            lines.append(
                f"{level:5d} {now:>11s} {before:>11s} "
                f"{self.distances[level]:9.3f} {self.distances_by_chance[level]:10.3f} "
                f"{self.unused[level]:13.1%} {self.unused_by_chance[level]:10.1%}"
            )
        return "\n".join(lines)


def measure_drift(
    codec: Codec,
    features: Features,
    content_codes: np.ndarray,
    fitted_relative_error: list[float] | None,
    variance: float | None,
) -> Drift:
    """Encode new items and compare them with a catalogue's content codes (N, L).

    The errors are compared with the variance of the fit's items.
    """
    measured = codec.measure(features)
    errors = measured.sums.relative(variance)
    codes = measured.codes
    shares, before = _shares(codes, codec.sizes), _shares(content_codes, codec.sizes)
    unused = [
        float(((old > 0) & (new == 0)).sum() / (old > 0).sum())
        for new, old in zip(shares, before, strict=True)
    ]
    known = _known(codes, content_codes, codec.sizes)
    return Drift(
        items=len(codes),
        relative_error=None if errors is None else tuple(errors),
        fitted_relative_error=None
        if fitted_relative_error is None
        else tuple(fitted_relative_error),
        distances=tuple(
            float(np.abs(new - old).sum() / 2) for new, old in zip(shares, before, strict=True)
        ),
        distances_by_chance=tuple(expected_distance(old, len(codes)) for old in before),
        unused=tuple(unused),
        unused_by_chance=tuple(float(((1 - old[old > 0]) ** len(codes)).mean()) for old in before),
        unseen=float(1 - known.mean()),
        shares=shares,
        catalogue_shares=before,
    )


def expected_distance(shares: np.ndarray, n: int) -> float:
    """Return the total variation distance to shares that n draws from them have on average.

    A code of share p is drawn X times, of which E|X - np| = 2 m (1 - p) P(X = m) with m the next
    whole number above np (De Moivre).

    Examples
    --------
    >>> expected_distance(np.array([0.5, 0.5]), 1)
    0.5
    """
    from scipy.stats import binom

    more = np.floor(n * shares) + 1
    apart = 2 * more * (1 - shares) * binom.pmf(more, n, shares)
    return float(apart.sum() / (2 * n))


def _shares(codes: np.ndarray, sizes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(
        np.bincount(codes[:, level], minlength=size) / len(codes)
        for level, size in enumerate(sizes)
    )


def _known(codes: np.ndarray, catalogue: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    return np.isin(code_keys(codes, sizes), code_keys(catalogue, sizes))
