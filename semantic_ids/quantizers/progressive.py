"""Progressive codebooks: entries that know what the levels before them have taken away."""

from collections.abc import Sequence

import numpy as np

from semantic_ids.quantizers.residual import ResidualCodebooks

_BLOCK_ROWS = 4096


class ProgressiveCodebooks:
    """Codebooks of residuals beside the weighted sums of the entries that led to them.

    At level l a row x with residual r is looked up as (r, weight * (x - r)), r and x - r rounded
    to float32, and the residual half of the nearest entry is taken away from r (PSRQ, arXiv
    2508.20359, where the weight is 1). The first level has no second half.

    Parameters
    ----------
    books : one float32 array a level, (K_0, d) and then (K_l, 2 d).
    weight : of the second half, more than 0.
    """

    def __init__(self, books: Sequence[np.ndarray], weight: float) -> None:
        self.books = tuple(books)
        self.weight = weight
        self.width = books[0].shape[1]
        self._levels = [ResidualCodebooks([book]) for book in books]

    @property
    def residual_halves(self) -> list[np.ndarray]:
        """What each entry takes away, (K_l, d) a level."""
        return [book[:, : self.width] for book in self.books]

    def codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return the codes (N, L) int32 of float32 rows (N, d)."""
        codes = np.empty((len(matrix), len(self.books)), dtype=np.int32)
        for start in range(0, len(matrix), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            x = matrix[block]
            residual = x.astype(np.float64)
            for level, search in enumerate(self._levels):
                seen = looked_up(x, residual, self.weight) if level else x
                codes[block, level] = search.greedy_codes(seen)[:, 0]
                residual -= self.books[level][codes[block, level], : self.width]
        return codes


def looked_up(x: np.ndarray, residual: np.ndarray, weight: float) -> np.ndarray:
    """Return rows (n, 2 d) float32: the residual, and the weighted rest of x.

    Examples
    --------
    >>> looked_up(np.array([[5.0]]), np.array([[2.0]]), 0.5)
    array([[2. , 1.5]], dtype=float32)
    """
    return np.concatenate([residual, weight * (x - residual)], axis=1, dtype=np.float32)
