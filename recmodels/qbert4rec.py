"""Q-BERT4Rec: fused items, quantized into codes, read by a bidirectional encoder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from recmodels.catalogue_split import catalogue_split, check_histories
from recmodels.data import Dataset, Histories
from recmodels.evaluation import Evaluation, evaluate
from recmodels.explained import ExplainedItem, explained
from recmodels.fusion import DynamicFusion
from recmodels.item_vectors import shared
from recmodels.qbert4rec_spec import QBert4RecSpec, spec_of
from recmodels.qbert4rec_state import KIND, Stored
from recmodels.qbert4rec_training import QBert4RecLog, train_stage_3
from recmodels.ranking import Recommendations
from recmodels.sequence_model import SequenceScorer
from recmodels.transfer import Transferable
from semantic_ids import RQVAE, Features, Tokenizer, TokenizerSpec
from semantic_ids.device import chosen_device
from semantic_ids.storage import read_state, write_state
from semantic_ids.vocabulary import level_name

Part = Literal["validation", "test"]


class QBert4Rec(Transferable):
    """A fitted Q-BERT4Rec recommender (arXiv 2512.02474).

    Made by `QBert4Rec.fit`, `QBert4Rec.pretrain` or `QBert4Rec.load`. Stage 1 fuses the
    modalities of each item, stage 2 quantizes the fused vectors into semantic IDs, stage 3 reads
    histories of codes.

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
    >>> from recmodels.training import Optimisation
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

    def __init__(self, stored: Stored, log: QBert4RecLog | None = None) -> None:
        super().__init__(stored, log)
        self._scorer: SequenceScorer | None = None
        self._generation = -1
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
        spec = spec_of(tokenizer, seed, fields)
        fitted = tokenizer if isinstance(tokenizer, Tokenizer) else None
        return spec.fit(dataset, tokenizer=fitted, progress=progress)

    @classmethod
    def of(
        cls,
        spec: QBert4RecSpec,
        dataset: Dataset,
        *,
        tokenizer: Tokenizer | None = None,
        progress: bool | None = None,
    ) -> "QBert4Rec":
        """Fit a spec; `fit` is the same with the spec's fields as arguments."""
        chosen_device(spec.device)  # of the tokenizer's, its own fit asks
        if tokenizer is None:
            if dataset.features is None:
                raise ValueError(
                    f"dataset: {dataset.name} has no features to make codes of; "
                    "give a tokenizer, such as Tokenizer.from_codes(...)"
                )
            check_histories(dataset)
            tokenizer = spec.tokenizer.fit(dataset.features, progress=progress)
        else:
            tokenizer = tokenizer.copy()
        split = catalogue_split(dataset, tokenizer)
        trained = train_stage_3(spec, tokenizer, dataset, split, progress)
        stored = Stored(spec, tokenizer, tokenizer.fingerprint, trained.model, trained.vectors)
        return cls(stored, trained.log)

    @staticmethod
    def paper(**fields: Any) -> QBert4RecSpec:
        """Return the plainest reading of the paper, as a spec.

        DynamicFusion with the ID query in the code, an RQ-VAE, codes alone in stage 3, all kinds
        of mask, pretraining and then fine-tuning. The paper's own settings are not known.

        Parameters
        ----------
        **fields : further fields of QBert4RecSpec.

        Examples
        --------
        >>> QBert4Rec.paper(seed=3).item_parts
        ('codes',)
        """
        tokenizer = TokenizerSpec(fuser=DynamicFusion(id_in_code=True), quantizer=RQVAE())
        plain = {"tokenizer": tokenizer, "item_parts": ("codes",), "repeats": False}
        return QBert4RecSpec(**{**plain, **fields})

    @property
    def parameters(self) -> int:
        """Numbers that were trained in stage 3."""
        own = [part.size for name, part in self._vectors.parts.items() if name == "item"]
        projection = self._vectors.projection
        own.append(0 if projection is None else projection.weight.size)
        return sum(own) + sum(p.numel() for p in self._model.parameters())

    @property
    def size(self) -> int:
        """Number of items that are ranked."""
        return len(self.tokenizer)

    @property
    def ids(self) -> np.ndarray:
        """Ids of the items, in the order of their scores."""
        return self.tokenizer.ids

    def scores(self, histories: Histories) -> np.ndarray:
        """Score the whole catalogue for histories of the tokenizer's rows, (n, N) float32."""
        return self._current().scores(histories)

    def add(self, features: Any, *, ids: Any = None, update: bool = False) -> np.ndarray:
        """Add items to the tokenizer's catalogue, and keep their features for the ranking.

        `model.tokenizer.add` gives the same codes; of items that came that way the model knows
        what their codes decode to.

        Parameters
        ----------
        features, ids, update : as `Tokenizer.add` takes them.

        Returns
        -------
        codes : (n, P) int32, their unique codes.
        """
        codes = self.tokenizer.add(features, ids=ids, update=update)
        given = Features.of(features, ids)
        self._vectors = self._vectors.given(
            self.tokenizer.ids[self.tokenizer.rows(given.ids)], given
        )
        self._scorer = None
        return codes

    def item_parts(self) -> dict[str, np.ndarray]:
        """Return what each item's vector is the sum of, by name: (N, slots * width) float32 each.

        An item has one slot, or with `spec.positions` other than ``"item"`` one a code. Their
        sum, over its length where `spec.cosine` says so, is what an item is scored by.
        """
        self._check_fingerprint()
        parts = {}
        codes = self._model.items.codes
        if codes is not None:
            codes.set_codes(torch.from_numpy(self.tokenizer.codes.copy()))
            with torch.inference_mode():
                parts["codes"] = codes().numpy()
        return parts | self._other_parts()

    def recommend(
        self,
        histories: Sequence[Sequence[str] | Sequence[int] | np.ndarray],
        k: int = 10,
        *,
        unknown: Literal["error", "skip"] = "error",
        exclude_seen: bool = False,
    ) -> Recommendations:
        """Return the k items that each history most likely goes on with.

        The whole catalogue is ranked, items that were added after training too; items of the
        history are not left out unless that is asked for.

        Parameters
        ----------
        histories : for each user, item ids, oldest first; an empty one gets what mostly follows.
        k : items a user.
        unknown : what to do about ids that the catalogue does not hold: refuse them, or read the
            history without them.
        exclude_seen : leave the items of a user's history out; a user may then get fewer than k.

        Raises
        ------
        UnknownItemError
            if a history holds an id that the catalogue does not, unless they are skipped, or one
            of another kind.
        ValueError
            if k is not within 1 and the size of the catalogue, or `tokenizer` was replaced by
            one with other codebooks than those of the training.
        """
        rows = self._rows(histories, unknown)
        scorer = self._current()
        best = scorer.best(rows, k, exclude_seen=exclude_seen)
        return Recommendations.of(self.tokenizer.ids, best)

    def explain(
        self, history: Sequence[str] | Sequence[int] | np.ndarray, items: Any
    ) -> tuple[ExplainedItem, ...]:
        """Say what the scores of items for one history are made of, and what they rest on.

        Parameters
        ----------
        history : item ids, oldest first.
        items : ids of the items to explain, such as those of a recommendation.

        Returns
        -------
        explained : for each item, the parts that its score is the sum of, and for each item of
            the history by how much the score falls without it.

        Raises
        ------
        UnknownItemError
            if the catalogue does not hold an id.
        """
        rows = self.tokenizer.rows(items)
        scorer = self._current()
        own = {name: part[rows] for name, part in self._other_parts().items()}
        codes = self._model.items.codes
        if codes is not None:
            with torch.inference_mode():
                levels = codes.by_level(torch.from_numpy(rows)).numpy()
            own |= {f"code {level_name(at)}": levels[:, at] for at in range(levels.shape[1])}
        return explained(scorer, self.tokenizer.rows(history), rows, own, self.tokenizer.ids)

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
        split = catalogue_split(dataset, self.tokenizer)
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
        self._check_fingerprint()
        state = Stored(
            self.spec, self.tokenizer, self._trained_on, self._model, self._vectors
        ).to_state()
        place = Path(folder).resolve()
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
        state = read_state(folder, KIND)
        try:
            model = cls(Stored.from_state(state))
            model._check_fingerprint()
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{folder}: manifest.json and its files disagree: {error}") from error
        model._seals[Path(folder).resolve()] = state.seal
        return model

    def _rows(self, histories: Sequence[Any], unknown: str) -> Histories:
        if unknown not in ("error", "skip"):
            raise ValueError(f'unknown: expected "error" or "skip", got {unknown!r}')
        for number, history in enumerate(histories):
            if isinstance(history, str | int | np.integer):
                raise ValueError(
                    f"histories[{number}]: expected a sequence of ids, got the id {history!r}; "
                    "one user's history goes into a list of its own"
                )
        if unknown == "skip":
            histories = [list(one) for one in histories]
            strings = self.tokenizer.ids.dtype.kind == "T"
            other = [item for one in histories for item in one if isinstance(item, str) != strings]
            self.tokenizer.rows(other[:1])  # says of which kind ids are
            histories = [[item for item in one if item in self.tokenizer] for one in histories]
        return Histories.of([self.tokenizer.rows(history) for history in histories])

    def _other_parts(self) -> dict[str, np.ndarray]:
        """Return the parts that are no codes, (N, slots * width) each."""
        slots, parts = self._model.items.slots, self._vectors.of(self.tokenizer).items()
        return {name: shared(torch.from_numpy(part), slots).numpy() for name, part in parts}

    def _current(self) -> SequenceScorer:
        """Return a scorer of the catalogue as it stands: items may have come or gone."""
        self._check_fingerprint()
        if self._scorer is None or self._generation != self.tokenizer.generation:
            vectors = sum(self.item_parts().values())
            self._scorer = SequenceScorer(
                self._model, self.spec.max_history, torch.from_numpy(vectors)
            )
            self._generation = self.tokenizer.generation
        return self._scorer

    def __repr__(self) -> str:
        return f"QBert4Rec({self.size:,} items, {self.parameters:,} parameters of stage 3)"
