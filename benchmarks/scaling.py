"""How time and memory of fitting and encoding grow with items, entries, levels and columns.

One axis at a time moves from a middle setting, on made-up clustered vectors in a memory-mapped
file; each point is a process of its own, so that peaks of memory are apart. Fits
``seconds = a * axis ** b`` and the like by least squares of the logarithms, prints one table with
the exponents b, writes one JSON, and with `--plots` one picture an axis.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py --plots FOLDER --out scaling.json
    OMP_NUM_THREADS=1 python benchmarks/scaling.py --full

What should be seen: time of encoding grows as N, K, L and d each to the power of about 1, and its
memory, beside the codes that it returns, hardly with N: checking the rows takes some 5 bytes a row.
Memory is what numpy and Python take (`tracemalloc`), without pages of the mapped file and without
the buffers of the matrix products, which do not depend on any of these.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ceilings import machine_lines
from turns import columns, write_json
from vectors import mapped

from semantic_ids import RQKMeans

MIDDLE = {"items": 10_000, "entries": 256, "levels": 4, "columns": 128}
SHORT = {
    "items": [10_000, 20_000, 40_000, 80_000],
    "entries": [64, 256, 1024],
    "levels": [2, 4, 8, 16],
    "columns": [64, 256, 1024],
}
FULL = {
    "items": [10_000, 100_000, 1_000_000, 10_000_000],
    "entries": [64, 256, 1024, 4096],
    "levels": [2, 4, 8, 16, 32],
    "columns": [64, 256, 1024, 4096],
}
FITTED_ROWS = 20_000  # rows of the fit, at most: more would measure the sample of k-means again
FIGURES = ("fit_seconds", "encode_seconds", "encode_megabytes")


@dataclass(frozen=True)
class Point:
    """One process.

    Attributes
    ----------
    axis, value : what was moved, and where to.
    fit_seconds, encode_seconds : processor time, which others on the machine disturb less.
    encode_megabytes : the most that encoding took beside the codes that it returns.
    """

    axis: str
    value: int
    fit_seconds: float
    encode_seconds: float
    encode_megabytes: float


def exponent(values: list[float], figures: list[float]) -> float:
    """Return b of ``figure = a * value ** b``, by least squares of the logarithms."""
    slope, _ = np.polyfit(np.log(values), np.log(np.maximum(figures, 1e-9)), 1)
    return float(slope)


def traced_peak(call: Callable[[], object]) -> int:
    """Return the most bytes that a call's arrays and objects took at one time."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measure_here(setting: dict[str, int], folder: Path) -> dict[str, float]:
    """Fit and encode with one setting in this process."""
    x = mapped(folder / "x.npy", setting["items"], setting["columns"])
    spec = RQKMeans(levels=setting["levels"], codebook_size=setting["entries"], iterations=3)
    started = time.process_time()
    fitted = spec.fit(np.array(x[:FITTED_ROWS]), progress=False)
    fit_seconds = time.process_time() - started
    fitted.encode(x[:1024])  # loads what is loaded once
    started = time.process_time()
    codes = fitted.encode(x)
    seconds = time.process_time() - started
    beyond = traced_peak(lambda: fitted.encode(x)) - codes.nbytes
    return dict(zip(FIGURES, (fit_seconds, seconds, beyond / 1e6), strict=True))


def measure(axis: str, value: int, folder: Path | None) -> Point:
    """Measure one point in a process of its own."""
    setting = {**MIDDLE, axis: value}
    # As many rows as the fit wants for the largest codebook.
    setting["items"] = max(setting["items"], 2 * setting["entries"])
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        command = [sys.executable, __file__, "--one", json.dumps(setting), "--folder", inner]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return Point(axis, value, **json.loads(answer.stdout.splitlines()[-1]))


def exponents(points: list[Point]) -> dict[str, dict[str, float]]:
    """Return the exponent of each figure along each axis."""
    found: dict[str, dict[str, float]] = {}
    for axis in dict.fromkeys(point.axis for point in points):
        on = [point for point in points if point.axis == axis]
        values = [float(point.value) for point in on]
        found[axis] = {f: exponent(values, [getattr(p, f) for p in on]) for f in FIGURES}
    return found


def table(points: list[Point]) -> str:
    """Return the points and the exponents as lines of equal columns."""
    head = ["", "", "fit s", "encode s", "encode MB"]
    fitted, rows = exponents(points), []
    for axis, slopes in fitted.items():
        for p in points:
            if p.axis == axis:
                figures = [p.fit_seconds, p.encode_seconds, p.encode_megabytes]
                rows.append([axis, f"{p.value:,}", *(f"{figure:.2f}" for figure in figures)])
        rows.append([axis, "exponent", *(f"{slopes[figure]:.2f}" for figure in FIGURES)])
    return columns(head, rows)


def plot(points: list[Point], folder: Path) -> None:
    """Write one picture an axis, both scales logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for axis, slopes in exponents(points).items():
        on = [point for point in points if point.axis == axis]
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
        for panel, names in ((left, FIGURES[:2]), (right, FIGURES[2:])):
            for name in names:
                label = f"{name.replace('_', ' ')}, exponent {slopes[name]:.2f}"
                values = [getattr(point, name) for point in on]
                panel.plot([point.value for point in on], values, marker="o", label=label)
            panel.set(xscale="log", xlabel=axis)
            panel.legend()
        left.set(yscale="log")
        right.set(ylim=(0, 1.2 * max(point.encode_megabytes for point in on)))
        figure.savefig(folder / f"scaling-{axis}.png", dpi=120)
        plt.close(figure)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure how time and memory grow.")
    parser.add_argument("--full", action="store_true", help="to 10 million items; 5 GB of disk")
    parser.add_argument("--axes", nargs="+", choices=MIDDLE, default=list(MIDDLE))
    parser.add_argument("--plots", type=Path, help="folder for pictures")
    parser.add_argument("--folder", type=Path, help="where vectors go; temporary by default")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure_here(args.one, args.folder)))
        return
    grid = FULL if args.full else SHORT
    points = [measure(axis, value, args.folder) for axis in args.axes for value in grid[axis]]
    print(machine_lines())
    print(", ".join(f"{name} {value:,}" for name, value in MIDDLE.items()), "in the middle")
    print(table(points))
    if args.plots:
        plot(points, args.plots)
    write_json(args.out, {**vars(args), "exponents": exponents(points)}, points)


if __name__ == "__main__":
    main()
