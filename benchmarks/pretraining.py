"""What pretraining brings a domain of few users: none, the domain's own, that of other domains.

A share of the target's users is learnt from, drawn anew with each seed, a smaller share within
the larger ones; the held-out items of all its users are asked for, among the whole catalogue,
history not filtered, ties against the recommender. An epoch is chosen by the validation targets
of the users who are learnt from. Test targets are looked at with ``--final`` only.

    python benchmarks/pretraining.py --target DATA/amazon18_scientific --seeds 0 1 2 \\
        --sources DATA/amazon14_beauty DATA/amazon14_sports DATA/amazon18_games

The ways: ``none`` fine-tunes from random weights, ``same-domain`` is pretrained on the users who
are fine-tuned on (`QBert4Rec.fit` as it comes), ``shared`` and ``refit`` are pretrained on the
sources, with either tokenizer; ``zero-shot`` is ``shared`` before it is fine-tuned, which has
seen no user of the target. Text vectors alone are read: other modalities differ between sets.

Users of the target are removed from the sources. Sets that number their users anew cannot be
compared so; their users count as having no id. Sets of the target's own category are refused as
sources. Results are kept one a file in ``--out``, with the rank of every user, and pretrained
models beside them: a run goes on where it was stopped. Give each choice of ``--fields`` a
``--tag``.
"""

import argparse
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recommendation import add_run_arguments, data_hash, is_there, measure_and_keep
from recommenders import Made
from tables import gains, spread
from turns import processor

from recmodels import Optimisation, QBert4Rec
from recmodels.baselines import Popularity
from recmodels.comparison import paired_bootstrap
from recmodels.data import Dataset, Histories, read_dataset, without_overlap
from semantic_ids import Features, TokenizerSpec

WAYS = ("popularity", "none", "same-domain", "shared", "refit", "zero-shot")
#: Sets of one category, by other years or cuts: they share users and events that no id tells.
CATEGORIES = (
    {"amazon18_scientific", "amazon18_industrial_recent", "amazon23_industrial_mm"},
    {"amazon14_office", "amazon18_office_recent", "tiny_office"},
)
#: Their user ids are numbers of their own.
RENUMBERED = {
    "amazon14_office",
    "amazon18_scientific",
    "amazon18_industrial_recent",
    "amazon18_office_recent",
    "ml100k",
}


def main() -> None:
    """Fit what is missing, then print the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    refuse_its_category(arguments.target.name, [folder.name for folder in arguments.sources])
    target = read(arguments.target)
    sources, overlaps = without_overlap([read(folder) for folder in arguments.sources], target)
    for line in (target, *sources, *overlaps, f"{processor()}, {arguments.threads} threads"):
        print(line)
    folder = arguments.out / target.name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        for way in arguments.ways:
            for share in [0] if way == "zero-shot" else arguments.shares:
                path = folder / f"{arguments.tag}{way}-{share:g}-{seed}.json"
                if is_there(path, target, arguments.final):
                    continue
                started = time.perf_counter()
                few = share_of(target, share, seed) if share else target
                made = make(way, few, sources, seed, arguments.fields, folder)
                seconds = time.perf_counter() - started
                keep(path, made, way, share, seed, seconds, target, arguments.final)
    print_table(folder, arguments.tag, "test" if arguments.final else "validation")


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", type=Path, required=True, help="a catalogue folder")
    parser.add_argument("--sources", type=Path, nargs="+", required=True, help="other folders")
    parser.add_argument("--shares", type=float, nargs="+", default=[5, 20, 100], help="per cent")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    add_run_arguments(parser, Path("runs/pretraining"))
    return parser.parse_args()


def refuse_its_category(target: str, sources: list[str]) -> None:
    """Refuse sources that hold the target's own records, or may."""
    same = next((names for names in CATEGORIES if target in names), {target})
    wrong = [name for name in sources if name in same]
    if wrong:
        raise SystemExit(f"--sources: {wrong[0]} is {target}, or of its category")


def read(folder: Path) -> Dataset:
    """Read a data set with its text vectors alone, and users by ids that others have too."""
    dataset = read_dataset(folder, short_users="drop")
    if dataset.features is None or "text" not in dataset.features.modalities:
        raise SystemExit(f"{folder}: has no text vectors")
    text, present = dataset.features.modality("text")
    features = Features({"text": text}, {"text": present}, dataset.ids)
    users = (None,) * len(dataset.users) if dataset.name in RENUMBERED else dataset.users
    return replace(dataset, features=features, users=users)


def share_of(target: Dataset, share: float, seed: int) -> Dataset:
    """Return a target with so many per cent of its users, one at least."""
    histories = histories_of(target)
    order = np.random.default_rng(seed).permutation(len(histories))
    users = np.sort(order[: max(1, round(share / 100 * len(order)))])
    return replace(
        target,
        histories=histories.take(users),
        users=tuple(target.users[user] for user in users),
    )


