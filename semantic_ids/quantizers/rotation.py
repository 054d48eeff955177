"""Rotations: learnt so that blocks of columns quantize well, and applied row by row alike."""

import numpy as np

from semantic_ids.progress import progress_bar
from semantic_ids.quantizers.blocks import blocks
from semantic_ids.quantizers.kmeans import cluster_sums
from semantic_ids.quantizers.parallel import ParallelCodebooks, column_blocks
from semantic_ids.quantizers.product_kmeans import ProductKMeans

_UNIT64 = 2.0**-53  # unit roundoff of float64
_BITS = 30  # to which values are rounded, below a row's largest number
_BLOCK_VALUES = 1 << 20
#: Training points for each entry of a codebook where there are more; as many as k-means takes.
_POINTS_PER_ENTRY = 256
#: k-means iterations before the first rotation is learnt; the codebooks move on with it.
_FIRST_ITERATIONS = 5
#: Eigenvalues below this share of the largest are rounding.
_NO_VARIANCE = 1e-9


def rotate(matrix: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return float32 rows (N, d) times a rotation (d, d) float64; each row apart from the others.

    A value is the products summed in float64 from the first to the last, rounded to a multiple
    of some 2^-30 of the row's largest number, and to float32. A matrix product, which sums in an
    order of its own, is within the rounding error of float64 of that sum, so mostly rounds to
    the same; values for which that is not certain are summed again.

    Examples
    --------
    >>> quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> rotate(np.array([[3.0, 4.0]], dtype=np.float32), quarter)
    array([[-4.,  3.]], dtype=float32)
    """
    rotated = np.empty(matrix.shape, dtype=np.float32)
    width = len(rotation)
    columns = np.ascontiguousarray(rotation.T)
    for block in blocks(len(matrix), _BLOCK_VALUES // width):
        x = matrix[block].astype(np.float64)
        # frexp, because logarithms may differ with the place of a number in its array.
        exponents = np.frexp(np.abs(x).max(axis=1, keepdims=True))[1]
        x = np.ldexp(x, _BITS - exponents)
        products = x @ rotation
        # Each of both sums errs by at most d u |x|; the sides of the interval round once more.
        norms = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
        bounds = 2.02 * (width + 2) * _UNIT64 * norms + width * np.finfo(np.float64).tiny
        whole = np.rint(products - bounds)
        rows, places = np.nonzero(whole != np.rint(products + bounds))
        for part in blocks(len(rows), _BLOCK_VALUES // width):
            terms = x[rows[part]] * columns[places[part]]
            whole[rows[part], places[part]] = np.rint(np.cumsum(terms, axis=1)[:, -1])
        rotated[block] = np.ldexp(whole + 0.0, exponents - _BITS)  # 0.0 makes 0 of -0
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
    columns = column_blocks([book.shape[1] for book in books])
    for slot, (block, book) in enumerate(zip(columns, books, strict=True)):
        sums = cluster_sums(rotated[:, block], codes[:, slot], len(book))
        counts = np.bincount(codes[:, slot], minlength=len(book))[:, None]
        means.append(np.where(counts > 0, sums / np.maximum(counts, 1), book).astype(np.float32))
    return tuple(means)


def _procrustes(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation (d, d) float64 that brings the rows of `matrix` nearest to `target`."""
    products = np.zeros((matrix.shape[1], matrix.shape[1]))
    for block in blocks(len(matrix), _BLOCK_VALUES // matrix.shape[1]):
        products += matrix[block].astype(np.float64).T @ target[block].astype(np.float64)
    left, _, right = np.linalg.svd(products)
    return left @ right
