"""Semantic IDs: items with features become short discrete codes."""

from semantic_ids.errors import CollisionError, NoCodecError, StaleFolderError, UnknownItemError
from semantic_ids.features import Features
from semantic_ids.fusers.base import FittedFuser, Fuser
from semantic_ids.fusers.concat import Concat
from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import FittedQuantizer, Quantizer
from semantic_ids.quantizers.hierarchical_kmeans import HierarchicalKMeans
from semantic_ids.quantizers.opq import OPQ
from semantic_ids.quantizers.product_kmeans import ProductKMeans
from semantic_ids.quantizers.psrq import PSRQ
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.quantizers.rq_opq import RQOPQ
from semantic_ids.resolvers.base import Resolver
from semantic_ids.resolvers.nearest_free import NearestFree
from semantic_ids.resolvers.optimal import Optimal
from semantic_ids.resolvers.popularity import Popularity
from semantic_ids.resolvers.sinkhorn import Sinkhorn
from semantic_ids.resolvers.suffix import Suffix
from semantic_ids.side import Side
from semantic_ids.spec import Spec
from semantic_ids.statistics import CodebookStatistics, LevelStatistics
from semantic_ids.tokenizer import Tokenizer
from semantic_ids.tokenizer_spec import TokenizerSpec
from semantic_ids.trie import CodeTrie
from semantic_ids.vocabulary import TokenBatch, Vocabulary

__all__ = [
    "OPQ",
    "PSRQ",
    "RQOPQ",
    "CodeTrie",
    "CodebookStatistics",
    "CollisionError",
    "Concat",
    "Features",
    "FittedFuser",
    "FittedQuantizer",
    "Fuser",
    "HierarchicalKMeans",
    "Latent",
    "LevelStatistics",
    "NearestFree",
    "NoCodecError",
    "Optimal",
    "Popularity",
    "ProductKMeans",
    "Quantizer",
    "RQKMeans",
    "Resolver",
    "Side",
    "Sinkhorn",
    "Spec",
    "StaleFolderError",
    "Suffix",
    "TokenBatch",
    "Tokenizer",
    "TokenizerSpec",
    "UnknownItemError",
    "Vocabulary",
]
