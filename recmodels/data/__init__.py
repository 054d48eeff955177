"""Interactions and catalogues: reading them, splitting them, making them up."""

from recmodels.data.amazon import read_amazon
from recmodels.data.amazon_items import AmazonItem, read_amazon_items
from recmodels.data.dataset import Dataset
from recmodels.data.domains import domain_ids, split_domain_ids, unite
from recmodels.data.folder import read_dataset
from recmodels.data.histories import Histories
from recmodels.data.inter_files import read_lcrec, read_recbole
from recmodels.data.interactions import Interactions
from recmodels.data.modalities import (
    category_vectors,
    with_category_vectors,
    with_collaborative_vectors,
)
from recmodels.data.movielens import read_movielens
from recmodels.data.overlap import Overlap, without_overlap
from recmodels.data.split import Held, Split
from recmodels.data.structure import (
    cooccurrence_graph,
    cooccurrence_vectors,
    interaction_counts,
    interaction_vectors,
    side_of,
)
from recmodels.data.synthetic import planted_catalogue, synthetic_catalogue
from recmodels.data.writing import write_interactions, write_items

__all__ = [
    "AmazonItem",
    "Dataset",
    "Held",
    "Histories",
    "Interactions",
    "Overlap",
    "Split",
    "category_vectors",
    "cooccurrence_graph",
    "cooccurrence_vectors",
    "domain_ids",
    "interaction_counts",
    "interaction_vectors",
    "planted_catalogue",
    "read_amazon",
    "read_amazon_items",
    "read_dataset",
    "read_lcrec",
    "read_movielens",
    "read_recbole",
    "side_of",
    "split_domain_ids",
    "synthetic_catalogue",
    "unite",
    "with_category_vectors",
    "with_collaborative_vectors",
    "without_overlap",
    "write_interactions",
    "write_items",
]
