"""Stage 3 of Q-BERT4Rec: a sequence model over the codes of a tokenizer, trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from recmodels.catalogue_vectors import (
    CatalogueVectors,
    FeatureProjection,
    decoded_latents,
    latents,
)
from recmodels.data import Dataset, Histories, Split
from recmodels.data.structure import interaction_counts
from recmodels.early_stopping import validation_ndcg
from recmodels.encoder import SequenceEncoder
from recmodels.fused_starts import fused_starts
from recmodels.item_vectors import CodeVectors, FeatureVectors, ItemVectors, OwnVectors
from recmodels.masked_items import Lesson, Sequences, finetune, pretrain
from recmodels.objectives import Objective, item_softmax, level_softmax, sampled_softmax
from recmodels.qbert4rec_spec import QBert4RecSpec
from recmodels.sequence_model import SequenceModel
from recmodels.training import Optimisation, TrainingLog, seeded
from semantic_ids import Concat, Features, FittedFuser, Tokenizer
from semantic_ids.checkpoints import identity


@dataclass(frozen=True)
class QBert4RecLog:
    """What happened in stage 3.

    Attributes
    ----------
    pretraining, finetuning : losses, validation figures and times of each epoch.
    masked_sequences : sequences that pretraining masked.
    fallbacks : those of them that drew a multi-region mask and were too short for two runs.
    """

    pretraining: TrainingLog = field(default_factory=TrainingLog)
    finetuning: TrainingLog = field(default_factory=TrainingLog)
    masked_sequences: int = 0
    fallbacks: int = 0


@dataclass(frozen=True, eq=False)
class Stage3:
    """What stage 3 trains.

    Attributes
    ----------
    model : the encoder, and item vectors of the codes alone (none without codes).
    vectors : the other parts of the item vectors.
    log : what happened.
    """

    model: SequenceModel
    vectors: CatalogueVectors
    log: QBert4RecLog


def train_stage_3(
    spec: QBert4RecSpec,
    tokenizer: Tokenizer,
    dataset: Dataset,
    split: Split,
    progress: bool | None,
) -> Stage3:
    """Train an encoder over the codes of a tokenizer.

    Parameters
    ----------
    spec : what to train.
    tokenizer : its catalogue holds the data set's items.
    dataset : for its features.
    split : of the histories, in rows of the tokenizer's catalogue.
    progress : show bars; None shows them in a terminal.
    """
    fuser, given = fused_features(spec, tokenizer, dataset)
    starts = fused_starts(spec, tokenizer, dataset)
    with seeded(spec.seed):
        model = whole_model(spec, tokenizer, split, given, starts)
        known = (tokenizer.codes, split.validation.targets, given, starts)
        log = _train(spec, model, split, known, progress)
        bare = new_model(spec, tokenizer, model)
    return Stage3(bare, catalogue_vectors(tokenizer, model, fuser), log)


def fused_features(
    spec: QBert4RecSpec, tokenizer: Tokenizer, dataset: Dataset, fuser: FittedFuser | None = None
) -> tuple[FittedFuser | None, np.ndarray | None]:
    """Return features (N, d) of the catalogue's rows and what fused them, a fuser given or new.

    Both are None where features are no part of the item vectors.
    """
    if "features" not in spec.item_parts or dataset.features is None:
        return None, None
    fuser = fuser or Concat().fit(dataset.features)
    return fuser, _latents(fuser, tokenizer, dataset.ids, dataset.features)


def new_model(
    spec: QBert4RecSpec, tokenizer: Tokenizer, trained: SequenceModel | None = None
) -> SequenceModel:
    """Make a model whose item vectors are those of the codes alone; take over what was trained."""
    codes = {"codes": _code_vectors(spec, tokenizer)} if "codes" in spec.item_parts else {}
    model = _around(spec, tokenizer, codes).eval()
    if trained is not None:
        weights = trained.state_dict()
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def whole_model(
    spec: QBert4RecSpec,
    tokenizer: Tokenizer,
    split: Split,
    given: np.ndarray | None,
    starts: np.ndarray | None = None,
) -> SequenceModel:
    """Make a model of all parts of the item vectors, to be trained.

    Parameters
    ----------
    spec : what to make.
    tokenizer : its catalogue's N items.
    split : says which items training histories hold.
    given : (N, d) features; None without.
    starts : (N, width) own vectors to start from; None for random ones.
    """
    parts: dict[str, nn.Module] = {}
    for name in spec.item_parts:
        if name == "codes":
            parts[name] = _code_vectors(spec, tokenizer)
        elif name == "item":
            known = torch.from_numpy(interaction_counts(split) > 0)
            start = None if starts is None else torch.from_numpy(starts)
            parts[name] = OwnVectors(known, spec.width, spec.item_dropout, start)
        elif given is not None:
            parts[name] = FeatureVectors(torch.from_numpy(given), spec.width)
    if not parts:
        raise ValueError("item_parts=('features',): the data set has no features")
    return _around(spec, tokenizer, parts)


def _slots(spec: QBert4RecSpec, tokenizer: Tokenizer) -> int:
    """Return the slots of an item vector, which are those that a masked item is named in."""
    return 1 if spec.positions == "item" else tokenizer.code_length


def _around(
    spec: QBert4RecSpec, tokenizer: Tokenizer, parts: Mapping[str, nn.Module]
) -> SequenceModel:
    slots = _slots(spec, tokenizer)
    items = ItemVectors(parts, slots)
    encoder = SequenceEncoder(
        width=spec.width,
        layers=spec.layers,
        heads=spec.heads,
        dropout=spec.dropout,
        positions=spec.max_history + 1,
        inputs=slots if spec.positions == "code" else 1,
        outputs=slots,
    )
    return SequenceModel(
        items,
        encoder,
        cosine=spec.cosine,
        temperature=spec.temperature,
        repeats=spec.repeats,
    )


def _code_vectors(spec: QBert4RecSpec, tokenizer: Tokenizer) -> CodeVectors:
    codes = torch.from_numpy(tokenizer.codes.copy())
    return CodeVectors(codes, tokenizer.code_sizes, spec.width, _slots(spec, tokenizer))


def _train(
    spec: QBert4RecSpec,
    model: SequenceModel,
    split: Split,
    known: Sequence[np.ndarray | None],
    progress: bool | None,
) -> QBert4RecLog:
    objective = objective_of(spec, model, interaction_counts(split))
    lesson = lesson_of(spec, model, objective, split.train, known, progress)
    # How it is fine-tuned later changes nothing: a pretraining that is done serves for any.
    any_later = spec.model_copy(update={"finetuning": Optimisation()})
    first = replace(lesson, identity=lambda: _told(any_later, split.train, known))
    pretraining, count = pretrain(first, spec.masks, spec.pretraining)
    finetuning = finetune(lesson, spec.finetuning, validation_of(spec, model, split))
    return QBert4RecLog(pretraining, finetuning, count.sequences, count.fallbacks)


def lesson_of(
    spec: QBert4RecSpec,
    model: SequenceModel,
    objective: Objective,
    histories: Histories,
    known: Sequence[np.ndarray | None],
    progress: bool | None,
) -> Lesson:
    """Return what a spec's phases of training have in common.

    `known` is what the training depends on beside the spec and the histories.
    """
    return Lesson(
        model,
        objective,
        histories,
        Sequences(spec.max_history + 1, spec.batch_size, spec.epoch_size),
        np.random.default_rng(spec.seed),
        device=spec.device,
        bfloat16=spec.bfloat16,
        progress=progress,
        identity=lambda: _told(spec, histories, known),
    )


def _told(spec: QBert4RecSpec, histories: Histories, known: Sequence[np.ndarray | None]) -> str:
    """Return a checksum of all that a training depends on."""
    return identity(spec, histories.items, histories.offsets, *known)


def validation_of(spec: QBert4RecSpec, model: SequenceModel, split: Split) -> Callable[[], float]:
    """Return what measures a model's NDCG@10 on the validation targets."""
    return validation_ndcg(
        model, spec.max_history, split.validation, users=spec.validated_users, seed=spec.seed
    )


