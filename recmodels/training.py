"""Training, as the recommenders import it: the one loop is that of `semantic_ids`."""

from semantic_ids.training import Device, Optimisation, TrainingLog, seeded, train

__all__ = ["Device", "Optimisation", "TrainingLog", "seeded", "train"]
