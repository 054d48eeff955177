"""What the machine can do at most: one large matrix product in two precisions, one large copy.

Prints one table of GFLOP/s and GB/s, and writes the figures as JSON where `--out` says. The other
benchmarks of speed print the same in a line: encoding N rows of d columns at L levels of K entries
takes 2 N d K L operations in its products alone.

    OMP_NUM_THREADS=1 python benchmarks/ceilings.py

The float32 product is numpy's, which is what `encode` uses; the bfloat16 one is torch's, and says
nothing good where the processor has no instructions for it.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from turns import columns, libraries_line, spent, write_json

from semantic_ids.processor import has_bfloat16

_SIDE = 2048  # of the square matrices
_COPY = 1 << 26  # bytes


@dataclass(frozen=True)
class Ceilings:
    """Best of a few runs, on as many threads as the environment allows.

    Attributes
    ----------
    float32_gflops, bfloat16_gflops : thousand million operations a second of a matrix product.
    copy_gigabytes : thousand million bytes a second that are read and written, both counted.
    bfloat16_instructions : whether the processor has them.
    """

    float32_gflops: float
    bfloat16_gflops: float
    copy_gigabytes: float
    bfloat16_instructions: bool


def product_call(side: int = _SIDE) -> tuple[Callable[[], object], float]:
    """Return a float32 matrix product as a call, and its operations."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out), 2.0 * side**3


def bfloat16_call(side: int = _SIDE) -> tuple[Callable[[], object], float]:
    """Return a bfloat16 matrix product as a call, and its operations."""
    import torch

    a, b = (torch.randn(side, side).to(torch.bfloat16) for _ in range(2))
    return lambda: a @ b, 2.0 * side**3


def copy_call(size: int = _COPY) -> tuple[Callable[[], object], float]:
    """Return a copy as a call, and the bytes that it reads and writes."""
    source, target = np.ones(size, dtype=np.uint8), np.empty(size, dtype=np.uint8)
    return lambda: np.copyto(target, source), 2.0 * size


def best_rate(call: Callable[[], object], amount: float, runs: int = 5) -> float:
    """Return the largest of a few rates, in thousand millions a second of wall time."""
    call()
    return max(amount / spent(call).wall for _ in range(runs)) / 1e9


def measure() -> Ceilings:
    """Measure all of them."""
    return Ceilings(
        best_rate(*product_call()),
        best_rate(*bfloat16_call(), runs=2),
        best_rate(*copy_call()),
        has_bfloat16(),
    )


def table(ceilings: Ceilings) -> str:
    """Return the ceilings as lines of equal columns."""
    has = "" if ceilings.bfloat16_instructions else " (emulated)"
    rows = [
        ["float32 product", f"{ceilings.float32_gflops:,.0f} GFLOP/s"],
        [f"bfloat16 product{has}", f"{ceilings.bfloat16_gflops:,.0f} GFLOP/s"],
        ["copy, read and written", f"{ceilings.copy_gigabytes:,.1f} GB/s"],
    ]
    return columns(["", "at most"], rows)


def machine_lines() -> str:
    """Return what figures are to be read beside: libraries, and what the machine can do at most."""
    found = measure()
    return (
        f"{libraries_line()}\nat most {found.float32_gflops:,.0f} GFLOP/s float32, "
        f"{found.bfloat16_gflops:,.0f} bfloat16, copies {found.copy_gigabytes:,.1f} GB/s"
    )


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure what the machine can do at most.")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    found = measure()
    print(libraries_line())
    print(table(found))
    write_json(args.out, vars(args), [found])


if __name__ == "__main__":
    main()