def objective_of(spec: QBert4RecSpec, model: SequenceModel, counts: np.ndarray) -> Objective:
    """Return a spec's objective; `counts` (N,) says how often each item of the model occurs."""
    if spec.objective == "levels":
        return level_softmax(model)
    if spec.objective == "sampled":
        return sampled_softmax(model, torch.from_numpy(counts), spec.negatives)
    return item_softmax(model)


def _latents(
    fuser: FittedFuser, tokenizer: Tokenizer, ids: np.ndarray, features: Features
) -> np.ndarray:
    """Return fused features (N, d) of the rows of a catalogue, which may hold more items."""
    rows = tokenizer.rows(ids)
    known = latents(fuser, features)
    matrix = np.empty((len(tokenizer), known.shape[1]), np.float32)
    others = np.setdiff1d(np.arange(len(tokenizer)), rows)
    matrix[others] = decoded_latents(fuser, tokenizer, tokenizer.codes[others])
    matrix[rows] = known
    return matrix


def catalogue_vectors(
    tokenizer: Tokenizer, model: SequenceModel, fuser: FittedFuser | None
) -> CatalogueVectors:
    """Keep the parts of trained item vectors that are no codes."""
    with torch.inference_mode():
        parts = {
            name: part().numpy().copy()
            for name, part in model.items.parts.items()
            if name != "codes"
        }
    projection = None
    features = model.items.parts["features"] if "features" in parts else None
    if fuser is not None and isinstance(features, FeatureVectors):
        weight = features.projection.weight.detach().numpy().copy()
        projection = FeatureProjection(fuser, weight)
    return CatalogueVectors(tokenizer.ids.copy(), parts, projection)
