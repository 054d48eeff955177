"""Baselines that read histories of item ids by the same encoder as ours: SASRec and BERT4Rec."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from recmodels.catalogue_vectors import latents
from recmodels.data import Histories, Split
from recmodels.data.split import check_split
from recmodels.data.structure import interaction_counts
from recmodels.early_stopping import validation_ndcg
from recmodels.encoder import SequenceEncoder
from recmodels.item_vectors import FeatureVectors, ItemVectors, OwnVectors
from recmodels.masked_items import Lesson, Sequences, pretrain, train_causally
from recmodels.masking import MaskMix
from recmodels.objectives import item_softmax
from recmodels.sequence_model import SequenceModel, SequenceScorer
from recmodels.training import Optimisation, TrainingLog, seeded
from semantic_ids import Concat, Features, FittedFuser, Spec
from semantic_ids.checkpoints import identity
from semantic_ids.device import Device


class SequenceBaseline(Spec):
    """What the sequence baselines have in common: the encoder, the scores and the training.

    Each is trained by the cross-entropy over the whole catalogue, and the epoch with the best
    NDCG@10 on the validation targets is kept.

    Parameters
    ----------
    item_parts : what an item's vector is the sum of: ``"item"``, a vector of its own;
        ``"features"``, a projection of its features.
    width, layers, heads, dropout : of the encoder.
    max_history : items of a history that are read, the latest ones.
    cosine : whether an item's score is the cosine of the hidden vector and the item's.
    temperature : divides the cosines.
    repeats : whether an item's score has a learnt bonus for each time that the history holds it.
    optimisation : how it is trained.
    validated_users : most users whose validation targets choose the epoch.
    batch_size : sequences of a step.
    epoch_size : most sequences of an epoch; of more, each epoch takes a new random choice.
    device : where it is trained.
    seed : where the random numbers begin.
    """

    item_parts: tuple[Literal["item", "features"], ...] = Field(default=("item",), min_length=1)
    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_history: int = Field(default=50, ge=1)
    cosine: bool = True
    temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False)
    repeats: bool = False
    optimisation: Optimisation = Optimisation(epochs=60, learning_rate=3e-3, patience=6)
    validated_users: int = Field(default=65536, ge=1)
    batch_size: int = Field(default=128, ge=1)
    epoch_size: int = Field(default=32768, ge=1)
    device: Device = "cpu"
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "SequenceBaseline":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        return self

    def fit(
        self, split: Split, features: Features | None = None, *, progress: bool | None = None
    ) -> "FittedSequence":
        """Train on the histories of `split.train`; `split.validation` chooses the epoch.

        Parameters
        ----------
        split : the interactions.
        features : of the catalogue's items, where `item_parts` names them.
        progress : show a bar; None shows it in a terminal.

        Raises
        ------
        ValueError
            if features are wanted and not given, or are of another catalogue.
        """
        check_split(split)
        fuser = given = None
        if "features" in self.item_parts:
            features = _checked(features, split.size)
            split.test.check_order("features", features.ids)
            fuser = Concat().fit(features)
            given = latents(fuser, features)
        with seeded(self.seed):
            model = self._model(split, given)
            lesson = Lesson(
                model,
                item_softmax(model),
                split.train,
                Sequences(self.max_history + 1, self.batch_size, self.epoch_size),
                np.random.default_rng(self.seed),
                device=self.device,
                progress=progress,
                identity=lambda: identity(
                    self, split.train.items, split.train.offsets, split.validation.targets, given
                ),
            )
            validate = validation_ndcg(
                model,
                self.max_history,
                split.validation,
                users=self.validated_users,
                seed=self.seed,
            )
            log = self._train(lesson, validate)
        return FittedSequence(self, model, log, fuser)

    def _model(self, split: Split, given: np.ndarray | None) -> SequenceModel:
        parts: dict[str, nn.Module] = {}
        if "item" in self.item_parts:
            known = torch.from_numpy(interaction_counts(split) > 0)
            parts["item"] = OwnVectors(known, self.width)
        if given is not None:
            parts["features"] = FeatureVectors(torch.from_numpy(given), self.width)
        encoder = SequenceEncoder(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            dropout=self.dropout,
            positions=self.max_history + 1,
            causal=self._causal,
        )
        return SequenceModel(
            ItemVectors(parts),
            encoder,
            cosine=self.cosine,
            temperature=self.temperature,
            repeats=self.repeats,
        )

    @property
    @abstractmethod
    def _causal(self) -> bool: ...

    @abstractmethod
    def _train(self, lesson: Lesson, validate: Callable[[], float]) -> TrainingLog: ...


class SASRec(SequenceBaseline):
    """SASRec (arXiv 1808.09781): each item is named from those before it.

    The loss is the cross-entropy over the whole catalogue instead of the paper's one sampled
    negative, which is known to make it far stronger. With ``item_parts=("item", "features")`` it
    sees what ours sees, the codes apart.

    Examples
    --------
    >>> from recmodels.data import synthetic_catalogue
    >>> split = synthetic_catalogue(items=60, users=40).split()
    >>> sasrec = SASRec(width=8, optimisation=Optimisation(epochs=1)).fit(split, progress=False)
    >>> sasrec.scores(split.test.histories).shape
    (40, 60)
    """

    @property
    def _causal(self) -> bool:
        return True

    def _train(self, lesson: Lesson, validate: Callable[[], float]) -> TrainingLog:
        return train_causally(lesson, self.optimisation, validate)


class BERT4Rec(SequenceBaseline):
    """BERT4Rec (arXiv 1904.06690): random items are masked and named from all others.

    Parameters
    ----------
    masks : by default random items, and the last one now and then, as a recommender is asked.

    Examples
    --------
    >>> BERT4Rec().masks.probabilities
    array([0. , 0.2, 0. , 0.8])
    """

    masks: MaskMix = MaskMix(span=0, tail=1, multi_region=0, random=4)

    @property
    def _causal(self) -> bool:
        return False

    def _train(self, lesson: Lesson, validate: Callable[[], float]) -> TrainingLog:
        return pretrain(lesson, self.masks, self.optimisation, validate)[0]


class FittedSequence:
    """A fitted sequence baseline.

    Attributes
    ----------
    spec : what it was fitted from.
    log : losses and validation figures of each epoch.
    """

    def __init__(
        self,
        spec: SequenceBaseline,
        model: SequenceModel,
        log: TrainingLog,
        fuser: FittedFuser | None = None,
        scorer: SequenceScorer | None = None,
    ) -> None:
        self.spec = spec
        self.log = log
        self._model = model
        self._fuser = fuser
        self._scorer = scorer or SequenceScorer(model, spec.max_history)

    @property
    def size(self) -> int:
        """Number of items N that are scored."""
        return self._scorer.size

    def scores(self, histories: Histories) -> np.ndarray:
        """Score the whole catalogue for each of n histories, (n, N) float32."""
        return self._scorer.scores(histories)

    def extended(self, features: Features) -> "FittedSequence":
        """Return the same recommender over another catalogue, whose items have these features.

        Raises
        ------
        ValueError
            if it does not know items by their features alone.
        """
        part = dict(self._model.items.parts.items()).get("features")
        if self.spec.item_parts != ("features",) or not isinstance(part, FeatureVectors):
            raise ValueError(
                f"item_parts={self.spec.item_parts}: other items are known by their features "
                'alone, by item_parts=("features",)'
            )
        assert self._fuser is not None  # it made the features of the fit
        with torch.inference_mode():
            vectors = part.projection(torch.from_numpy(latents(self._fuser, features)))
        scorer = SequenceScorer(self._model, self.spec.max_history, vectors)
        return FittedSequence(self.spec, self._model, self.log, self._fuser, scorer)

    def weights(self) -> dict[str, np.ndarray]:
        """Return all that was learnt, by name."""
        return {name: value.numpy() for name, value in self._model.state_dict().items()}

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self._model.parameters())
        return f"{type(self.spec).__name__}({self.size:,} items, {parameters:,} parameters)"


def _checked(features: Features | None, size: int) -> Features:
    if features is None:
        raise ValueError("features: item_parts names features, but none were given")
    if len(features) != size:
        raise ValueError(f"features: expected {size} rows, one an item, got {len(features)}")
    return features
