"""From scores to the best items of each user: exactly, by beams over codes, or in two stages."""

from recmodels.ranking.beam import beam_search
from recmodels.ranking.draft import draft_then_verify
from recmodels.ranking.exact import best_of_levels, best_of_products
from recmodels.ranking.recommendations import ItemId, Recommendations
from recmodels.ranking.scorer import Scorer
from recmodels.ranking.seen import add_to_seen, drop_seen
from recmodels.ranking.top import TopK, top_k

__all__ = [
    "ItemId",
    "Recommendations",
    "Scorer",
    "TopK",
    "add_to_seen",
    "beam_search",
    "best_of_levels",
    "best_of_products",
    "draft_then_verify",
    "drop_seen",
    "top_k",
]
