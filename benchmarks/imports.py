"""How long `import semantic_ids` takes, and that torch stays out of it.

Starts an interpreter a few times, each with the import alone, and prints the median; the goal is
half a second. What must not be imported is a test (tests/semantic_ids/test_imports.py); the time
is not, since it is the machine's.

    python benchmarks/imports.py
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ceilings import machine_lines
from turns import columns, write_json

_CODE = """
import json, sys, time
wall, processor = time.perf_counter(), time.process_time()
import {name}
wall, processor = time.perf_counter() - wall, time.process_time() - processor
print(json.dumps([wall, processor, "torch" in sys.modules]))
"""


@dataclass(frozen=True)
class Result:
    """Medians in seconds, of the import alone."""

    name: str
    wall: float
    processor: float
    torch: bool


def measure(name: str, rounds: int) -> Result:
    """Import a package in interpreters of its own; the first, which fills caches, is left out."""
    command = [sys.executable, "-c", _CODE.format(name=name)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds + 1)
    ][1:]
    walls, processors, torches = zip(*runs, strict=True)
    return Result(name, statistics.median(walls), statistics.median(processors), any(torches))


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    rows = [
        [r.name, f"{r.wall:.2f}", f"{r.processor:.2f}", "yes" if r.torch else "no"] for r in results
    ]
    return columns(["", "seconds", "of the processor", "imports torch"], rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure the import of the package.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    results = [measure(name, args.rounds) for name in ("numpy", "semantic_ids")]
    print(machine_lines())
    print(table(results))
    write_json(args.out, vars(args), results)


if __name__ == "__main__":
    main()
