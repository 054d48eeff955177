"""The definition of residual codes, written down naively."""

import numpy as np
import pytest


def nearest_level_by_level(codebooks, vectors):
    """Greedy codes by direct differences in float64, the lowest index where two are equal."""
    residual = np.asarray(vectors, dtype=np.float64)
    codes = np.empty((len(residual), len(codebooks)), dtype=np.int64)
    for level, book in enumerate(codebooks):
        book = np.asarray(book, dtype=np.float64)
        for row, rest in enumerate(residual):
            distances = ((rest - book) ** 2).sum(axis=1)
            codes[row, level] = distances.argmin()
        residual = residual - book[codes[:, level]]
    return codes


@pytest.fixture(scope="session")
def brute_force():
    return nearest_level_by_level
