"""Generate the next item's code from the codes of a history; needs the extra ``hf``."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from recmodels.baselines.code_translator import CodeTranslator
from recmodels.baselines.history_matrix import check_items
from recmodels.data import Held, Histories, Split
from recmodels.data.batches import bucket_width, length_batches, prefix_ends, windows
from recmodels.data.split import check_split
from recmodels.ranking import TopK, beam_search
from recmodels.training import Optimisation, TrainingLog, seeded, train
from semantic_ids import CodeTrie, Spec, Tokenizer

#: Prefixes of codes that are continued together.
_BLOCK_BEAMS = 2048


class TIGERSpec(Spec):
    """A small T5 that reads a history's codes and writes the next item's, as a value.

    Parameters
    ----------
    width : of the vectors between layers.
    layers : of the encoder, and of the decoder.
    heads, head_width : of each attention.
    feed_forward : units of each feed-forward layer.
    dropout : in training.
    max_history : items of a history that are read, the latest ones.
    beams : prefixes that are kept in the search, so the most items of a list.
    optimisation : how it is trained. After each epoch the mean log-probability of the validation
        targets is measured, and the best epoch is kept.
    batch_size : sequences of a step.
    epoch_size : most sequences of an epoch; of more, each epoch takes a new random choice.
    seed : where the random numbers begin.
    """

    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    head_width: int = Field(default=16, ge=1)
    feed_forward: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    max_history: int = Field(default=20, ge=1)
    beams: int = Field(default=20, ge=1)
    optimisation: Optimisation = Optimisation(epochs=40, learning_rate=3e-3, patience=3)
    batch_size: int = Field(default=256, ge=1)
    epoch_size: int = Field(default=32768, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)

    def fit(self, split: Split, tokenizer: Tokenizer, *, progress: bool | None = None) -> "TIGER":
        """Train on a split; see `TIGER.fit`."""
        check_split(split)
        if len(tokenizer) != split.size:
            raise ValueError(
                f"tokenizer: expected the {split.size} items of the split, got {len(tokenizer)}"
            )
        split.test.check_order("tokenizer", tokenizer.ids)
        if not (split.train.lengths >= 2).any():
            raise ValueError(
                "split: no training history has 2 items, so nothing says what follows what"
            )
        with seeded(self.seed):
            network = CodeTranslator(
                tokenizer.vocabulary,
                tokenizer.codes,
                width=self.width,
                layers=self.layers,
                heads=self.heads,
                head_width=self.head_width,
                feed_forward=self.feed_forward,
                dropout=self.dropout,
            )
            log = _train(self, network, split, progress)
        return TIGER(self, tokenizer.trie, network, log)


@dataclass(frozen=True, eq=False, repr=False)
class TIGER:
    """A generative recommender: a T5 over semantic IDs, whose beams are kept to items.

    The encoder reads the codes of a history, the decoder writes those of the next item position by
    position. An item's score is the sum of the log-probabilities of its codes, each among all
    tokens of the vocabulary; beam search returns the items whose prefixes score best.

    TIGER (Rajput et al., "Recommender systems with generative retrieval", NeurIPS 2023, arXiv
    2305.05065) reads a token of the user before the history, which is left out here, and is
    larger: 4 layers each, 6 heads of 64, width 128, 1024 feed-forward units. The defaults of
    `TIGERSpec` are this package's, for one CPU. Which tokenizer it reads is open.

    Attributes
    ----------
    spec : what it was fitted from.
    trie : of the codes that it writes, as the tokenizer's catalogue was then.
    network : what was trained, in evaluation mode; not to be changed.
    log : losses, validation figures and times of each epoch.

    Notes
    -----
    It returns lists, not scores of all items: see `recmodels.list_evaluation.evaluate_lists`.
    Everybody gets a list, also who has no history.

    Examples
    --------
    >>> from recmodels.data import synthetic_catalogue
    >>> from semantic_ids import RQKMeans
    >>> dataset = synthetic_catalogue(items=100, users=40)
    >>> tokenizer = Tokenizer.fit(dataset.features, quantizer=RQKMeans(codebook_size=16))
    >>> tiger = TIGER.fit(
    ...     dataset.split(), tokenizer, optimisation=Optimisation(epochs=1), progress=False)
    >>> tiger.top_k(Histories.of([[7, 20, 3], []]), k=5).rows.shape
    (2, 5)
    """

    spec: TIGERSpec
    trie: CodeTrie
    network: CodeTranslator
    log: TrainingLog

    @classmethod
    def fit(
        cls,
        split: Split,
        tokenizer: Tokenizer,
        *,
        progress: bool | None = None,
        **fields: object,
    ) -> "TIGER":
        """Train on every prefix of the training histories.

        Parameters
        ----------
        split : `train` is learnt from, `validation` chooses the epoch that is kept, `test` is not
            looked at. Its items are the rows of the tokenizer's catalogue, in that order.
        tokenizer : gives the items their codes.
        progress : show a bar; None shows it in a terminal.
        **fields : of `TIGERSpec`.

        Raises
        ------
        ImportError
            if transformers is not installed.
        ValueError
            if the tokenizer has another number of items, no training history has 2 items, or a
            field is not valid.
        """
        return TIGERSpec.model_validate(fields).fit(split, tokenizer, progress=progress)

    @property
    def size(self) -> int:
        """Number of items N that lists are made of."""
        return len(self.trie)

    def top_k(self, histories: Histories, k: int) -> TopK:
        """Search for the k best items to follow each history.

        Parameters
        ----------
        histories : n histories; of each the latest `max_history` items are read. Items of a
            history may be in its list.
        k : items of a list, at most `spec.beams` and N.

        Returns
        -------
        TopK
            rows (n, k) int64, and the log-probability (n, k) float32 of each one's code, falling.

        Raises
        ------
        ValueError
            if k is out of range, or an item is not one of the catalogue.
        """
        most = min(self.spec.beams, self.size)
        if not 1 <= k <= most:
            raise ValueError(
                f"k={k} should be between 1 and {most}, the beams (of {self.size} items)"
            )
        check_items(histories, self.size)
        rows = np.empty((len(histories), k), dtype=np.int64)
        scores = np.empty((len(histories), k), dtype=np.float32)
        for users, items in _blocks(histories, self.spec.max_history, _BLOCK_BEAMS // most + 1):
            best = self._search(items)
            rows[users], scores[users] = best.rows[:, :k], best.scores[:, :k]
        return TopK(rows, scores)

    @torch.inference_mode()
    def _search(self, items: Tensor) -> TopK:
        hidden, mask = self.network.read(items)

        def step(prefixes: np.ndarray, users: np.ndarray) -> np.ndarray:
            beams = prefixes.shape[1]
            following = self.network.follow(
                hidden[users].repeat_interleave(beams, dim=0),
                mask[users].repeat_interleave(beams, dim=0),
                torch.from_numpy(prefixes).flatten(0, 1),
            )
            return following.view(len(users), beams, -1).numpy()

        beams = min(self.spec.beams, self.size)
        return beam_search(step, self.trie, len(items), beams, beams=beams)

    def __repr__(self) -> str:
        """Show its size."""
        parameters = sum(p.numel() for p in self.network.parameters())
        return f"TIGER({self.size:,} items, {parameters:,} parameters)"


def _train(
    spec: TIGERSpec, network: CodeTranslator, split: Split, progress: bool | None
) -> TrainingLog:
    rng = np.random.default_rng(spec.seed)
    users, ends = prefix_ends(split.train)
    most = spec.max_history + 1

    def batches(_: int) -> Iterator[Tensor]:
        chosen = rng.permutation(len(users))[: spec.epoch_size]
        lengths = np.minimum(ends[chosen], most)
        for batch in length_batches(lengths, spec.batch_size, rng):
            width = bucket_width(int(lengths[batch].max()), most)
            rows = chosen[batch]
            yield torch.from_numpy(windows(split.train, users[rows], ends[rows], width)).long()

    return train(
        network,
        spec.optimisation,
        steps=-(-min(len(users), spec.epoch_size) // spec.batch_size),
        batches=batches,
        loss=lambda items: -network(items[:, :-1], items[:, -1]).mean(),
        validate=lambda: _mean_log_probability(spec, network, split.validation),
        description="training",
        progress=progress,
    )


@torch.inference_mode()
def _mean_log_probability(spec: TIGERSpec, network: CodeTranslator, held: Held) -> float:
    """Return how probable targets are on average, as the log-probability of their whole code."""
    targets = torch.from_numpy(held.targets.astype(np.int64))
    found = np.empty(len(held))
    for users, items in _blocks(held.histories, spec.max_history, spec.batch_size):
        found[users] = network(items, targets[users]).sum(dim=1).numpy()
    return float(found.mean())


def _blocks(histories: Histories, most: int, block: int) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Go through users (b,) and their last items (b, T), padded to few widths T."""
    width_of = np.array([bucket_width(length, most) for length in range(most + 1)])
    widths = width_of[np.minimum(histories.lengths, most)]
    for width in np.unique(widths):
        users = np.flatnonzero(widths == width)
        for start in range(0, len(users), block):
            part = users[start : start + block]
            padded = histories.take(part).padded(int(width))
            yield part, torch.from_numpy(padded).long()
