"""What a large catalogue costs in memory: fitted, saved, loaded and extended from a mapped file.

Writes clustered vectors (items, width) float16 into a file, block by block, and gives the file to
`Tokenizer.fit`, which never reads it as a whole. Prints, step by step, how long it took, how far
the resident memory rose at most, what the catalogue itself takes (codes, ids and their indexes)
and what the step needed beyond that. `--out` writes the figures as JSON.

    OMP_NUM_THREADS=2 python benchmarks/memory.py --items 10000000 --folder /tmp/memory

Resident memory is read from /proc, so this runs on Linux only. It counts pages of mapped files
that the process holds, but not what the system keeps of them in its cache.
"""

import argparse
import gc
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ceilings import machine_lines

from semantic_ids import RQKMeans, Tokenizer

_BLOCK = 1 << 15
_MB = 1 << 20
_NEW = 10_000
_DIRECTIONS = 32


@dataclass(frozen=True)
class Step:
    """One row of the table; memory in MB.

    Attributes
    ----------
    name : what was done.
    seconds : it took.
    rose : how far the peak of the resident memory lay above its value before.
    catalogue : what the catalogue's own arrays grew by.
    beyond : `rose` less `catalogue`.
    """

    name: str
    seconds: float
    rose: float
    catalogue: float
    beyond: float


def write_vectors(path: Path, items: int, width: int, seed: int) -> None:
    """Write clustered items that vary in 32 directions, and a little in all.

    One in 200 is nearly the item before it, as variants of one product are.
    """
    rng = np.random.default_rng(0)  # clusters and directions are those of every file
    centres = rng.normal(size=(1000, _DIRECTIONS)).astype(np.float32)
    directions = rng.normal(size=(_DIRECTIONS, width)).astype(np.float32)
    rng = np.random.default_rng(seed)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(items, width))
    for start in range(0, items, _BLOCK):
        rows = min(_BLOCK, items - start)
        inner = centres[rng.integers(len(centres), size=rows)]
        inner += rng.standard_normal(inner.shape, dtype=np.float32)
        block = inner @ directions
        copies = np.flatnonzero(rng.random(rows) < 0.005)
        block[copies] = block[copies - 1]
        block += 0.05 * rng.standard_normal(block.shape, dtype=np.float32)
        out[start : start + rows] = block
    out.flush()


def product_ids(items: int) -> np.ndarray:
    """Return ids like B0000A1Z9Q as a numpy string array, in no order."""
    digits = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", dtype=np.uint8)
    ids = np.empty(items, dtype=np.dtypes.StringDType())
    for start in range(0, items, _BLOCK):
        number = np.arange(start, min(start + _BLOCK, items), dtype=np.int64)
        number = number * 1_000_003 % 36**6  # odd and not a multiple of 3: one to one
        text = np.empty((len(number), 10), dtype=np.uint8)
        text[:, :4] = np.frombuffer(b"B000", dtype=np.uint8)
        for place in range(9, 3, -1):
            number, digit = np.divmod(number, 36)
            text[:, place] = digits[digit]
        ids[start : start + len(text)] = text.view("S10")[:, 0].astype("U10")
    return ids


def resident(field: str) -> float:
    """Return VmRSS (now) or VmHWM (the peak) of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def print_head() -> None:
    """Print what stands above the lines of `measured`."""
    print(f"{'step':28s} {'seconds':>9s} {'rose MB':>9s} {'catalogue':>10s} {'beyond':>9s}")


@contextmanager
def measured(name: str, steps: list[Step], catalogue: Callable[[], int]) -> Iterator[None]:
    """Time a step, and follow the peak of the resident memory meanwhile."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, own = resident("VmRSS"), catalogue()
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    rose, grown = resident("VmHWM") - before, (catalogue() - own) / _MB
    steps.append(Step(name, seconds, rose, grown, rose - grown))
    print(f"{name:28s} {seconds:9.1f} {rose:9.0f} {grown:10.0f} {rose - grown:9.0f}", flush=True)


def run(vectors: np.ndarray, new: np.ndarray, levels: int, folder: Path) -> dict[str, Any]:
    """Go through the life of a catalogue, step by step."""
    steps: list[Step] = []
    held: dict[str, Tokenizer] = {}

    def catalogue() -> int:
        return sum(tokenizer.nbytes for tokenizer in held.values())

    ids = product_ids(len(vectors) + len(new))
    print_head()
    with measured("fit and encode all", steps, catalogue):
        held["made"] = Tokenizer.fit(
            vectors, ids=ids[: len(vectors)], quantizer=RQKMeans(levels=levels)
        )
    statistics = held["made"].statistics()
    with measured("save", steps, catalogue):
        held["made"].save(folder)
    made = held.pop("made").codes[:1000].copy()
    with measured("load", steps, catalogue):
        held["loaded"] = Tokenizer.load(folder)
    tokenizer = held["loaded"]
    assert np.array_equal(tokenizer.encode(ids[:1000]), made)
    with measured("unique codes of 1,000,000 ids", steps, catalogue):
        codes = tokenizer.encode(ids[: min(1_000_000, len(vectors))])
    with measured("look 1,000,000 codes up", steps, catalogue):
        found = tokenizer.lookup(codes)
    assert found[:5] == ids[:5].tolist()
    del codes, found
    with measured("content codes of the file", steps, catalogue):
        content = tokenizer.encode(vectors)
    assert np.array_equal(content, tokenizer.content_codes)
    del content
    with measured(f"add {len(new):,} items", steps, catalogue):
        tokenizer.add(new, ids=ids[len(vectors) :])
    with measured("save again", steps, catalogue):
        tokenizer.save(folder)
    return {
        "items": len(vectors),
        "width": vectors.shape[1],
        "file_mb": vectors.nbytes / _MB,
        "collision_rate": statistics.collision_rate,
        "relative_error": statistics.relative_error,
        "steps": [asdict(step) for step in steps],
        "catalogue_mb": tokenizer.nbytes / _MB,
        "beyond_mb": max(step.beyond for step in steps),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where files go; a temporary one by default")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        paths = Path(temporary) / "vectors.npy", Path(temporary) / "new.npy"
        for path, items, seed in zip(paths, (arguments.items, _NEW), (1, 2), strict=True):
            write_vectors(path, items, arguments.width, seed)
        vectors, new = (np.load(path, mmap_mode="r") for path in paths)
        figures = run(vectors, new, arguments.levels, Path(temporary) / "tokenizer")
    print(
        f"{figures['items']:,} x {figures['width']} float16, a file of {figures['file_mb']:,.0f} "
        f"MB; collision rate {figures['collision_rate']:.4f}; the catalogue takes "
        f"{figures['catalogue_mb']:,.0f} MB, and no step more than {figures['beyond_mb']:,.0f} MB "
        "beyond it"
    )
    print(machine_lines())
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
