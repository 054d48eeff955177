"""How long fitting RQ-KMeans takes, beside four `faiss.Kmeans` in turn, and what its errors are.

Both have equal iterations and samples of 256 rows for each entry; ours starts each level from
spread points (greedy k-means++), decides exactly which entry is nearest, and ends a level early
where no row changes its entry. Prints one table and writes one JSON. With `--data`, a folder of
catalogue folders (see `recmodels.data`), both are fitted to the text vectors of some catalogues
too, and the preset `RQKMeans.fine()` and semantic-id's RQKMeans once each: seconds, the relative
error of what `encode` gives, and the purity of prefixes of one and two codes, which is the share of
items in the commonest category under theirs (categories as `meaning.py` reads them; smaller buckets
are purer).

    OMP_NUM_THREADS=1 python benchmarks/fit.py --data FOLDER --out fit.json
"""

import argparse
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import faiss
import numpy as np
from ceilings import best_rate, machine_lines, product_call
from meaning import read_categories
from peers import Encode, Method, semantic_id_kmeans
from turns import Ratio, columns, median_spent, ratio, take_turns, write_json
from vectors import clustered, relative_error

from semantic_ids import RQKMeans
from semantic_ids.categories import category_agreement
from semantic_ids.quantizers.residual import ResidualCodebooks

LEVELS, SIZE, POINTS, DEPTHS = 4, 256, 256, 2


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
        levels. Above 1 for a fit that ends early, or looks through entries in bfloat16. None where
        starts and rounds are others.
    relative_error : of the codes that encoding gives.
    purities : of their prefixes of 1, 2 codes, where there are categories.
    """

    vectors: str
    name: str
    seconds: float
    ours_is: Ratio | None
    share_of_floor: float | None
    relative_error: float
    purities: list[float]


@dataclass(frozen=True)
class Vectors:
    """What is fitted: rows (N, d) float32, and their categories (N,), -1 for none, if known."""

    name: str
    rows: np.ndarray
    labels: np.ndarray | None = None

    def purities(self, codes: np.ndarray) -> list[float]:
        """Return the share of items in the commonest category under their first 1, 2 codes."""
        if self.labels is None:
            return []
        prefixes = codes[:, :DEPTHS].astype(np.int32)
        agreements = category_agreement(prefixes, (SIZE,) * DEPTHS, self.labels)
        return [level.purity for level in agreements]


def catalogue(folder: Path) -> Vectors:
    """Read the text vectors of a catalogue, and what people sorted its items into."""
    rows = np.load(folder / "text_emb.npy").astype(np.float32)
    return Vectors(f"{folder.name}, {len(rows):,}", rows, read_categories(folder).labels)


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


def beside_faiss(given: Vectors, iterations: int, rounds: int) -> list[Result]:
    """Fit both by turns on the same vectors."""
    x = given.rows
    spec = RQKMeans(levels=LEVELS, codebook_size=SIZE, iterations=iterations)
    kept: dict[str, list[np.ndarray]] = {}

    def ours() -> None:
        kept["ours"] = list(spec.fit(x, progress=False).arrays().values())

    def theirs() -> None:
        kept["theirs"] = kmeans_in_turn(x, iterations)

    taken = take_turns({"ours": ours, "theirs": theirs}, rounds, warm=False)
    floor = operations(len(x), x.shape[1], iterations) / (1e9 * best_rate(*product_call()))
    results = []
    for who, label in (("ours", "RQKMeans"), ("theirs", f"{LEVELS} x faiss.Kmeans")):
        search, spent = ResidualCodebooks(kept[who]), median_spent(taken[who])
        codes = search.greedy_codes(x)
        results.append(
            Result(
                given.name,
                label,
                spent.wall,
                None if who == "ours" else ratio(taken["ours"], taken[who]),
                floor / spent.processor,
                relative_error(x, search.decode(codes)),
                given.purities(codes),
            )
        )
    return results


def operations(items: int, width: int, iterations: int) -> float:
    """Return the operations of comparing rows with entries that such a fit asks for."""
    compared = LEVELS * iterations * min(items, SIZE * POINTS) + (LEVELS - 1) * items
    return 2.0 * compared * SIZE * width


def alone(given: Vectors, name: str, fit: Method) -> Result:
    """Fit once, and measure what encoding gives."""
    started = time.perf_counter()
    _, encode, decode = fit(given.rows)
    seconds = time.perf_counter() - started
    codes = np.asarray(encode(given.rows))
    error = relative_error(given.rows, np.asarray(decode(codes)))
    return Result(given.name, name, seconds, None, None, error, given.purities(codes))


def fine(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
    """Fit the preset."""
    fitted = RQKMeans.fine(levels=LEVELS, codebook_size=SIZE).fit(x, progress=False)
    return fitted.codebook_sizes, fitted.encode, fitted.decode


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    head = [
        "",
        "",
        "seconds",
        "of the floor",
        "ours is times as fast",
        "error",
        "purity, 1 and 2 codes",
    ]
    rows = [
        [
            r.vectors,
            r.name,
            f"{r.seconds:.1f}",
            "" if r.share_of_floor is None else f"{r.share_of_floor:.2f}",
            "" if r.ours_is is None else str(r.ours_is),
            f"{r.relative_error:.5f}",
            " ".join(f"{purity:.3f}" for purity in r.purities),
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
    rows = clustered(args.items, args.width, seed=0)
    made_up = Vectors(f"made up, {args.items:,} x {args.width}", rows)
    results = beside_faiss(made_up, args.iterations, args.rounds)
    methods = {"RQKMeans.fine": fine}
    if find_spec("semantic_id"):
        methods["semantic-id RQKMeans"] = semantic_id_kmeans
    else:
        print("semantic-id is not installed: left out")
    for folder in [args.data / name for name in args.catalogues] if args.data else ():
        given = catalogue(folder)
        results += beside_faiss(given, args.iterations, args.rounds)
        results += [alone(given, name, fit) for name, fit in methods.items()]
    print(machine_lines())
    print(table(results))
    write_json(args.out, vars(args), results)


if __name__ == "__main__":
    main()
