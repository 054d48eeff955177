"""Transfer: a recommender that is pretrained on several domains and goes on to another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from recmodels.catalogue_split import catalogue_split, check_histories
from recmodels.data import Dataset, read_dataset, unite
from recmodels.qbert4rec_spec import spec_of
from recmodels.qbert4rec_state import Stored
from recmodels.qbert4rec_training import QBert4RecLog, Stage3
from recmodels.training import Optimisation
from recmodels.transfer_training import finetune_stage_3, pretrain_stage_3
from semantic_ids import Tokenizer, TokenizerSpec
from semantic_ids.device import chosen_device
from semantic_ids.id_index import IdIndex

DatasetLike = Dataset | str | Path


class Transferable:
    """What a `QBert4Rec` holds, and how it comes from several domains and goes to another."""

    def __init__(self, stored: Stored, log: QBert4RecLog | None = None) -> None:
        self.spec = stored.spec
        self.tokenizer = stored.tokenizer
        self.log = log or QBert4RecLog()
        self._model = stored.model
        self._vectors = stored.vectors
        self._trained_on = stored.trained_on

    @classmethod
    def pretrain(
        cls,
        datasets: Sequence[DatasetLike],
        *,
        tokenizer: Tokenizer | TokenizerSpec | None = None,
        seed: int = 0,
        progress: bool | None = None,
        **fields: Any,
    ) -> Self:
        """Pretrain all three stages on several domains.

        One tokenizer is fitted on the items of all domains, so that a code means the same in
        each. Stage 3 learns by mixed masks from each user's items but the last two, which are
        not looked at. All sequences of a step are of one domain, and an item competes with those
        of its own domain alone (with ``objective="levels"`` codes compete, which all share).

        Parameters
        ----------
        datasets : the domains, or folders of them, whose short users are dropped. Their names
            differ; their features have the same modalities and widths. Users whom a later target
            has too are to be removed first: `recmodels.data.without_overlap`.
        tokenizer : a TokenizerSpec for stages 1 and 2, or, in their place, a Tokenizer that was
            fitted on ``unite(datasets)``. By default DynamicFusion and RQ-KMeans.
        seed : where stage 3's random numbers begin.
        progress : show bars; None shows them in a terminal.
        **fields : further fields of QBert4RecSpec; `finetuning` is for later.

        Returns
        -------
        model : of the catalogue of ``recmodels.data.unite(datasets)``, whose ids name the domain:
            ``"toys:B01"``. Scores of items of different domains were never compared in training.

        Raises
        ------
        ValueError
            if the data sets do not fit together, one has no features or nothing to learn from,
            the tokenizer has another catalogue, or a field is not valid.

        Examples
        --------
        >>> from recmodels import QBert4Rec
        >>> from recmodels.data import synthetic_catalogue
        >>> from semantic_ids import RQKMeans
        >>> from dataclasses import replace
        >>> toys, tools, pets = (
        ...     replace(synthetic_catalogue(items=100, users=60, seed=seed), name=name)
        ...     for seed, name in enumerate(["toys", "tools", "pets"]))
        >>> short = Optimisation(epochs=1)
        >>> model = QBert4Rec.pretrain(
        ...     [toys, tools], width=16, pretraining=short, finetuning=short, progress=False,
        ...     tokenizer=TokenizerSpec(quantizer=RQKMeans(codebook_size=16)))
        >>> len(model.tokenizer), str(model.tokenizer.ids[0])
        (200, 'toys:P00064')
        >>> tuned = model.finetune(pets, progress=False)
        >>> len(tuned.tokenizer), tuned.evaluate(pets, progress=False).metrics.users
        (100, 60)
        """
        domains = [_dataset_of(dataset) for dataset in datasets]
        spec = spec_of(tokenizer, seed, fields)
        chosen_device(spec.device)
        for domain in domains:
            check_histories(domain)
        union = unite(domains)
        if union.features is None:
            raise ValueError(f"datasets: {union.name} have no features to make codes of")
        if isinstance(tokenizer, Tokenizer):
            _check_catalogue(tokenizer, union)
            tokenizer = tokenizer.copy()
        else:
            tokenizer = spec.tokenizer.fit(union.features, progress=progress)
        trained = pretrain_stage_3(
            spec,
            tokenizer,
            union,
            catalogue_split(union, tokenizer),
            np.cumsum([0, *(domain.size for domain in domains)]),
            np.cumsum([0, *(len(domain.users) for domain in domains)]),
            progress,
        )
        stored = Stored(spec, tokenizer, tokenizer.fingerprint, trained.model, trained.vectors)
        return cls(stored, trained.log)

    def finetune(
        self,
        dataset: DatasetLike,
        *,
        tokenizer: Literal["shared", "refit"] = "shared",
        finetuning: Optimisation | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Go on from what was learnt on another data set; this model stays as it is.

        The new model's catalogue is the data set's, under its own ids: all of it is ranked and
        nothing else. Its encoder and its feature projection go on from this one's weights. An
        item that this model knows by the same id (of a pretrained one such as ``"toys:B01"``)
        keeps its own vector; that of any other begins as zeros. Where ids are mere row numbers,
        equal ones of two data sets are no common items: `pretrain` keeps them apart, `fit` alone
        does not.

        With ``Optimisation(epochs=0)`` nothing is learnt: what this model knows of the data set
        before it has seen a history of it.

        Parameters
        ----------
        dataset : 3 items a user at least; or its folder, whose short users are dropped.
        tokenizer : ``"shared"`` keeps the codec and what was learnt of its codes, and gives the
            data set's items codes by `Tokenizer.add`; the items of before make room for them.
            ``"refit"`` fits the same TokenizerSpec on the data set: its codes mean something
            else, so their embeddings begin anew.
        finetuning : how to train; by default as `spec.finetuning` says. As in `fit`, NDCG@10 on
            the validation targets chooses the epoch that is kept.
        progress : show bars; None shows them in a terminal.

        Raises
        ------
        ValueError
            if the data set has no features, other ones than those of the fit, or nothing to
            learn from, or `tokenizer` is neither of the two.
        NoCodecError
            if the tokenizer is to be shared and was made from codes.
        """
        if tokenizer not in ("shared", "refit"):
            raise ValueError(f'tokenizer: expected "shared" or "refit", got {tokenizer!r}')
        chosen_device(self.spec.device)
        self._check_fingerprint()
        target = _dataset_of(dataset)
        check_histories(target)
        if target.features is None:
            raise ValueError(f"dataset: {target.name} has no features to make codes of")
        if self._vectors.projection is not None:
            self._vectors.projection.fuser.check(target.features)
        if tokenizer == "shared":
            chosen = _with_items_of(self.tokenizer, target)
        else:
            chosen = self.spec.tokenizer.fit(target.features, progress=progress)
        spec = self.spec.model_copy(update={} if finetuning is None else {"finetuning": finetuning})
        trained = finetune_stage_3(
            spec,
            chosen,
            target,
            catalogue_split(target, chosen),
            Stage3(self._model, self._vectors, self.log),
            same_codes=tokenizer == "shared",
            progress=progress,
        )
        stored = Stored(spec, chosen, chosen.fingerprint, trained.model, trained.vectors)
        return type(self)(stored, trained.log)

    def _check_fingerprint(self) -> None:
        """Refuse a tokenizer whose codes are not those that the encoder learnt to read."""
        found = self.tokenizer.fingerprint
        if found != self._trained_on:
            raise ValueError(
                f"tokenizer: the model was trained on one with fingerprint {self._trained_on}, "
                f"but this one has {found}"
            )


def _dataset_of(dataset: DatasetLike) -> Dataset:
    return dataset if isinstance(dataset, Dataset) else read_dataset(dataset, short_users="drop")


def _check_catalogue(tokenizer: Tokenizer, union: Dataset) -> None:
    if tokenizer.ids.tolist() != union.ids.tolist():
        raise ValueError(
            f"tokenizer: its catalogue is not that of {union.name}, row by row; fit it on "
            "unite(datasets).features"
        )


def _with_items_of(tokenizer: Tokenizer, dataset: Dataset) -> Tokenizer:
    """Return a tokenizer of the same codec whose catalogue is a data set's items alone."""
    shared = tokenizer.copy()
    same_kind = shared.ids.dtype.kind == dataset.ids.dtype.kind
    if same_kind:
        shared.remove(shared.ids[IdIndex.of(dataset.ids).find(shared.ids) < 0])
    else:
        shared.remove(shared.ids)
    # The next items shall not be kept from the codes of others, who are gone for good.
    shared.free_retired()
    shared.add(dataset.features, update=True)
    return shared
