"""What ranking a whole catalogue costs: exactly, by beams over codes, and by draft and verify.

Prints one table: users a second, peak memory and the share of the floor, for each way of finding
each user's best items, and writes the figures as JSON where `--out` says. The floor is the time
that the products of all users and items alone would take, `2 n N w` operations at the rate of
one large product; only the first way computes these products, so others may pass it.

The vectors are drawn, and a stand-in takes the place of a trained model: what follows a prefix is
a product of the user's vector plus those of the prefix's codes with the codes of the level. Its
products and softmaxes are in "ranking users/s", but not an encoder, which a real model runs for
each sequence that it reads: one a user, then one for each prefix that a beam search goes on from
or each item that is verified. "Sequences" counts them; "with encoder" adds to the measured time
that many times the time of one sequence, measured on a transformer of random weights that reads
`--history` items. A model that keeps what it made of the history would need less.

    OMP_NUM_THREADS=2 python benchmarks/ranking.py --out ranking.json

Resident memory is read from /proc, and freed by glibc, so this runs on Linux only.
"""

import argparse
import ctypes
import gc
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from ceilings import machine_lines
from torch import nn
from turns import columns, processor

from recmodels.ranking import (
    TopK,
    beam_search,
    best_of_levels,
    best_of_products,
    draft_then_verify,
    top_k,
)
from semantic_ids import CodeTrie

