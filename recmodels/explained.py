"""Why an item was recommended: the parts of its score, and the history items that it rests on."""

from dataclasses import dataclass

import numpy as np

from recmodels.explanation import ScoreParts, score_parts
from recmodels.influence import with_and_without
from recmodels.ranking import ItemId
from recmodels.sequence_model import SequenceScorer


@dataclass(frozen=True, repr=False)
class ExplainedItem:
    """One recommended item, explained.

    Attributes
    ----------
    parts : what each level's code, the item's own vector and its features add to the score, and
        its being in the history already.
    drops : for each item of the history that was read, its id and by how much the score falls
        without it, the largest first.
    """

    parts: ScoreParts
    drops: tuple[tuple[ItemId, float], ...]

    def __repr__(self) -> str:
        """Show the parts, and the history items that matter the most."""
        shown = [f"  {drop:+.4g} by {item!r}" for item, drop in self.drops[:3]]
        return "\n".join([repr(self.parts), *(["because of"] * bool(shown)), *shown])


def explained(
    scorer: SequenceScorer,
    history: np.ndarray,
    rows: np.ndarray,
    parts: dict[str, np.ndarray],
    ids: np.ndarray,
) -> tuple[ExplainedItem, ...]:
    """Explain the items that were recommended to one user.

    Parameters
    ----------
    scorer : what ranked them.
    history : (T,) int rows, oldest first.
    rows : (k,) int rows of the recommended items.
    parts : by name, (k, width) what the items' vectors are sums of.
    ids : (N,) of the catalogue.
    """
    history = history[-scorer.max_history :]
    cases = with_and_without(history)
    asked = scorer.asked(cases.take(np.array([0])))[0]
    scores = scorer.scores(cases)[:, rows].astype(np.float64)
    names, of_history = ids[rows].tolist(), ids[history].tolist()
    vectors = np.sum(list(parts.values()), axis=0)
    lengths = np.linalg.norm(vectors, axis=1) if scorer.model.cosine else np.ones(len(rows))
    found = []
    for place, name in enumerate(names):
        own = {part: values[place : place + 1] / lengths[place] for part, values in parts.items()}
        drops = scores[0, place] - scores[1:, place]
        ranked = np.argsort(-drops, kind="stable").tolist()
        times = int((history == rows[place]).sum())
        found.append(
            ExplainedItem(
                _with_bonus(score_parts(asked, own, 0, item=name), times * scorer.bonus),
                tuple((of_history[at], float(drops[at])) for at in ranked),
            )
        )
    return tuple(found)


def _with_bonus(parts: ScoreParts, bonus: float) -> ScoreParts:
    if not bonus:
        return parts
    return ScoreParts(parts.item, (*parts.names, "in the history"), (*parts.parts, bonus))
