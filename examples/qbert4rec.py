"""From a multimodal catalogue to recommendations: fuse, quantize, learn, rank.

Without arguments it makes up a catalogue, so that it runs anywhere:

    python examples/qbert4rec.py

On a folder with items, interactions and feature arrays (see the README for the form), and with
the control that asks whether the codes mean anything:

    python examples/qbert4rec.py --data FOLDER --control
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from recmodels import DynamicFusion, Optimisation, QBert4Rec
from recmodels.baselines import Popularity, Uniform
from recmodels.comparison import paired_difference
from recmodels.data import Dataset, read_dataset, synthetic_catalogue
from recmodels.evaluation import Evaluation, evaluate
from semantic_ids import RQKMeans, Tokenizer, TokenizerSpec


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    started = time.perf_counter()

    arguments.out.mkdir(parents=True, exist_ok=True)
    if any(arguments.out.iterdir()) and not (arguments.out / "manifest.json").exists():
        raise SystemExit(f"--out {arguments.out}: holds other files; name a new or an empty folder")
    if arguments.quick:
        print("--quick shows the way only: its figures mean nothing.")

    print_heading("The catalogue")
    dataset = load(arguments)
    print(dataset)

    print_heading("Q-BERT4Rec: fusing, quantizing, pretraining, fine-tuning")
    model = fit(dataset, arguments)
    print(model)
    print(f"fitted in {time.perf_counter() - started:.0f} s")

    print_heading("What the codes look like")
    print(model.tokenizer.statistics())
    print_prefix_neighbours(dataset, model.tokenizer)

    print_heading("Ranking the whole catalogue for each user's last item")
    split = dataset.split()
    ours = model.evaluate(dataset)
    rows = {
        "Q-BERT4Rec": ours,
        "popularity": evaluate(Popularity.fit(split), split.test),
        "random": evaluate(Uniform(dataset.size, seed=arguments.seed), split.test),
    }
    if arguments.control:
        rows["Q-BERT4Rec, codes permuted"] = fit(
            dataset, arguments, permuted(model.tokenizer, arguments.seed)
        ).evaluate(dataset)
    print_table(rows)
    if arguments.control:
        gain = paired_difference(ours.hits(10), rows["Q-BERT4Rec, codes permuted"].hits(10))
        print(
            f"HR@10 above permuted codes: {gain.mean:+.4f}, "
            f"paired standard error {gain.standard_error:.4f}"
        )

    print_heading("A recommendation from the stored model")
    model.save(arguments.out, overwrite=True)
    print_recommendation(dataset, QBert4Rec.load(arguments.out))
    print(f"\nmodel in {arguments.out}, {time.perf_counter() - started:.0f} s in all")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a catalogue folder; made up if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/qbert4rec"), help="for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="of torch; networks this small gain little by more"
    )
    parser.add_argument("--drop-short", action="store_true", help="drop users of < 3 items")
    parser.add_argument("--control", action="store_true", help="fit again with permuted codes")
    parser.add_argument("--quick", action="store_true", help="a small run that shows the way only")
    return parser.parse_args()


def load(arguments: argparse.Namespace) -> Dataset:
    if arguments.data:
        short_users = "drop" if arguments.drop_short else "error"
        return read_dataset(arguments.data, short_users=short_users)
    if arguments.quick:
        return synthetic_catalogue(items=400, users=300, seed=arguments.seed)
    return synthetic_catalogue(seed=arguments.seed)


def fit(
    dataset: Dataset, arguments: argparse.Namespace, tokenizer: Tokenizer | None = None
) -> QBert4Rec:
    if not arguments.quick:
        return QBert4Rec.fit(dataset, tokenizer=tokenizer, seed=arguments.seed)
    short = Optimisation(epochs=1)
    small = TokenizerSpec(
        fuser=DynamicFusion(optimisation=Optimisation(epochs=3)),
        quantizer=RQKMeans(codebook_size=32),
    )
    return QBert4Rec.fit(
        dataset,
        tokenizer=tokenizer or small,
        seed=arguments.seed,
        epoch_size=4096,
        pretraining=short,
        finetuning=short,
    )


def permuted(tokenizer: Tokenizer, seed: int) -> Tokenizer:
    """Give every item another item's code: as many codes, as even, and without meaning."""
    order = np.random.default_rng(seed).permutation(len(tokenizer))
    return Tokenizer.from_codes(
        tokenizer.ids,
        tokenizer.codes[order],
        codebook_sizes=tokenizer.code_sizes,
        resolver=None,
    )


def print_prefix_neighbours(dataset: Dataset, tokenizer: Tokenizer, count: int = 5) -> None:
    """Show some items whose codes begin alike, by as many codes as that many items share."""
    length, rows = shared_prefix(tokenizer.codes, count)
    print(f"\n{len(rows)} items whose codes begin with the same {length}:")
    codes = tokenizer.vocabulary.to_strings(tokenizer.codes[rows])
    for text, row in zip(codes, rows, strict=True):
        print(f"  {text:34s} {title(dataset, row)}")


def shared_prefix(codes: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """Find the longest prefix that `count` items share: its length, and the first such rows."""
    length = codes.shape[1]
    while True:
        _, group, sizes = np.unique(
            codes[:, :length], axis=0, return_inverse=True, return_counts=True
        )
        if sizes.max() >= count or length == 1:
            return length, np.flatnonzero(group == sizes.argmax())[:count]
        length -= 1


def print_table(rows: dict[str, Evaluation]) -> None:
    print(f"{'':28s} {'HR@10':>8s} {'NDCG@10':>8s}   (items of the history are not filtered)")
    for name, evaluation in rows.items():
        print(f"{name:28s} {evaluation.metrics.hr_10:8.4f} {evaluation.metrics.ndcg_10:8.4f}")


def print_recommendation(dataset: Dataset, model: QBert4Rec) -> None:
    history = dataset.split().test.histories[0]
    print("after")
    for row in history[-5:]:
        print(f"  {title(dataset, row)}")
    best = model.recommend([dataset.ids[history]], k=5)
    print("comes")
    for item, score in zip(best.ids[0], best.scores[0], strict=True):
        row = int(model.tokenizer.rows(item)[0])
        print(f"  {score:6.2f}  {title(dataset, row)}")


def title(dataset: Dataset, row: int) -> str:
    return dataset.titles[row][:80] if dataset.titles else f"item {dataset.ids[row]}"


def print_heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


if __name__ == "__main__":
    main()
