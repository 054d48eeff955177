"""Neighbours: the catalogue's items that are nearest to codes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.fitted import Fitted
from semantic_ids.ids import ItemId

By = Literal["vectors", "codes"]

_BLOCK_ROWS = 8192  # catalogue rows that are decoded together
_BLOCK_VALUES = 1 << 21  # numbers in work at a time

_UNIT64 = 2.0**-53  # unit roundoff of float64


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest items of n codes, nearest first.

    Attributes
    ----------
    ids : n tuples of k ids.
    distances : (n, k) float64, ascending. By vectors, the Euclidean distance between what the
        codes decode to, in the space of the fused vectors. By codes of ordered levels, the levels
        after the prefix that both share, plus the share of positions that differ; by parallel
        codes, the number of positions that differ.
    """

    ids: tuple[tuple[ItemId, ...], ...]
    distances: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def find_neighbours(fitted: Fitted, codes: Any, k: int, by: By | None) -> Neighbours:
    """Name the k nearest items of codes; see `Tokenizer.neighbours`."""
    catalogue = fitted.catalogue
    if not len(catalogue):
        raise ValueError("the catalogue is empty: it has no nearest items")
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k: expected a whole number, got {k!r}")
    if not 1 <= k <= len(catalogue):
        raise ValueError(f"k={k}: expected 1 to {len(catalogue)}, the number of items")
    if by not in (None, "vectors", "codes"):
        raise ValueError(f'by: expected "vectors", "codes" or None, got {by!r}')
    levels = catalogue.content_codes.shape[1]
    wanted = np.asarray(codes)
    if wanted.ndim and wanted.shape[-1] == len(catalogue.sizes):
        wanted = wanted[..., :levels]
    wanted = check_codes(wanted, catalogue.sizes[:levels])
    rows, distances = nearest(fitted, wanted, catalogue.codes[:, :levels], k, by)
    return Neighbours(tuple(tuple(catalogue.ids[row].tolist()) for row in rows), distances)


