"""The recommenders of `recommendation.py`, each made by one function of a data set and a seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from recmodels import DynamicFusion, MaskMix, Optimisation, QBert4Rec, QBert4RecSpec
from recmodels.baselines import (
    TIGER,
    BERT4Rec,
    ContentKNN,
    ItemKNN,
    Popularity,
    SASRec,
    TIGERSpec,
)
from recmodels.data import Dataset, Split
from recmodels.training import TrainingLog
from semantic_ids import OPQ, RQVAE, Concat, Fuser, RQKMeans, Suffix, Tokenizer, TokenizerSpec


@dataclass(frozen=True)
class Made:
    """A fitted recommender and what is told of it.

    Attributes
    ----------
    recommender : scores all items, or returns lists.
    parameters : that were trained; 0 for what only counts.
    logs : of the trainings, by phase.
    settings : what it was fitted from, for the table of trials.
    """

    recommender: Any
    parameters: int = 0
    logs: Mapping[str, TrainingLog] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """What a recommender is made from.

    Attributes
    ----------
    dataset : with features, or without.
    codes : published codes (N, L) of its items where it has no features, else None.
    seed : of stage 3, or of the baseline.
    fields : further fields of the spec, from the command line.
    """

    dataset: Dataset
    codes: np.ndarray | None
    seed: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def split(self) -> Split:
        """Leave-one-out."""
        return self.dataset.split()

    def tokenizer(self, spec: TokenizerSpec | None = None) -> Tokenizer:
        """Fit a tokenizer, that of Q-BERT4Rec by default, or take the published codes."""
        if self.codes is not None:
            return Tokenizer.from_codes(self.dataset.ids, self.codes, resolver=Suffix())
        spec = QBert4RecSpec().tokenizer if spec is None else spec
        return spec.fit(self.dataset.features, progress=False)


Recommender = Callable[[Trial], Made]


def qbert4rec(spec: QBert4RecSpec, tokenizer: Tokenizer, trial: Trial) -> Made:
    """Fit Q-BERT4Rec on a tokenizer."""
    changed = {**trial.fields, "seed": trial.seed}
    spec = QBert4RecSpec.model_validate({**spec.model_dump(), **changed})
    model = spec.fit(trial.dataset, tokenizer=tokenizer, progress=False)
    logs = {"pretraining": model.log.pretraining, "finetuning": model.log.finetuning}
    return Made(model, model.parameters, logs, spec.model_dump(mode="json"))


def default(trial: Trial) -> Made:
    """Q-BERT4Rec as it comes: codes, items' own vectors, features."""
    return qbert4rec(QBert4RecSpec(), trial.tokenizer(), trial)


def no_codes(trial: Trial) -> Made:
    """The default without the codes: what they contribute is the difference."""
    parts = ("item",) if trial.dataset.features is None else ("item", "features")
    return qbert4rec(QBert4RecSpec(item_parts=parts), trial.tokenizer(), trial)


def random_codes(trial: Trial) -> Made:
    """The default with its own codes handed out at random."""
    tokenizer = trial.tokenizer()
    order = np.random.default_rng(trial.seed).permutation(len(tokenizer))
    permuted = Tokenizer.from_codes(
        tokenizer.ids, tokenizer.codes[order], codebook_sizes=tokenizer.code_sizes, resolver=None
    )
    return qbert4rec(QBert4RecSpec(), permuted, trial)


def codes_only(trial: Trial) -> Made:
    """The default's codes alone: no own vectors, no features."""
    return qbert4rec(QBert4RecSpec(item_parts=("codes",)), trial.tokenizer(), trial)


def with_positions(positions: str) -> Recommender:
    """Return the default with other positions of the encoder."""
    spec = QBert4RecSpec.model_validate({"positions": positions})
    return lambda trial: qbert4rec(spec, trial.tokenizer(), trial)


def paper(trial: Trial) -> Made:
    """The plainest reading of the paper; see `QBert4Rec.paper`."""
    spec = QBert4Rec.paper()
    return qbert4rec(spec, trial.tokenizer(spec.tokenizer), trial)


def with_fusion(fuser: Fuser) -> Recommender:
    """Return the default with another fusion, its random numbers begun by the seed."""

    def make(trial: Trial) -> Made:
        seed = {"seed": trial.seed} if "seed" in type(fuser).model_fields else {}
        spec = TokenizerSpec(fuser=fuser.model_copy(update=seed))
        return qbert4rec(QBert4RecSpec(), trial.tokenizer(spec), trial)

    return make


