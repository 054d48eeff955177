"""What a recommender has to beat."""

from recmodels.baselines.content_knn import ContentKNN
from recmodels.baselines.item_knn import ItemKNN
from recmodels.baselines.popularity import Popularity
from recmodels.baselines.sequence import BERT4Rec, FittedSequence, SASRec
from recmodels.baselines.tiger import TIGER, TIGERSpec
from recmodels.baselines.uniform import Uniform

__all__ = [
    "TIGER",
    "BERT4Rec",
    "ContentKNN",
    "FittedSequence",
    "ItemKNN",
    "Popularity",
    "SASRec",
    "TIGERSpec",
    "Uniform",
]
