"""What each modality is worth, and what fuses them best, by the default recommender.

Modalities alone, each left out, all of them; `Concat` in place of `DynamicFusion`; the fusion
without its contrastive losses; one modality's rows shuffled, a control. What is left out is left
out of the codes and of the features that the recommender reads, and each seed fits the fusion
anew. Structure is added as a modality: who stands near whom in the training histories, or the
category paths. Items that have none of the modalities that are left have zeros for the first.

    python benchmarks/modalities.py --data DATA/ml100k --seeds 0 1 2
    python benchmarks/modalities.py --data DATA/amazon23_industrial_mm --structure category
    python benchmarks/modalities.py --data DATA/amazon18_instruments_mql \\
        --multi-hot text=mql4grec_text_llama image=mql4grec_image_vit

The last takes published codes for modalities: each is a vector of zeros with a one for each
code. No Amazon set with raw image vectors was at hand: its pictures enter as such codes, or as
vectors of captions (amazon23_industrial_mm). ``--fields '{"item_parts": ["codes"]}' --tag codes-``
makes the same table of the codes alone. Results are kept as `recommendation.py` keeps them.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from recommendation import add_run_arguments, data_hash, is_there, published_codes, run
from recommenders import Made, Recommender, Trial, with_fusion
from tables import kept, print_gains, print_table
from turns import processor

from recmodels import DynamicFusion
from recmodels.data import (
    Dataset,
    read_dataset,
    with_category_vectors,
    with_collaborative_vectors,
)
from semantic_ids import Concat, Features, Fuser

FUSION = DynamicFusion()
STRUCTURES = {"collaborative": with_collaborative_vectors, "category": with_category_vectors}


def main() -> None:
    """Fit what is missing, then print the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    folder = arguments.out / arguments.data.name
    folder.mkdir(parents=True, exist_ok=True)
    dataset = with_multi_hot(read_dataset(arguments.data, short_users="drop"), arguments.multi_hot)
    dataset = STRUCTURES[arguments.structure](dataset)
    print(f"{dataset}; data {data_hash(dataset)}; {processor()}, {arguments.threads} threads")
    ways = ways_of(names_of(dataset))
    unknown = sorted(set(arguments.ways or ()) - set(ways))
    if unknown:
        raise SystemExit(f"--ways: there is no {unknown[0]!r}; expected some of {' '.join(ways)}")
    for seed in arguments.seeds:
        for way in arguments.ways or ways:
            path = folder / f"{arguments.tag}{way}-{seed}.json"
            if not is_there(path, dataset, arguments.final):
                trial = Trial(dataset, None, seed, arguments.fields)
                run(path, ways[way], trial, arguments.final)
    part = "test" if arguments.final else "validation"
    everything = kept(folder, part, arguments.tag)
    found = {way: everything[way] for way in ways if way in everything}
    print_table(found, f"{folder.name}, {arguments.tag or 'all parts'}", part)
    everyone = {"all targets": np.ones(len(getattr(dataset.split(), part)), bool)}
    print_gains(found, "all", [way for way in found if way != "all"], part, everyone)


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a catalogue folder")
    parser.add_argument("--ways", nargs="+", help="some of them, such as all only-text concat")
    parser.add_argument("--structure", choices=STRUCTURES, default="collaborative")
    parser.add_argument("--multi-hot", nargs="+", default=[], help="MODALITY=CODES, published")
    add_run_arguments(parser, Path("runs/modalities"))
    arguments = parser.parse_args()
    unnamed = [given for given in arguments.multi_hot if "=" not in given]
    if unnamed:
        parser.error(f"--multi-hot: expected MODALITY=CODES, got {unnamed[0]!r}")
    arguments.multi_hot = {
        name: published_codes(arguments.data, codes)
        for name, codes in (given.split("=", 1) for given in arguments.multi_hot)
    }
    return arguments


def with_multi_hot(dataset: Dataset, codes: dict[str, np.ndarray]) -> Dataset:
    """Take codes, where there are some, for modalities: vectors of zeros and ones."""
    if not codes:
        return dataset
    arrays = {name: ones_of(published) for name, published in codes.items()}
    return replace(dataset, features=Features(arrays, ids=dataset.ids))


def ones_of(codes: np.ndarray) -> np.ndarray:
    """Return (N, columns) float32 with a one for each code of an item.

    >>> ones_of(np.array([[0, 1], [2, 0]])).astype(int)
    array([[1, 0, 0, 0, 1],
           [0, 0, 1, 1, 0]])
    """
    sizes = codes.max(axis=0) + 1
    ones = np.zeros((len(codes), sizes.sum()), np.float32)
    np.put_along_axis(ones, codes + np.cumsum(sizes) - sizes, 1, axis=1)
    return ones


def ways_of(names: list[str]) -> dict[str, Recommender]:
    """Return what is compared, by name."""
    ways = {"all": by(names)}
    ways |= {f"only-{name}": by([name]) for name in names}
    if len(names) > 2:
        ways |= {f"without-{name}": by([n for n in names if n != name]) for name in names}
    ways["concat"] = by(names, Concat())
    ways["no-contrast"] = by(names, DynamicFusion(contrast=0))
    ways |= {f"shuffled-{name}": by(names, shuffled=name) for name in names}
    return ways


def by(names: list[str], fuser: Fuser = FUSION, shuffled: str | None = None) -> Recommender:
    """Return the default recommender on some modalities, fused one way."""

    def make(trial: Trial) -> Made:
        dataset = restricted(trial.dataset, names, shuffled, trial.seed)
        return with_fusion(fuser)(replace(trial, dataset=dataset))

    return make


def restricted(dataset: Dataset, names: list[str], shuffled: str | None, seed: int) -> Dataset:
    """Keep some modalities, the rows of one of them, where it is present, dealt out anew."""
    assert dataset.features is not None
    arrays, masks = {}, {}
    for name in names:
        array, present = dataset.features.modality(name)
        if name == shuffled:
            array = np.array(array)
            rows = np.flatnonzero(present)
            array[rows] = array[np.random.default_rng(seed).permutation(rows)]
        arrays[name], masks[name] = array, present
    masks[names[0]] = masks[names[0]] | ~np.any(list(masks.values()), axis=0)
    return replace(dataset, features=Features(arrays, masks, dataset.ids))


def names_of(dataset: Dataset) -> list[str]:
    """Return the modalities, structure among them."""
    assert dataset.features is not None
    return list(dataset.features.modalities)


if __name__ == "__main__":
    main()