_LARGE = 2048


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes
    ----------
    name : the way of ranking.
    seconds : for all users, the best of the runs.
    users_a_second : ranked, without an encoder.
    peak_megabytes : how far the peak of the resident memory lay above its value before.
    of_floor : seconds of the floor by `seconds`.
    sequences : that an encoder would read for each user.
    users_a_second_with_encoder : computed from `seconds` and the measured time of a sequence.
    """

    name: str
    seconds: float
    users_a_second: float
    peak_megabytes: float
    of_floor: float
    sequences: int
    users_a_second_with_encoder: float


class StandIn:
    """Vectors of users and codes in place of a trained model.

    Parameters
    ----------
    codes : (N, P) int.
    size : codes a level.
    users, width : of the users' vectors.
    rng : draws them.
    """

    def __init__(
        self, codes: np.ndarray, size: int, users: int, width: int, rng: np.random.Generator
    ) -> None:
        scale = np.float32(width**-0.5)
        self.codes = codes
        self.users = rng.standard_normal((users, width), dtype=np.float32)
        self.tables = scale * rng.standard_normal((codes.shape[1], size, width), dtype=np.float32)

    def items(self) -> np.ndarray:
        """Return the sum of each item's code vectors, (N, w)."""
        items = self.tables[0][self.codes[:, 0]]
        for table, column in zip(self.tables[1:], self.codes.T[1:], strict=True):
            items += table[column]
        return items

    def level_logits(self) -> list[np.ndarray]:
        """Return for each level what all users expect of it, whatever the other levels are."""
        return [_log_softmax(self.users, table) for table in self.tables]

    def step(self, prefixes: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Return log-probabilities (u, b, K) of the codes that follow prefixes (u, b, l)."""
        hidden = np.repeat(self.users[users, None], prefixes.shape[1], axis=1)
        for level in range(prefixes.shape[2]):
            hidden += self.tables[level][prefixes[:, :, level]]
        return _log_softmax(hidden, self.tables[prefixes.shape[2]])

    def verify(self, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return log-probabilities (u, m) of items, each code given those before it."""
        codes = self.codes[rows]
        scores = np.zeros(rows.shape, dtype=np.float32)
        for level in range(codes.shape[2]):
            logp = self.step(codes[:, :, :level], users)
            scores += np.take_along_axis(logp, codes[:, :, level, None], axis=2)[:, :, 0]
        return scores


def _log_softmax(hidden: np.ndarray, table: np.ndarray) -> np.ndarray:
    return torch.log_softmax(torch.from_numpy(hidden @ table.T), dim=-1).numpy()


def draw_codes(items: int, levels: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw distinct codes (items, levels)."""
    codes = np.zeros((0, levels), dtype=np.int64)
    while len(codes) < items:
        drawn = rng.integers(0, size, (items, levels))
        codes = np.unique(np.concatenate([codes, drawn]), axis=0)
    return rng.permutation(codes)[:items]


def large_product_rate(runs: int) -> float:
    """Return the operations a second of one product of large matrices of float32."""
    square = np.ones((_LARGE, _LARGE), dtype=np.float32)
    return 2 * _LARGE**3 / min(timed(lambda: square @ square) for _ in range(runs))


def sequence_seconds(args: argparse.Namespace) -> float:
    """Return the time in which a transformer reads one sequence, of a batch of 128."""
    layer = nn.TransformerEncoderLayer(
        args.width, args.heads, 4 * args.width, batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, args.layers, enable_nested_tensor=False).eval()
    batch = torch.randn(128, args.history + 1, args.width)
    with torch.inference_mode():
        return min(timed(lambda: encoder(batch)) for _ in range(args.runs)) / len(batch)


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def resident(field: str) -> float:
    """Return VmRSS (now) or VmHWM (the peak) of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def peak_megabytes(call: Callable[[], object]) -> float:
    """Return how far the peak of the resident memory rises during a call."""
    gc.collect()
    # What is freed stays with the process: handed back, it counts when it is taken again.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def ways(args: argparse.Namespace) -> dict[str, tuple[Callable[[], TopK], int]]:
    """Return each way of ranking, with the sequences that an encoder would read for a user."""
    rng = np.random.default_rng(args.seed)
    codes = draw_codes(args.items, args.levels, args.size, rng)
    model = StandIn(codes, args.size, args.users, args.width, rng)
    items, trie = model.items(), CodeTrie.of(codes, [args.size] * args.levels)
    prefixes = 1 + args.beams * (args.levels - 1)

    def all_at_once() -> TopK:
        return top_k(model.users @ items.T, args.k)

    def products() -> TopK:
        return best_of_products(model.users, items, args.k)

    def levels() -> TopK:
        return best_of_levels(model.level_logits(), codes, args.k)

    def beams() -> TopK:
        return beam_search(model.step, trie, args.users, args.k, beams=args.beams)

    def verified() -> TopK:
        draft = best_of_levels(model.level_logits(), codes, args.draft)
        return draft_then_verify(draft, model.verify, args.k)

    return {
        "exact products": (products, 1),
        "exact levels": (levels, 1),
        f"{args.beams} beams": (beams, prefixes),
        f"levels, {args.draft} verified": (verified, 1 + args.draft),
        "products all at once": (all_at_once, 1),
    }


def measure(args: argparse.Namespace, floor: float, sequence: float) -> list[Result]:
    """Watch the memory of each way, and then time it, best of the runs."""
    results = []
    for name, (way, sequences) in ways(args).items():
        peak = peak_megabytes(way)
        seconds = min(timed(way) for _ in range(args.runs))
        with_encoder = args.users / (seconds + args.users * sequences * sequence)
        results.append(
            Result(
                name,
                seconds,
                args.users / seconds,
                peak,
                floor / seconds,
                sequences,
                with_encoder,
            )
        )
    return results


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    head = [
        "",
        "seconds",
        "ranking users/s",
        "peak MB",
        "of floor",
        "sequences",
        "with encoder users/s",
    ]
    rows = [
        [
            r.name,
            f"{r.seconds:.3f}",
            f"{r.users_a_second:,.0f}",
            f"{r.peak_megabytes:,.0f}",
            f"{r.of_floor:.2f}",
            f"{r.sequences}",
            f"{r.users_a_second_with_encoder:,.0f}",
        ]
        for r in results
    ]
    return columns(head, rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure the ways of ranking a catalogue.")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="codes a level")
    parser.add_argument("--width", type=int, default=64, help="of the vectors")
    parser.add_argument("--k", type=int, default=10, help="items a user")
    parser.add_argument("--beams", type=int, default=20)
    parser.add_argument("--draft", type=int, default=50, help="items that are verified")
    parser.add_argument("--layers", type=int, default=2, help="of the encoder")
    parser.add_argument("--heads", type=int, default=2, help="of the encoder")
    parser.add_argument("--history", type=int, default=50, help="items that the encoder reads")
    parser.add_argument("--runs", type=int, default=2, help="of which the best counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    rate, sequence = large_product_rate(args.runs), sequence_seconds(args)
    floor = 2 * args.users * args.items * args.width / rate
    results = measure(args, floor, sequence)
    print(
        f"{args.users:,} users, {args.items:,} items of {args.levels} x {args.size} codes, "
        f"{args.width} wide; a large product does {rate / 1e9:.0f} GFLOP/s, so the floor is "
        f"{floor:.3f} s; the encoder reads a sequence in {1000 * sequence:.2f} ms"
    )
    print(machine_lines())
    print(table(results))
    if args.out:
        figures = {name: value for name, value in vars(args).items() if name != "out"} | {
            "large_product_gflops": rate / 1e9,
            "floor_seconds": floor,
            "sequence_seconds": sequence,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "processor": processor(),
            "results": [asdict(result) for result in results],
        }
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
