"""Made-up vectors like those of items: clustered, and of few directions beside a little noise."""

from pathlib import Path

import numpy as np

_BLOCK = 1 << 14
_CLUSTERS, _DIRECTIONS, _NOISE = 1000, 32, 0.05


def clustered(items: int, width: int, seed: int) -> np.ndarray:
    """Draw (items, width) float32; clusters and directions are those of every seed."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((_CLUSTERS, _DIRECTIONS), dtype=np.float32)
    directions = rng.standard_normal((_DIRECTIONS, width), dtype=np.float32)
    rng = np.random.default_rng(seed)
    inner = centres[rng.integers(_CLUSTERS, size=items)]
    inner += rng.standard_normal(inner.shape, dtype=np.float32)
    return inner @ directions + _NOISE * rng.standard_normal((items, width), dtype=np.float32)


def mapped(path: Path, items: int, width: int) -> np.ndarray:
    """Write clustered vectors into a .npy file, block by block, and map it read-only."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(items, width))
    for number, start in enumerate(range(0, items, _BLOCK)):
        rows = min(_BLOCK, items - start)
        out[start : start + rows] = clustered(rows, width, seed=1 + number)
    out.flush()
    del out
    return np.load(path, mmap_mode="r")


def relative_error(x: np.ndarray, decoded: np.ndarray) -> float:
    """Return the squared error over the squared distance to the mean, summed in float64."""
    mean, left, spread = x.mean(axis=0, dtype=np.float64), 0.0, 0.0
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        left += np.square(x[block] - decoded[block], dtype=np.float64).sum()
        spread += np.square(x[block] - mean).sum()
    return float(left / spread) if left else 0.0
