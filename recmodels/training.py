"""Training, as the recommenders import it: the one loop is that of `semantic_ids`."""

from semantic_ids.training import Optimisation, TrainingLog, seeded, train

__all__ = ["Optimisation", "TrainingLog", "seeded", "train"]
