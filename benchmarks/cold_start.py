"""Cold start: a tenth of the items comes after everything was fitted, by `add` and by features.

The cold items, drawn by the seed, are in no scaler, fuser, codebook or network, and in no history
that anything is fitted on; they come by ``model.add``. Then every user's last item is asked for,
after all that came before it, cold items too. Printed are warm targets among all items, cold
targets among all items and among cold ones, for Q-BERT4Rec beside ContentKNN and a SASRec on
features alone, and Q-BERT4Rec's figure on warm targets before the cold items came.

    python benchmarks/cold_start.py --data DATA/amazon18_scientific --seeds 0 1 2

``--quick`` trains for an epoch, to show the way only.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recmodels import Optimisation, QBert4RecSpec
from recmodels.baselines import ContentKNN, SASRec
from recmodels.data import Dataset, Held, Histories, Split, read_dataset
from recmodels.evaluation import Evaluation, evaluate


@dataclass(frozen=True, eq=False)
class Parted:
    """A data set in two: what is fitted on, and what comes later.

    Attributes
    ----------
    warm : the warm items, and histories of them alone; the last item of each is a stand-in for
        the test target, which nothing that is fitted looks at.
    order : (N,) rows of the data set, those of the warm items first.
    cold : how many of them are cold, the last ones.
    test : every user's last item after all before it, in rows of `order`.
    """

    warm: Dataset
    order: np.ndarray
    cold: int
    test: Held


def parted(dataset: Dataset, share: float, seed: int) -> Parted:
    """Draw cold items, and take them out of all that is fitted."""
    if dataset.histories is None or dataset.features is None:
        raise SystemExit(f"{dataset.name}: needs features and histories")
    shuffled = np.random.default_rng(seed).permutation(dataset.size)
    count = round(share * dataset.size)
    warm, cold = np.sort(shuffled[count:]), np.sort(shuffled[:count])
    order = np.concatenate([warm, cold])
    place = np.empty(dataset.size, np.int64)
    place[order] = np.arange(dataset.size)
    known, asked, targets = [], [], []
    for history in dataset.histories:
        items = place[history]
        asked.append(items[:-1])
        targets.append(items[-1])
        seen = items[:-1][items[:-1] < len(warm)]
        if len(seen) >= 2:
            known.append(np.append(seen, seen[0]))
    named = Dataset(
        f"{dataset.name}, warm",
        dataset.ids[warm],
        dataset.features.rows(warm),
        Histories.of(known),
        (None,) * len(known),
    )
    return Parted(named, order, count, Held(Histories.of(asked), np.array(targets)))


def figures(found: Evaluation, among: Evaluation, cold: np.ndarray) -> dict[str, float]:
    """Return the measures of one recommender."""
    return {
        "warm HR@10": found.restricted(~cold).metrics.hr_10,
        "warm NDCG@10": found.restricted(~cold).metrics.ndcg_10,
        "cold HR@10": found.restricted(cold).metrics.hr_10,
        "cold NDCG@10": found.restricted(cold).metrics.ndcg_10,
        "cold among cold HR@10": among.metrics.hr_10,
        "cold among cold NDCG@10": among.metrics.ndcg_10,
    }


def measured(recommender: Any, parts: Parted) -> dict[str, float]:
    """Rank all targets among all items, and the cold ones among each other."""
    size = len(parts.order)
    cold = parts.test.targets >= size - parts.cold
    found = evaluate(recommender, parts.test, progress=False)
    among = evaluate(
        recommender,
        parts.test.take(np.flatnonzero(cold)),
        among=np.arange(size - parts.cold, size),
        progress=False,
    )
    return figures(found, among, cold)


def run(
    dataset: Dataset, share: float, seed: int, fields: dict[str, Any], quick: bool
) -> dict[str, dict[str, float]]:
    """Fit everything on the warm items, let the cold ones come, and measure."""
    parts = parted(dataset, share, seed)
    features = dataset.features
    assert features is not None
    once = Optimisation(epochs=1)
    spec = QBert4RecSpec.model_validate({**fields, "seed": seed})
    baseline = SASRec(item_parts=("features",), seed=seed)
    if quick:
        spec = spec.model_copy(update={"pretraining": once, "finetuning": once})
        baseline = baseline.model_copy(update={"optimisation": once})
    model = spec.fit(parts.warm, progress=False)
    warm_rows = parts.test.targets < len(parts.order) - parts.cold
    seen = [h[h < len(parts.order) - parts.cold] for h in parts.test.histories]
    alone = Held(
        Histories.of([h for h, warm in zip(seen, warm_rows, strict=True) if warm]),
        parts.test.targets[warm_rows],
    )
    before = evaluate(model, alone, progress=False).metrics
    model.add(features.rows(parts.order[-parts.cold :]))
    sasrec = baseline.fit(parts.warm.split(), parts.warm.features, progress=False)
    everything = features.rows(parts.order)
    blind = Split(len(parts.order), parts.warm.split().train, parts.test, parts.test)
    return {
        "Q-BERT4Rec": measured(model, parts),
        "Q-BERT4Rec before they came": {
            "warm HR@10": before.hr_10,
            "warm NDCG@10": before.ndcg_10,
        },
        "ContentKNN": measured(ContentKNN.fit(blind, everything), parts),
        "SASRec on features alone": measured(sasrec.extended(everything), parts),
    }


def main() -> None:
    """Print one table, means over the seeds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a catalogue folder")
    parser.add_argument("--share", type=float, default=0.1, help="of the items that are cold")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--fields", type=json.loads, default={}, help="fields of QBert4RecSpec, as JSON"
    )
    parser.add_argument("--quick", action="store_true", help="one epoch: shows the way only")
    parser.add_argument("--out", type=Path, help="JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = read_dataset(arguments.data, short_users="drop")
    print(f"{dataset}; {arguments.share:.0%} cold")
    found = {
        seed: run(dataset, arguments.share, seed, arguments.fields, arguments.quick)
        for seed in arguments.seeds
    }
    names = list(next(iter(found.values())))
    measures = list(next(iter(found.values()))[names[0]])
    print("| recommender | " + " | ".join(measures) + " |")
    print("|---" * (len(measures) + 1) + "|")
    for name in names:
        cells = []
        for measure in measures:
            values = [run[name].get(measure, np.nan) for run in found.values()]
            cells.append("" if np.isnan(values).all() else f"{np.mean(values):.4f}")
        print(f"| {name} | {' | '.join(cells)} |")
    if arguments.out:
        arguments.out.write_text(json.dumps({str(seed): run for seed, run in found.items()}))


if __name__ == "__main__":
    main()
