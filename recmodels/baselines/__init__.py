"""What a recommender has to beat."""

from recmodels.baselines.popularity import Popularity
from recmodels.baselines.uniform import Uniform

__all__ = ["Popularity", "Uniform"]
