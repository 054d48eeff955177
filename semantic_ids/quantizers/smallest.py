"""The smallest values of each row, in a fixed order."""

import numpy as np

_PARTS = 8  # into how many a row is cut, whose values side by side make one minimum


def smallest(values: np.ndarray, m: int) -> np.ndarray:
    """Return the columns (n, min(m, W)) of each row's m smallest values, by (value, column).

    Columns are looked at in groups. At least m values are no larger than the m-th smallest
    minimum of a group, so nothing outside the groups with the m smallest minima is needed.

    Parameters
    ----------
    values : (n, W) float, no NaN; fastest where rows lie side by side.
    m : how many, at least 1.

    Examples
    --------
    >>> smallest(np.array([[3.0, 1.0, 2.0, 1.0]]), 3)
    array([[1, 3, 2]])
    """
    n, width = values.shape
    if m == 1:
        return values.argmin(axis=1)[:, None]
    if m >= width:
        return np.argsort(values, axis=1, kind="stable")
    # With few groups beside m the smallest values hardly narrow down.
    parts = _PARTS if width >= 8 * _PARTS * m else 1
    lanes = -(-width // parts)
    minima = _minima(values, lanes)
    limit = np.partition(minima, m - 1, axis=1)[:, m - 1, None]
    row, lane = np.divmod(np.flatnonzero(minima <= limit), lanes)
    column = lane[:, None] + lanes * np.arange(parts)
    close = values.reshape(-1).take(row[:, None] * width + column, mode="clip")
    found = np.flatnonzero((close <= limit[row]) & (column < width))
    row, column, close = row[found // parts], column.reshape(-1)[found], close.reshape(-1)[found]
    counts = np.bincount(row, minlength=n)
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    few = np.full((n, counts.max()), np.inf)
    columns = np.full(few.shape, width)
    few[row, place], columns[row, place] = close, column
    order = np.lexsort((columns, few), axis=1)[:, :m]
    return np.take_along_axis(columns, order, axis=1)


def _minima(values: np.ndarray, lanes: int) -> np.ndarray:
    """Return the minima (n, lanes) of the columns that lie `lanes` apart."""
    if lanes == values.shape[1]:
        return values
    minima = values[:, :lanes].copy()
    for start in range(lanes, values.shape[1], lanes):
        part = values[:, start : start + lanes]
        np.minimum(minima[:, : part.shape[1]], part, out=minima[:, : part.shape[1]])
    return minima
