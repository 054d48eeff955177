"""What a recommender has to beat."""

from recmodels.baselines.content_knn import ContentKNN
from recmodels.baselines.item_knn import ItemKNN
from recmodels.baselines.popularity import Popularity
from recmodels.baselines.tiger import TIGER, TIGERSpec
from recmodels.baselines.uniform import Uniform

__all__ = ["TIGER", "ContentKNN", "ItemKNN", "Popularity", "TIGERSpec", "Uniform"]
