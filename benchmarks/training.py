"""Training sequences a second beside a Hugging Face BertForMaskedLM over the same codes.

All have the same width, layers and heads, and learn from the same batches of histories with the
same items masked, some steps each by turns. Ours reads an item in one position, and names it among
the catalogue (`objective="items"`, the default), or each of its codes among its level's ("levels",
the task that theirs has). Theirs reads P tokens an item and names each masked token among all
codes, as a language model does. `--epochs` then trains all on whole histories, and measures
NDCG@10 on the validation targets, theirs by the sum of the logarithms of the masked tokens'
chances; and says after how many seconds of training ours first was as good as theirs in the end.
Prints what share of our time batches take to be made. With `--bfloat16` all train by autocast. The
floor is the time of a step's matrix products, forwards and backwards, at the rate of one large one.

    OMP_NUM_THREADS=1 python benchmarks/training.py --data DATA/amazon18_scientific --epochs 20
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from ceilings import best_rate, bfloat16_call, machine_lines, product_call
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from turns import Ratio, columns, median_spent, ratio, take_turns, write_json

from recmodels import QBert4RecSpec
from recmodels.data import Histories, Split, read_dataset
from recmodels.data.structure import interaction_counts
from recmodels.evaluation import Scorer, evaluate
from recmodels.masked_items import MaskCount, MaskedBatches, Sequences
from recmodels.qbert4rec_training import objective_of, whole_model
from recmodels.sequence_model import SequenceScorer
from semantic_ids import Tokenizer

Batch = tuple[Tensor, Tensor]
PADDING = 0
THEIRS, OURS = "transformers BertForMaskedLM", "QBert4Rec, objective={!r}"


@dataclass(frozen=True)
class Contender:
    """What is trained, by which loss, and what then ranks."""

    module: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    scorer: Callable[[], Scorer]


@dataclass(frozen=True)
class Epoch:
    """How long training had taken after an epoch, and what it had come to."""

    seconds: float
    ndcg_10: float


@dataclass(frozen=True)
class Result:
    """One row of the table; theirs is compared with nothing."""

    name: str
    sequences_a_second: float
    share_of_floor: float
    theirs_is: Ratio | None
    parameters: int
    log: list[Epoch] = field(default_factory=list)
    seconds_to_theirs: float | None = None


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
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterator[Batch],
    bfloat16: bool,
) -> Callable[[int], None]:
    """Return what trains a module by so many steps."""
    optimiser = torch.optim.AdamW(module.parameters(), 1e-3)

    def run(steps: int) -> None:
        module.train()
        for _ in range(steps):
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                value = loss(*next(batches))
            value.backward()
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


def contenders(spec: QBert4RecSpec, tokenizer: Tokenizer, split: Split) -> dict[str, Contender]:
    """Return theirs and ours, untrained."""
    theirs = Theirs(spec, tokenizer)
    found = {THEIRS: Contender(theirs, theirs.loss, lambda: theirs)}
    for objective in ("items", "levels"):
        own = spec.model_copy(update={"objective": objective})
        model = whole_model(own, tokenizer, split, None)
        found[OURS.format(objective)] = Contender(
            model,
            objective_of(own, model, interaction_counts(split)),
            lambda model=model: SequenceScorer(model, spec.max_history),
        )
    return found


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a catalogue folder")
    parser.add_argument("--steps", type=int, default=5, help="of each turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=0, help="to train all for, then measure")
    parser.add_argument("--bfloat16", action="store_true", help="train by autocast")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    dataset = read_dataset(arguments.data, short_users="drop")
    split = dataset.split()
    spec = QBert4RecSpec(item_parts=("codes", "item"))
    tokenizer = Tokenizer.fit(dataset.features, progress=False)
    sequences = Sequences(spec.max_history + 1, spec.batch_size, spec.epoch_size)

    def batches() -> MaskedBatches:
        rng = np.random.default_rng(0)
        return MaskedBatches(split.train, sequences, spec.masks, rng, MaskCount())

    results = timed(contenders(spec, tokenizer, split), batches, arguments)
    if arguments.epochs:
        # Anew: those that were timed have learnt meanwhile.
        anew = contenders(spec, tokenizer, split)
        # Theirs takes longer to rank than to train: it is measured in the end alone.
        every = {name: arguments.epochs if name == THEIRS else 1 for name in anew}
        logs = [
            trained(one, batches(), split, arguments, every[name]) for name, one in anew.items()
        ]
        results = [
            replace(result, log=log, seconds_to_theirs=seconds_to(log, logs[0][-1].ndcg_10))
            for result, log in zip(results, logs, strict=True)
        ]
    print(machine_lines())
    print(table(results))
    write_json(arguments.out, vars(arguments), results)


def timed(
    found: dict[str, Contender],
    batches: Callable[[], MaskedBatches],
    arguments: argparse.Namespace,
) -> list[Result]:
    """Train by turns, and say what share of a step of ours its batch takes."""
    runs = {
        name: stepper(one.module, one.loss, endless(batches()), arguments.bfloat16)
        for name, one in found.items()
    }
    share = share_of_loading(runs[OURS.format("items")], batches())
    print(f"batches take {share:.1%} of our time")
    calls = {name: lambda run=run: run(arguments.steps) for name, run in runs.items()}
    taken = take_turns(calls, arguments.rounds)
    sequences = arguments.steps * batches().sequences.batch_size
    rate = 1e9 * best_rate(*(bfloat16_call() if arguments.bfloat16 else product_call()))
    shown = itertools.islice(endless(batches()), arguments.steps * arguments.rounds)
    floors = operations(found, list(shown))
    return [
        Result(
            name,
            sequences / median_spent(taken[name]).processor,
            arguments.steps * floors[name] / rate / median_spent(taken[name]).processor,
            None if name == THEIRS else ratio(taken[name], taken[THEIRS]),
            sum(p.numel() for p in one.module.parameters()),
        )
        for name, one in found.items()
    ]


def operations(found: dict[str, Contender], batches: list[Batch]) -> dict[str, float]:
    """Return the operations of a step's matrix products, the mean over batches."""
    counted = {}
    for name, one in found.items():
        # What attention in one piece computes is not counted on processors.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            for batch in batches:
                one.loss(*batch).backward()
        one.module.zero_grad()
        counted[name] = counter.get_total_flops() / len(batches)
    return counted


