"""The sampled softmax beside the full one: NDCG@10 after as many steps, and time.

Makes up a catalogue as `large.py` does, and trains the default Q-BERT4Rec on it by the full
softmax, then by the sampled one with each number of negatives. NDCG@10 is that of the best epoch,
of 5,000 validation targets.

    OMP_NUM_THREADS=1 python benchmarks/softmaxes.py --items 50000 --negatives 1024 8192 16384
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from ceilings import machine_lines
from large import catalogue
from turns import columns, write_json

from recmodels import Optimisation, QBert4Rec
from recmodels.data import Dataset
from semantic_ids import Tokenizer

#: Steps of an epoch of 32,768 prefixes in batches of 256.
_EPOCH = 128


@dataclass(frozen=True)
class Result:
    """One row of the table; no negatives means the full softmax."""

    negatives: int | None
    ndcg_10: float
    seconds: float


def trained(dataset: Dataset, tokenizer: Tokenizer, negatives: int | None, steps: int) -> Result:
    """Train by one of them."""
    fields = {} if negatives is None else {"objective": "sampled", "negatives": negatives}
    model = QBert4Rec.fit(
        dataset,
        tokenizer=tokenizer,
        pretraining=Optimisation(epochs=0),
        finetuning=Optimisation(epochs=max(1, steps // _EPOCH), learning_rate=3e-3),
        validated_users=5000,
        progress=False,
        **fields,
    )
    log = model.log.finetuning
    return Result(negatives, max(log.validation), sum(log.seconds))


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    whole = results[0].ndcg_10
    rows = [
        [
            "full" if r.negatives is None else f"{r.negatives:,} negatives",
            f"{r.ndcg_10:.4f}",
            f"{r.ndcg_10 / whole:.3f}",
            f"{r.seconds:.0f}",
        ]
        for r in results
    ]
    return columns(["", "NDCG@10", "of the full", "seconds"], rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=768)
    parser.add_argument("--negatives", type=int, nargs="+", default=[1024, 8192, 16384])
    parser.add_argument("--folder", type=Path, help="where files go; a temporary one by default")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        dataset = catalogue(Path(temporary), arguments.items, 2 * arguments.items)
        tokenizer = Tokenizer.fit(dataset.features, progress=False)
        results = [
            trained(dataset, tokenizer, negatives, arguments.steps)
            for negatives in (None, *arguments.negatives)
        ]
    print(machine_lines())
    print(table(results))
    write_json(arguments.out, vars(arguments), results)


if __name__ == "__main__":
    main()
