"""What a recommender's score of an item is made of, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, repr=False)
class ScoreParts:
    """The score of one item as a sum of named parts.

    Attributes
    ----------
    item : row or id of the item.
    names : what each part is.
    parts : what each adds to the score.

    Examples
    --------
    >>> ScoreParts("lamp", ("code a", "text"), (1.5, -0.25))
    'lamp' scores 1.25
      +1.5   code a
      -0.25  text
    """

    item: str | int
    names: tuple[str, ...]
    parts: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse names and parts that do not belong together."""
        if len(self.names) != len(self.parts):
            raise ValueError(f"names: {len(self.names)} came with {len(self.parts)} parts")

    @property
    def score(self) -> float:
        """The sum of the parts."""
        return float(sum(self.parts))

    @property
    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Names with their parts, the largest in magnitude first, of equal ones the first."""
        pairs = zip(self.names, self.parts, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -abs(pair[1])))

    def __repr__(self) -> str:
        """Show all parts, the largest in magnitude first."""
        shown = [(f"{part:+.4g}", name) for name, part in self.ranked]
        width = max((len(number) for number, _ in shown), default=0)
        lines = [f"  {number:<{width}}  {name}" for number, name in shown]
        return "\n".join([f"{self.item!r} scores {self.score:.4g}", *lines])


def score_parts(
    query: np.ndarray,
    parts: Mapping[str, np.ndarray],
    row: int,
    *,
    item: str | int | None = None,
    temperature: float | None = None,
) -> ScoreParts:
    """Take the score of an item apart, whose vector is a sum of vectors.

    With the parts `v_m` of the item's vector `v` and the query `q`, part m adds `q . v_m` to the
    score `q . v`. Of the cosine it adds `q . v_m / (|q| |v| temperature)`: the length of the
    whole vector divides all parts alike, so that they still sum to the score.

    Parameters
    ----------
    query : (w,) float, what the recommender made of a history.
    parts : for each name, an array (N, w) of item vectors: the embeddings of a level's codes, a
        modality, a residual. The item's vector is their sum.
    row : of the item, 0 to N - 1.
    item : what to call it; its row, if left out.
    temperature : divides the cosine, above 0; None for the plain product.

    Returns
    -------
    ScoreParts
        computed in float64. A query or item of length 0 has cosine 0 with everything.

    Raises
    ------
    ValueError
        if there is no part, an array has another shape or holds what is not finite, or the row
        or the temperature is out of range.

    Examples
    --------
    >>> parts = {"code a": np.array([[3.0, 0.0]]), "code b": np.array([[0.0, 4.0]])}
    >>> score_parts(np.array([1.0, 1.0]), parts, row=0)
    0 scores 7
      +4  code b
      +3  code a
    >>> score_parts(np.array([0.0, 2.0]), parts, row=0, item="lamp", temperature=0.5)
    'lamp' scores 1.6
      +1.6  code b
      +0    code a
    """
    query = np.asarray(query, dtype=np.float64)
    if query.ndim != 1:
        raise ValueError(f"query: expected shape (w,), got {query.shape}")
    if not parts:
        raise ValueError("parts: expected one array or more, got none")
    if temperature is not None and not 0 < temperature < np.inf:
        raise ValueError(f"temperature={temperature} should be above 0, and finite")
    vectors = np.stack([_vector(name, part, query, row) for name, part in parts.items()])
    if not (np.isfinite(query).all() and np.isfinite(vectors).all()):
        raise ValueError("query and parts: expected finite numbers, got others")
    products = vectors @ query
    if temperature is not None:
        length = np.linalg.norm(query) * np.linalg.norm(vectors.sum(axis=0))
        products = products / (length * temperature) if length else np.zeros(len(products))
    return ScoreParts(row if item is None else item, tuple(parts), tuple(products.tolist()))


def _vector(name: str, part: np.ndarray, query: np.ndarray, row: int) -> np.ndarray:
    part = np.asarray(part)
    if part.ndim != 2 or part.shape[1] != len(query):
        raise ValueError(f"parts[{name!r}]: expected shape (N, {len(query)}), got {part.shape}")
    if not 0 <= row < len(part):
        raise ValueError(f"row={row} should be between 0 and {len(part) - 1}, for parts[{name!r}]")
    return part[row].astype(np.float64)
