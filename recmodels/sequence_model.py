"""A sequence model: item vectors in, an encoder over histories, item vectors out."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recmodels.data import Histories
from recmodels.data.batches import bucket_width
from recmodels.encoder import SequenceEncoder
from recmodels.item_vectors import ItemVectors
from recmodels.ranking import TopK, add_to_seen, best_of_products


class SequenceModel(nn.Module):
    """Scores items by the product of what an encoder read with each item's own vector.

    With item vectors that are sums of code embeddings, the product is the sum of the level
    logits. With `cosine` both vectors are brought to length 1 first and the product is divided
    by the temperature.

    With `repeats`, an item's score has a learnt bonus for each time that the history holds it.
    Most people do not rate or buy a thing twice; since what is read and what is scored by are
    one vector, a history's own items score high, and the encoder hardly learns otherwise.

    Parameters
    ----------
    items : the vectors that are read and scored by.
    encoder : what reads them.
    cosine : whether scores are cosines.
    temperature : divides the cosines.
    repeats : whether to learn a bonus of items that a history holds.
    """

    def __init__(
        self,
        items: ItemVectors,
        encoder: SequenceEncoder,
        *,
        cosine: bool,
        temperature: float,
        repeats: bool = False,
    ) -> None:
        super().__init__()
        self.items = items
        self.encoder = encoder
        self.cosine = cosine
        self.temperature = temperature
        self.repeat = nn.Parameter(torch.zeros(())) if repeats else None

    def read(self, items: Tensor, masked: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Read sequences, and return what is to be said of which items.

        Parameters
        ----------
        items : (B, T) int64 rows of the catalogue, right-aligned; negative before a history.
        masked : (B, T) bool, True where an item is to be named; a causal encoder names it from
            the items before it, another one from all that are not masked.
        given : (B, T, slots * width), the vector of each item.

        Returns
        -------
        hidden : (M, slots * width), one vector for each of the M masked positions, row by row.
        targets : (M,) int64, the items that stand there.
        """
        if self.encoder.causal:
            hidden = self.encoder.last(given[:, :-1], items[:, :-1])[masked[:, 1:]]
        else:
            hidden = self.encoder.masked(given, items, masked)
        return hidden, items[masked]

    def seen(self, items: Tensor, masked: Tensor) -> Tensor | None:
        """Return what each masked position sees of its sequence, (M, T) int64; -1 is nothing.

        It is None without `repeats`.
        """
        if self.repeat is None:
            return None
        row, place = masked.nonzero(as_tuple=True)
        if self.encoder.causal:
            before = torch.arange(items.shape[1], device=items.device) < place[:, None]
            return torch.where(before, items[row], -1)
        return torch.where(masked, -1, items)[row]

    @property
    def bonus(self) -> Tensor | None:
        """What an item's score has for each time that the history holds it; None for nothing."""
        if self.repeat is None:
            return None
        return self.repeat / self.temperature if self.cosine else self.repeat

    def asked(self, hidden: Tensor) -> Tensor:
        """Bring hidden vectors (M, slots * width) to the length by which scores are taken."""
        return functional.normalize(hidden, dim=-1) / self.temperature if self.cosine else hidden

    def answering(self, vectors: Tensor) -> Tensor:
        """Bring item vectors (n, slots * width) to the length by which scores are taken."""
        return functional.normalize(vectors, dim=-1) if self.cosine else vectors


class SequenceScorer:
    """Scores what comes after a history, by item vectors that do not change any more.

    Parameters
    ----------
    model : in evaluation mode.
    vectors : (N, slots * width) float32, of the catalogue that is ranked; by default the model's
        own.
    max_history : items of a history that are read, the latest ones.
    """

    def __init__(
        self, model: SequenceModel, max_history: int, vectors: Tensor | None = None
    ) -> None:
        self.model = model
        self.max_history = max_history
        with torch.inference_mode():
            self.vectors = model.items() if vectors is None else vectors
            self._answering = model.answering(self.vectors)

    @property
    def size(self) -> int:
        """Number of items that are scored."""
        return len(self.vectors)

    def asked(self, histories: Histories) -> np.ndarray:
        """Return the vectors (n, slots * width) float32 whose products with `answering` are scores.

        Histories of similar length are read together, so that short ones are not padded to the
        longest; how wide a history is padded depends on itself alone.
        """
        most = self.max_history + 1
        width_of = np.array([bucket_width(length + 1, most) for length in range(most)])
        widths = width_of[np.minimum(histories.lengths, self.max_history)]
        asked = np.empty((len(histories), self.vectors.shape[1]), dtype=np.float32)
        for width in np.unique(widths):
            rows = np.flatnonzero(widths == width)
            asked[rows] = self._asked(histories.take(rows), int(width))
        return asked

    @property
    def answering(self) -> np.ndarray:
        """The item vectors (N, slots * width) float32 that scores are products with."""
        return self._answering.numpy(force=True)

    @property
    def bonus(self) -> float:
        """What an item's score has for each time that the history holds it."""
        bonus = self.model.bonus
        return 0.0 if bonus is None else bonus.item()

    def scores(self, histories: Histories) -> np.ndarray:
        """Score the whole catalogue for each of n histories of rows, (n, N) float32."""
        with torch.inference_mode():
            asked = torch.from_numpy(self.asked(histories)).to(self._answering.device)
            scores = (asked @ self._answering.T).numpy(force=True)
        add_to_seen(scores, histories.last(self.max_history), self.bonus)
        return scores

    def best(self, histories: Histories, k: int, *, exclude_seen: bool = False) -> TopK:
        """Rank the whole catalogue for each of n histories, as `scores` would, in blocks."""
        seen, bonus = histories.last(self.max_history), self.bonus
        if exclude_seen:
            seen, bonus = histories, -np.inf
        asked = self.asked(histories)
        return best_of_products(asked, self.answering, k, seen=seen, bonus=bonus)

    def _asked(self, histories: Histories, width: int) -> np.ndarray:
        device = self._answering.device
        with torch.inference_mode():
            if self.model.encoder.causal:
                padded = histories.padded(width - 1).astype(np.int64)
                items = torch.from_numpy(padded).to(device)
                given = self.vectors[items.clamp(min=0)]
                hidden = self.model.encoder.last(given, items)[:, -1]
            else:
                # One more item, which is masked: what is asked for.
                padded = np.full((len(histories), width), -1, dtype=np.int64)
                padded[:, :-1] = histories.padded(width - 1)
                items = torch.from_numpy(padded).to(device)
                masked = torch.zeros(items.shape, dtype=torch.bool, device=device)
                masked[:, -1] = True
                given = self.vectors[items.clamp(min=0)]
                hidden = self.model.encoder.masked(given, items, masked)
            return self.model.asked(hidden).numpy(force=True)
