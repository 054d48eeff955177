"""Smoothing over a graph of items: what neighbours share becomes part of an item's vector."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def smooth(vectors: np.ndarray, graph: "csr_array", hops: int = 2) -> np.ndarray:
    """Average vectors with those of their neighbours, `hops` times; nothing is learnt.

    Each hop multiplies by ``D^-1/2 A D^-1/2``, where A is the graph made symmetric, with a loop
    at each item as heavy as its edges together: half of an item stays its own, whatever the
    scale of the weights, and one without edges stays as it is. Where MMGRec
    (arXiv 2404.16555) trains its graph network, this is the variant without parameters (the
    propagation of SGC, arXiv 1902.07153).

    Parameters
    ----------
    vectors : (N, d) real.
    graph : (N, N) sparse, weights of at least 0.
    hops : how many times, at least 0.

    Returns
    -------
    smoothed : (N, d) float32.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> pair = csr_array(np.array([[0, 5, 0], [5, 0, 0], [0, 0, 0]]))
    >>> smooth(np.array([[1.0], [0.0], [7.0]]), pair, hops=1).ravel().tolist()
    [0.5, 0.5, 7.0]
    """
    from scipy.sparse import csr_array, diags_array

    symmetric = csr_array((graph + graph.T) / 2)
    weights = np.asarray(symmetric.sum(axis=1)).ravel()
    loops = np.where(weights > 0, weights, 1.0)
    root = diags_array((weights + loops) ** -0.5)
    step = csr_array(root @ (symmetric + diags_array(loops)) @ root)
    smoothed = np.asarray(vectors, dtype=np.float64)
    for _ in range(hops):
        smoothed = step @ smoothed
    return smoothed.astype(np.float32)