def nearest(
    fitted: Fitted, wanted: np.ndarray, codes: np.ndarray, k: int, by: By | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, k) int64 of the k nearest of `codes` and their distances (n, k) float64.

    Parameters
    ----------
    fitted : what decodes the codes, and says whether they are ordered.
    wanted, codes : (n, L) and (N, L) int32, valid.
    k : 1 to N.
    by : None for vectors where there is a codec, else codes.
    """
    if fitted.codec is None or by == "codes":
        return nearest_codes(wanted, codes, k, ordered=fitted.ordered)
    decode = fitted.codec.quantizer.decode
    return nearest_vectors(decode(wanted), decode, codes, k)


def nearest_vectors(
    vectors: np.ndarray, decode: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find what k codes decode to the vectors nearest to some, by (distance, row).

    Distances are those of direct differences in float64, and so is the order: a matrix product
    only rules out what its rounding error cannot bring among the k nearest.

    Parameters
    ----------
    vectors : (n, d) float32.
    decode : codes (m, L) to vectors (m, d) float32.
    codes : (N, L) int32; decoded block by block.
    k : 1 to N.

    Examples
    --------
    >>> rows, distances = nearest_vectors(
    ...     np.float32([[1.2]]), np.float32, np.array([[0], [2], [1]]), k=2)
    >>> rows.tolist(), distances.round(3).tolist()
    ([[2, 1]], [[0.2, 0.8]])
    """
    x, best = vectors.astype(np.float64), _Best(len(vectors), k)
    for start in range(0, len(codes), _BLOCK_ROWS):
        y = decode(codes[start : start + _BLOCK_ROWS]).astype(np.float64)
        for part in _parts(len(x), _BLOCK_VALUES // len(y)):
            query, row = _within_reach(x[part], y, best.limits(part), k)
            best.add(part, query, start + row, _squared_distances(x[part], y, query, row))
    return best.rows, np.sqrt(best.distances)


def _within_reach(
    x: np.ndarray, y: np.ndarray, limits: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows of x and y, all those that may be below the limits or the k nearest.

    With u the unit roundoff, a squared distance by products and one by differences each err by
    at most (d + 4) u (|x| + |y|)^2; the bound is twice their sum.
    """
    x_norms, y_norms = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    squares = x_norms[:, None] + (y_norms - 2 * (x @ y.T))
    reach = np.sqrt(x_norms) + np.sqrt(y_norms.max())
    bounds = 4 * (x.shape[1] + 4) * _UNIT64 * reach**2
    if k < len(y) and np.isinf(limits).any():
        limits = np.minimum(limits, np.partition(squares, k - 1, axis=1)[:, k - 1] + bounds)
    query, row = np.nonzero(squares <= (limits + bounds)[:, None])
    return query, row


def _squared_distances(
    x: np.ndarray, y: np.ndarray, query: np.ndarray, row: np.ndarray
) -> np.ndarray:
    squares = np.empty(len(query))
    for part in _parts(len(query), _BLOCK_VALUES // x.shape[1]):
        squares[part] = ((x[query[part]] - y[row[part]]) ** 2).sum(axis=1)
    return squares


def nearest_codes(
    wanted: np.ndarray, codes: np.ndarray, k: int, *, ordered: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k codes that agree most with some, by (distance, row).

    Parameters
    ----------
    wanted, codes : (n, L) and (N, L) int32.
    k : 1 to N.
    ordered : whether a longer prefix in common goes before all else.

    Examples
    --------
    >>> codes = np.array([[7, 1, 1], [0, 1, 2], [0, 9, 9]])
    >>> nearest_codes(np.array([[0, 1, 1]]), codes, 3, ordered=True)[0].tolist()
    [[1, 2, 0]]
    >>> nearest_codes(np.array([[0, 1, 1]]), codes, 3, ordered=False)[0].tolist()
    [[0, 1, 2]]
    """
    best, levels = _Best(len(wanted), k), codes.shape[1]
    for start in range(0, len(codes), _BLOCK_ROWS):
        block = codes[start : start + _BLOCK_ROWS]
        few = min(k, len(block))
        for part in _parts(len(wanted), _BLOCK_VALUES // len(block)):
            prefix, different = _agreement(wanted[part], block)
            steps = (levels - prefix) * (levels + 1) + different if ordered else different
            # Steps are whole numbers: with the row added to them no two are equal.
            keys = steps.astype(np.int64) * len(block) + np.arange(len(block))
            keys.partition(few - 1, axis=1)
            steps, row = np.divmod(keys[:, :few].ravel(), len(block))
            whole, rest = np.divmod(steps, levels + 1)
            distances = whole + rest / levels if ordered else steps.astype(np.float64)
            query = np.repeat(np.arange(len(prefix)), few)
            best.add(part, query, start + row, distances)
    return best.rows, best.distances


def _agreement(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the length of the prefix in common and the number of positions that differ."""
    alike = np.ones((len(one), len(other)), dtype=bool)
    prefix, different = np.zeros((2, *alike.shape), dtype=np.int32)
    for level in range(one.shape[1]):
        same = one[:, level, None] == other[:, level]
        alike &= same
        prefix += alike
        different += ~same
    return prefix, different


class _Best:
    """The k nearest rows so far of each of n queries, by (distance, row)."""

    def __init__(self, n: int, k: int) -> None:
        self.rows = np.full((n, k), np.iinfo(np.int64).max)
        self.distances = np.full((n, k), np.inf)

    def limits(self, part: slice) -> np.ndarray:
        """Return the distances (m,) beyond which a row is none of the nearest any more."""
        return self.distances[part, -1]

    def add(self, part: slice, query: np.ndarray, row: np.ndarray, distances: np.ndarray) -> None:
        """Take in pairs of a query, counted within the part, and a row."""
        n, k = self.rows[part].shape
        queries = np.concatenate([np.repeat(np.arange(n), k), query])
        rows = np.concatenate([self.rows[part].ravel(), row])
        distances = np.concatenate([self.distances[part].ravel(), distances])
        order = np.lexsort((rows, distances, queries))
        counts = np.bincount(queries, minlength=n)
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = order[place < k]
        self.rows[part] = rows[kept].reshape(n, k)
        self.distances[part] = distances[kept].reshape(n, k)


def _parts(n: int, size: int) -> list[slice]:
    """Split n rows into slices of at most `size`, of one at least."""
    return [slice(start, start + max(1, size)) for start in range(0, n, max(1, size))]
