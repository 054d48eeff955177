"""RQ-KMeans: residual quantization by k-means."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from semantic_ids.latent import Latent, check_range
from semantic_ids.progress import progress_bar
from semantic_ids.quantizers.balanced import balanced_kmeans
from semantic_ids.quantizers.base import Arrays, check_enough_rows
from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.fitted_residual import FittedResidual
from semantic_ids.quantizers.joint import refine_codebooks
from semantic_ids.quantizers.kmeans import kmeans
from semantic_ids.quantizers.levelled import Levelled
from semantic_ids.quantizers.progressive import ProgressiveCodebooks, looked_up
from semantic_ids.quantizers.residual import ResidualCodebooks
from semantic_ids.side import Side
from semantic_ids.storage import stored_array

#: Coordinate passes at encoding, at most.
_PASSES = 4
_BLOCK_ROWS = 1 << 14


class RQKMeans(Levelled):
    """Residual quantization by k-means: level l clusters what levels < l left over.

    Each level is one k-means with k-means++ starts; a row's code at a level is the
    nearest centroid. `RQKMeans.fine()` has smaller errors for more time.

    Parameters
    ----------
    levels : number of codes an item gets, 1-64.
    codebook_size : entries of each level's codebook, one number or one a level.
    iterations : k-means iterations a level, at most; a level ends with one that changes little.
    restarts : k-means runs a level; the one with the smallest error is kept.
    beam : partial codes that encoding keeps a level; 1 is the greedy search.
    refine : rounds in which the codebooks of all levels are estimated again, together (see
        `refine_codebooks`). Encoding then ends with coordinate passes: each level in turn takes
        the entry of least error given the others, until nothing gets better. Levels are then
        less coarse to fine than without: the code is one of their sum.
    balanced : let each entry have about the same number of items while training, at most
        N / codebook_size rounded up; encoding is by the nearest entry all the same. That evens
        out how often codes are used, at a larger error, and does not by itself remove
        collisions.
    prefix_weight : weight of what has been taken away so far beside what is left, from the
        second level on (PSRQ, arXiv 2508.20359, where it is 1). The later codes then still know
        what the first one says; good as side features of a ranker, wrong as the identifier of
        an item, since level 2 becomes largely a function of level 1 and far fewer items have a
        code of their own. 0 for identifiers.
    seed : where the random numbers of the starts and of the sample begin.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
    >>> fitted = RQKMeans(levels=3, codebook_size=16).fit(vectors)
    >>> codes = fitted.encode(vectors)
    >>> codes.shape, fitted.decode(codes).shape
    ((1000, 3), (1000, 8))
    >>> fine = RQKMeans.fine(levels=3, codebook_size=16).fit(vectors)
    >>> bool(fine.errors(vectors, fine.encode(vectors))[:, -1].sum()
    ...      < fitted.errors(vectors, codes)[:, -1].sum())
    True
    """

    kind: Literal["rq-kmeans"] = "rq-kmeans"
    iterations: int = Field(default=25, ge=1)
    restarts: int = Field(default=1, ge=1, le=100)
    beam: int = Field(default=1, ge=1, le=1024)
    refine: int = Field(default=0, ge=0, le=1000)
    balanced: bool = False
    prefix_weight: float = Field(default=0.0, ge=0, le=2)
    seed: int = Field(default=0, ge=0, lt=2**31 - 64)

    @classmethod
    def fine(cls, **fields: Any) -> "RQKMeans":
        """Return the spec with a beam, joint codebooks and two starts, for smaller errors.

        Parameters
        ----------
        fields : of the spec, in place of this preset's.

        Examples
        --------
        >>> spec = RQKMeans.fine(levels=3)
        >>> spec.beam, spec.refine
        (8, 20)
        """
        return cls(**{"beam": 8, "refine": 20, "restarts": 2, **fields})

    @model_validator(mode="after")
    def _compatible(self) -> "RQKMeans":
        if self.prefix_weight > 0 and (self.beam > 1 or self.refine > 0):
            raise ValueError(
                f"prefix_weight={self.prefix_weight:g}: its codes are not those of least error; "
                "expected beam=1 and refine=0 with it"
            )
        if self.balanced and self.refine > 0:
            raise ValueError(
                f"balanced: refine={self.refine} would estimate the codebooks again without it; "
                "choose one of the two"
            )
        return self

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedRQKMeans":
        """Learn the codebooks level by level.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : not used.
        progress : show a bar over the levels; None shows it in a terminal.

        Raises
        ------
        ValueError
            if there are fewer rows than entries in a codebook, or the rows are not finite.
        """
        matrix = Latent.of(latent).matrix
        check_enough_rows(len(matrix), max(self.codebook_sizes))
        books, residual = [], matrix.copy()
        levels = progress_bar(self.codebook_sizes, description="codebooks", progress=progress)
        for level, _ in enumerate(levels):
            wide = level > 0 and self.prefix_weight > 0
            seen = looked_up(matrix, residual, self.prefix_weight) if wide else residual
            books.append(self._best_book(seen, level))
            if level < self.levels - 1:
                _take_away(residual, seen, books[-1])
        if self.refine > 0:
            books = refine_codebooks(
                matrix,
                books,
                rounds=self.refine,
                beam=self.beam,
                passes=_PASSES,
                seed=self.seed,
                progress=progress,
            )
        return FittedRQKMeans(self, books)

    def _best_book(self, seen: np.ndarray, level: int) -> np.ndarray:
        """Return the codebook of least error of several k-means runs."""
        cluster = balanced_kmeans if self.balanced else kmeans
        size, found = self.codebook_sizes[level], []
        for run in range(self.restarts):
            seed = (self.seed + level + 64 * run) % 2**31
            found.append(cluster(seen, size, iterations=self.iterations, seed=seed))
        if len(found) == 1:
            return found[0]
        searches = (ResidualCodebooks([book]) for book in found)
        errors = [search.errors(seen, search.greedy_codes(seen)).sum() for search in searches]
        return found[int(np.argmin(errors))]

    def restore(self, arrays: Arrays) -> "FittedRQKMeans":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        books, width = [], None
        for level, size in enumerate(self.codebook_sizes):
            wide = level > 0 and self.prefix_weight > 0
            expected = width and width * (1 + wide)
            book = stored_array(arrays, f"codebook.{level}", (size, expected))
            check_range(book, f"codebook.{level}")
            books.append(book)
            width = books[0].shape[1]
        return FittedRQKMeans(self, books)


def _take_away(residual: np.ndarray, seen: np.ndarray, book: np.ndarray) -> None:
    """Take the entry that is nearest to what is seen of each row away from its residual."""
    search, width = ResidualCodebooks([book]), residual.shape[1]
    for rows in blocks(len(seen), _BLOCK_ROWS):
        residual[rows] -= book[search.greedy_codes(seen[rows])[:, 0], :width]


class FittedRQKMeans(FittedResidual):
    """Fitted residual codebooks, and the search that the spec chose."""

    def __init__(self, spec: RQKMeans, books: Sequence[np.ndarray]) -> None:
        self._progressive = None
        if spec.prefix_weight > 0:
            self._progressive = ProgressiveCodebooks(books, spec.prefix_weight)
            books = self._progressive.residual_halves
        super().__init__(spec, ResidualCodebooks(books))
        self._beam, self._passes = spec.beam, _PASSES if spec.refine > 0 else 0

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32.

        By default at each level the nearest entry to what is left: distances closer than
        float32 can tell are decided in float64, the lowest index first. With `beam` or `refine`
        the best code that the beam and the coordinate passes find, see `BeamSearch`; with
        `prefix_weight` see `ProgressiveCodebooks`.
        """
        if self._progressive is not None:
            return self._progressive.codes(self._matrix(latent))
        if self._beam == 1 and self._passes == 0:
            return super().encode(latent)
        return self._search.beam_first(self._matrix(latent), self._beam, passes=self._passes)

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best codes a row that a beam of width m or more over all levels finds.

        Returns
        -------
        codes : (N, m', L) int32, best first; m' = min(m, number of codes).
        errors : (N, m') float64, squared distances.
        """
        wide = max(m, self._beam)
        codes, errors = self._search.beam_codes(self._matrix(latent), wide, passes=self._passes)
        return codes[:, :m], errors[:, :m]

    def arrays(self) -> Arrays:
        """Return the codebooks."""
        if self._progressive is None:
            return super().arrays()
        return {f"codebook.{level}": book for level, book in enumerate(self._progressive.books)}
