"""Neighbourhoods: whether items that are near by their features are near by their codes.

Codes tie: items with one code are equally near. All figures are the expectation over random
orders among equal distances, so they depend on no order of the items (McSherry and Najork 2008,
"Computing information retrieval performance measures efficiently in the presence of tied
scores"). Distances that are equal as float32 numbers are equal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from semantic_ids.features import BLOCK_ROWS
from semantic_ids.fused import Fused
from semantic_ids.progress import progress_bar

_K = 10
_QUERIES = 1000
_PAIRS = 20_000
#: A squared distance below this share of the squared norms is float64 rounding.
_NO_DISTANCE = 1e-12


@dataclass(frozen=True)
class Neighbourhoods:
    """How far the distances of codes are those of features.

    Attributes
    ----------
    k : neighbours looked at: 10, or all others where there are fewer.
    queries : items whose neighbours were looked for among all others, drawn at random.
    recall : share of the k nearest items by features that are among the k nearest by codes.
    ndcg : the same with a weight of 1 / log2(rank + 1) by the rank among the nearest by codes.
    by_chance : recall of random codes, k / (N - 1).
    spearman : rank correlation of both distances over pairs of items; None where all distances
        of one kind are equal.
    pairs : number of pairs, drawn at random; all pairs where there are not more.
    """

    k: int
    queries: int
    recall: float
    ndcg: float
    by_chance: float
    spearman: float | None
    pairs: int


class Space(Protocol):
    """Items as points, a few thousand at a time, and how far they are from each other."""

    def blocks(self, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Go through the points (n, d) of some items, or of all, in order."""
        ...

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the distances (m, n) float32 of all of m points to all of n points."""
        ...

    def along(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the distances (n,) of n points to n points, pair by pair."""
        ...


