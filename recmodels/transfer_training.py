"""Stage 3 over several domains, and stage 3 that goes on from another one's weights."""

import numpy as np
import torch

from recmodels.data import Dataset, Split
from recmodels.data.structure import interaction_counts
from recmodels.domain_training import pretrain_domains, within_domains
from recmodels.fused_starts import fused_starts
from recmodels.item_vectors import FeatureVectors, OwnVectors
from recmodels.masked_items import finetune
from recmodels.qbert4rec_spec import QBert4RecSpec
from recmodels.qbert4rec_training import (
    QBert4RecLog,
    Stage3,
    catalogue_vectors,
    fused_features,
    lesson_of,
    new_model,
    objective_of,
    validation_of,
    whole_model,
)
from recmodels.sequence_model import SequenceModel
from recmodels.training import seeded
from semantic_ids import Tokenizer


def pretrain_stage_3(
    spec: QBert4RecSpec,
    tokenizer: Tokenizer,
    dataset: Dataset,
    split: Split,
    items: np.ndarray,
    users: np.ndarray,
    progress: bool | None,
) -> Stage3:
    """Pretrain an encoder on several domains; only their training histories are looked at.

    Parameters
    ----------
    spec : what to train; its fine-tuning is left out.
    tokenizer : its catalogue is the data set's items, row by row.
    dataset : the domains one after another.
    split : of its histories.
    items, users : (D + 1,) int, where the items and the users of each domain begin and end.
    progress : show bars; None shows them in a terminal.
    """
    fuser, given = fused_features(spec, tokenizer, dataset)
    starts = fused_starts(spec, tokenizer, dataset)
    counts = interaction_counts(split)
    with seeded(spec.seed):
        model = whole_model(spec, tokenizer, split, given, starts)
        objective = within_domains(
            model, items, lambda part, rows: objective_of(spec, part, counts[rows])
        )
        known = (tokenizer.codes, given, starts, items, users)
        lesson = lesson_of(spec, model, objective, split.train, known, progress)
        log, count = pretrain_domains(lesson, users, spec.masks, spec.pretraining)
        bare = new_model(spec, tokenizer, model)
    vectors = catalogue_vectors(tokenizer, model, fuser)
    return Stage3(
        bare,
        vectors,
        QBert4RecLog(log, masked_sequences=count.sequences, fallbacks=count.fallbacks),
    )


def finetune_stage_3(
    spec: QBert4RecSpec,
    tokenizer: Tokenizer,
    dataset: Dataset,
    split: Split,
    before: Stage3,
    *,
    same_codes: bool,
    progress: bool | None,
) -> Stage3:
    """Go on from trained weights on another data set, by the last item of every prefix.

    Parameters
    ----------
    spec : what to train, of the sizes that `before` has; its pretraining is left out.
    tokenizer : its catalogue is the data set's items.
    dataset : for its features.
    split : of its histories, in rows of the catalogue.
    before : what was trained; it stays as it is.
    same_codes : whether the codes mean what they meant to `before`.
    progress : show bars; None shows them in a terminal.
    """
    projection = before.vectors.projection
    fuser, given = fused_features(
        spec, tokenizer, dataset, None if projection is None else projection.fuser
    )
    parts = before.vectors.of(tokenizer)
    with seeded(spec.seed):
        # Zeros where nothing was trained: fused starts would lie in another space than the weights.
        model = whole_model(spec, tokenizer, split, given, parts.get("item"))
        _take_over(model, before, parts, same_codes=same_codes)
        weights = [value.numpy().copy().reshape(-1) for value in model.state_dict().values()]
        known = (tokenizer.codes, split.validation.targets, given, np.concatenate(weights))
        objective = objective_of(spec, model, interaction_counts(split))
        lesson = lesson_of(spec, model, objective, split.train, known, progress)
        log = finetune(lesson, spec.finetuning, validation_of(spec, model, split))
        bare = new_model(spec, tokenizer, model)
    return Stage3(
        bare,
        catalogue_vectors(tokenizer, model, fuser),
        QBert4RecLog(
            before.log.pretraining, log, before.log.masked_sequences, before.log.fallbacks
        ),
    )


@torch.no_grad()
def _take_over(
    model: SequenceModel, before: Stage3, parts: dict[str, np.ndarray], *, same_codes: bool
) -> None:
    """Take over the encoder, codes if they mean the same, the projection, whose vectors count."""
    kept = {
        name: weight
        for name, weight in before.model.state_dict().items()
        if same_codes or not name.startswith("items.")
    }
    model.load_state_dict({**model.state_dict(), **kept})
    own, features = (dict(model.items.parts.items()).get(name) for name in ("item", "features"))
    if isinstance(own, OwnVectors):
        vectors = torch.from_numpy(parts["item"])
        own.known.copy_(torch.maximum(own.known, (vectors != 0).any(dim=1, keepdim=True).float()))
    if isinstance(features, FeatureVectors) and before.vectors.projection is not None:
        features.projection.weight.copy_(torch.from_numpy(before.vectors.projection.weight))
