"""Codebook statistics: what the codes of a catalogue look like."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from semantic_ids.categories import CategoryAgreement
from semantic_ids.codes import prefix_groups
from semantic_ids.neighbourhoods import Neighbourhoods

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class LevelStatistics:
    """Figures of one level, and of the prefixes that end with it; entropies in nats.

    Attributes
    ----------
    size : entries of the codebook.
    used : entries that some item has; `dead` is the rest, `utilisation` the share.
    entropy : of the level's code distribution; `perplexity` is its exponential.
    gini : how unequally the items are spread over all entries, dead ones included: 0 where each
        has as many, near 1 where one has all.
    conditional_entropy : entropy left when the codes before are known, H(c_l | c_<l).
    prefixes : distinct codes of the levels so far.
    largest_prefix : most items under one of these.
    alone : items that no other item shares theirs with.
    relative_error : squared error after this level over the variance; None if not measured.
    modality_errors : the same of each modality, in its own feature space and over the items that
        have it; None if not measured.
    categories : agreement of these prefixes with the categories; None if not measured.
    """

    size: int
    used: int
    entropy: float
    gini: float
    conditional_entropy: float
    prefixes: int
    largest_prefix: int
    alone: int
    relative_error: float | None = None
    modality_errors: Mapping[str, float] | None = field(default=None, hash=False)
    categories: CategoryAgreement | None = None

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

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain numbers, the derived ones too."""
        derived = {"dead": self.dead, "utilisation": self.utilisation}
        return asdict(self) | derived | {"perplexity": self.perplexity}


@dataclass(frozen=True, repr=False)
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
    neighbourhoods : whether items that are near by their fused features are near by their
        content codes; None if not measured.
    unique_neighbourhoods : the same of the unique codes; None if not measured.
    categorised : items that have a category; None if none were given.
    """

    items: int
    levels: tuple[LevelStatistics, ...]
    collision_rate: float
    items_in_collisions: int
    largest_bucket: int
    moved: int
    relative_error: float | None = None
    neighbourhoods: Neighbourhoods | None = None
    unique_neighbourhoods: Neighbourhoods | None = None
    categorised: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain numbers, the derived ones of each level too."""
        return asdict(self) | {"levels": [level.to_dict() for level in self.levels]}

    def to_frame(self) -> "pandas.DataFrame":
        """Return the figures of the levels as a pandas frame, one row a level.

        A modality's errors become columns such as ``relative_error.text``. What was not measured
        has no column.

        Raises
        ------
        ImportError
            if pandas is not installed.

        Examples
        --------
        >>> frame = codebook_statistics(np.array([[0, 1], [1, 1]]), (2, 2)).to_frame()
        >>> frame["dead"].tolist()
        [0, 1]
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas; pip install 'semantic-ids[frames]'"
            ) from error
        rows = [_flat(level.to_dict()) for level in self.levels]
        return pandas.DataFrame(rows, index=pandas.RangeIndex(len(rows), name="level"))

    def _repr_html_(self) -> str:
        """Return a small table for notebooks, in which text is escaped."""
        rows = [{"level": str(n), **_shown(level)} for n, level in enumerate(self.levels)]
        head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.values())}</tr>"
            for row in rows
        )
        summary = "<br>".join(map(escape, self._summary()))
        return (
            f"<div><p>{summary}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>"
        )

    def __str__(self) -> str:
        return "\n".join([*self._summary(), *_table([_shown(level) for level in self.levels])])

    __repr__ = __str__

    def _summary(self) -> list[str]:
        error = "not measured" if self.relative_error is None else f"{self.relative_error:.4f}"
        lines = [
            f"{self.items:,} items, {len(self.levels)} levels, relative error {error}",
            f"collisions: rate {self.collision_rate:.4f}, {self.items_in_collisions:,} items, "
            f"largest bucket {self.largest_bucket:,}, moved by the resolver {self.moved:,}",
        ]
        for name, figures in self._neighbourhoods():
            rank = "not defined" if figures.spearman is None else f"{figures.spearman:.3f}"
            lines.append(
                f"neighbours by {name}: recall@{figures.k} {figures.recall:.3f} "
                f"(by chance {figures.by_chance:.4f}), NDCG@{figures.k} {figures.ndcg:.3f}; "
                f"rank correlation of distances {rank}"
            )
        if self.categorised is not None:
            lines.append(f"categories: {self.categorised:,} items have one")
        return lines

    def _neighbourhoods(self) -> list[tuple[str, Neighbourhoods]]:
        found = [("content codes", self.neighbourhoods)]
        if self.moved:
            found.append(("unique codes", self.unique_neighbourhoods))
        return [(name, figures) for name, figures in found if figures is not None]


def codebook_statistics(
    codes: np.ndarray,
    sizes: Sequence[int],
    *,
    unique_codes: np.ndarray | None = None,
    relative_errors: Sequence[float] | None = None,
    modality_errors: Mapping[str, Sequence[float]] | None = None,
    agreement: Sequence[CategoryAgreement] | None = None,
) -> CodebookStatistics:
    """Compute the figures of content codes.

    Parameters
    ----------
    codes : (N, L) int32 content codes, N >= 1.
    sizes : codebook size of each level.
    unique_codes : (N, P) int32, P >= L; None where the content codes stand for themselves.
    relative_errors : relative error after each level, (L,), where measured.
    modality_errors : the same of each modality, where measured.
    agreement : of the prefixes of each depth with categories, (L,), where measured.

    Examples
    --------
    >>> figures = codebook_statistics(np.array([[0, 0], [0, 1], [1, 0], [1, 0]]), (2, 4))
    >>> figures.collision_rate, figures.items_in_collisions, figures.levels[1].dead
    (0.25, 2, 2)
    """
    levels, before, last = [], 0.0, len(sizes) - 1
    for level, groups in enumerate(prefix_groups(codes, sizes)):
        counts = np.bincount(codes[:, level], minlength=sizes[level])
        prefix_counts = np.bincount(groups)
        joint = _entropy(prefix_counts)
        levels.append(
            LevelStatistics(
                size=sizes[level],
                used=int((counts > 0).sum()),
                entropy=_entropy(counts),
                gini=_gini(counts),
                conditional_entropy=max(0.0, joint - before),
                prefixes=len(prefix_counts),
                largest_prefix=int(prefix_counts.max()),
                alone=int((prefix_counts == 1).sum()),
                relative_error=None if relative_errors is None else float(relative_errors[level]),
                modality_errors={name: float(e[level]) for name, e in modality_errors.items()}
                if modality_errors
                else None,
                categories=None if agreement is None else agreement[level],
            )
        )
        before = joint
    moved = 0
    if unique_codes is not None:
        moved = int((unique_codes[:, : len(sizes)] != codes).any(axis=1).sum())
    return CodebookStatistics(
        items=len(codes),
        levels=tuple(levels),
        collision_rate=1 - levels[last].prefixes / len(codes),
        items_in_collisions=len(codes) - levels[last].alone,
        largest_bucket=levels[last].largest_prefix,
        moved=moved,
        relative_error=levels[last].relative_error,
    )


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def _gini(counts: np.ndarray) -> float:
    """Return half the mean absolute difference of two entries' counts, over their mean."""
    n = len(counts)
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float((ranks * np.sort(counts)).sum() / (n * counts.sum()))


