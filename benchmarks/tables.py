"""Tables of the results that `recommendation.py` and its kin keep, one a file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from published import PUBLISHED

from recmodels.comparison import paired_bootstrap

MEASURES = ("hr_1", "hr_5", "hr_10", "ndcg_5", "ndcg_10", "mrr")

Results = dict[str, list[dict[str, Any]]]


def kept(folder: Path, part: str, tag: str = "") -> Results:
    """Read the results of a folder that have some part's targets, by model without the tag."""
    found: Results = {}
    for path in sorted(folder.glob(f"{tag}*.json")):
        result = json.loads(path.read_text())
        if part in result:
            found.setdefault(result["model"].removeprefix(tag), []).append(result)
    return found


def print_table(found: Results, name: str, part: str) -> None:
    """Print every model's mean and deviation over seeds, and the published rows of a data set."""
    heads = ["HR@1", "HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR"]
    print(f"\n{name}, {part} targets, history not filtered, ties against the recommender")
    print("| model | seeds | " + " | ".join(heads) + " | tied | s/epoch | users/s | parameters |")
    print("|---" * (len(heads) + 6) + "|")
    for model, results in found.items():
        cells = [spread([result[part][measure] for result in results]) for measure in MEASURES]
        seconds = [list(result["seconds_per_epoch"].values()) for result in results]
        last = f"{np.mean([s[-1] for s in seconds]):.1f}" if all(seconds) else "-"
        rate = np.mean([result[part]["users_per_second"] for result in results])
        tied = np.mean([result[part]["tied"] for result in results])
        print(
            f"| {model} | {len(results)} | {' | '.join(cells)} | {tied:.0f} | {last} "
            f"| {rate:,.0f} | {results[0]['parameters']:,} |"
        )
    for source, row in PUBLISHED.get(name, {}).items() if part == "test" else ():
        cells = [f"{row[measure]:.4f}" if measure in row else "" for measure in MEASURES]
        print(f"| {source} (published) | | {' | '.join(cells)} | | | | |")
    for model, results in found.items():
        if "by_string" in results[0][part]:
            strings = [[result[part]["by_string"][m] for result in results] for m in MEASURES]
            print(f"| {model}, codes compared as strings | | {' | '.join(map(spread, strings))} |")


def spread(values: list[float]) -> str:
    """Return a mean, and its deviation over seeds where there are several."""
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.4f}"


def print_gains(
    found: Results, ours: str, others: Iterable[str], part: str, users: dict[str, np.ndarray]
) -> None:
    """Print what one model gains over others in NDCG@10, over users in pairs and common seeds.

    `users` names the groups of users, as masks, that this is told for.
    """
    for other in others:
        pairs = [
            (gains(a[part]["ranks"]), gains(b[part]["ranks"]))
            for a in found.get(ours, ())
            for b in found.get(other, ())
            if a["seed"] == b["seed"]
        ]
        for which, chosen in users.items() if pairs else ():
            if chosen.sum() < 2:
                continue
            a, b = np.mean(pairs, axis=0)[:, chosen]
            interval = paired_bootstrap(a, b)
            print(
                f"{ours} minus {other}, {which} ({chosen.sum():,}, {len(pairs)} seeds): NDCG@10 "
                f"{interval.mean:+.4f} [{interval.lower:+.4f}, {interval.upper:+.4f}]"
            )


def gains(ranks: list[int] | np.ndarray) -> np.ndarray:
    """Return each user's NDCG@10."""
    ranks = np.asarray(ranks)
    return np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
