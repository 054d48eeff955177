"""Distortion: what codes lose of the items, summed up block by block."""

import numpy as np

#: Variance below this share of the squared mean is float32 rounding.
_NO_VARIANCE = 1e-12


class ErrorSums:
    """Sum of squared errors over total variance, of rows that come block by block.

    Examples
    --------
    >>> sums = ErrorSums()
    >>> sums.add(np.array([[1.0]]), np.array([[0.0]]))
    >>> sums.add(np.array([[1.0]]), np.array([[4.0]]))
    >>> sums.relative()
    [0.25]
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: np.ndarray | float = 0.0
        self._variance = 0.0
        self._errors: np.ndarray | float = 0.0

    def add(self, errors: np.ndarray, matrix: np.ndarray) -> None:
        """Take in n >= 1 rows (n, d) and their squared errors after each level (n, L), float64."""
        n = len(matrix)
        mean = matrix.mean(axis=0, dtype=np.float64)
        between = float(((mean - self._mean) ** 2).sum())
        within = float(((matrix - mean) ** 2).sum())
        # Chan, Golub and LeVeque (1979): the variance of two sets taken together.
        self._variance += within + between * self._count * n / (self._count + n)
        self._mean = self._mean + (mean - self._mean) * n / (self._count + n)
        self._count += n
        self._errors = self._errors + errors.sum(axis=0)

    @property
    def variance(self) -> float:
        """Mean squared distance of a row to the mean; 0 where rows are the same to rounding."""
        if self._variance <= _NO_VARIANCE * float(np.sum(self._mean**2)) * self._count:
            return 0.0
        return self._variance / self._count

    def relative(self, variance: float | None = None) -> list[float] | None:
        """Return the mean squared error over a variance, L ratios; 0 where nothing is lost.

        Parameters
        ----------
        variance : of other rows, to compare with; that of these rows if left out.

        Returns
        -------
        ratios : None where something is lost, but there is no variance to compare it with.
        """
        errors = np.atleast_1d(self._errors) / self._count
        measure = self.variance if variance is None else variance
        if measure > 0:
            return (errors / measure).tolist()
        if (errors > _NO_VARIANCE * float(np.sum(self._mean**2))).any():
            return None
        return [0.0] * len(errors)
