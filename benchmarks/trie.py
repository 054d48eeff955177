"""Which codes may come next: `CodeTrie` beside a dict of prefixes, on the same codes.

Prints one table of build seconds, megabytes and masks a second at each level, and writes the
figures as JSON where `--out` says. A mask is one boolean row over the codes of a level, for one
prefix; prefixes are drawn from the catalogue and asked in batches. "Step by step" goes on from
the nodes of the level before, as a generation loop does; torch's masks are fetched to the host.

    python benchmarks/trie.py --out trie.json
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ceilings import machine_lines
from turns import columns, processor

from semantic_ids.trie import CodeTrie

Following = dict[tuple[int, ...], set[int]]


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes
    ----------
    name : what was measured.
    build_seconds : to make it of the codes.
    megabytes : that it takes.
    masks_a_second : for prefixes of 0, 1, ..., P - 1 codes.
    """

    name: str
    build_seconds: float
    megabytes: float
    masks_a_second: list[float]


def draw_codes(items: int, sizes: list[int], skew: float, seed: int) -> np.ndarray:
    """Draw distinct codes (items, P), a level's entries with weights `rank ** -skew`."""
    rng = np.random.default_rng(seed)
    weights = [np.arange(1, size + 1) ** -skew for size in sizes]
    codes = np.zeros((0, len(sizes)), dtype=np.int32)
    while len(codes) < items:
        drawn = [rng.choice(len(w), size=items, p=w / w.sum()) for w in weights]
        codes = np.unique(np.concatenate([codes, np.stack(drawn, axis=1)]), axis=0)
    return rng.permutation(codes)[:items].astype(np.int32)


def rate(call: Callable[[], object], masks: int, seconds: float) -> float:
    """Return masks a second: the best of three runs of so many seconds, after a first call."""
    call()
    best = 0.0
    for _ in range(3):
        calls, start, spent = 0, time.perf_counter(), 0.0
        while not calls or spent < seconds:
            call()
            calls += 1
            spent = time.perf_counter() - start
        best = max(best, calls * masks / spent)
    return best


def build_dict(codes: np.ndarray) -> Following:
    """Return the next codes of every prefix, by a loop."""
    following: Following = {}
    for code in map(tuple, codes.tolist()):
        for level in range(len(code)):
            following.setdefault(code[:level], set()).add(code[level])
    return following


def dict_bytes(following: Following) -> int:
    """Return the bytes of the dict, its tuples and its sets; small ints are shared."""
    parts = sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in following.items())
    return sys.getsizeof(following) + parts


def dict_mask(following: Following, prefixes: np.ndarray, size: int) -> np.ndarray:
    """Return the masks (B, size) of prefixes (B, l), by a loop."""
    mask = np.zeros((len(prefixes), size), dtype=bool)
    for row, prefix in enumerate(map(tuple, prefixes.tolist())):
        mask[row, list(following.get(prefix, ()))] = True
    return mask


def trie_calls(
    trie: CodeTrie, asked: np.ndarray, device: torch.device
) -> dict[str, list[Callable[[], object]]]:
    """Return, for each way of asking the trie, a call a level for the codes asked (B, P)."""
    walk, tensor = trie.on(device), torch.tensor(asked, device=device)
    nodes, torch_nodes = [trie.root(len(asked))], [walk.root(len(asked))]
    for level in range(len(trie.sizes) - 1):
        nodes.append(trie.step(nodes[-1], asked[:, level]))
        torch_nodes.append(walk.step(torch_nodes[-1], tensor[:, level]))

    def whole(level: int) -> object:
        return trie.allowed_mask(asked[:, :level])

    def step(level: int) -> object:
        if not level:
            return trie.mask(nodes[0], 0)
        return trie.mask(trie.step(nodes[level - 1], asked[:, level - 1]), level)

    def torch_step(level: int) -> object:
        if not level:
            return walk.mask(torch_nodes[0], 0).cpu()
        reached = walk.step(torch_nodes[level - 1], tensor[:, level - 1])
        return walk.mask(reached, level).cpu()

    ways = {"whole prefixes": whole, "step by step": step, f"torch on {device}": torch_step}
    levels = range(len(trie.sizes))
    return {name: [partial(way, level) for level in levels] for name, way in ways.items()}


def measure(args: argparse.Namespace) -> list[Result]:
    """Build both on one catalogue and ask both for the same masks."""
    codes = draw_codes(args.items, args.sizes, args.skew, args.seed)
    chosen = np.random.default_rng(args.seed).integers(0, args.items, args.batch)

    def rates(calls: Sequence[Callable[[], object]]) -> list[float]:
        return [round(rate(call, args.batch, args.seconds)) for call in calls]

    start = time.perf_counter()
    trie = CodeTrie.of(codes, args.sizes)
    seconds = time.perf_counter() - start
    results = [
        Result(f"CodeTrie, {name}", seconds, trie.nbytes / 1e6, rates(calls))
        for name, calls in trie_calls(trie, codes[chosen], args.device).items()
    ]
    start = time.perf_counter()
    following = build_dict(codes)
    seconds = time.perf_counter() - start
    calls = [
        partial(dict_mask, following, codes[chosen, :level], size)
        for level, size in enumerate(args.sizes)
    ]
    return [
        *results,
        Result("dict of prefixes", seconds, dict_bytes(following) / 1e6, rates(calls)),
    ]


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    levels = range(len(results[0].masks_a_second))
    head = ["", "build s", "MB", *(f"masks/s, level {level}" for level in levels)]
    rows = [
        [r.name, f"{r.build_seconds:.2f}", f"{r.megabytes:.1f}"]
        + [f"{masks:,.0f}" for masks in r.masks_a_second]
        for r in results
    ]
    return columns(head, rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure CodeTrie beside a dict of prefixes.")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256] * 4, help="codes a level")
    parser.add_argument("--skew", type=float, default=0.0, help="0 draws codes uniformly")
    parser.add_argument("--batch", type=int, default=1024, help="prefixes asked at once")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each timed run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    results = measure(args)
    print(f"{args.items:,} items, codes of {args.sizes}, prefixes in batches of {args.batch}")
    print(machine_lines())
    print(table(results))
    if args.out:
        settings = {name: value for name, value in vars(args).items() if name != "out"}
        settings["device"] = str(args.device)
        versions = {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "processor": processor(),
        }
        figures = {**settings, **versions, "results": [asdict(result) for result in results]}
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
