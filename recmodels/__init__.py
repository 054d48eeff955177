"""Recommenders that consume semantic IDs."""

from recmodels.fusion import DynamicFusion
from recmodels.fusion_figures import FusionReport, code_agreement, fusion_report
from recmodels.fusion_fitted import FittedDynamicFusion
from recmodels.masking import MaskMix
from recmodels.qbert4rec import QBert4Rec
from recmodels.qbert4rec_spec import QBert4RecSpec
from recmodels.qbert4rec_training import QBert4RecLog
from recmodels.ranking import Recommendations
from recmodels.training import Optimisation, TrainingLog

__all__ = [
    "DynamicFusion",
    "FittedDynamicFusion",
    "FusionReport",
    "MaskMix",
    "Optimisation",
    "QBert4Rec",
    "QBert4RecLog",
    "QBert4RecSpec",
    "Recommendations",
    "TrainingLog",
    "code_agreement",
    "fusion_report",
]
