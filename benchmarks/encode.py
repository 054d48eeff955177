"""How fast `encode` is: beside other packages, and beside the matrix products that it needs.

Writes clustered vectors into a memory-mapped float32 file and encodes it by turns with each
contender. Prints one table and writes one JSON. Cases: `rq-384` and `rq-768`, residual codes of
4 x 256 by the greedy search; `beam-8`, the same by a beam of 8; `product-32` and `opq-32`, parallel
codes of 32 x 256, without and with a rotation. Both sides have the same codebooks, those that
faiss learnt, or for parallel codes ours; semantic-id and vector-quantize-pytorch fit their own on
a sample, are given 50,000 rows at a time, and are left out where they are not installed.

    OMP_NUM_THREADS=1 python benchmarks/encode.py --out encode.json
    OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=SkylakeX python benchmarks/encode.py

faiss brings an OpenBLAS of its own, whose version may not know the processor and then takes its
slowest kernels; the second command names the kernels to it, for processors with AVX-512.

Columns: items a second by the wall; share of the floor, the seconds of one float32 matrix product
of the same 2 N d K L operations (timed in the same turns on a part of the rows) over those of the
contender, "-" where another amount is needed; how many times as fast ours is, median and range
over the rounds, by processor time; relative error; share of the items whose codes equal ours.
"""

import argparse
import importlib.util
import statistics
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from ceilings import machine_lines
from peers import pytorch_residual, semantic_id_kmeans
from turns import Ratio, columns, median_spent, ratio, take_turns, write_json
from vectors import clustered, mapped, relative_error

from semantic_ids import OPQ, ProductKMeans, RQKMeans

LEVELS, SIZE, BITS, SLOTS = 4, 256, 8, 32
SAMPLE = 10_000  # rows that codebooks are learnt from
CHECKED = 10_000  # rows whose errors and codes are compared
PIECE = 50_000  # rows that packages are given that hold all distances at a time
OURS = "semantic_ids"

Encode = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Contender:
    """One way to encode, and back; `encode` returns codes or whatever the package makes of them."""

    name: str
    encode: Encode
    codes: Encode
    decode: Encode


@dataclass(frozen=True)
class Result:
    """One row of the table; see the head of this file.

    Attributes
    ----------
    ours_is : how many times as fast ours is; None for ours.
    """

    case: str
    name: str
    items_a_second: float
    items_a_processor_second: float
    share_of_floor: float | None
    ours_is: Ratio | None
    relative_error: float
    equal_codes: float


def residual(width: int, beam: int, peers: bool) -> list[Contender]:
    """Return ours and faiss's residual quantizers over the same codebooks, and other packages'."""
    x = clustered(SAMPLE, width, seed=0)
    theirs = faiss.ResidualQuantizer(width, LEVELS, BITS)
    theirs.train_type = faiss.ResidualQuantizer.Train_default
    theirs.max_beam_size = 1
    theirs.train(x)
    theirs.max_beam_size = beam
    books = faiss.vector_to_array(theirs.codebooks).reshape(LEVELS, SIZE, width)
    arrays = {f"codebook.{level}": book.copy() for level, book in enumerate(books)}
    ours = RQKMeans(levels=LEVELS, codebook_size=SIZE, beam=beam).restore(arrays)

    def unpacked(rows: np.ndarray) -> np.ndarray:
        return faiss.unpack_bitstrings(theirs.compute_codes(rows), LEVELS, BITS)

    found = [
        Contender(OURS, ours.encode, ours.encode, ours.decode),
        Contender(
            f"faiss.ResidualQuantizer, beam {beam}", theirs.compute_codes, unpacked, ours.decode
        ),
    ]
    for module, name, fit in (
        ("semantic_id", "semantic-id RQKMeans", semantic_id_kmeans),
        ("vector_quantize_pytorch", "vector-quantize-pytorch ResidualVQ", pytorch_residual),
    ):
        if peers and importlib.util.find_spec(module):
            _, whole, decode = fit(x)
            encode = in_pieces(whole)
            found.append(Contender(name, encode, encode, decode))
        elif peers:
            print(f"{name}: {module} is not installed; pip install 'semantic-ids[bench]'")
    return found


def in_pieces(encode: Encode) -> Encode:
    """Give a package so many rows at a time: a run that gave 1,000,000 whole took over 21 GB."""

    def pieces(rows: np.ndarray) -> np.ndarray:
        starts = range(0, len(rows), PIECE)
        return np.concatenate([encode(rows[start : start + PIECE]) for start in starts])

    return pieces


