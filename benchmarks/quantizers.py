"""Which quantizer: those of the package beside those of other packages, on the same vectors.

Fuses the text vectors of a catalogue folder by `Concat` (see `recmodels.data`), then fits every
method on them and encodes them, each in a process of its own, so that peaks of memory are apart
and what one package sets up disturbs no other. Prints one table and writes one JSON. Methods
whose package is not installed, that fail or that take too long are listed as not run.

    pip install -e '.[bench]' && pip install --no-deps rectokens==0.2.2
    OMP_NUM_THREADS=2 python benchmarks/quantizers.py --data FOLDER --out quantizers.json

rectokens asks for triton, which has no build for every platform and which its k-means does not
need on a processor; hence `--no-deps`.

Methods that learn from interactions get what `recmodels.data.side_of` builds from the training
part of the folder's histories.

Columns: relative error (squared error over variance); utilisation, the mean share of entries in
use; conditional entropy, the mean over levels of H(code | codes before) in nats; collision rate,
1 - distinct codes / items, before any repair; recall@10, the share of an item's 10 nearest items
that are among the 10 nearest by decoded vectors (of 1,000 items drawn by a seed, without the item
itself, equal distances by row); seconds of the fit; items encoded a second; peak megabytes of the
process, and how many of them were there before the fit.
"""

import argparse
import gzip
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from ceilings import machine_lines
from peers import PEERS, Encode, Method

from recmodels.data import Split, read_dataset, side_of
from semantic_ids import (
    FSQ,
    LAMIA,
    LETTER,
    MMQ,
    OPQ,
    PSRQ,
    RQOPQ,
    RQVAE,
    BBQRec,
    Concat,
    Features,
    HierarchicalKMeans,
    MMGRec,
    ProductKMeans,
    ProductVQ,
    PrototypeRQ,
    Quantizer,
    RQKMeans,
    Side,
)
from semantic_ids.statistics import codebook_statistics

PROTOTYPES = 64

#: The package's own methods: another one is a line here.
SPECS: dict[str, Quantizer] = {
    "rq-kmeans": RQKMeans(),
    "rq-kmeans-fine": RQKMeans.fine(),
    "rq-kmeans-balanced": RQKMeans(balanced=True),
    "hierarchical-kmeans": HierarchicalKMeans(),
    "product-kmeans-4": ProductKMeans(slots=4),
    "product-kmeans-32": ProductKMeans(slots=32),
    "product-kmeans-32-shared": ProductKMeans(slots=32, shared=True),
    "opq-4": OPQ(slots=4),
    "opq-32": OPQ(slots=32),
    "rq-opq": RQOPQ(head=RQKMeans(levels=2), tail=OPQ(slots=2)),
    "psrq": PSRQ(modalities=("features",), levels=2),
    "prototype-rq": PrototypeRQ(names=tuple(f"category {i}" for i in range(PROTOTYPES))),
    "rq-vae": RQVAE(),
    "letter": LETTER(),
    "mmgrec": MMGRec(levels=4),
    "bbqrec": BBQRec(levels=4),
    "mmq": MMQ(),
    "lamia": LAMIA(),
    "product-vq": ProductVQ(),
    "fsq": FSQ(sizes=(256,) * 4),
}
QUERIES, NEIGHBOURS = 1000, 10
ENCODING_SECONDS = 1.0  # encoding is repeated for so long; the fastest run counts


@dataclass(frozen=True)
class Result:
    """One row of the table; figures are None where the method was not run.

    Attributes
    ----------
    name : the method.
    package : that it is from, with its version.
    not_run : why, if it was not.
    sizes : entries of each codebook.
    items : how many were fitted and encoded.
    levels : statistics of each level.
    the others : see the head of this file.
    """

    name: str
    package: str
    not_run: str | None = None
    sizes: tuple[int, ...] = ()
    items: int | None = None
    relative_error: float | None = None
    utilisation: float | None = None
    conditional_entropy: float | None = None
    collision_rate: float | None = None
    recall: float | None = None
    fit_seconds: float | None = None
    encoded_a_second: float | None = None
    peak_megabytes: float | None = None
    megabytes_before: float | None = None
    levels: list[dict[str, Any]] = field(default_factory=list)


def ours(spec: Quantizer, side: Side) -> Method:
    """Fit a quantizer of the package."""

    def fit(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
        fitted = spec.fit(x, side=side, progress=False)
        return fitted.codebook_sizes, fitted.encode, fitted.decode

    return fit


#: Name -> package on the index, module to import.
METHODS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(SPECS, ("semantic-ids", "semantic_ids")),
    **{name: (package, module) for name, (package, module, _) in PEERS.items()},
}


# --- measuring


def read_vectors(folder: Path) -> np.ndarray:
    """Read the text vectors of a catalogue and fuse them, (N, d) float32."""
    features = Features.of({"text": np.load(folder / "text_emb.npy")})
    return Concat().fit(features).transform(features).matrix


def read_side(folder: Path, x: np.ndarray) -> Side:
    """Build what some methods learn from beside the vectors, from training interactions alone.

    The prototypes are the means of the items of the most frequent categories.
    """
    dataset = read_dataset(folder, short_users="drop")
    assert dataset.histories is not None
    learnt = side_of(Split.leave_one_out(dataset.histories, dataset.size))
    with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as lines:
        categories = [str(json.loads(line).get("categories")) for line in lines]
    common = [name for name, _ in Counter(categories).most_common(PROTOTYPES)]
    labels = np.array(categories)
    prototypes = np.stack([x[labels == name].mean(axis=0) for name in common])
    return Side(learnt.collaborative, learnt.graph, learnt.counts, prototypes=prototypes)


