"""Where items' own vectors start from: the vectors that stage 1 fused, on their main directions."""

import numpy as np

from recmodels.data import Dataset
from recmodels.qbert4rec_spec import QBert4RecSpec
from semantic_ids import Tokenizer


def fused_starts(spec: QBert4RecSpec, tokenizer: Tokenizer, dataset: Dataset) -> np.ndarray | None:
    """Return what items' own vectors are before training, (N, width) float32, by `item_start`.

    None where they are random. An item of the catalogue that the data set lacks has zeros.

    Raises
    ------
    ValueError
        if they are the fused vectors, and the data set has no features.
    NoCodecError
        if they are, and the tokenizer was made from codes.

    References
    ----------
    Q-BERT4Rec, stage 3, may start from the h_i of stage 1 (arXiv 2512.02474).
    """
    if spec.item_start == "random":
        return None
    if dataset.features is None:
        raise ValueError(f"item_start='fused': the data set {dataset.name!r} has no features")
    starts = np.zeros((len(tokenizer), spec.width), np.float32)
    fused = tokenizer.fuser.transform(dataset.features).matrix
    starts[tokenizer.rows(dataset.ids)] = main_directions(fused, spec.width)
    return starts


def main_directions(matrix: np.ndarray, width: int) -> np.ndarray:
    """Return centred rows (N, d) on their principal directions, at a mean squared length of 1.

    Parameters
    ----------
    matrix : (N, d) float32.
    width : columns of the result; those beyond the directions that there are hold zeros.

    Returns
    -------
    rows : (N, width) float32.

    Examples
    --------
    >>> rows = main_directions(np.array([[5.0, 1.0], [5.0, 3.0]], dtype=np.float32), 3)
    >>> np.abs(rows).round(5).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    from sklearn.decomposition import PCA

    rows = np.zeros((len(matrix), width), np.float32)
    # Covariances lose their digits far from the origin.
    centred = matrix - matrix.mean(axis=0, dtype=np.float64)
    if centred.any():
        found = PCA(min(width, *matrix.shape), svd_solver="covariance_eigh").fit_transform(centred)
        rows[:, : found.shape[1]] = found / np.sqrt((found**2).sum(axis=1).mean())
    return rows
