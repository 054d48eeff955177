"""Verdict: what the figures of a tokenizer say, by rules that are stated here.

The bounds are rules of thumb of this project, not laws: they say where to look first. Whether
codes are good for a recommender shows in the recommender.
"""

from dataclasses import dataclass
from typing import Literal

from semantic_ids.neighbourhoods import Neighbourhoods
from semantic_ids.statistics import CodebookStatistics, LevelStatistics
from semantic_ids.vocabulary import level_name

Grade = Literal["good", "fair", "poor"]

#: Effective codes of a level (its perplexity), as a share of those that its items could use.
EVEN, LOPSIDED = 0.5, 0.1
#: Nats below which a level tells next to nothing beyond the levels before it.
NO_NEWS = 0.01
#: Share of distinct content codes that is missing: the collision rate.
FEW_COLLISIONS, MANY_COLLISIONS = 0.01, 0.2
#: Share of the variance that the codes lose.
CLOSE, FAR = 0.5, 0.8
#: Share of the nearest items by features that are nearest by codes too, and how many times as
#: many as by chance there must be at the very least.
KEPT, LOST, TIMES_CHANCE = 0.3, 0.1, 2


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    grade: Grade
    text: str


@dataclass(frozen=True)
class Verdict:
    """What all checks found.

    Attributes
    ----------
    findings : what was checked.
    unchecked : what could not be, and why.
    """

    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...]

    @property
    def grade(self) -> Grade:
        """The worst grade of a finding."""
        grades = {finding.grade for finding in self.findings}
        return "poor" if "poor" in grades else "fair" if "fair" in grades else "good"

    @property
    def headline(self) -> str:
        """The findings in a sentence."""
        count = len(self.findings)
        poor = sum(finding.grade == "poor" for finding in self.findings)
        fair = sum(finding.grade == "fair" for finding in self.findings)
        if poor:
            return f"These codes have a serious weakness: {poor} of {count} checks fail."
        if fair:
            points = "one point" if fair == 1 else f"{fair} points"
            return f"These codes are usable, with {points} to look at ({count} checks)."
        return f"These codes look sound: they pass all {count} checks."


def reach_verdict(statistics: CodebookStatistics) -> Verdict:
    """Apply the rules to the figures of a tokenizer.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids.statistics import codebook_statistics
    >>> figures = codebook_statistics(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), (2, 2))
    >>> reach_verdict(figures).headline
    'These codes look sound: they pass all 2 checks.'
    """
    findings, unchecked = [_use(statistics), _collisions(statistics)], []
    if statistics.relative_error is None:
        unchecked.append("the reconstruction error")
    else:
        findings.append(_error(statistics.relative_error))
    if statistics.neighbourhoods is None:
        unchecked.append("whether near items have near codes")
    else:
        findings.append(_neighbours(statistics.neighbourhoods))
    return Verdict(tuple(findings), tuple(unchecked))


def _use(statistics: CodebookStatistics) -> Finding:
    """Name the levels of the worst grade."""
    levels = [
        _level(level_name(number), level, statistics.items)
        for number, level in enumerate(statistics.levels)
    ]
    for grade in ("poor", "fair"):
        texts = [finding.text for finding in levels if finding and finding.grade == grade]
        if texts:
            return Finding(grade, " ".join(texts))
    return Finding(
        "good", f"Every level is in even use: in effect at least {EVEN:.0%} of its codes."
    )


def _level(name: str, level: LevelStatistics, items: int) -> Finding | None:
    """Say what is wrong with the use of a level."""
    if items == 1:
        return None
    if level.used == 1:
        return Finding("poor", f"Level {name} tells nothing: all items have one code there.")
    share = level.perplexity / min(level.size, items)
    if share < EVEN:
        return Finding(
            "poor" if share < LOPSIDED else "fair",
            f"Level {name} is used unevenly: {level.used:,} of {level.size:,} codes, "
            f"in effect {level.perplexity:,.0f}.",
        )
    if level.conditional_entropy < NO_NEWS:
        return Finding("fair", f"Level {name} adds next to nothing to the levels before it.")
    return None


def _collisions(statistics: CodebookStatistics) -> Finding:
    rate = statistics.collision_rate
    if not statistics.items_in_collisions:
        return Finding("good", "No two items have the same content code.")
    text = (
        f"{statistics.items_in_collisions:,} of {statistics.items:,} items share their content "
        f"code with another (collision rate {rate:.1%})"
    )
    if rate <= FEW_COLLISIONS:
        return Finding("good", f"{text}: few, the resolver parts them.")
    if rate <= MANY_COLLISIONS:
        return Finding("fair", f"{text}; the resolver parts them by codes that mean less.")
    return Finding(
        "poor", f"{text}: many. More levels, larger codebooks or finer features would tell them."
    )


def _error(error: float) -> Finding:
    text = f"The codes keep {1 - error:.0%} of the variance of the features."
    return Finding("good" if error <= CLOSE else "fair" if error <= FAR else "poor", text)


def _neighbours(figures: Neighbourhoods) -> Finding:
    text = (
        f"Of an item's {figures.k} nearest by features, {figures.recall:.0%} are among its nearest "
        f"by content code ({figures.by_chance:.1%} by chance)."
    )
    if figures.by_chance * TIMES_CHANCE >= 1:
        return Finding("fair", f"{text} There are too few items to tell.")
    if figures.recall < max(LOST, TIMES_CHANCE * figures.by_chance):
        return Finding("poor", text)
    return Finding("good" if figures.recall >= KEPT else "fair", text)
