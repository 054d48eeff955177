"""Codebook statistics: what the codes of a catalogue look like."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from semantic_ids.codes import bucket_sizes, code_keys

#: Variance below this share of the squared mean is float32 rounding.
_NO_VARIANCE = 1e-12


@dataclass(frozen=True)
class LevelStatistics:
    """Figures of one level; entropies in nats.

    Attributes
    ----------
    size : entries of the codebook.
    used : entries that some item has; `dead` is the rest, `utilisation` the share.
    entropy : of the level's code distribution; `perplexity` is its exponential.
    conditional_entropy : entropy left when the codes before are known, H(c_l | c_<l).
    prefixes : distinct codes of the levels so far.
    relative_error : squared error after this level over the variance; None if not measured.
    """

    size: int
    used: int
    entropy: float
    conditional_entropy: float
    prefixes: int
    relative_error: float | None = None

    @property
    def dead(self) -> int:
        """Entries that no item has."""
        return self.size - self.used

    @property
    def utilisation(self) -> float:
        """Share of the entries that are in use."""
        return self.used / self.size

    @property
    def perplexity(self) -> float:
        """Number of equally likely codes with the same entropy."""
        return float(np.exp(self.entropy))


@dataclass(frozen=True)
class CodebookStatistics:
    """Figures of a catalogue's content codes.

    Attributes
    ----------
    items : number of items.
    levels : figures of each level.
    collision_rate : 1 - distinct content codes / items.
    items_in_collisions : items whose content code another item has too.
    largest_bucket : most items with one content code.
    moved : items whose unique code does not begin with their content code.
    relative_error : sum ||x - x_hat||^2 / sum ||x - mean||^2 over the fused vectors, for the
        content codes; None if not measured.
    """

    items: int
    levels: tuple[LevelStatistics, ...]
    collision_rate: float
    items_in_collisions: int
    largest_bucket: int
    moved: int
    relative_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain numbers, the derived ones of each level too."""
        figures = asdict(self)
        for level, entry in zip(self.levels, figures["levels"], strict=True):
            entry.update(
                dead=level.dead, utilisation=level.utilisation, perplexity=level.perplexity
            )
        return figures

    def __str__(self) -> str:
        error = "not measured" if self.relative_error is None else f"{self.relative_error:.4f}"
        lines = [
            f"{self.items:,} items, {len(self.levels)} levels, relative error {error}",
            f"collisions: rate {self.collision_rate:.4f}, {self.items_in_collisions:,} items, "
            f"largest bucket {self.largest_bucket:,}, moved by the resolver {self.moved:,}",
            "level   size   used   dead  utilisation  entropy  perplexity  H(c|prefix)"
            "  prefixes  rel. error",
        ]
        for number, level in enumerate(self.levels):
            shown = "" if level.relative_error is None else f"{level.relative_error:.4f}"
            lines.append(
                f"{number:5d} {level.size:6d} {level.used:6d} {level.dead:6d} "
                f"{level.utilisation:12.3f} {level.entropy:8.3f} {level.perplexity:11.1f} "
                f"{level.conditional_entropy:12.3f} {level.prefixes:9,d} {shown:>11s}"
            )
        return "\n".join(lines)


def codebook_statistics(
    codes: np.ndarray,
    sizes: Sequence[int],
    *,
    unique_codes: np.ndarray | None = None,
    relative_errors: Sequence[float] | None = None,
) -> CodebookStatistics:
    """Compute the figures of content codes.

    Parameters
    ----------
    codes : (N, L) int32 content codes, N >= 1.
    sizes : codebook size of each level.
    unique_codes : (N, P) int32, P >= L; None where the content codes stand for themselves.
    relative_errors : relative error after each level, (L,), where measured.

    Examples
    --------
    >>> figures = codebook_statistics(np.array([[0, 0], [0, 1], [1, 0], [1, 0]]), (2, 4))
    >>> figures.collision_rate, figures.items_in_collisions, figures.levels[1].dead
    (0.25, 2, 2)
    """
    levels, before = [], 0.0
    for level, size in enumerate(sizes):
        counts = np.bincount(codes[:, level], minlength=size)
        keys = code_keys(codes[:, : level + 1], sizes[: level + 1])
        prefix_counts = np.unique(keys, return_counts=True)[1]
        joint = _entropy(prefix_counts)
        levels.append(
            LevelStatistics(
                size=size,
                used=int((counts > 0).sum()),
                entropy=_entropy(counts),
                conditional_entropy=max(0.0, joint - before),
                prefixes=len(prefix_counts),
                relative_error=None if relative_errors is None else float(relative_errors[level]),
            )
        )
        before = joint
    buckets = bucket_sizes(code_keys(codes, sizes))
    moved = 0
    if unique_codes is not None:
        moved = int((unique_codes[:, : len(sizes)] != codes).any(axis=1).sum())
    return CodebookStatistics(
        items=len(codes),
        levels=tuple(levels),
        collision_rate=1 - levels[-1].prefixes / len(codes),
        items_in_collisions=int((buckets > 1).sum()),
        largest_bucket=int(buckets.max()),
        moved=moved,
        relative_error=levels[-1].relative_error,
    )


class ErrorSums:
    """Sum of squared errors over total variance, of rows that come block by block.

    Examples
    --------
    >>> sums = ErrorSums()
    >>> sums.add(np.array([[1.0]]), np.array([[0.0]]))
    >>> sums.add(np.array([[1.0]]), np.array([[4.0]]))
    >>> sums.relative()
    [0.25]
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: np.ndarray | float = 0.0
        self._variance = 0.0
        self._errors: np.ndarray | float = 0.0

    def add(self, errors: np.ndarray, matrix: np.ndarray) -> None:
        """Take in rows (n, d) and their squared errors after each level (n, L), float64."""
        n = len(matrix)
        mean = matrix.mean(axis=0, dtype=np.float64)
        between = float(((mean - self._mean) ** 2).sum())
        within = float(((matrix - mean) ** 2).sum())
        # Chan, Golub and LeVeque (1979): the variance of two sets taken together.
        self._variance += within + between * self._count * n / (self._count + n)
        self._mean = self._mean + (mean - self._mean) * n / (self._count + n)
        self._count += n
        self._errors = self._errors + errors.sum(axis=0)

    def relative(self) -> list[float]:
        """Return L ratios; 0 where nothing is lost or the rows are all the same, to rounding."""
        errors = np.atleast_1d(self._errors)
        if self._variance <= _NO_VARIANCE * float(np.sum(self._mean**2)) * self._count:
            return [0.0] * len(errors)
        return (errors / self._variance).tolist()


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0