def parallel(width: int, rotated: bool) -> list[Contender]:
    """Return ours and faiss's product quantizers over the same codebooks and rotation."""
    x = clustered(SAMPLE, width, seed=0)
    if rotated:
        ours = OPQ(slots=SLOTS, rounds=2, iterations=5).fit(x, progress=False)
        product, turn = ours.product, ours.rotation.T.astype(np.float32)
    else:
        ours = product = ProductKMeans(slots=SLOTS, iterations=5).fit(x, progress=False)
        turn = np.eye(width, dtype=np.float32)
    theirs = faiss.ProductQuantizer(width, SLOTS, BITS)
    faiss.copy_array_to_vector(np.stack(product.codebooks).ravel(), theirs.centroids)
    rotation = faiss.LinearTransform(width, width)
    faiss.copy_array_to_vector(turn.ravel(), rotation.A)
    rotation.is_trained = True

    def encode(rows: np.ndarray) -> np.ndarray:
        return theirs.compute_codes(rotation.apply(rows) if rotated else rows)  # pyright: ignore[reportCallIssue]

    name = "faiss.OPQMatrix + ProductQuantizer" if rotated else "faiss.ProductQuantizer"
    return [
        Contender(OURS, ours.encode, ours.encode, ours.decode),
        Contender(name, encode, lambda rows: encode(rows).astype(np.int32), ours.decode),
    ]


#: Name -> columns, levels of the float32 floor, contenders.
CASES: dict[str, tuple[int, bool, Callable[[bool], list[Contender]]]] = {
    "rq-384": (384, True, lambda peers: residual(384, 1, peers)),
    "rq-768": (768, True, lambda peers: residual(768, 1, peers)),
    "beam-8": (384, False, lambda peers: residual(384, 8, False)),
    "product-32": (384, False, lambda peers: parallel(384, False)),
    "opq-32": (384, False, lambda peers: parallel(384, True)),
}


def measure(case: str, items: int, rounds: int, peers: bool, folder: Path) -> list[Result]:
    """Encode a file by turns."""
    width, has_floor, make = CASES[case]
    contenders = make(peers)
    x = mapped(folder / f"{width}.npy", items, width)
    calls: dict[str, Callable[[], object]] = {c.name: (lambda c=c: c.encode(x)) for c in contenders}
    entries = np.ones((width, LEVELS * SIZE), dtype=np.float32)
    some = x[: min(items, 8192)]
    out = np.empty((len(some), LEVELS * SIZE), dtype=np.float32)
    calls["floor"] = lambda: np.matmul(some, entries, out=out)
    # Each begins with the file in memory: the system may have put it out while others were at it.
    taken = take_turns(calls, rounds, before=lambda: x[:, 0].sum())
    floors = [run.processor * items / len(some) for run in taken.pop("floor")]
    checked = x[:CHECKED]
    ours, results = contenders[0], []
    expected = ours.codes(checked)
    for contender in contenders:
        runs = taken[contender.name]
        shares = [floor / run.processor for floor, run in zip(floors, runs, strict=True)]
        codes, middle = contender.codes(checked), median_spent(runs)
        results.append(
            Result(
                case,
                contender.name,
                items / middle.wall,
                items / middle.processor,
                statistics.median(shares) if has_floor else None,
                None if contender is ours else ratio(taken[ours.name], runs),
                relative_error(checked, contender.decode(codes)),
                float((codes == expected).all(axis=1).mean()),
            )
        )
    return results


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    head = ["", "", "items/s", "of the floor", "ours is times as fast", "error", "equal codes"]
    rows = [
        [
            r.case,
            r.name,
            f"{r.items_a_second:,.0f}",
            "-" if r.share_of_floor is None else f"{r.share_of_floor:.2f}",
            "" if r.ours_is is None else str(r.ours_is),
            f"{r.relative_error:.5f}",
            f"{r.equal_codes:.4f}",
        ]
        for r in results
    ]
    return columns(head, rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure encode beside other packages.")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--beam-items", type=int, default=10_000, help="for beam-8 and parallel")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--no-peers", action="store_true", help="faiss alone")
    parser.add_argument("--folder", type=Path, help="where the files go; temporary by default")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    # torch says so of the map, which nobody here writes to.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    results = []
    for case in args.cases:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            items = args.items if case.startswith("rq") else args.beam_items
            results += measure(case, items, args.rounds, not args.no_peers, Path(folder))
    print(machine_lines())
    print(
        f"{args.items:,} items ({args.beam_items:,} for beams and parallel codes), "
        f"{args.rounds} rounds"
    )
    print(table(results))
    write_json(args.out, vars(args), results)


if __name__ == "__main__":
    main()
