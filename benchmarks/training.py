"""Training sequences a second beside a Hugging Face BertForMaskedLM over the same codes.

Both have the same width, layers and heads, and learn from the same batches of histories with the
same items masked, one step each by turns. Ours reads an item in one position and names it among
the catalogue; theirs reads P tokens an item and names each masked token among all codes, as a
language model does. `--epochs` then trains both on a data set for so many epochs of whole
histories, and measures NDCG@10 on the validation targets: theirs by the sum of the logarithms of
the masked tokens' chances. Prints what share of our time batches take to be made.

    OMP_NUM_THREADS=1 python benchmarks/training.py --data DATA/amazon18_scientific --epochs 20
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from turns import Ratio, columns, libraries_line, median_spent, ratio, take_turns, write_json

from recmodels import QBert4RecSpec
from recmodels.data import Histories, read_dataset
from recmodels.data.structure import interaction_counts
from recmodels.evaluation import evaluate
from recmodels.masked_items import MaskCount, MaskedBatches, Sequences
from recmodels.qbert4rec_training import objective_of, whole_model
from recmodels.sequence_model import SequenceScorer
from semantic_ids import Tokenizer

Batch = tuple[Tensor, Tensor]
PADDING = 0


@dataclass(frozen=True)
class Result:
    """One row of the table; `ours_is` is None for ours."""

    name: str
    sequences_a_second: float
    ours_is: Ratio | None
    parameters: int
    ndcg_10: float | None = None


class Theirs(nn.Module):
    """BertForMaskedLM over the codes of items, one after another."""

    def __init__(self, spec: QBert4RecSpec, tokenizer: Tokenizer) -> None:
        super().__init__()
        from transformers import BertConfig, BertForMaskedLM

        offsets = np.cumsum((1, *tokenizer.code_sizes[:-1]))
        self.tokens = torch.from_numpy((tokenizer.codes + offsets).astype(np.int64))
        self.sizes = tokenizer.code_sizes
        self.mask = 1 + sum(tokenizer.code_sizes)
        self.most = spec.max_history
        config = BertConfig(
            vocab_size=self.mask + 1,
            hidden_size=spec.width,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            intermediate_size=4 * spec.width,
            max_position_embeddings=tokenizer.code_length * (spec.max_history + 1),
            hidden_dropout_prob=spec.dropout,
            attention_probs_dropout_prob=0.0,
            pad_token_id=PADDING,
        )
        self.network = BertForMaskedLM(config)

    def flat(self, items: Tensor, masked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return token ids and attention (B, T * P), and which tokens are masked."""
        tokens = torch.where(items[..., None] >= 0, self.tokens[items.clamp(min=0)], PADDING)
        hidden = masked[..., None].expand_as(tokens)
        ids = torch.where(hidden, self.mask, tokens).flatten(1)
        there = ((items >= 0) | masked)[..., None].expand_as(tokens).flatten(1)
        return ids, there.long(), hidden.flatten(1)

    def loss(self, items: Tensor, masked: Tensor) -> Tensor:
        """Return the cross-entropy of the masked tokens."""
        ids, there, hidden = self.flat(items, masked)
        wanted = self.tokens[items.clamp(min=0)].flatten(1).masked_fill(~hidden, -100)
        return self.network(input_ids=ids, attention_mask=there, labels=wanted).loss

    @property
    def size(self) -> int:
        """Number of items that are scored."""
        return len(self.tokens)

    def scores(self, histories: Histories) -> np.ndarray:
        """Score items by the sum of their tokens' log chances at P masks after the history."""
        width = min(int(histories.lengths.max(initial=0)), self.most) + 1
        items = np.full((len(histories), width), -1, dtype=np.int64)
        items[:, :-1] = histories.padded(width - 1)
        masked = np.zeros(items.shape, dtype=bool)
        masked[:, -1] = True
        ids, there, _ = self.flat(torch.from_numpy(items), torch.from_numpy(masked))
        with torch.inference_mode():
            logits = self.network(input_ids=ids, attention_mask=there).logits
        asked = logits[:, -len(self.sizes) :]
        total = torch.zeros(len(items), self.size)
        start = 1
        for level, size in enumerate(self.sizes):
            chances = asked[:, level, start : start + size].log_softmax(dim=1)
            total += chances[:, self.tokens[:, level] - start]
            start += size
        return total.numpy()


def stepper(
    module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], batches: Iterator[Batch]
) -> Callable[[int], None]:
    """Return what trains a module by so many steps."""
    optimiser = torch.optim.AdamW(module.parameters(), 1e-3)

    def run(steps: int) -> None:
        module.train()
        for _ in range(steps):
            optimiser.zero_grad()
            loss(*next(batches)).backward()
            optimiser.step()

    return run


def endless(batches: MaskedBatches) -> Iterator[Batch]:
    """Go through epoch after epoch."""
    while True:
        yield from batches.epoch()


def share_of_loading(run: Callable[[int], None], batches: MaskedBatches) -> float:
    """Return the share of a training step's time in which its batch is made."""
    source = endless(batches)
    started = time.process_time()
    for _ in range(50):
        next(source)
    making = (time.process_time() - started) / 50
    started = time.process_time()
    run(20)
    return making / ((time.process_time() - started) / 20)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a catalogue folder")
    parser.add_argument("--steps", type=int, default=5, help="of each turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=0, help="to train both for, then measure")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    dataset = read_dataset(arguments.data, short_users="drop")
    split = dataset.split()
    spec = QBert4RecSpec(item_parts=("codes", "item"))
    tokenizer = Tokenizer.fit(dataset.features, progress=False)
    ours = whole_model(spec, tokenizer, split, None)
    theirs = Theirs(spec, tokenizer)
    losses: dict[str, tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]] = {
        "QBert4Rec": (ours, objective_of(spec, ours, interaction_counts(split))),
        "transformers BertForMaskedLM": (theirs, theirs.loss),
    }
    sequences = Sequences(spec.max_history + 1, spec.batch_size, spec.epoch_size)

    def batches() -> MaskedBatches:
        rng = np.random.default_rng(0)
        return MaskedBatches(split.train, sequences, spec.masks, rng, MaskCount())

    runs = {name: stepper(*pair, endless(batches())) for name, pair in losses.items()}
    print(f"batches take {share_of_loading(runs['QBert4Rec'], batches()):.1%} of our time")
    taken = take_turns(
        {name: lambda run=run: run(arguments.steps) for name, run in runs.items()},
        arguments.rounds,
    )
    results = []
    for name, (module, _) in losses.items():
        found = None
        if arguments.epochs:
            runs[name](arguments.epochs * batches().steps)
            module.eval()
            scorer = SequenceScorer(ours, spec.max_history) if module is ours else theirs
            found = evaluate(scorer, split.validation, block=256).metrics.ndcg_10
        results.append(
            Result(
                name,
                arguments.steps * spec.batch_size / median_spent(taken[name]).processor,
                None if module is ours else ratio(taken["QBert4Rec"], taken[name]),
                sum(p.numel() for p in module.parameters()),
                found,
            )
        )
    print(libraries_line())
    print(table(results))
    write_json(arguments.out, vars(arguments), results)


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    rows = [
        [
            r.name,
            f"{r.sequences_a_second:,.0f}",
            "" if r.ours_is is None else str(r.ours_is),
            f"{r.parameters:,}",
            "" if r.ndcg_10 is None else f"{r.ndcg_10:.4f}",
        ]
        for r in results
    ]
    return columns(
        ["", "sequences/s", "ours is times as fast", "parameters", "validation NDCG@10"], rows
    )


if __name__ == "__main__":
    main()