def _flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Return a level's figures as columns, without those that were not measured."""
    errors, agreement = figures.pop("modality_errors"), figures.pop("categories")
    errors = {f"relative_error.{name}": error for name, error in (errors or {}).items()}
    return {k: v for k, v in figures.items() if v is not None} | errors | (agreement or {})


def _shown(level: LevelStatistics) -> dict[str, str]:
    """Return a level's figures as columns of text."""
    shown = {
        "size": f"{level.size:,}",
        "used": f"{level.used:,}",
        "dead": f"{level.dead:,}",
        "entropy": f"{level.entropy:.3f}",
        "perplexity": f"{level.perplexity:.1f}",
        "gini": f"{level.gini:.3f}",
        "H(c|prefix)": f"{level.conditional_entropy:.3f}",
        "prefixes": f"{level.prefixes:,}",
        "largest": f"{level.largest_prefix:,}",
        "alone": f"{level.alone:,}",
    }
    if level.relative_error is not None:
        shown["error"] = f"{level.relative_error:.4f}"
    for name, error in (level.modality_errors or {}).items():
        shown[f"error, {name}"] = f"{error:.4f}"
    if level.categories is not None:
        shown["purity"] = f"{level.categories.purity:.3f}"
        shown["NMI"] = f"{level.categories.nmi:.3f}"
        shown["AMI"] = f"{level.categories.ami:.3f}"
    return shown


def _table(rows: list[dict[str, str]]) -> list[str]:
    """Return a head and one line a row, the number of the level in front."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = ["  ".join(["level", *(name.rjust(width) for name, width in widths.items())])]
    for number, row in enumerate(rows):
        cells = [row[name].rjust(width) for name, width in widths.items()]
        lines.append("  ".join([f"{number:5d}", *cells]))
    return lines
