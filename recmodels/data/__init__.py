"""Interactions and catalogues: reading them, splitting them, making them up."""

from recmodels.data.dataset import Dataset
from recmodels.data.folder import read_dataset
from recmodels.data.histories import Histories
from recmodels.data.split import Held, Split
from recmodels.data.synthetic import planted_catalogue, synthetic_catalogue

__all__ = [
    "Dataset",
    "Held",
    "Histories",
    "Split",
    "planted_catalogue",
    "read_dataset",
    "synthetic_catalogue",
]
