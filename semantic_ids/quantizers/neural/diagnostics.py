"""Whether a decoder listens to its codes."""

from typing import Any

import numpy as np

from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import FittedQuantizer


def shuffle_gap(fitted: FittedQuantizer, latent: Latent | Any) -> np.ndarray:
    """Return how much worse rows are rebuilt from another row's code, level by level.

    A level whose codes are ignored, or the same for all rows, has a gap of 0: its part of the
    latent has collapsed.

    Parameters
    ----------
    fitted : any fitted quantizer.
    latent : a Latent or an array (N, d); each row gets the code of the row before it.

    Returns
    -------
    gaps : (L + 1,) float64; the added squared error in shares of the rows' variance (0 where
        they have none), for each level's code alone, and last for the whole code.

    Examples
    --------
    >>> from semantic_ids import RQKMeans
    >>> vectors = np.random.default_rng(0).normal(size=(200, 4))
    >>> gaps = shuffle_gap(RQKMeans(levels=2, codebook_size=8).fit(vectors), vectors)
    >>> bool(gaps[2] > gaps[0] > gaps[1] > 0)
    True
    """
    rows = Latent.of(latent)
    codes = fitted.encode(rows)
    others = np.roll(codes, 1, axis=0)
    own = fitted.errors(rows, codes)[:, -1].sum()
    changed = []
    for level in range(codes.shape[1]):
        mixed = codes.copy()
        mixed[:, level] = others[:, level]
        changed.append(mixed)
    gaps = [fitted.errors(rows, mixed)[:, -1].sum() - own for mixed in (*changed, others)]
    variance = rows.matrix.var(axis=0, dtype=np.float64).sum() * len(rows)
    return np.array(gaps) / variance if variance > 0 else np.zeros(len(gaps))
