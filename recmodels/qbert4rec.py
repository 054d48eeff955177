"""Q-BERT4Rec: fused items, quantized into codes, read by a bidirectional encoder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from recmodels.data import Dataset, Histories, Split
from recmodels.encoder import CodeEncoder, EncoderScorer
from recmodels.evaluation import Evaluation, evaluate
from recmodels.fusion import DynamicFusion
from recmodels.masked_items import Sequences, finetune, pretrain
from recmodels.masking import MaskMix
from recmodels.ranking import Recommendations, TopK, top_k
from recmodels.training import Optimisation, TrainingLog, seeded
from semantic_ids import Spec, Tokenizer, TokenizerSpec
from semantic_ids.storage import State, read_state, write_state

#: Scores that `recommend` holds at a time.
_BLOCK_SCORES = 1 << 24

Part = Literal["validation", "test"]


class QBert4RecSpec(Spec):
    """The whole of Q-BERT4Rec as a value.

    Parameters
    ----------
    tokenizer : stages 1 and 2: how items are fused, quantized and told apart.
    width, layers, heads, dropout : of the encoder.
    max_history : items of a history that are read, the latest ones.
    cosine : whether an item's score is the cosine of the hidden vector and the item's, so the
        sum of its level logits relative to its length; if not, it is the plain sum.
    temperature : divides the cosines.
    masks : the mixture of pretraining.
    pretraining, finetuning : how the two phases are trained. Fine-tuning is measured by NDCG@10
        on the validation targets after each epoch.
    batch_size : sequences of a step.
    epoch_size : most sequences of an epoch; of more, each epoch takes a new random choice.
    seed : where the random numbers of stage 3 begin; the tokenizer's stages have their own.
    """

    tokenizer: TokenizerSpec = TokenizerSpec(fuser=DynamicFusion())
    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_history: int = Field(default=50, ge=1)
    cosine: bool = True
    temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False)
    masks: MaskMix = MaskMix()
    pretraining: Optimisation = Optimisation(epochs=10, learning_rate=3e-3)
    finetuning: Optimisation = Optimisation(epochs=12, learning_rate=3e-3, patience=3)
    batch_size: int = Field(default=256, ge=1)
    epoch_size: int = Field(default=32768, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "QBert4RecSpec":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        return self

    def fit(
        self,
        dataset: Dataset,
        *,
        tokenizer: Tokenizer | None = None,
        progress: bool | None = None,
    ) -> "QBert4Rec":
        """Fit the three stages; see `QBert4Rec.fit`."""
        if tokenizer is None:
            if dataset.features is None:
                raise ValueError(
                    f"dataset: {dataset.name} has no features to make codes of; "
                    "give a tokenizer, such as Tokenizer.from_codes(...)"
                )
            _check_histories(dataset)
            tokenizer = self.tokenizer.fit(dataset.features, progress=progress)
        else:
            tokenizer = tokenizer.copy()
        split = _split(dataset, tokenizer)
        with seeded(self.seed):
            encoder, log = _fit_encoder(self, tokenizer, split, progress)
        return QBert4Rec(self, tokenizer, encoder, log)


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


class QBert4Rec:
    """A fitted Q-BERT4Rec recommender (arXiv 2512.02474).

    Made by `QBert4Rec.fit` or `QBert4Rec.load`. Stage 1 fuses the modalities of each item, stage
    2 quantizes the fused vectors into semantic IDs, stage 3 reads histories of codes.

    The paper's settings and results are not known; the defaults are this package's.

    Attributes
    ----------
    spec : what it was fitted from.
    tokenizer : stages 1 and 2, a copy of the one given; its catalogue is what is ranked, also
        items that are added to it later.
    log : what happened in stage 3; empty after loading.

    Examples
    --------
    >>> from recmodels.data import synthetic_catalogue
    >>> from semantic_ids import RQKMeans
    >>> dataset = synthetic_catalogue(items=120, users=80)
    >>> short = Optimisation(epochs=1)
    >>> model = QBert4Rec.fit(
    ...     dataset, width=16, pretraining=short, finetuning=short, progress=False,
    ...     tokenizer=Tokenizer.fit(dataset.features, quantizer=RQKMeans(codebook_size=16)))
    >>> history = dataset.ids[dataset.histories[0]].tolist()
    >>> model.recommend([history], k=3).scores.shape
    (1, 3)
    """

    def __init__(
        self,
        spec: QBert4RecSpec,
        tokenizer: Tokenizer,
        encoder: CodeEncoder,
        log: QBert4RecLog,
    ) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.log = log
        self._encoder = encoder.eval()
        self._generation = tokenizer.generation
        self._fingerprint = tokenizer.fingerprint
        self._seals: dict[Path, str] = {}

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        tokenizer: Tokenizer | TokenizerSpec | None = None,
        seed: int = 0,
        progress: bool | None = None,
        **fields: Any,
    ) -> "QBert4Rec":
        """Fit all three stages on a data set.

        Only each user's items but the last two are learnt from; the last but one chooses the
        epoch that is kept; the last is never looked at.

        Parameters
        ----------
        dataset : its features are tokenized, its histories learnt; 3 items a user at least.
        tokenizer : a TokenizerSpec for stages 1 and 2, or, in their place, a fitted Tokenizer
            whose catalogue holds the data set's items. By default DynamicFusion and RQ-KMeans.
        seed : where stage 3's random numbers begin.
        progress : show bars; None shows them in a terminal.
        **fields : further fields of QBert4RecSpec.

        Raises
        ------
        ValueError
            if the data set has no histories or features, a user has fewer than 3 items, or a
            field is not valid.
        UnknownItemError
            if the tokenizer does not know an item of the data set.
        """
        if isinstance(tokenizer, TokenizerSpec):
            spec = QBert4RecSpec(seed=seed, tokenizer=tokenizer, **fields)
            return spec.fit(dataset, progress=progress)
        if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
            kind = type(tokenizer).__name__
            raise TypeError(f"tokenizer: expected a Tokenizer or a TokenizerSpec, got {kind}")
        chosen = (
            {} if tokenizer is None or tokenizer.spec is None else {"tokenizer": tokenizer.spec}
        )
        spec = QBert4RecSpec(seed=seed, **chosen, **fields)
        return spec.fit(dataset, tokenizer=tokenizer, progress=progress)

    @property
    def size(self) -> int:
        """Number of items that are ranked."""
        return len(self.tokenizer)

    def scores(self, histories: Histories) -> np.ndarray:
        """Score the whole catalogue for histories of the tokenizer's rows, (n, N) float32."""
        return EncoderScorer(self._current_encoder(), self.spec.max_history).scores(histories)

    def recommend(
        self, histories: Sequence[Sequence[str] | Sequence[int] | np.ndarray], k: int = 10
    ) -> Recommendations:
        """Return the k items that each history most likely goes on with.

        The whole catalogue is ranked; items of the history are not left out.

        Parameters
        ----------
        histories : for each user, item ids, oldest first; an empty one gets what mostly follows.
        k : items a user.

        Raises
        ------
        UnknownItemError
            if a history holds an id that the catalogue does not.
        ValueError
            if k is not within 1 and the size of the catalogue, or `tokenizer` was replaced by
            one with other codebooks than those of the training.
        """
        for number, history in enumerate(histories):
            if isinstance(history, str | int | np.integer):
                raise ValueError(
                    f"histories[{number}]: expected a sequence of ids, got the id {history!r}; "
                    "one user's history goes into a list of its own"
                )
        rows = Histories.of([self.tokenizer.rows(history) for history in histories])
        step = max(1, _BLOCK_SCORES // self.size)
        parts = [
            top_k(self.scores(rows.take(np.arange(start, min(start + step, len(rows))))), k)
            for start in range(0, len(rows), step)
        ]
        if not parts:
            parts = [top_k(np.zeros((0, self.size), np.float32), k)]
        best = TopK(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )
        return Recommendations.of(self.tokenizer.ids, best)

    def evaluate(
        self, dataset: Dataset, *, part: Part = "test", progress: bool | None = None
    ) -> Evaluation:
        """Rank the whole catalogue for each user's held-out item; history is not filtered.

        Parameters
        ----------
        dataset : as in `fit`.
        part : ``"test"`` asks for the last item, ``"validation"`` for the one before it.
        progress : show a bar; None shows it in a terminal.
        """
        if part not in ("validation", "test"):
            raise ValueError(f'part: expected "validation" or "test", got {part!r}')
        split = _split(dataset, self.tokenizer)
        return evaluate(self, getattr(split, part), progress=progress)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write model and tokenizer into a folder as one commit.

        A model that the folder holds already is replaced if this one was loaded from there or
        saved there last.

        Parameters
        ----------
        folder : path of the folder; made if there is none.
        overwrite : replace whatever model the folder holds.

        Raises
        ------
        FileExistsError
            if the folder holds another model and `overwrite` is not set, or other files, or a
            state of another kind.
        StaleFolderError
            if the model was loaded from this folder, or saved there, and the folder holds
            another state by now, and `overwrite` is not set.
        ValueError
            if `tokenizer` was replaced by one with other codebooks than those of the training.
        """
        _check_fingerprint(self._fingerprint, self.tokenizer.fingerprint)
        tokenizer = self.tokenizer.to_state()
        weights = {name: value.numpy() for name, value in self._encoder.state_dict().items()}
        metadata = {
            "spec": self.spec.model_dump(mode="json"),
            "tokenizer": dict(tokenizer.metadata),
            "trained_on": self._fingerprint,
        }
        files = {**tokenizer.files, "encoder": weights}
        place = Path(folder).resolve()
        state = State("qbert4rec", metadata, files)
        self._seals[place] = write_state(
            folder, state, replaces=self._seals.get(place), overwrite=overwrite
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "QBert4Rec":
        """Read a model that `save` wrote.

        Raises
        ------
        FileNotFoundError
            if there is none.
        ValueError
            if a file is damaged or of a newer format, which the error names, or the tokenizer
            is not the one that the model was trained on.
        """
        state = read_state(folder, "qbert4rec")
        try:
            model = cls._from_state(state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{folder}: manifest.json and its files disagree: {error}") from error
        model._seals[Path(folder).resolve()] = state.seal
        return model

    @classmethod
    def _from_state(cls, state: State) -> "QBert4Rec":
        spec = QBert4RecSpec.model_validate(state.metadata["spec"])
        files = {name: arrays for name, arrays in state.files.items() if name != "encoder"}
        tokenizer = Tokenizer.from_state(State("tokenizer", state.metadata["tokenizer"], files))
        _check_fingerprint(state.metadata["trained_on"], state.metadata["tokenizer"]["fingerprint"])
        with seeded(0):
            encoder = _new_encoder(spec, tokenizer)
        weights = state.files["encoder"]
        encoder.load_state_dict(
            {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        )
        return cls(spec, tokenizer, encoder, QBert4RecLog())

    def _current_encoder(self) -> CodeEncoder:
        """Return the encoder over the catalogue as it stands: items may have come or gone."""
        _check_fingerprint(self._fingerprint, self.tokenizer.fingerprint)
        if self._generation != self.tokenizer.generation:
            self._encoder.set_codes(torch.from_numpy(self.tokenizer.codes.copy()))
            self._generation = self.tokenizer.generation
        return self._encoder

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self._encoder.parameters())
        return f"QBert4Rec({self.size:,} items, {parameters:,} encoder parameters)"


def _fit_encoder(
    spec: QBert4RecSpec, tokenizer: Tokenizer, split: Split, progress: bool | None
) -> tuple[CodeEncoder, QBert4RecLog]:
    encoder = _new_encoder(spec, tokenizer)
    sequences = Sequences(spec.max_history + 1, spec.batch_size, spec.epoch_size)
    rng = np.random.default_rng(spec.seed)
    pretraining, count = pretrain(
        encoder, split.train, sequences, spec.masks, spec.pretraining, rng=rng, progress=progress
    )
    scorer = EncoderScorer(encoder, spec.max_history)
    finetuning = finetune(
        encoder,
        split.train,
        sequences,
        spec.finetuning,
        validate=lambda: evaluate(scorer, split.validation, progress=False).metrics.ndcg_10,
        rng=rng,
        progress=progress,
    )
    return encoder, QBert4RecLog(pretraining, finetuning, count.sequences, count.fallbacks)


def _check_fingerprint(trained_on: str, found: str) -> None:
    """Refuse a tokenizer whose codes are not those that the encoder learnt to read."""
    if found != trained_on:
        raise ValueError(
            f"tokenizer: the model was trained on one with fingerprint {trained_on}, "
            f"but this one has {found}"
        )


def _new_encoder(spec: QBert4RecSpec, tokenizer: Tokenizer) -> CodeEncoder:
    return CodeEncoder(
        torch.from_numpy(tokenizer.codes.copy()),
        tokenizer.code_sizes,
        width=spec.width,
        layers=spec.layers,
        heads=spec.heads,
        dropout=spec.dropout,
        positions=spec.max_history + 1,
        cosine=spec.cosine,
        temperature=spec.temperature,
    )


def _split(dataset: Dataset, tokenizer: Tokenizer) -> Split:
    """Split a data set's histories, told in rows of the tokenizer's catalogue."""
    known = _check_histories(dataset)
    rows = tokenizer.rows(dataset.ids)
    histories = Histories(rows[known.items], known.offsets)
    return Split.leave_one_out(histories, len(tokenizer))


def _check_histories(dataset: Dataset) -> Histories:
    """Refuse a data set that leaves nothing to learn from, before any work is done."""
    if dataset.histories is None:
        raise ValueError(f"dataset: {dataset.name} has no histories to learn from")
    if not (dataset.histories.lengths >= 4).any():
        raise ValueError(
            f"dataset: no user of {dataset.name} has 4 items: the last two are held out, and "
            "learning what follows needs two more"
        )
    return dataset.histories
