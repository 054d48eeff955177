"""Has anything become slow? A short run, compared with the ratios in benchmarks/regression.json.

Compares ratios of calls that stand next to each other in time (ours beside faiss, ours beside a
matrix product), which depend on the machine far less than seconds do. Warns where a ratio is below
the stored one by more than `--tolerance`, and always ends with success: a busy machine is no bug.

    OMP_NUM_THREADS=1 python benchmarks/regression.py
    OMP_NUM_THREADS=1 python benchmarks/regression.py --store

`--store` writes what was measured in the place of the stored ratios.
"""

import argparse
import json
import tempfile
from pathlib import Path

import encode
import rqvae_steps
from ceilings import machine_lines
from turns import columns, processor

STORED = Path(__file__).with_name("regression.json")
ITEMS, FEW_ITEMS = 20_000, 2_000


def measure(rounds: int) -> dict[str, float]:
    """Return each ratio by its name; larger is better."""
    ratios = {}
    for case in encode.CASES:
        items = ITEMS if case.startswith("rq") else FEW_ITEMS
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = encode.measure(case, items, rounds, False, Path(folder))
        if ours.share_of_floor is not None:
            ratios[f"{case}, share of the floor"] = ours.share_of_floor
        if theirs.ours_is is not None:
            ratios[f"{case}, beside faiss"] = theirs.ours_is.median
    for result in rqvae_steps.measure(steps=2, batch=2048, rounds=rounds):
        if result.ours_is is not None:
            ratios[f"{result.precision} training steps, beside {result.name}"] = (
                result.ours_is.median
            )
    return ratios


def slower(
    found: dict[str, float], stored: dict[str, float], tolerance: float
) -> dict[str, tuple[float, float]]:
    """Return name -> (found, stored) of ratios that fell by more than the tolerance.

    A ratio that only one of both has is not compared.
    """
    return {
        name: (found[name], stored[name])
        for name in found
        if name in stored and found[name] < stored[name] * (1 - tolerance)
    }


def table(found: dict[str, float], stored: dict[str, float]) -> str:
    """Return both as lines of equal columns."""
    rows = [
        [name, f"{value:.2f}", f"{stored[name]:.2f}" if name in stored else "-"]
        for name, value in found.items()
    ]
    return columns(["", "now", "stored"], rows)


def main() -> None:
    """Measure, compare and warn."""
    parser = argparse.ArgumentParser(description="Compare a short run with stored ratios.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=0.25, help="share that is forgiven")
    parser.add_argument("--store", action="store_true", help="replace the stored ratios")
    args = parser.parse_args()
    kept = json.loads(STORED.read_text()) if STORED.exists() else {"processor": "", "ratios": {}}
    stored = kept["ratios"]
    found = measure(args.rounds)
    print(machine_lines())
    if kept["processor"] != processor():
        print(f"stored on another processor ({kept['processor']}), whose ratios may be others")
    print(table(found, stored))
    for name, (now, before) in slower(found, stored, args.tolerance).items():
        print(f"warning: {name}: {now:.2f}, stored {before:.2f}; run again on an idle machine")
    if args.store:
        kept = {"processor": processor(), "ratios": {n: round(v, 3) for n, v in found.items()}}
        STORED.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
