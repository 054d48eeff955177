"""Timing by turns: one of us, one of them, and again, so that a slow minute is slow for all.

What the benchmarks of speed share: they compare ratios of calls that stand next to each other in
time, and give their median and range.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Spent:
    """Seconds of one call.

    Attributes
    ----------
    wall : that passed.
    processor : that this process computed, all threads together.
    """

    wall: float
    processor: float


@dataclass(frozen=True)
class Ratio:
    """How many times as fast the first is as the second, over the rounds of their turns."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


def spent(call: Callable[[], object]) -> Spent:
    """Return what one call took."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - processor)


def take_turns(
    calls: Mapping[Name, Callable[[], object]],
    rounds: int,
    *,
    warm: bool = True,
    before: Callable[[], object] = lambda: None,
) -> dict[Name, list[Spent]]:
    """Call each once a round, after one call of each that does not count if `warm`.

    What is done `before` each call does not count either.
    """
    if warm:
        for call in calls.values():
            call()
    taken: dict[Name, list[Spent]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            before()
            taken[name].append(spent(call))
    return taken


def median_spent(runs: Iterable[Spent]) -> Spent:
    """Return the medians of wall and processor time."""
    runs = list(runs)
    return Spent(
        statistics.median(run.wall for run in runs),
        statistics.median(run.processor for run in runs),
    )


def ratio(ours: Iterable[Spent], theirs: Iterable[Spent]) -> Ratio:
    """Return how many times as fast ours is, round by round, by processor time.

    Time in which the system gives the processor to others counts for neither.
    """
    ratios = [their.processor / our.processor for our, their in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def columns(head: list[str], rows: list[list[str]]) -> str:
    """Return lines of equal columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    )


def processor() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def environment() -> dict[str, Any]:
    """Return what figures depend on besides the code: processor, threads, versions."""
    import faiss
    from threadpoolctl import threadpool_info

    return {
        "processor": processor(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "faiss": faiss.__version__,
        "libraries": [
            {name: pool.get(name) for name in ("prefix", "version", "architecture", "num_threads")}
            for pool in threadpool_info()
        ],
    }


def libraries_line() -> str:
    """Return processor, and the libraries of matrix products with their kernels and threads.

    Those of numpy and faiss are two, and each chooses kernels by the processors that it knows.
    """
    pools = [pool for pool in environment()["libraries"] if pool["architecture"]]
    parts = [
        f"{pool['prefix']} {pool['version']} {pool['architecture']} x {pool['num_threads']}"
        for pool in pools
    ]
    return "; ".join([processor(), *parts])


def write_json(path: Path | None, settings: Mapping[str, Any], results: Iterable[Any]) -> None:
    """Write settings, environment and results (dataclasses), if there is a path."""
    if path:
        shown = {name: value for name, value in settings.items() if name != "out"}
        figures = {**shown, **environment(), "results": [asdict(result) for result in results]}
        path.write_text(json.dumps(figures, indent=2, default=str) + "\n")