class VectorSpace:
    """Vectors with the squared Euclidean distance.

    Parameters
    ----------
    blocks : goes through the vectors (n, d) of some items, or of all, block by block.

    Examples
    --------
    >>> space = VectorSpace(lambda rows=None: iter([np.eye(2)]))
    >>> space.between(np.eye(2), np.eye(2))
    array([[0., 2.],
           [2., 0.]], dtype=float32)
    """

    def __init__(self, blocks: Callable[[np.ndarray | None], Iterator[np.ndarray]]) -> None:
        self._blocks = blocks

    @classmethod
    def fused(cls, fused: Fused) -> "VectorSpace":
        """Return the space of fused features."""
        return cls(lambda rows: (latent.matrix for latent in fused.blocks(rows)))

    @classmethod
    def decoded(
        cls, decode: Callable[[np.ndarray], np.ndarray], codes: np.ndarray
    ) -> "VectorSpace":
        """Return the space of the vectors that codes (N, L) decode to."""
        return cls(lambda rows: map(decode, _parts(codes, rows)))

    def blocks(self, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Go through the vectors."""
        return self._blocks(rows)

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return squared distances (m, n) float32."""
        one, other = one.astype(np.float64), other.astype(np.float64)
        squares = one @ other.T
        norms = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
        squares *= -2
        squares += norms
        norms *= _NO_DISTANCE
        squares[squares < norms] = 0
        return squares.astype(np.float32)

    def along(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return squared distances (n,) float32."""
        return ((one.astype(np.float64) - other) ** 2).sum(axis=1).astype(np.float32)


class CodeSpace:
    """Codes without vectors: levels that differ.

    Ordered codes differ from the first level on that is not the same (L less the length of the
    shared prefix), others at each level that is not (Hamming distance).

    Parameters
    ----------
    codes : (N, L) int32.
    ordered : whether each level refines the levels before it.

    Examples
    --------
    >>> space = CodeSpace(np.array([[1, 2, 3], [1, 0, 3]]), ordered=True)
    >>> space.between(space.codes, space.codes).tolist()
    [[0.0, 2.0], [2.0, 0.0]]
    """

    def __init__(self, codes: np.ndarray, *, ordered: bool) -> None:
        self.codes = codes
        self.ordered = ordered

    def blocks(self, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Go through the codes."""
        return _parts(self.codes, rows)

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return numbers of levels (m, n) float32."""
        return self._differing(one[:, None], other[None])

    def along(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return numbers of levels (n,) float32."""
        return self._differing(one, other)

    def _differing(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        differs = one[..., 0] != other[..., 0]
        count = differs.astype(np.float32)
        for level in range(1, one.shape[-1]):
            here = one[..., level] != other[..., level]
            differs = here | differs if self.ordered else here
            count += differs
        return count


def _parts(array: np.ndarray, rows: np.ndarray | None) -> Iterator[np.ndarray]:
    chosen = array if rows is None else array[rows]
    return (chosen[start : start + BLOCK_ROWS] for start in range(0, len(chosen), BLOCK_ROWS))


def measure_neighbourhoods(
    features: Space,
    codes: Sequence[Space],
    n: int,
    *,
    seed: int = 0,
    progress: bool | None = False,
) -> list[Neighbourhoods | None]:
    """Compare the neighbours in the space of features with those in each space of codes.

    Walks twice over all items and holds the distances of all queries to one block at a time.

    Parameters
    ----------
    features : of n items.
    codes : of the same items, one or several spaces.
    n : number of items; figures are None where there is but one.
    seed : where the random numbers of the queries and pairs begin.
    progress : show a bar; None shows it in a terminal.
    """
    if n == 1:
        return [None] * len(codes)
    rng = np.random.default_rng(seed)
    queries = np.sort(rng.choice(n, size=min(n, _QUERIES), replace=False))
    one, other = _pairs(n, rng)
    k = min(_K, n - 1)
    spaces = (features, *codes)
    asked = [np.concatenate(list(space.blocks(queries))) for space in spaces]
    with progress_bar(description="neighbours", total=2 * n, progress=progress) as bar:
        nearest = [np.full((len(queries), k), np.inf, dtype=np.float32) for _ in spaces]
        for distances in _walk(spaces, asked, queries):
            for place, found in enumerate(distances):
                both = np.concatenate([nearest[place], found], axis=1)
                nearest[place] = np.partition(both, k - 1, axis=1)[:, :k]
            bar.update(distances[0].shape[1])
        overlaps = [_Overlap(np.sort(nearest[0]), np.sort(part)) for part in nearest[1:]]
        for distances in _walk(spaces, asked, queries):
            for overlap, found in zip(overlaps, distances[1:], strict=True):
                overlap.add(distances[0], found)
            bar.update(distances[0].shape[1])
    apart = [_pair_distances(space, one, other) for space in spaces]
    figures: list[Neighbourhoods | None] = []
    for overlap, found in zip(overlaps, apart[1:], strict=True):
        recall, ndcg = overlap.gains()
        spearman = _spearman(apart[0], found)
        figures.append(
            Neighbourhoods(k, len(queries), recall, ndcg, k / (n - 1), spearman, len(one))
        )
    return figures


def _walk(
    spaces: Sequence[Space], asked: Sequence[np.ndarray], queries: np.ndarray
) -> Iterator[list[np.ndarray]]:
    """Yield the distances (Q, n) of the queries to each block of items, one array a space."""
    start = 0
    for blocks in zip(*(space.blocks() for space in spaces), strict=True):
        distances = [
            space.between(points, block)
            for space, points, block in zip(spaces, asked, blocks, strict=True)
        ]
        stop = start + len(blocks[0])
        itself = np.flatnonzero((queries >= start) & (queries < stop))
        for found in distances:
            found[itself, queries[itself] - start] = np.inf
        yield distances
        start = stop


class _Overlap:
    """Expected overlap of the k nearest by features with the k nearest by codes.

    An item farther by features than the k-th nearest does not count, one as far as that counts
    with the probability that a random order among those takes it in. By codes, items that are
    equally far share the gains of the positions that they fill.

    Parameters
    ----------
    features, codes : (Q, k) the k smallest distances of each query, ascending.
    """

    def __init__(self, features: np.ndarray, codes: np.ndarray) -> None:
        self._features, self._codes = features, codes
        k = features.shape[1]
        self._position_gains = np.stack([np.ones(k), 1 / np.log2(np.arange(k) + 2)])
        # Sums of gains by query, whether the item ties with the k-th by features, and by codes.
        self._sums = np.zeros((2, len(features), 2, 2))
        self._ties = np.zeros((2, len(features)))

    def add(self, features: np.ndarray, codes: np.ndarray) -> None:
        """Take in the distances (Q, n) of the queries to a block of items."""
        last_feature, last_code = self._features[:, -1:], self._codes[:, -1:]
        self._ties += (features == last_feature).sum(axis=1), (codes == last_code).sum(axis=1)
        query, item = np.nonzero((features <= last_feature) & (codes <= last_code))
        code = codes[query, item]
        by_feature = (features[query, item] == last_feature[query, 0]).astype(np.intp)
        by_code = (code == last_code[query, 0]).astype(np.intp)
        filled = self._codes[query] == code[:, None]
        # How many fill the positions of the k-th is known only when all were seen.
        fillers = np.where(by_code, 1, filled.sum(axis=1))
        for sums, gains in zip(self._sums, self._position_gains, strict=True):
            np.add.at(sums, (query, by_feature, by_code), filled @ gains / fillers)

    def gains(self) -> tuple[float, float]:
        """Return recall and NDCG, the means over the queries."""
        k = self._features.shape[1]
        nearer = (self._features < self._features[:, -1:]).sum(axis=1)
        feature_ties, code_ties = self._ties
        by_query = self._sums[..., 0] + self._sums[..., 1] / code_ties[:, None]
        by_query = by_query[..., 0] + by_query[..., 1] * ((k - nearer) / feature_ties)
        recall, ndcg = by_query.mean(axis=1) / self._position_gains.sum(axis=1)
        return float(recall), float(ndcg)


def _pairs(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of different items: all of them, or _PAIRS at random."""
    if n * (n - 1) // 2 <= _PAIRS:
        return np.triu_indices(n, 1)
    one = rng.integers(n, size=_PAIRS)
    return one, (one + rng.integers(1, n, size=_PAIRS)) % n


def _pair_distances(space: Space, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    blocks = zip(space.blocks(one), space.blocks(other), strict=True)
    return np.concatenate([space.along(a, b) for a, b in blocks])


def _spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if (one == one[0]).all() or (other == other[0]).all():
        return None
    return float(spearmanr(one, other)[0])  # type: ignore[arg-type]