def trained(
    one: Contender,
    batches: MaskedBatches,
    split: Split,
    arguments: argparse.Namespace,
    every: int,
) -> list[Epoch]:
    """Train for some epochs, and measure after each so many; measuring is not timed."""
    run = stepper(one.module, one.loss, endless(batches), arguments.bfloat16)
    log, seconds = [], 0.0
    for _ in range(0, arguments.epochs, every):
        started = time.process_time()
        run(every * batches.steps)
        seconds += time.process_time() - started
        one.module.eval()
        found = evaluate(one.scorer(), split.validation, block=256, progress=False)
        log.append(Epoch(seconds, found.metrics.ndcg_10))
    return log


def seconds_to(log: list[Epoch], figure: float) -> float | None:
    """Return after how many seconds of training a figure was first reached."""
    return next((epoch.seconds for epoch in log if epoch.ndcg_10 >= figure), None)


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    rows = [
        [
            r.name,
            f"{r.sequences_a_second:,.0f}",
            f"{r.share_of_floor:.2f}",
            "" if r.theirs_is is None else str(r.theirs_is),
            f"{r.parameters:,}",
            f"{r.log[-1].ndcg_10:.4f}" if r.log else "",
            f"{r.log[-1].seconds:.0f}" if r.log else "",
            "" if r.seconds_to_theirs is None else f"{r.seconds_to_theirs:.1f}",
        ]
        for r in results
    ]
    head = ["", "sequences/s", "of the floor", "times theirs", "parameters"]
    return columns([*head, "NDCG@10", "seconds", "to theirs"], rows)


if __name__ == "__main__":
    main()
