"""Recommenders under one evaluator: each user's held-out item among the whole catalogue.

Leave-one-out; the history is not filtered; ties count against a recommender. Every recommender
is fitted once a seed, and measured on the validation targets; the test targets are looked at
with ``--final`` only. Results are kept one a file in ``--out``, with the rank of every user, so
that a run goes on where it was stopped, and tables are made from what is there.

    python benchmarks/recommendation.py --data DATA/amazon18_scientific --seeds 0 1 2 \\
        --models popularity sasrec no-codes default paper random-codes --out runs/recommendation

With published codes, figures are given once more as if codes were compared for strings: where
they collide, an item answers for others (`string_matching.py`).

`recommenders.py` names the models. What codes contribute is ``default`` minus ``no-codes``, over
users in pairs, with a 95 % bootstrap interval; warm targets occur in training histories, cold
ones do not. Published rows are marked: other preprocessing or another order of ties is possible.
"""

import argparse
import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recommenders import RECOMMENDERS, Made, Recommender, Trial
from string_matching import by_string
from tables import MEASURES, kept, print_gains, print_table
from turns import processor

from recmodels.data import Dataset, Held, Split, read_dataset
from recmodels.evaluation import evaluate
from recmodels.list_evaluation import evaluate_lists


def main() -> None:
    """Fit what is missing, then print the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    folder = arguments.out / arguments.data.name
    folder.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(arguments.data, short_users="drop")
    codes = published_codes(arguments.data, arguments.codes)
    print(f"{dataset}; data {data_hash(dataset)}; {processor()}, {arguments.threads} threads")
    for seed in arguments.seeds:
        for name in arguments.models:
            path = folder / f"{arguments.tag}{name}-{seed}.json"
            if not is_there(path, dataset, arguments.final):
                trial = Trial(dataset, codes, seed, arguments.fields)
                run(path, RECOMMENDERS[name], trial, arguments.final)
    report(folder, dataset, "test" if arguments.final else "validation")


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a catalogue folder")
    parser.add_argument("--models", nargs="+", choices=RECOMMENDERS, default=["default"])
    parser.add_argument("--codes", default=None, help="published codes, such as mql4grec_text")
    add_run_arguments(parser, Path("runs/recommendation"))
    return parser.parse_args()


def add_run_arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """Add what every benchmark is told that fits recommenders and keeps results."""
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--final", action="store_true", help="measure the test targets as well")
    parser.add_argument("--fields", type=json.loads, default={}, help="fields of the spec, as JSON")
    parser.add_argument("--tag", default="", help="put before the names of the results")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=out)


def published_codes(folder: Path, name: str | None) -> np.ndarray | None:
    """Return codes that others published for a data set's items.

    Raises
    ------
    SystemExit
        if there are none of that name.
    """
    if name is None:
        return None
    path = folder / "sid" / f"{name}.npz"
    if not path.exists():
        known = sorted(other.stem for other in path.parent.glob("*.npz"))
        raise SystemExit(f"no published codes {name!r} in {folder}; there are {known}")
    with np.load(path, allow_pickle=False) as file:
        return file["codes"].astype(np.int32)


def is_there(path: Path, dataset: Dataset, final: bool) -> bool:
    """Say whether a result was kept, with its test targets if these are asked for.

    Raises
    ------
    SystemExit
        if it is of other data.
    """
    if not path.exists():
        return False
    result = json.loads(path.read_text())
    if result["data"] != data_hash(dataset):
        raise SystemExit(f"{path} is of other data; choose another --tag, or --out")
    return not final or "test" in result


def run(path: Path, make: Recommender, trial: Trial, final: bool) -> None:
    """Fit a recommender, measure it, and keep the result."""
    started = time.perf_counter()
    made = make(trial)
    fitted = time.perf_counter() - started
    result: dict[str, Any] = {
        "model": path.stem.rsplit("-", 1)[0],
        "seed": trial.seed,
        "seconds": round(fitted, 1),
        "parameters": made.parameters,
        "settings": dict(made.settings),
        "filter": "none",
        "data": data_hash(trial.dataset),
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "epochs": {phase: len(log.losses) for phase, log in made.logs.items()},
        "seconds_per_epoch": {
            phase: round(float(np.mean(log.seconds)), 2)
            for phase, log in made.logs.items()
            if log.seconds
        },
    }
    measure_and_keep(path, result, made, trial.split, final, trial.codes)


def measure_and_keep(
    path: Path,
    result: dict[str, Any],
    made: Made,
    split: Split,
    final: bool,
    codes: np.ndarray | None = None,
) -> None:
    """Add the measures to a result, write it as a whole or not at all, and print a line."""
    for part in ("validation", "test") if final else ("validation",):
        result[part] = measured(made, getattr(split, part), codes)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(result))
    temporary.replace(path)
    shown = result["test" if final else "validation"]
    print(
        f"{path.stem:28s} HR@10 {shown['hr_10']:.4f}  NDCG@10 {shown['ndcg_10']:.4f}  "
        f"{result['seconds']:.0f} s",
        flush=True,
    )


def measured(made: Made, held: Held, codes: np.ndarray | None) -> dict[str, Any]:
    """Rank every held-out item, by scores where there are any; and by colliding codes' strings."""
    started = time.perf_counter()
    if hasattr(made.recommender, "scores"):
        found = evaluate(made.recommender, held, progress=False)
    else:
        found = evaluate_lists(made.recommender, held, k=20, progress=False)
    seconds = time.perf_counter() - started
    matching = {}
    if codes is not None and hasattr(made.recommender, "scores"):
        strings = by_string(made.recommender, codes, held)
        matching = {"by_string": {name: getattr(strings, name) for name in MEASURES}}
    return {
        **matching,
        **asdict(found.metrics),
        "users_per_second": round(len(held) / seconds),
        "ranks": found.ranks.tolist(),
    }


def data_hash(dataset: Dataset) -> str:
    """Return a checksum of the histories and features."""
    checksum = hashlib.sha256()
    if dataset.histories is not None:
        checksum.update(dataset.histories.items.tobytes() + dataset.histories.offsets.tobytes())
    if dataset.features is not None:
        for name in sorted(dataset.features.modalities):
            checksum.update(np.ascontiguousarray(dataset.features.modality(name)[0]).tobytes())
    return checksum.hexdigest()[:12]


def report(folder: Path, dataset: Dataset, part: str) -> None:
    """Print the table of what is there, and what the default gains over its controls."""
    found = kept(folder, part)
    print_table(found, folder.name, part)
    targets = getattr(dataset.split(), part).targets
    warm = np.isin(targets, dataset.split().train.items)
    users = {"all targets": np.ones(len(warm), bool), "warm targets": warm, "cold targets": ~warm}
    print_gains(found, "default", ("no-codes", "random-codes"), part, users)


if __name__ == "__main__":
    main()