def with_quantizer(quantizer: Any) -> Recommender:
    """Return the default with another quantizer."""
    spec = QBert4RecSpec().tokenizer.model_copy(update={"quantizer": quantizer})
    return lambda trial: qbert4rec(QBert4RecSpec(), trial.tokenizer(spec), trial)


def with_masks(**weights: float) -> Recommender:
    """Return the default pretrained by some kinds of mask alone."""
    none = dict.fromkeys(("span", "tail", "multi_region", "random"), 0.0)
    masks = MaskMix.model_validate({**none, **weights})
    return lambda trial: qbert4rec(QBert4RecSpec(masks=masks), trial.tokenizer(), trial)


def content_knn(trial: Trial) -> Made:
    """Cosine to the mean of the history's features."""
    if trial.dataset.features is None:
        raise SystemExit(f"content-knn: {trial.dataset.name} has no features")
    return Made(ContentKNN.fit(trial.split, trial.dataset.features))


def sequence(
    spec: type[SASRec] | type[BERT4Rec], *parts: str, repeats: bool = False
) -> Recommender:
    """Return a sequence baseline over some parts of item vectors."""

    def make(trial: Trial) -> Made:
        fixed = {"item_parts": parts, "repeats": repeats}
        made = spec.model_validate({**fixed, **trial.fields, "seed": trial.seed})
        fitted = made.fit(trial.split, trial.dataset.features, progress=False)
        size = sum(array.size for array in fitted.weights().values())
        return Made(fitted, size, {"training": fitted.log}, made.model_dump(mode="json"))

    return make


def tiger(trial: Trial) -> Made:
    """A small T5 over the default's codes, decoded by trie beams."""
    spec = TIGERSpec.model_validate({**trial.fields, "seed": trial.seed})
    fitted = TIGER.fit(trial.split, trial.tokenizer(), **dict(spec))
    size = sum(p.numel() for p in fitted.network.parameters())
    return Made(fitted, size, {"training": fitted.log}, spec.model_dump(mode="json"))


RECOMMENDERS: dict[str, Recommender] = {
    "popularity": lambda trial: Made(Popularity.fit(trial.split)),
    "item-knn": lambda trial: Made(ItemKNN.fit(trial.split)),
    "content-knn": content_knn,
    "sasrec": sequence(SASRec, "item"),
    "sasrec-repeats": sequence(SASRec, "item", repeats=True),
    "sasrec-features-repeats": sequence(SASRec, "item", "features", repeats=True),
    "sasrec-features": sequence(SASRec, "item", "features"),
    "sasrec-features-only": sequence(SASRec, "features"),
    "bert4rec": sequence(BERT4Rec, "item"),
    "tiger": tiger,
    "paper": paper,
    "default": default,
    "no-codes": no_codes,
    "random-codes": random_codes,
    "codes-only": codes_only,
    "concat": with_fusion(Concat()),
    "no-repeats": lambda trial: default(replace(trial, fields={**trial.fields, "repeats": False})),
    "code-positions": with_positions("code"),
    "transfer": with_positions("transfer"),
    "rq-vae": with_quantizer(RQVAE()),
    "rq-8": with_quantizer(RQKMeans(levels=8)),
    "rq-16": with_quantizer(RQKMeans(levels=16)),
    "rq-32": with_quantizer(RQKMeans(levels=32)),
    "opq-4": with_quantizer(OPQ(slots=4)),
    "opq-16": with_quantizer(OPQ(slots=16)),
    "opq-32": with_quantizer(OPQ(slots=32)),
    "depth-1": with_fusion(DynamicFusion(fixed_depth=1)),
    "depth-2": with_fusion(DynamicFusion(fixed_depth=2)),
    "depth-4": with_fusion(DynamicFusion(layers=4, fixed_depth=4)),
    "gates-4": with_fusion(DynamicFusion(layers=4)),
    "span": with_masks(span=1),
    "tail": with_masks(tail=1),
    "multi-region": with_masks(multi_region=1),
    "random-masks": with_masks(random=1),
    "no-pretraining": lambda trial: default(
        replace(trial, fields={**trial.fields, "pretraining": Optimisation(epochs=0)})
    ),
}
