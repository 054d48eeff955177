"""Semantic IDs: items with features become short discrete codes."""

from semantic_ids.errors import CollisionError, NoCodecError, StaleFolderError, UnknownItemError
from semantic_ids.features import Features
from semantic_ids.fusers.base import FittedFuser, Fuser
from semantic_ids.fusers.concat import Concat
from semantic_ids.latent import Latent
from semantic_ids.optimisation import Optimisation, TrainingLog
from semantic_ids.quantizers.base import FittedQuantizer, Quantizer
from semantic_ids.quantizers.bbqrec import BBQRec
from semantic_ids.quantizers.fsq import FSQ
from semantic_ids.quantizers.lamia import LAMIA
from semantic_ids.quantizers.letter import LETTER
from semantic_ids.quantizers.mmgrec import MMGRec
from semantic_ids.quantizers.mmq import MMQ
from semantic_ids.quantizers.opq import OPQ
from semantic_ids.quantizers.product_kmeans import ProductKMeans
from semantic_ids.quantizers.product_vq import ProductVQ
from semantic_ids.quantizers.prototype_rq import PrototypeRQ
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.quantizers.rq_opq import RQOPQ
from semantic_ids.quantizers.rqvae import RQVAE
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
    "FSQ",
    "LAMIA",
    "LETTER",
    "MMQ",
    "OPQ",
    "RQOPQ",
    "RQVAE",
    "BBQRec",
    "CodeTrie",
    "CodebookStatistics",
    "CollisionError",
    "Concat",
    "Features",
    "FittedFuser",
    "FittedQuantizer",
    "Fuser",
    "Latent",
    "LevelStatistics",
    "MMGRec",
    "NearestFree",
    "NoCodecError",
    "Optimal",
    "Optimisation",
    "Popularity",
    "ProductKMeans",
    "ProductVQ",
    "PrototypeRQ",
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
    "TrainingLog",
    "UnknownItemError",
    "Vocabulary",
]
