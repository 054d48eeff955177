"""What collisions cost: the resolvers side by side, on the same content codes.

Draws clustered vectors, some of them near-duplicates, encodes them by RQ-KMeans and keeps whole
buckets and lone items so that the given share of the items collides (fewer items than asked
for, where too many collide by themselves). Prints one table: seconds
(and how many of them were the search for candidates), items moved, and by how much the squared
error grew. A sample of the same items is resolved by the published next-nearest-code method as
well, restated in plain Python: `NearestCode` below. `--out` writes the figures as JSON.

    OMP_NUM_THREADS=2 python benchmarks/resolvers.py --items 50000 --share 0.2 --out resolvers.json
"""

import argparse
import json
import platform
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import scipy
from ceilings import machine_lines
from turns import columns, processor

from semantic_ids import NearestFree, Resolver, RQKMeans, Suffix
from semantic_ids.codes import bucket_sizes, code_keys
from semantic_ids.quantizers.rq_kmeans import FittedRQKMeans
from semantic_ids.resolvers.optimal import Optimal
from semantic_ids.resolvers.sinkhorn import Sinkhorn

_BLOCK = 1 << 14
_FIT_ROWS = 100_000


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes
    ----------
    name : the method.
    items : how many there are.
    seconds : it took; `candidate_seconds` of them to search the best codes of items.
    moved : items with another code than their content code.
    left : items that still share their code.
    added_error : by how much the squared error of all items grew; `added_share` of what it was.
    report : more of it, for `Optimal`.
    """

    name: str
    items: int
    seconds: float
    candidate_seconds: float
    moved: int
    left: int
    added_error: float
    added_share: float
    report: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Items:
    """Vectors with their content codes and errors."""

    vectors: np.ndarray
    codes: np.ndarray
    errors: np.ndarray
    fitted: FittedRQKMeans

    def sample(self, rows: np.ndarray) -> "Items":
        """Return some of the items."""
        return Items(self.vectors[rows], self.codes[rows], self.errors[rows], self.fitted)


def draw_vectors(items: int, width: int, copies: float, seed: int) -> np.ndarray:
    """Draw clustered vectors (items, width) float32, a share of them near-duplicates of others.

    They vary in 16 directions, and a little in all: quantizers tell them apart.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(20, items // 200), 16), dtype=np.float32)
    directions = rng.standard_normal((16, width), dtype=np.float32) / 4
    vectors = np.empty((items, width), dtype=np.float32)
    originals = int(items * (1 - copies))
    for start in range(0, items, _BLOCK):
        block = vectors[start : start + _BLOCK]
        inner = centres[rng.integers(len(centres), size=len(block))]
        inner = inner + 0.5 * rng.standard_normal(inner.shape, dtype=np.float32)
        block[:] = inner @ directions + 0.05 * rng.standard_normal(block.shape, dtype=np.float32)
    for start in range(originals, items, _BLOCK):
        block = vectors[start : start + _BLOCK]
        block[:] = vectors[rng.integers(originals, size=len(block))]
        block += 0.01 * rng.standard_normal(block.shape, dtype=np.float32)
    return vectors


def draw_items(args: argparse.Namespace) -> Items:
    """Draw a quarter more vectors than asked for, and keep those that give the share."""
    vectors = draw_vectors(args.items * 5 // 4, args.width, 0.6 * args.share, args.seed)
    rng = np.random.default_rng(args.seed)
    some = vectors[rng.permutation(len(vectors))[:_FIT_ROWS]]
    fitted = RQKMeans(levels=args.levels, codebook_size=args.size, seed=args.seed).fit(some)
    codes = np.concatenate([fitted.encode(block) for block in blocks(vectors)])
    keys = code_keys(codes, fitted.codebook_sizes)
    _, bucket = np.unique(keys, return_inverse=True)
    order = rng.permutation(bucket.max() + 1)[bucket].argsort(kind="stable")  # buckets, shuffled
    collides = bucket_sizes(keys)[order] > 1
    together = order[collides][: round(args.share * args.items)]
    rows = np.sort(np.append(together, order[~collides][: args.items - len(together)]))
    vectors, codes = vectors[rows], codes[rows]
    parts = zip(blocks(vectors), blocks(codes), strict=True)
    errors = np.concatenate([fitted.errors(x, c)[:, -1] for x, c in parts])
    return Items(vectors, codes, errors, fitted)


def blocks(array: np.ndarray) -> list[np.ndarray]:
    """Split an array into blocks of rows."""
    return [array[start : start + _BLOCK] for start in range(0, len(array), _BLOCK)]


def sample_of_buckets(items: Items, size: int, seed: int) -> np.ndarray:
    """Return the rows of some `size` items, with all that share their content codes."""
    bucket = np.unique(code_keys(items.codes, items.fitted.codebook_sizes), return_inverse=True)[1]
    shuffled = np.random.default_rng(seed).permutation(bucket.max() + 1)[bucket]
    return np.sort(np.argsort(shuffled, kind="stable")[:size])


class NearestCode:
    """The published next-nearest-code method, in plain Python (MQL4GRec, arXiv 2504.05314).

    Of the items with one code the nearest to its last-level entry keeps it; number i of the
    others goes through the last level's entries from its i-th nearest on, until a code is free.
    If none is, it changes the level before to the 1st, 2nd, ... next-nearest entry and goes
    through the last level again. All this is repeated while items collide, at most twice.
    """

    def resolve(self, items: Items) -> np.ndarray:
        """Return the codes (N, L)."""
        codes = [tuple(code) for code in items.codes.tolist()]
        before, last = self._distances(items)
        distances = last.min(axis=1).tolist()
        nearest = [
            (b.argsort().tolist(), a.argsort().tolist()) for b, a in zip(before, last, strict=True)
        ]
        for _ in range(2):
            taken, buckets = set(codes), defaultdict(list)
            for item, code in enumerate(codes):
                buckets[code].append(item)
            for bucket in buckets.values():
                ordered = sorted(bucket, key=lambda item: distances[item])
                for place, item in enumerate(ordered[1:], 1):
                    codes[item] = self._free(codes[item], nearest[item], place, taken)
                    taken.add(codes[item])
        return np.array(codes, dtype=np.int32)

    @staticmethod
    def _distances(items: Items) -> list[np.ndarray]:
        """Return squared distances of what is left over at the last two levels, (N, K) each."""
        residual, found = items.vectors.astype(np.float64), []
        for level, book in enumerate(items.fitted.codebooks):
            wide = book.astype(np.float64)
            if level >= len(items.fitted.codebooks) - 2:
                norms = (residual**2).sum(axis=1)[:, None] + (wide**2).sum(axis=1)
                found.append(norms - 2 * residual @ wide.T)
            residual -= wide[items.codes[:, level]]
        return found

    @staticmethod
    def _free(
        code: tuple[int, ...],
        nearest: tuple[list[int], list[int]],
        place: int,
        taken: set[tuple[int, ...]],
    ) -> tuple[int, ...]:
        before, last = nearest
        for entry in last[place:]:
            if (*code[:-1], entry) not in taken:
                return (*code[:-1], entry)
        for other in before[1:]:
            for entry in last:
                if (*code[:-2], other, entry) not in taken:
                    return (*code[:-2], other, entry)
        return code


def run_resolver(resolver: Resolver, items: Items) -> tuple[np.ndarray, float, dict[str, float]]:
    """Resolve; return the unique codes, the seconds in candidates and the report if any."""
    spent = 0.0

    def candidates(rows: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal spent
        start = time.perf_counter()
        found = items.fitted.candidates(items.vectors[rows], m)
        spent += time.perf_counter() - start
        return found

    ids, sizes = np.arange(len(items.codes)), items.fitted.codebook_sizes
    given = {"candidates": candidates, "errors": items.errors}
    if isinstance(resolver, Optimal):
        codes, report = resolver.resolve_with_report(items.codes, ids, sizes, **given)
        return codes, spent, asdict(report)
    return resolver.resolve(items.codes, ids, sizes, **given), spent, {}


def measure(
    name: str, items: Items, call: Callable[[], tuple[np.ndarray, float, dict[str, float]]]
) -> Result:
    """Time a method and check what it returns."""
    start = time.perf_counter()
    codes, spent, report = call()
    seconds = time.perf_counter() - start
    levels = items.codes.shape[1]
    parts = zip(blocks(items.vectors), blocks(codes[:, :levels]), strict=True)
    after = sum(items.fitted.errors(x, c)[:, -1].sum() for x, c in parts)
    before = float(items.errors.sum())
    return Result(
        name,
        len(codes),
        seconds,
        spent,
        moved=int((codes[:, :levels] != items.codes).any(axis=1).sum()),
        left=int((np.unique(codes, axis=0, return_counts=True)[1] - 1).sum()),
        added_error=float(after) - before,
        added_share=(float(after) - before) / before,
        report=report,
    )


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    head = ["", "items", "seconds", "candidates s", "moved", "left", "added error", "added %"]
    rows = [
        [
            r.name,
            f"{r.items:,}",
            f"{r.seconds:.2f}",
            f"{r.candidate_seconds:.2f}",
            f"{r.moved:,}",
            f"{r.left:,}",
            f"{r.added_error:,.2f}",
            f"{100 * r.added_share:.4f}",
        ]
        for r in results
    ]
    return columns(head, rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure the resolvers side by side.")
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--share", type=float, default=0.2, help="of the items that collide")
    parser.add_argument("--width", type=int, default=384, help="of the vectors")
    parser.add_argument("--levels", type=int, default=4, help="at least 2")
    parser.add_argument("--size", type=int, default=256, help="codes a level")
    parser.add_argument("--sample", type=int, default=5000, help="items for the naive method")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    items = draw_items(args)
    sizes = bucket_sizes(code_keys(items.codes, items.fitted.codebook_sizes))
    share, largest = float((sizes > 1).mean()), int(sizes.max())
    print(
        f"{len(sizes):,} items of {args.width} numbers, {args.levels} x {args.size} codes; "
        f"{100 * share:.1f} % collide, {largest} in the largest bucket"
    )
    few = items.sample(sample_of_buckets(items, min(args.sample, len(sizes)), args.seed))
    resolvers = [Suffix(max_suffix=max(256, largest)), NearestFree(), Sinkhorn(), Optimal()]
    results = []
    for some in (items, few):
        for resolver in resolvers:
            name = type(resolver).__name__
            results.append(measure(name, some, lambda r=resolver, s=some: run_resolver(r, s)))
    naive = NearestCode()
    results.append(measure("next-nearest code", few, lambda: (naive.resolve(few), 0.0, {})))
    print(machine_lines())
    print(table(results))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {peak:.1f} GB, of which vectors {items.vectors.nbytes / 1e9:.1f}")
    if args.out:
        figures = {name: value for name, value in vars(args).items() if name != "out"} | {
            "share": share,
            "largest_bucket": largest,
            "peak_gigabytes": peak,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "processor": processor(),
            "results": [asdict(result) for result in results],
        }
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
