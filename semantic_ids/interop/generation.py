"""Constrained generation with transformers: nothing but items of the catalogue comes out."""

from collections.abc import Callable

import numpy as np
import torch

from semantic_ids.interop.model_tokens import CodeTokens
from semantic_ids.trie import CodeTrie

try:
    from transformers import LogitsProcessor
except ImportError:
    raise ImportError(
        "constrained generation needs transformers: pip install 'semantic-ids[hf]'"
    ) from None


class CodeLogitsProcessor(LogitsProcessor):
    """Keeps a model's `generate` to whole items of the catalogue, then ``<eos>``.

    For greedy search, sampling and beam search, with one mask a step on the model's device.

    Parameters
    ----------
    trie : of the catalogue.
    tokens : the model's tokens, as `add_to` returned them.
    start : columns of `input_ids` before the first code. 1 for an encoder-decoder, its start
        token. For a decoder alone the width of the prompts, ``batch["input_ids"].shape[1]``;
        prompts of different lengths are padded on the left, as `generate` wants them.
    min_items, max_items : after how many items ``<eos>`` may come, and must.

    Raises
    ------
    ValueError
        if the trie is empty or of other sizes than the tokens, the vocabulary has no ``<eos>``,
        or a number is out of range.

    Notes
    -----
    Let `max_new_tokens` be ``max_items * P + 1`` at least. Where there are more `num_beams` than
    continuations, `generate` fills up with repeated items, at scores around -1e9, and may return
    rows without an item. Within a row, items may repeat.

    Examples
    --------
    >>> from semantic_ids import Vocabulary
    >>> trie = CodeTrie.of([[0, 1], [1, 0]], sizes=[2, 2])
    >>> tokens = CodeTokens(Vocabulary((2, 2), specials=("<eos>",)), np.arange(5))
    >>> processor = CodeLogitsProcessor(trie, tokens)
    >>> processor(torch.tensor([[0], [0]]), torch.zeros(2, 5))  # the start token, so far
    tensor([[-inf, 0., 0., -inf, -inf],
            [-inf, 0., 0., -inf, -inf]])
    >>> processor(torch.tensor([[0, 1], [0, 2]]), torch.zeros(2, 5))
    tensor([[-inf, -inf, -inf, -inf, 0.],
            [-inf, -inf, -inf, 0., -inf]])
    """

    def __init__(
        self,
        trie: CodeTrie,
        tokens: CodeTokens,
        *,
        start: int = 1,
        min_items: int = 1,
        max_items: int = 1,
    ) -> None:
        _check(trie, tokens, start, min_items, max_items)
        self.trie, self.tokens = trie, tokens
        self.start, self.min_items, self.max_items = start, min_items, max_items
        self._eos = tokens.special("<eos>")
        self._on: dict[torch.device, tuple[torch.Tensor, list[torch.Tensor]]] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Set the scores (B, V) of all tokens that must not follow `input_ids` (B, T) to -inf."""
        return scores.masked_fill(~self.allowed(input_ids, scores.shape[-1]), -torch.inf)

    def allowed(self, input_ids: torch.Tensor, size: int) -> torch.Tensor:
        """Return which of `size` tokens may follow each row of `input_ids` (B, T), (B, size) bool.

        After ``<eos>``, and after codes that no item has, this is ``<eos>``.

        Raises
        ------
        ValueError
            if the model has fewer tokens than codes need.
        """
        codes_of, levels = self._tables(input_ids.device)
        last = codes_of.shape[1] - 1
        if size < last:
            raise ValueError(
                f"scores: {size} tokens, but those of the codes go up to {last - 1}; "
                "resize the model's embeddings, as add_to does"
            )
        made = input_ids[:, self.start :]
        items, level = divmod(made.shape[1], len(levels))
        allowed = made.new_zeros((len(made), size), dtype=torch.bool)
        if items < self.max_items:
            walk = self.trie.on(input_ids.device)
            nodes = walk.root(len(made))
            for place, column in enumerate(made[:, items * len(levels) :].T):
                nodes = walk.step(nodes, codes_of[place, column.clamp(max=last)])
            ended = (made == self._eos).any(dim=1)
            allowed[:, levels[level]] = walk.mask(nodes, level) & ~ended[:, None]
        may_end = level == 0 and items >= self.min_items
        allowed[:, self._eos] = may_end | ~allowed.any(dim=1)
        return allowed

    def _tables(self, device: torch.device) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the code of each token at each level, -1 for others, and the levels' tokens."""
        if device not in self._on:
            levels = self.tokens.levels
            # One column more than there are tokens of ours: it stands for all beyond.
            codes_of = np.full((len(levels), int(self.tokens.ids.max()) + 2), -1, dtype=np.int64)
            for level, ids in enumerate(levels):
                codes_of[level, ids] = np.arange(len(ids))
            self._on[device] = (
                torch.as_tensor(codes_of, device=device),
                [torch.as_tensor(ids, device=device) for ids in levels],
            )
        return self._on[device]


def prefix_allowed_tokens_fn(
    trie: CodeTrie,
    tokens: CodeTokens,
    *,
    start: int = 1,
    min_items: int = 1,
    max_items: int = 1,
) -> Callable[[int, torch.Tensor], list[int]]:
    """Return the same constraint as a function of the form that `generate` takes.

    It is asked row by row, so `CodeLogitsProcessor` is faster; the arguments are the same.

    Raises
    ------
    ValueError
        as `CodeLogitsProcessor`.

    Examples
    --------
    >>> from semantic_ids import Vocabulary
    >>> trie = CodeTrie.of([[0, 1], [1, 0]], sizes=[2, 2])
    >>> tokens = CodeTokens(Vocabulary((2, 2), specials=("<eos>",)), np.arange(5))
    >>> allowed = prefix_allowed_tokens_fn(trie, tokens)
    >>> [allowed(0, torch.tensor(row)) for row in ([0], [0, 2], [0, 2, 3], [0, 2, 3, 0])]
    [[1, 2], [3], [0], [0]]
    """
    _check(trie, tokens, start, min_items, max_items)
    levels, eos = tokens.levels, tokens.special("<eos>")
    code_of = [dict(zip(ids.tolist(), range(len(ids)), strict=True)) for ids in levels]

    def allowed(batch_id: int, sentence: torch.Tensor) -> list[int]:
        made = sentence[start:].tolist()
        items, level = divmod(len(made), len(levels))
        following: list[int] = []
        if items < max_items and eos not in made:
            node = trie.root(1)
            for place, token in enumerate(made[items * len(levels) :]):
                node = trie.step(node, code_of[place].get(token, -1))
            following = levels[level][trie.mask(node, level)[0]].tolist()
        if not following or (level == 0 and items >= min_items):
            following.append(eos)
        return following

    return allowed


def _check(trie: CodeTrie, tokens: CodeTokens, start: int, min_items: int, max_items: int) -> None:
    if not len(trie):
        raise ValueError("trie: it holds no items, so nothing could be generated")
    if trie.sizes != tokens.vocabulary.sizes:
        raise ValueError(
            f"tokens: codes of sizes {list(tokens.vocabulary.sizes)}, but those of the trie are "
            f"{list(trie.sizes)}"
        )
    tokens.special("<eos>")
    if start < 0:
        raise ValueError(f"start={start} should be at least 0")
    if not 1 <= min_items <= max_items:
        raise ValueError(
            f"min_items={min_items}, max_items={max_items}: expected 1 <= min_items <= max_items"
        )
