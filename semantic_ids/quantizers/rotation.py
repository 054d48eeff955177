"""Rotations: learnt so that blocks of columns quantize well, and applied row by row alike."""

import numpy as np

from semantic_ids.progress import progress_bar
from semantic_ids.quantizers.parallel import ParallelCodebooks, column_blocks
from semantic_ids.quantizers.product_kmeans import ProductKMeans
from semantic_ids.quantizers.residual import _blocks

_UNIT64 = 2.0**-53  # unit roundoff of float64
_BLOCK_VALUES = 1 << 20
#: Training points for each entry of a codebook where there are more; as many as k-means takes.
_POINTS_PER_ENTRY = 256
#: k-means iterations before the first rotation is learnt; the codebooks move on with it.
_FIRST_ITERATIONS = 5
#: Eigenvalues below this share of the largest are rounding.
_NO_VARIANCE = 1e-9


def rotate(matrix: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return float32 rows (N, d) times a rotation (d, d) float64, rounded to float32.

    A value is the products summed in float64 from the first to the last, then rounded to float32.
    A matrix product, which sums in an order of its own, gives the same unless it is within the
    rounding error of float64 of the middle between two float32 numbers; such values are summed
    again. So a row's result depends on the row alone.

    Examples
    --------
    >>> quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> rotate(np.array([[3.0, 4.0]], dtype=np.float32), quarter)
    array([[-4.,  3.]], dtype=float32)
    """
    rotated = np.empty(matrix.shape, dtype=np.float32)
    width = len(rotation)
    columns = np.ascontiguousarray(rotation.T)
    for block in _blocks(len(matrix), _BLOCK_VALUES // width):
        x = matrix[block].astype(np.float64)
        products = x @ rotation
        # Both sums err by at most d u |x|; the two sides of the interval round once more.
        norms = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
        bounds = 2.02 * (width + 2) * _UNIT64 * norms + width * np.finfo(np.float64).tiny
        low = (products - bounds).astype(np.float32)
        rows, places = np.nonzero(low != (products + bounds).astype(np.float32))
        for part in _blocks(len(rows), _BLOCK_VALUES // width):
            terms = x[rows[part]] * columns[places[part]]
            low[rows[part], places[part]] = np.cumsum(terms, axis=1)[:, -1]
        rotated[block] = low + np.float32(0)  # no -0.0, which depends on the order of sums
    return rotated


def learn_rotation(
    matrix: np.ndarray, product: ProductKMeans, *, rounds: int, progress: bool | None = None
) -> np.ndarray:
    """Learn a rotation (d, d) float64 after which product quantization loses little.

    The non-parametric alternation of Ge et al. (2013): each round assigns the rotated rows to
    the entries of their slots, moves the entries to the means of their rows, and takes the
    rotation that brings the rows nearest to their entries (orthogonal Procrustes, by a singular
    value decomposition in float64). It starts from the principal axes, shared out between the
    slots so that the products of their variances are alike (section 3.2 of the paper).

    Parameters
    ----------
    matrix : (N, d) float32 rows.
    product : slots, codebook size and seed.
    rounds : how often the rotation is learnt anew; 0 for the start alone.
    progress : show a bar over the rounds; None shows it in a terminal.
    """
    most = _POINTS_PER_ENTRY * product.codebook_size
    if len(matrix) > most:
        rows = np.random.default_rng(product.seed).choice(len(matrix), size=most, replace=False)
        matrix = matrix[np.sort(rows)]
    rotation = balanced_axes(matrix, product.widths(matrix.shape[1]))
    if not rounds:
        return rotation
    first = product.model_copy(update={"iterations": _FIRST_ITERATIONS})
    fitted = first.fit(rotate(matrix, rotation), progress=False)
    search = ParallelCodebooks(fitted.codebooks, fitted.mean)
    for _ in progress_bar(range(rounds), description="rotations", progress=progress):
        rotated = rotate(matrix, rotation)
        codes = search.nearest_codes(rotated)
        search = ParallelCodebooks(_means(rotated, codes, search.codebooks), search.mean)
        rotation = _procrustes(matrix, search.decode(codes))
    return rotation


def balanced_axes(matrix: np.ndarray, widths: list[int]) -> np.ndarray:
    """Return the principal axes, as columns (d, d) float64, those of each block side by side.

    The axis with the most variance left goes to the block whose product of variances is the
    smallest so far, among those that still have room.
    """
    centred = matrix - matrix.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    variances = np.maximum(variances, _NO_VARIANCE * max(variances[-1], np.finfo(float).tiny))
    # Relative to the smallest: a product that never shrinks, as the greedy choice needs.
    logarithms = np.log(variances / variances[0])
    totals, room = np.zeros(len(widths)), np.array(widths)
    slots: list[list[int]] = [[] for _ in widths]
    for axis in range(len(variances) - 1, -1, -1):
        slot = int(np.where(room > 0, totals, np.inf).argmin())
        slots[slot].append(axis)
        totals[slot] += logarithms[axis]
        room[slot] -= 1
    return axes[:, np.concatenate(slots)]


def _means(
    rotated: np.ndarray, codes: np.ndarray, books: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """Return the means of the rows of each entry; an entry without rows stays where it was."""
    means = []
    blocks = column_blocks([book.shape[1] for book in books])
    for slot, (block, book) in enumerate(zip(blocks, books, strict=True)):
        counts = np.bincount(codes[:, slot], minlength=len(book))
        sums = [
            np.bincount(codes[:, slot], column, minlength=len(book))
            for column in rotated[:, block].T
        ]
        mean = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        means.append(np.where(counts[:, None] > 0, mean, book).astype(np.float32))
    return tuple(means)


def _procrustes(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation (d, d) float64 that brings the rows of `matrix` nearest to `target`."""
    products = np.zeros((matrix.shape[1], matrix.shape[1]))
    for block in _blocks(len(matrix), _BLOCK_VALUES // matrix.shape[1]):
        products += matrix[block].astype(np.float64).T @ target[block].astype(np.float64)
    left, _, right = np.linalg.svd(products)
    return left @ right