def histories_of(dataset: Dataset) -> Histories:
    """Return the histories, which every set here has."""
    if dataset.histories is None:
        raise SystemExit(f"{dataset.name}: has no histories")
    return dataset.histories


def make(
    way: str,
    few: Dataset,
    sources: tuple[Dataset, ...],
    seed: int,
    fields: dict[str, Any],
    folder: Path,
) -> Made:
    """Fit a recommender of the target's catalogue on some of its users, one way."""
    if way == "popularity":
        return Made(Popularity.fit(few.split()))
    if way in ("none", "same-domain"):
        chosen = {**fields, "pretraining": Optimisation(epochs=0)} if way == "none" else fields
        model = QBert4Rec.fit(
            few, seed=seed, progress=False, **{"tokenizer": TokenizerSpec(), **parsed(chosen)}
        )
    else:
        model = pretrained(sources, seed, fields, folder)
        model = model.finetune(
            few,
            tokenizer="refit" if way == "refit" else "shared",
            finetuning=Optimisation(epochs=0) if way == "zero-shot" else None,
            progress=False,
        )
    logs = {"pretraining": model.log.pretraining, "finetuning": model.log.finetuning}
    return Made(model, model.parameters, logs, model.spec.model_dump(mode="json"))


def parsed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with the tokenizer, if there is one, as a spec."""
    if "tokenizer" not in fields:
        return fields
    return {**fields, "tokenizer": TokenizerSpec.model_validate(fields["tokenizer"])}


def pretrained(
    sources: tuple[Dataset, ...], seed: int, fields: dict[str, Any], folder: Path
) -> QBert4Rec:
    """Load the model of these sources and fields, or pretrain it."""
    what = json.dumps([seed, fields, [[one.name, data_hash(one)] for one in sources]])
    place = folder / f"pretrained-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    if (place / "manifest.json").exists():
        return QBert4Rec.load(place)
    model = QBert4Rec.pretrain(
        sources, seed=seed, progress=False, **{"tokenizer": TokenizerSpec(), **parsed(fields)}
    )
    model.save(place)
    return model


def keep(
    path: Path,
    made: Made,
    way: str,
    share: float,
    seed: int,
    seconds: float,
    target: Dataset,
    final: bool,
) -> None:
    """Measure a recommender on all users of the target, and write what was found."""
    result: dict[str, Any] = {
        "way": way,
        "share": share,
        "seed": seed,
        "seconds": round(seconds, 1),
        "parameters": made.parameters,
        "settings": dict(made.settings),
        "data": data_hash(target),
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "epochs": {phase: len(log.losses) for phase, log in made.logs.items()},
    }
    measure_and_keep(path, result, made, target.split(), final)


def print_table(folder: Path, tag: str, part: str) -> None:
    """Print every way at every share, and what pretraining gains over users in pairs."""
    found: dict[tuple[float, str], dict[int, dict[str, Any]]] = {}
    for path in folder.glob(f"{tag}*.json"):
        result = json.loads(path.read_text())
        if path.name.startswith(f"{tag}{result['way']}-") and part in result:
            found.setdefault((result["share"], result["way"]), {})[result["seed"]] = result
    print(f"\n{folder.name}, {part} targets of all users, history not filtered, ties against")
    print("| users learnt from | way | seeds | HR@10 | NDCG@10 | s |\n|---|---|---|---|---|---|")
    for (share, way), results in sorted(
        found.items(), key=lambda pair: (pair[0][0], WAYS.index(pair[0][1]))
    ):
        cells = [
            spread([result[part][measure] for result in results.values()])
            for measure in ("hr_10", "ndcg_10")
        ]
        seconds = np.mean([result["seconds"] for result in results.values()])
        print(f"| {share:g} % | {way} | {len(results)} | {' | '.join(cells)} | {seconds:.0f} |")
    for (share, way), results in sorted(found.items()):
        for base in ("none", "same-domain"):
            if way in ("shared", "refit") and (share, base) in found:
                print_gain(results, found[share, base], f"{way} minus {base}", share, part)
        if way == "popularity" and (0, "zero-shot") in found:
            print_gain(found[0, "zero-shot"], results, "zero-shot minus popularity", share, part)


def print_gain(
    ours: dict[int, dict], others: dict[int, dict], what: str, share: float, part: str
) -> None:
    """Print a difference in NDCG@10 over users in pairs, averaged over common seeds."""
    seeds = sorted(ours.keys() & others.keys())
    if not seeds:
        return
    a, b = (
        np.mean([gains(side[seed][part]["ranks"]) for seed in seeds], axis=0)
        for side in (ours, others)
    )
    interval = paired_bootstrap(a, b)
    print(
        f"{what} at {share:g} % ({len(seeds)} seeds): NDCG@10 {interval.mean:+.4f} "
        f"[{interval.lower:+.4f}, {interval.upper:+.4f}]"
    )


if __name__ == "__main__":
    main()
