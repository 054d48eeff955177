"""What chooses the epoch that is kept: NDCG@10 on validation targets."""

from collections.abc import Callable

import numpy as np

from recmodels.data import Held
from recmodels.evaluation import evaluate
from recmodels.sequence_model import SequenceModel, SequenceScorer


def validation_ndcg(
    model: SequenceModel, max_history: int, held: Held, *, users: int, seed: int
) -> Callable[[], float]:
    """Return what measures a model's NDCG@10 as it stands.

    Parameters
    ----------
    model : in evaluation mode when it is measured.
    max_history : items of a history that are read.
    held : histories and their targets.
    users : most that are asked; of more, a random choice, the same ones each time.
    seed : of the choice.
    """
    if len(held) > users:
        chosen = np.random.default_rng(seed).choice(len(held), users, replace=False)
        held = held.take(np.sort(chosen))

    def measure() -> float:
        scorer = SequenceScorer(model, max_history)
        return evaluate(scorer, held, progress=False).metrics.ndcg_10

    return measure
