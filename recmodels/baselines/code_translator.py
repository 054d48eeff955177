"""The T5 of TIGER: from the codes of a history to those of the next item."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semantic_ids import Vocabulary


class CodeTranslator(nn.Module):
    """An encoder-decoder that reads items as the tokens of their codes and writes codes.

    A T5 of transformers (Raffel et al., "Exploring the limits of transfer learning with a unified
    text-to-text transformer", JMLR 21, 2020) with random weights, its input and output embeddings
    one table. Positions are relative, so padding before a history changes nothing.

    Parameters
    ----------
    vocabulary : of the codes, with ``<pad>``, ``<bos>`` and ``<eos>``.
    codes : (N, P) int, the unique code of each item.
    width, layers, heads, head_width, feed_forward, dropout : as those of `TIGERSpec`.

    Raises
    ------
    ImportError
        if transformers is not installed.
    """

    tokens: Tensor
    offsets: Tensor

    def __init__(
        self,
        vocabulary: Vocabulary,
        codes: np.ndarray,
        *,
        width: int,
        layers: int,
        heads: int,
        head_width: int,
        feed_forward: int,
        dropout: float,
    ) -> None:
        try:
            from transformers import T5Config, T5ForConditionalGeneration
        except ImportError:
            raise ImportError("TIGER needs transformers: pip install 'semantic-ids[hf]'") from None

        super().__init__()
        self.sizes = vocabulary.sizes
        # Both follow from the vocabulary and the catalogue: they are no part of the weights.
        self.register_buffer("offsets", torch.from_numpy(vocabulary.offsets), persistent=False)
        tokens = torch.from_numpy(vocabulary.encode(codes))
        self.register_buffer("tokens", tokens, persistent=False)
        self.pad, self.bos, self.eos = map(vocabulary.special, ("<pad>", "<bos>", "<eos>"))
        config = T5Config(
            vocab_size=len(vocabulary),
            d_model=width,
            d_kv=head_width,
            d_ff=feed_forward,
            num_layers=layers,
            num_heads=heads,
            dropout_rate=dropout,
            pad_token_id=self.pad,
            eos_token_id=self.eos,
        )
        self.t5 = T5ForConditionalGeneration(config)

    def read(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Encode histories (B, T) of rows, negative before their first item.

        Returns
        -------
        hidden : (B, T * P + 1, width); the last column is ``<eos>``, so that nobody's is empty.
        mask : (B, T * P + 1) int64, 0 before the first item.
        """
        shown = (items >= 0)[..., None]
        tokens = torch.where(shown, self.tokens[items.clamp(min=0)], self.pad).flatten(1)
        tokens = functional.pad(tokens, (0, 1), value=self.eos)
        mask = functional.pad(shown.expand(-1, -1, len(self.sizes)).flatten(1), (0, 1), value=1)
        mask = mask.long()
        return self.t5.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state, mask

    def follow(self, hidden: Tensor, mask: Tensor, prefixes: Tensor) -> Tensor:
        """Return the log-probability of each code after prefixes (B, l), (B, sizes[l])."""
        level = prefixes.shape[1]
        written = prefixes + self.offsets[:level]
        last = self._log_probabilities(hidden, mask, written)[:, -1]
        return last[:, self.offsets[level] :][:, : self.sizes[level]]

    def forward(self, items: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability of each code of targets (B,) after items (B, T), (B, P)."""
        hidden, mask = self.read(items)
        wanted = self.tokens[targets]
        written = self._log_probabilities(hidden, mask, wanted[:, :-1])
        return written.gather(2, wanted[..., None]).squeeze(2)

    def _log_probabilities(self, hidden: Tensor, mask: Tensor, written: Tensor) -> Tensor:
        """Return those of every token after ``<bos>`` and each of the tokens written (B, l)."""
        started = functional.pad(written, (1, 0), value=self.bos)
        logits = self.t5(
            encoder_outputs=(hidden,),
            attention_mask=mask,
            decoder_input_ids=started,
            use_cache=False,
        ).logits
        return logits.log_softmax(dim=-1)
