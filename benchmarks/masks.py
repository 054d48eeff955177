"""The kinds of mask: how often they are one and the same, and who is served better by which.

First, of the training histories of a data set, the share of each kind's masks that have another
kind's shape as well: a history of three has few masks, and a run that ends it is a tail. Then,
of results that `recommendation.py` kept, NDCG@10 by quartile of the length of the history that
was shown, for the kinds alone, their mixture (the default) and no pretraining.

    python benchmarks/recommendation.py --data DATA/amazon18_scientific --seeds 0 1 2 \\
        --models default span tail multi-region random-masks no-pretraining
    python benchmarks/masks.py --data DATA/amazon18_scientific
"""

import argparse
from pathlib import Path

import numpy as np
from tables import Results, gains, kept, print_gains, spread

from recmodels import MaskMix
from recmodels.data import Histories, read_dataset
from recmodels.masking import KINDS, draw_masks

MODELS = ("default", "span", "tail", "multi-region", "random-masks", "no-pretraining")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a catalogue folder")
    parser.add_argument("--results", type=Path, default=Path("runs/recommendation"))
    parser.add_argument("--tag", default="", help="before the names of the results")
    parser.add_argument("--max-history", type=int, default=50)
    arguments = parser.parse_args()
    split = read_dataset(arguments.data, short_users="drop").split()
    print_shapes(split.train, arguments.max_history)
    everything = kept(arguments.results / arguments.data.name, "validation", arguments.tag)
    found = {name: everything[name] for name in MODELS if name in everything}
    lengths = split.validation.histories.lengths
    print_quartiles(found, lengths)
    others = [name for name in found if name != "default"]
    print_gains(found, "default", others, "validation", {"all": np.ones(len(lengths), bool)})


def print_shapes(train: Histories, width: int) -> None:
    """Print, of the masks of each kind, how many have each kind's shape."""
    lengths = np.minimum(train.lengths[train.lengths >= 2], width)
    print(
        f"{len(lengths):,} training histories of 2 items or more, median {np.median(lengths):.0f}"
    )
    print("| masks drawn | one run | at the end | several runs |\n|---|---|---|---|")
    for kind in KINDS:
        only = MaskMix.model_validate(dict.fromkeys(KINDS, 0.0) | {kind: 1.0})
        masks = draw_masks(lengths, width, only, np.random.default_rng(0))
        one, end = shapes(masks.masked)
        print(f"| {kind} | {one.mean():.3f} | {end.mean():.3f} | {1 - one.mean():.3f} |")


def shapes(masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which masks are one run of items, and which of these end the history.

    >>> shapes(np.array([[0, 1, 1], [1, 1, 0], [1, 0, 1]], bool))
    (array([ True,  True, False]), array([ True, False, False]))
    """
    padded = np.pad(masked, ((0, 0), (1, 0)))
    one = (padded[:, 1:] & ~padded[:, :-1]).sum(axis=1) == 1
    return one, one & masked[:, -1]


def print_quartiles(found: Results, lengths: np.ndarray) -> None:
    """Print each model's NDCG@10 in each quarter of the users, by the length of their history."""
    bounds = np.quantile(lengths, [0.25, 0.5, 0.75])
    quarter = np.searchsorted(bounds, lengths)
    heads = [
        f"{lengths[quarter == q].min()}-{lengths[quarter == q].max()} items"
        for q in np.unique(quarter)
    ]
    print(f"\n| NDCG@10, validation targets | seeds | all | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 3) + "|")
    for name, results in found.items():
        each = [gains(result["validation"]["ranks"]) for result in results]
        cells = [spread([gain.mean() for gain in each])]
        cells += [spread([gain[quarter == q].mean() for gain in each]) for q in np.unique(quarter)]
        print(f"| {name} | {len(results)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
