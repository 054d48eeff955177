"""Missing modalities predicted from those that are there."""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from semantic_ids.exact import exact_product, exact_solve


class RidgeImputation:
    """Ridge regression of the columns of any modalities on those of the others.

    All of these regressions follow from one matrix S of centred products between columns: what
    is missing is ``mean_m + (x_s - mean_s) (S_ss + penalty I)^-1 S_sm``, the conditional mean of
    a Gaussian with a regularised covariance. The weights of a pattern of missing modalities are
    worked out when it first occurs.

    Parameters
    ----------
    mean : (d,) float64, of each column over the complete rows.
    products : (d, d) float64, sums of products of centred columns over these rows.
    penalty : added to the diagonal; the ``alpha`` of ridge regression.
    blocks : columns of each modality.
    """

    def __init__(
        self, mean: np.ndarray, products: np.ndarray, penalty: float, blocks: Sequence[slice]
    ) -> None:
        self.mean = mean
        self.products = products
        self._penalty = penalty
        widths = [block.stop - block.start for block in blocks]
        self._modality = np.repeat(np.arange(len(blocks)), widths)  # of each column
        self._weights: dict[bytes, np.ndarray] = {}

    @classmethod
    def of(cls, rows: Iterable[np.ndarray], penalty: float, blocks: Sequence[slice]) -> Self:
        """Measure rows without missing modalities, block by block.

        Raises
        ------
        ValueError
            if there are fewer than two such rows.
        """
        count, total, products = 0, np.zeros(()), np.zeros(())
        for block in rows:
            wide = block.astype(np.float64)
            count += len(wide)
            total = total + wide.sum(axis=0)
            products = products + wide.T @ wide
        if count < 2:
            raise ValueError(
                f"impute='ridge' learns from items that have every modality, at least 2; got "
                f"{count}; use impute='mean'"
            )
        mean = total / count
        return cls(mean, products - count * np.outer(mean, mean), penalty, blocks)

    def fill(self, matrix: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return float32 rows (n, d) with the columns of absent modalities predicted.

        A row depends on itself alone, bit for bit. Rows without any modality stay as they are.
        """
        filled = matrix.copy()
        for pattern in np.unique(present, axis=0):
            known = pattern[self._modality]
            if known.all() or not known.any():
                continue
            rows = np.flatnonzero((present == pattern).all(axis=1))
            deviations = matrix[np.ix_(rows, known)] - self.mean[known]
            with np.errstate(over="ignore", invalid="ignore"):
                predicted = exact_product(deviations, self._weights_of(pattern)) + self.mean[~known]
                filled[np.ix_(rows, ~known)] = predicted.astype(np.float32)
        return filled

    def _weights_of(self, pattern: np.ndarray) -> np.ndarray:
        """Return the weights (known columns, missing columns) of a pattern of modalities."""
        key = pattern.tobytes()
        if key not in self._weights:
            known = pattern[self._modality]
            among = self.products[np.ix_(known, known)] + self._penalty * np.eye(known.sum())
            self._weights[key] = exact_solve(among, self.products[np.ix_(known, ~known)])
        return self._weights[key]
