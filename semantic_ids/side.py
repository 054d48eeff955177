"""Side: arrays that only fitting uses, such as what people did with the items."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from semantic_ids.features import as_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, init=False, eq=False)
class Side:
    """What is known of the items of a fit beside their features; encoding never needs it.

    Each array has one row an item, in the order of the features. Specs say which of them they
    use, and refuse to be fitted without; what nobody uses is ignored.

    Parameters
    ----------
    collaborative : real array (N, c), vectors of who interacted with the items, finite.
    graph : sparse or dense array (N, N), weights of edges between items, finite, at least 0.
    counts : (N,) numbers, such as how often each item was bought; not NaN.
    labels : (N,) int, the category of each item from 0 on; -1 where none is known.
    prototypes : real array (K, d_m) of named points in the space of a modality, finite; the one
        array whose rows are not items.

    Raises
    ------
    TypeError
        if an array is not numeric.
    ValueError
        if a shape is wrong, the arrays are of different lengths, or a number is not valid.

    Examples
    --------
    >>> side = Side(counts=[3, 1, 4])
    >>> side.counts, len(side)
    (array([3., 1., 4.]), 3)
    """

    collaborative: np.ndarray | None
    graph: "csr_array | None"
    counts: np.ndarray | None
    labels: np.ndarray | None
    prototypes: np.ndarray | None

    def __init__(
        self,
        collaborative: Any = None,
        graph: Any = None,
        counts: Any = None,
        labels: Any = None,
        prototypes: Any = None,
    ) -> None:
        self._set(
            None if collaborative is None else _vectors(collaborative, "collaborative"),
            None if graph is None else _graph(graph),
            None if counts is None else _counts(counts),
            None if labels is None else _labels(labels),
            None if prototypes is None else _vectors(prototypes, "prototypes"),
        )
        lengths = {f"side.{name}": n for name, n in self._lengths().items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
            raise ValueError(f"every array of side needs one row an item, but {found}")

    def _set(self, *values: Any) -> None:
        names = ("collaborative", "graph", "counts", "labels", "prototypes")
        for name, value in zip(names, values, strict=True):
            object.__setattr__(self, name, value)

    def _lengths(self) -> dict[str, int]:
        arrays = {
            "collaborative": self.collaborative,
            "graph": self.graph,
            "counts": self.counts,
            "labels": self.labels,
        }
        return {name: _length(array) for name, array in arrays.items() if array is not None}

    def __len__(self) -> int:
        return next(iter(self._lengths().values()), 0)

    def check_length(self, n: int) -> None:
        """Refuse arrays that do not have n rows.

        Raises
        ------
        ValueError
            naming the array.
        """
        for name, length in self._lengths().items():
            if length != n:
                raise ValueError(f"side.{name}: {length:,} rows, but there are {n:,} items")

    def rows(self, index: np.ndarray) -> "Side":
        """Return the arrays of some of the items; of the graph, the edges between them."""
        part = object.__new__(Side)
        part._set(
            None if self.collaborative is None else self.collaborative[index],
            None if self.graph is None else _subgraph(self.graph, index),
            None if self.counts is None else self.counts[index],
            None if self.labels is None else self.labels[index],
            self.prototypes,
        )
        return part

    def __repr__(self) -> str:
        names = [*self._lengths(), *(["prototypes"] if self.prototypes is not None else [])]
        return f"Side({len(self):,} items; {', '.join(names) or 'nothing'})"


def _length(array: "np.ndarray | csr_array") -> int:
    return len(array) if isinstance(array, np.ndarray) else len(array.indptr) - 1


def _vectors(value: Any, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = as_matrix(value, f"side.{name}").astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(
            f"side.{name}: {len(bad)} rows hold NaN, infinity or numbers beyond float32 "
            f"(first: {bad[0]})"
        )
    return array


def _graph(value: Any) -> "csr_array":
    from scipy.sparse import csr_array

    given = csr_array(value)
    shape = tuple(given.shape or ())
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"side.graph: expected shape (N, N), got {shape}")
    if given.dtype.kind not in "fiub":
        raise TypeError(f"side.graph: expected real numbers, got {given.dtype}")
    graph = csr_array(given, dtype=np.float64)
    if not (np.isfinite(graph.data) & (graph.data >= 0)).all():
        raise ValueError("side.graph: expected finite weights of at least 0")
    graph.sum_duplicates()
    return graph


def _subgraph(graph: "csr_array", index: np.ndarray) -> "csr_array":
    from scipy.sparse import csr_array

    places = np.arange(len(index)), index
    chosen = csr_array((np.ones(len(index)), places), shape=(len(index), _length(graph)))
    return csr_array(chosen @ graph @ chosen.T)


def _counts(value: Any) -> np.ndarray:
    counts = np.asarray(value)
    if counts.ndim != 1 or counts.dtype.kind not in "fiub":
        raise ValueError(
            f"side.counts: expected numbers of shape (N,), got {counts.dtype} of shape "
            f"{counts.shape}"
        )
    counts = counts.astype(np.float64)
    unknown = np.flatnonzero(np.isnan(counts))
    if len(unknown):
        raise ValueError(
            f"side.counts: {len(unknown)} items have NaN (first: row {unknown[0]}); "
            "give 0 where nothing is known"
        )
    return counts


def _labels(value: Any) -> np.ndarray:
    labels = np.asarray(value)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"side.labels: expected integers of shape (N,), got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if (labels < -1).any():
        raise ValueError("side.labels: expected categories from 0 on, or -1 for none")
    return labels.astype(np.int64)
