"""How long fitting RQ-KMeans takes, beside four `faiss.Kmeans` in turn, and what its errors are.

Both have equal iterations and samples of 256 rows for each entry; ours starts each level from
spread points (greedy k-means++), decides exactly which entry is nearest, and ends a level early
where no row changes its entry. Prints one table and writes one JSON. With `--data`, a folder of
catalogue folders (see `recmodels.data`), both are fitted to the text vectors of some catalogues
too, and the preset `RQKMeans.fine()`: seconds, and the relative error of what `encode` gives.

    OMP_NUM_THREADS=1 python benchmarks/fit.py --data FOLDER --out fit.json
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from ceilings import best_rate, machine_lines, product_call
from turns import Ratio, columns, median_spent, ratio, take_turns, write_json
from vectors import clustered, relative_error

from semantic_ids import RQKMeans
from semantic_ids.quantizers.residual import ResidualCodebooks

LEVELS, SIZE, POINTS = 4, 256, 256


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes
    ----------
    vectors : what was fitted.
    name : how.
    seconds : of the fit, the median.
    ours_is : how many times as fast ours is, by processor time; None for ours.
    share_of_floor : how much of the processor's time a float32 product of all rows that a fit
        looks at with all entries would take: all iterations, and what is taken away between
        levels. Above 1 for a fit that ends early. None where starts and rounds are others.
    relative_error : of the codes that encoding gives.
    """

    vectors: str
    name: str
    seconds: float
    ours_is: Ratio | None
    share_of_floor: float | None
    relative_error: float


def kmeans_in_turn(x: np.ndarray, iterations: int, seed: int = 0) -> list[np.ndarray]:
    """Fit faiss.Kmeans level by level; return the codebooks."""
    left, books = x.copy(), []
    for level in range(LEVELS):
        if books:
            left -= books[-1][faiss.knn(left, books[-1], 1)[1][:, 0]]
        kmeans = faiss.Kmeans(
            x.shape[1],
            SIZE,
            niter=iterations,
            seed=seed + level,
            min_points_per_centroid=1,
            max_points_per_centroid=POINTS,
        )
        kmeans.train(left)
        books.append(np.array(kmeans.centroids))
    return books


def beside_faiss(x: np.ndarray, name: str, iterations: int, rounds: int) -> list[Result]:
    """Fit both by turns on the same vectors."""
    spec = RQKMeans(levels=LEVELS, codebook_size=SIZE, iterations=iterations)
    kept: dict[str, list[np.ndarray]] = {}

    def ours() -> None:
        kept["ours"] = list(spec.fit(x, progress=False).arrays().values())

    def theirs() -> None:
        kept["theirs"] = kmeans_in_turn(x, iterations)

    taken = take_turns({"ours": ours, "theirs": theirs}, rounds, warm=False)
    floor = operations(len(x), x.shape[1], iterations) / (1e9 * best_rate(*product_call()))
    return [
        Result(
            name,
            label,
            median_spent(taken[who]).wall,
            None if who == "ours" else ratio(taken["ours"], taken[who]),
            floor / median_spent(taken[who]).processor,
            greedy_error(x, kept[who]),
        )
        for who, label in (("ours", "RQKMeans"), ("theirs", f"{LEVELS} x faiss.Kmeans"))
    ]


def operations(items: int, width: int, iterations: int) -> float:
    """Return the operations of comparing rows with entries that such a fit asks for."""
    compared = LEVELS * iterations * min(items, SIZE * POINTS) + (LEVELS - 1) * items
    return 2.0 * compared * SIZE * width


def greedy_error(x: np.ndarray, books: list[np.ndarray]) -> float:
    """Return the relative error of the codes that go to the nearest entry, level by level."""
    search = ResidualCodebooks(books)
    return relative_error(x, search.decode(search.greedy_codes(x)))


def fine(x: np.ndarray, name: str) -> Result:
    """Fit the preset, and measure what encoding gives."""
    started = time.perf_counter()
    fitted = RQKMeans.fine().fit(x, progress=False)
    seconds = time.perf_counter() - started
    error = relative_error(x, fitted.decode(fitted.encode(x)))
    return Result(name, "RQKMeans.fine", seconds, None, None, error)


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    head = ["", "", "seconds", "of the floor", "ours is times as fast", "error"]
    rows = [
        [
            r.vectors,
            r.name,
            f"{r.seconds:.1f}",
            "" if r.share_of_floor is None else f"{r.share_of_floor:.2f}",
            "" if r.ours_is is None else str(r.ours_is),
            f"{r.relative_error:.5f}",
        ]
        for r in results
    ]
    return columns(head, rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure the fit of RQ-KMeans.")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--data", type=Path, help="folder of catalogue folders")
    parser.add_argument(
        "--catalogues", nargs="+", default=["amazon18_scientific", "amazon14_beauty"]
    )
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds: expected at least 1")
    made_up = clustered(args.items, args.width, seed=0)
    results = beside_faiss(
        made_up, f"made up, {args.items:,} x {args.width}", args.iterations, args.rounds
    )
    for folder in [args.data / name for name in args.catalogues] if args.data else ():
        x = np.load(folder / "text_emb.npy").astype(np.float32)
        name = f"{folder.name}, {len(x):,}"
        results += [*beside_faiss(x, name, args.iterations, args.rounds), fine(x, name)]
    print(machine_lines())
    print(table(results))
    write_json(args.out, vars(args), results)


if __name__ == "__main__":
    main()
