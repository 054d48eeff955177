"""Which quantizer suits my catalogue? Fit some of them on it and compare what their codes lose.

    python examples/compare_quantizers.py --data vectors.npy
    python examples/compare_quantizers.py --data FOLDER --only RQKMeans OPQ RQVAE

FOLDER is a catalogue folder as in the README. Without it a catalogue is made up. All methods make
codes of as many bits; networks are trained for few epochs, so take their figures as a beginning.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recmodels.data import read_dataset, synthetic_catalogue
from semantic_ids import (
    FSQ,
    OPQ,
    RQOPQ,
    RQVAE,
    Features,
    Optimisation,
    ProductKMeans,
    Quantizer,
    RQKMeans,
    Tokenizer,
)

COLUMNS = ("rel. error", "in use", "collisions", "recall@10", "seconds")


@dataclass(frozen=True)
class Result:
    """One row of the table; see the text under it for what the figures mean."""

    relative_error: float
    utilisation: float
    collision_rate: float
    recall: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a .npy file or a catalogue folder; else made up")
    parser.add_argument("--codebook-size", type=int, default=64, help="of each of four codes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the methods in the table")
    parser.add_argument("--quick", action="store_true", help="fewer items, and no networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    features = read_features(arguments.data, items=600 if arguments.quick else 4000)
    if arguments.data is None:
        print("No --data was given: this catalogue is made up.")
    print(f"{features}\n")
    size = min(arguments.codebook_size, 16) if arguments.quick else arguments.codebook_size
    methods = quantizers(size, neural=not arguments.quick)
    unknown = sorted(set(arguments.only or ()) - set(methods))
    if unknown:
        raise SystemExit(f"--only: no method {unknown[0]!r} among {', '.join(methods)}")

    print(f"{'':20s}" + "".join(f"{name:>12s}" for name in COLUMNS))
    results = {}
    for name in arguments.only or methods:
        found = results[name] = measure(methods[name], features)
        print(
            f"{name:20s}{found.relative_error:12.4f}{found.utilisation:12.3f}"
            f"{found.collision_rate:12.4f}{found.recall:12.3f}{found.seconds:12.1f}",
            flush=True,
        )
    print(EXPLANATION)
    for what, best in (
        ("smallest error", min(results, key=lambda name: results[name].relative_error)),
        ("fewest collisions", min(results, key=lambda name: results[name].collision_rate)),
        ("truest neighbours", max(results, key=lambda name: results[name].recall)),
    ):
        print(f"{what + ':':20s}{best}")


EXPLANATION = """
rel. error   squared error over variance: 0 loses nothing, 1 is no better than the mean
in use       mean share of the entries of a codebook that some item has
collisions   1 - distinct content codes / items, before any repair
recall@10    share of an item's ten nearest items that stay nearest by codes
seconds      to fit, to encode the catalogue and to make all codes unique
"""


def quantizers(size: int, *, neural: bool) -> dict[str, Quantizer]:
    """Name methods whose codes are four of `size` entries each: another one is a line here.

    HierarchicalKMeans is none of them: a tree of so many leaves has one for every item, and no
    error, whatever its codes are worth.
    """
    methods: dict[str, Quantizer] = {
        "RQKMeans": RQKMeans(codebook_size=size),
        "RQKMeans.fine": RQKMeans.fine(codebook_size=size),
        "RQKMeans, balanced": RQKMeans(codebook_size=size, balanced=True),
        "ProductKMeans": ProductKMeans(slots=4, codebook_size=size),
        "OPQ": OPQ(slots=4, codebook_size=size),
        "RQOPQ": RQOPQ(
            head=RQKMeans(levels=2, codebook_size=size), tail=OPQ(slots=2, codebook_size=size)
        ),
    }
    if neural:
        short = Optimisation(epochs=30)
        methods["RQVAE"] = RQVAE(codebook_size=size, optimisation=short)
        methods["FSQ"] = FSQ(sizes=(size,) * 4, optimisation=short)
    return methods


def read_features(data: Path | None, items: int) -> Features:
    if data is not None and not data.is_dir():
        return Features.of(data)
    made_up = data is None
    dataset = synthetic_catalogue(items, 1) if made_up else read_dataset(data, short_users="drop")
    if dataset.features is None:
        raise SystemExit(f"--data {data}: there are no features in it")
    return dataset.features


def measure(quantizer: Quantizer, features: Any) -> Result:
    """Fit a tokenizer with this quantizer and judge its codes on the same items."""
    started = time.perf_counter()
    tokenizer = Tokenizer.fit(features, quantizer=quantizer, progress=False)
    seconds = time.perf_counter() - started
    figures = tokenizer.statistics(features, progress=False)
    assert figures.relative_error is not None
    assert figures.neighbourhoods is not None
    return Result(
        figures.relative_error,
        float(np.mean([level.utilisation for level in figures.levels])),
        figures.collision_rate,
        figures.neighbourhoods.recall,
        seconds,
    )


if __name__ == "__main__":
    main()