def measure(name: str, folder: Path) -> Result:
    """Fit and encode by one method, in this process."""
    package, _ = METHODS[name]
    x = read_vectors(folder)
    if name in SPECS:
        method = ours(SPECS[name], read_side(folder, x) if SPECS[name].needs else Side())
    else:
        method = PEERS[name][2]
    before = peak_megabytes()
    start = time.perf_counter()
    sizes, encode, decode = method(x)
    fit_seconds = time.perf_counter() - start
    runs, codes = [], np.zeros(0)
    while sum(runs) < ENCODING_SECONDS:
        start = time.perf_counter()
        codes = encode(x)
        runs.append(time.perf_counter() - start)
    peak = peak_megabytes()
    codes = np.asarray(codes, dtype=np.int64)
    decoded = np.asarray(decode(codes), dtype=np.float32)
    wide = x.astype(np.float64)
    statistics = codebook_statistics(codes.astype(np.int32), sizes)
    return Result(
        name,
        f"{package} {version(package)}",
        sizes=sizes,
        items=len(x),
        relative_error=float(((wide - decoded) ** 2).sum() / ((wide - wide.mean(0)) ** 2).sum()),
        utilisation=float(np.mean([level.utilisation for level in statistics.levels])),
        conditional_entropy=float(
            np.mean([level.conditional_entropy for level in statistics.levels])
        ),
        collision_rate=statistics.collision_rate,
        recall=neighbour_recall(x, decoded),
        fit_seconds=fit_seconds,
        encoded_a_second=len(x) / min(runs),
        peak_megabytes=peak,
        megabytes_before=before,
        levels=statistics.to_dict()["levels"],
    )


def neighbour_recall(x: np.ndarray, decoded: np.ndarray) -> float:
    """Return the share of nearest items that are nearest by decoded vectors, too."""
    count = min(QUERIES, len(x))
    queries = np.sort(np.random.default_rng(0).choice(len(x), size=count, replace=False))
    wanted, found = nearest_rows(x, queries), nearest_rows(decoded, queries)
    both = [np.isin(one, other).mean() for one, other in zip(wanted, found, strict=True)]
    return float(np.mean(both))


def nearest_rows(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the nearest rows of some rows, without themselves, equal ones by row number."""
    norms = np.einsum("ij,ij->i", x, x)
    nearest = []
    for some in np.array_split(queries, max(1, len(queries) * len(x) >> 22)):
        distances = norms - 2 * (x[some] @ x.T)
        distances[np.arange(len(some)), some] = np.inf
        nearest.append(np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS])
    return np.concatenate(nearest)


def peak_megabytes() -> float:
    """Return the most memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_apart(name: str, folder: Path, limit: float) -> Result:
    """Measure in a process of its own; say why where that fails."""
    package, module = METHODS[name]
    if importlib.util.find_spec(module) is None:
        return Result(name, package, not_run=f"{package} is not installed")
    try:
        label = f"{package} {version(package)}"
    except PackageNotFoundError:
        label = package
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "result.json"
        command = [sys.executable, __file__, "--data", str(folder), "--out", str(out)]
        try:
            done = subprocess.run(
                [*command, "--measure", name], capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return Result(name, label, not_run=f"took more than {limit:.0f} seconds")
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [""]
            return Result(name, label, not_run=f"exit {done.returncode}: {lines[-1]}")
        return Result(**json.loads(out.read_text()))


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns, then those that were not run."""
    head = ["", "codes", "rel. error", "utilisation", "H(c|before)", "collisions", "recall@10"]
    head += ["fit s", "items/s", "peak MB", "before"]
    rows = [
        [
            r.name,
            f"{len(r.sizes)} x {max(r.sizes)}",
            f"{r.relative_error:.4f}",
            f"{r.utilisation:.3f}",
            f"{r.conditional_entropy:.3f}",
            f"{r.collision_rate:.4f}",
            f"{r.recall:.3f}",
            f"{r.fit_seconds:.1f}",
            f"{r.encoded_a_second:,.0f}",
            f"{r.peak_megabytes:,.0f}",
            f"{r.megabytes_before:,.0f}",
        ]
        for r in results
        if r.not_run is None
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    ]
    return "\n".join(lines + [f"not run: {r.name}: {r.not_run}" for r in results if r.not_run])


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure quantizers side by side.")
    parser.add_argument("--data", type=Path, required=True, help="folder with text_emb.npy")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--only", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--limit", type=float, default=1800, help="seconds a method may take")
    parser.add_argument("--measure", choices=sorted(METHODS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        args.out.write_text(json.dumps(asdict(measure(args.measure, args.data))))
        return
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    results = []
    for name in args.only:
        results.append(run_apart(name, args.data, args.limit))
        print(f"{name}: {results[-1].not_run or 'done'}", file=sys.stderr)
    print(f"{args.data.name}, {threads} threads")
    print(machine_lines())
    print(table(results))
    if args.out:
        figures = {
            "data": args.data.name,
            "threads": threads,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "processor": platform.machine(),
            "results": [asdict(result) for result in results],
        }
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
