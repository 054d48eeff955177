"""What a recommender has to beat."""

from recmodels.baselines.content_knn import ContentKNN
from recmodels.baselines.item_knn import ItemKNN
from recmodels.baselines.popularity import Popularity
from recmodels.baselines.uniform import Uniform

__all__ = ["ContentKNN", "ItemKNN", "Popularity", "Uniform"]
