"""Codebooks of all levels re-estimated together, as those of an additive quantizer."""

from collections.abc import Sequence

import numpy as np

from semantic_ids.progress import progress_bar
from semantic_ids.quantizers.beam import BeamSearch
from semantic_ids.quantizers.kmeans import cluster_sums
from semantic_ids.quantizers.residual import ResidualCodebooks

#: Coordinate passes over the codes in each round.
_PASSES = 2
#: Rounds at the end whose codes come from the search that will encode.
_SETTLING = 2
#: Times that the entries of each level are solved for in each round, given those of the others.
_SWEEPS = 3


def refine_codebooks(
    matrix: np.ndarray,
    codebooks: Sequence[np.ndarray],
    *,
    rounds: int,
    beam: int,
    passes: int,
    seed: int,
    progress: bool | None = None,
) -> list[np.ndarray]:
    """Lower the squared error of sums of entries by rounds of new codes and new codebooks.

    Each round finds codes by coordinate passes from those of the round before, and then the
    codebooks of least squared error for them. The passes see the codebooks with noise, whose
    deviation is that of the columns over the number of levels, times a temperature that falls
    as the square root of the share of rounds still to come: without it the rounds soon stand
    still. In the last rounds there is no noise, and the codes are those that a search with
    `beam` and `passes` finds, which may not be those that the rounds would keep.

    Parameters
    ----------
    matrix : (N, d) float32.
    codebooks : one array (K_l, d) a level, to begin with.
    rounds : how many rounds, at least 1.
    beam, passes : of the search that will encode.
    seed : where the random numbers of the noise begin.
    progress : show a bar over the rounds; None shows it in a terminal.

    Returns
    -------
    codebooks : float32, of the same shapes.

    References
    ----------
    Babenko and Lempitsky, "Additive Quantization for Extreme Vector Compression", CVPR 2014.
    Martinez et al., "LSQ++: Lower Running Time and Higher Recall in Multi-Codebook
    Quantization", ECCV 2018: the noise.
    """
    rng = np.random.default_rng(seed)
    deviation = matrix.std(axis=0, dtype=np.float64) / len(codebooks)
    codes = ResidualCodebooks(codebooks).greedy_codes(matrix)
    books = [book.astype(np.float64) for book in codebooks]
    noisy_rounds = rounds - max(1, min(_SETTLING, rounds // 4))
    for done in progress_bar(range(rounds), description="joint codebooks", progress=progress):
        if done < noisy_rounds:
            heat = (1 - (done + 1) / noisy_rounds) ** 0.5
            noisy = [book + heat * deviation * rng.normal(size=book.shape) for book in books]
            codes = BeamSearch(noisy).improve(matrix, codes, passes=_PASSES)
        else:
            codes = BeamSearch(books).first(matrix, beam, passes=passes)
        books = least_squares(matrix, books, codes)
    return [book.astype(np.float32) for book in books]


def least_squares(
    matrix: np.ndarray, codebooks: Sequence[np.ndarray], codes: np.ndarray
) -> list[np.ndarray]:
    """Move entries towards the least squared error of given codes, by block Gauss-Seidel.

    Level by level, each entry becomes the mean of what the other levels leave over of its rows,
    a few times over. Entries without rows take over the rows that are worst off, one each; where
    none has an error, they stay.

    Parameters
    ----------
    matrix : (N, d).
    codebooks : one array (K_l, d) a level, to begin with.
    codes : (N, L) int32.

    Returns
    -------
    codebooks : float64, of the same shapes.

    Examples
    --------
    >>> books = least_squares(np.array([[1.0], [3.0]]), [np.zeros((2, 1))], np.array([[0], [0]]))
    >>> books[0].ravel().tolist()  # the mean of both rows, and the first of the two worst
    [2.0, 1.0]
    """
    books = [book.astype(np.float64) for book in codebooks]
    counts = [np.bincount(codes[:, i], minlength=len(b))[:, None] for i, b in enumerate(books)]
    residual = matrix.astype(np.float64)
    for level, book in enumerate(books):
        residual -= book[codes[:, level]]
    for _ in range(_SWEEPS):
        for level, book in enumerate(books):
            moved = cluster_sums(residual, codes[:, level], len(book))
            moved /= np.maximum(counts[level], 1)
            book += moved
            residual -= moved[codes[:, level]]
    _revive(books, codes, counts, residual)
    return books


def _revive(
    books: list[np.ndarray], codes: np.ndarray, counts: list[np.ndarray], residual: np.ndarray
) -> None:
    """Give each entry without rows what would leave one of the worst rows without an error."""
    errors = (residual**2).sum(axis=1)
    worst = iter(np.argsort(-errors, kind="stable")[: np.count_nonzero(errors)])
    for level, book in enumerate(books):
        dead = np.flatnonzero(counts[level] == 0)
        for entry, row in zip(dead, worst, strict=False):
            book[entry] = book[codes[row, level]] + residual[row]
