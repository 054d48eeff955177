"""Semantic IDs: items with features become short discrete codes."""

from semantic_ids.categories import CategoryAgreement
from semantic_ids.comparison import Comparison
from semantic_ids.device import on_device
from semantic_ids.drift import Drift
from semantic_ids.errors import CollisionError, NoCodecError, StaleFolderError, UnknownItemError
from semantic_ids.explanation import (
    ExplainedLevel,
    Explanation,
    NamedItem,
    PrefixDescription,
)
from semantic_ids.features import Features
from semantic_ids.fusers.base import FittedFuser, Fuser
from semantic_ids.fusers.concat import Concat
from semantic_ids.image.base import ImageModel, ImageVectorizer, ImageVectors
from semantic_ids.image.timm_model import TimmImages
from semantic_ids.image.transformers_model import TransformersImages
from semantic_ids.items import Items
from semantic_ids.latent import Latent
from semantic_ids.neighbourhoods import Neighbourhoods
from semantic_ids.neighbours import Neighbours
from semantic_ids.optimisation import Optimisation, TrainingLog
from semantic_ids.quantizers.base import FittedQuantizer, Quantizer
from semantic_ids.quantizers.bbqrec import BBQRec
from semantic_ids.quantizers.fsq import FSQ
from semantic_ids.quantizers.hierarchical_kmeans import HierarchicalKMeans
from semantic_ids.quantizers.lamia import LAMIA
from semantic_ids.quantizers.letter import LETTER
from semantic_ids.quantizers.mmgrec import MMGRec
from semantic_ids.quantizers.mmq import MMQ
from semantic_ids.quantizers.opq import OPQ
from semantic_ids.quantizers.per_modality import PerModality
from semantic_ids.quantizers.product_kmeans import ProductKMeans
from semantic_ids.quantizers.product_vq import ProductVQ
from semantic_ids.quantizers.prototype_rq import PrototypeRQ
from semantic_ids.quantizers.psrq import PSRQ
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.quantizers.rq_opq import RQOPQ
from semantic_ids.quantizers.rqvae import RQVAE
from semantic_ids.refit import Refit
from semantic_ids.resolvers.base import Resolver
from semantic_ids.resolvers.nearest_free import NearestFree
from semantic_ids.resolvers.optimal import Optimal
from semantic_ids.resolvers.popularity import Popularity
from semantic_ids.resolvers.sinkhorn import Sinkhorn
from semantic_ids.resolvers.suffix import Suffix
from semantic_ids.side import Side
from semantic_ids.spec import Spec
from semantic_ids.statistics import CodebookStatistics, LevelStatistics
from semantic_ids.text.base import FittedText, TextVectorizer
from semantic_ids.text.language_model import SentenceTransformerText
from semantic_ids.text.tfidf import TfidfText
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
    "PSRQ",
    "RQOPQ",
    "RQVAE",
    "BBQRec",
    "CategoryAgreement",
    "CodeTrie",
    "CodebookStatistics",
    "CollisionError",
    "Comparison",
    "Concat",
    "Drift",
    "ExplainedLevel",
    "Explanation",
    "Features",
    "FittedFuser",
    "FittedQuantizer",
    "FittedText",
    "Fuser",
    "HierarchicalKMeans",
    "ImageModel",
    "ImageVectorizer",
    "ImageVectors",
    "Items",
    "Latent",
    "LevelStatistics",
    "MMGRec",
    "NamedItem",
    "NearestFree",
    "Neighbourhoods",
    "Neighbours",
    "NoCodecError",
    "Optimal",
    "Optimisation",
    "PerModality",
    "Popularity",
    "PrefixDescription",
    "ProductKMeans",
    "ProductVQ",
    "PrototypeRQ",
    "Quantizer",
    "RQKMeans",
    "Refit",
    "Resolver",
    "SentenceTransformerText",
    "Side",
    "Sinkhorn",
    "Spec",
    "StaleFolderError",
    "Suffix",
    "TextVectorizer",
    "TfidfText",
    "TimmImages",
    "TokenBatch",
    "Tokenizer",
    "TokenizerSpec",
    "TrainingLog",
    "TransformersImages",
    "UnknownItemError",
    "Vocabulary",
    "on_device",
]
