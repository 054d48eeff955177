"""Smoothing over a graph of items, and an encoder that needs no graph to say the same."""

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from semantic_ids.device import chosen_device
from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.fitted import FittedNeural
from semantic_ids.quantizers.neural.spec import NeuralQuantizer
from semantic_ids.training import seeded, train

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


class FittedGraph(FittedNeural):
    """A fitted quantizer of smoothed vectors whose encoder reads content alone."""

    @property
    def agreement(self) -> np.ndarray:
        """Share of the items of the fit, (L,) float32, whose codes from content are those of
        their smoothed vectors, up to each level.
        """
        return self.network.get_buffer("agreement").numpy()


def learn_from_content(
    teacher: FittedNeural, content: Latent, smoothed: np.ndarray, progress: bool | None
) -> FittedGraph:
    """Train a copy of an encoder to make of content what it makes of smoothed vectors.

    The squared error of the latents is lowered; of the epochs the best on the items that
    training leaves out is kept.

    Parameters
    ----------
    teacher : fitted on the smoothed vectors, with a buffer ``agreement`` (L,) in its network; it
        is left as it is.
    content, smoothed : (N, d) both, of the same items.
    progress : show a bar over the steps; None shows it in a terminal.

    Returns
    -------
    fitted : with the teacher's codebooks and decoder, and the other encoder.
    """
    spec = teacher.spec
    assert isinstance(spec, NeuralQuantizer)
    network = deepcopy(teacher.network)
    encoder = network.encoder.requires_grad_(True)
    targets = torch.from_numpy(teacher.latents(smoothed))
    rng = np.random.default_rng(spec.seed)
    order = rng.permutation(len(content))
    held, rows = np.split(order, [round(spec.held_out * (len(content) - 1))])
    size = min(spec.batch_size, len(rows))
    device = chosen_device(spec.device)

    def batch(some: np.ndarray) -> tuple[Tensor, Tensor]:
        return network.standardised(torch.from_numpy(content.matrix[some])), targets[some]

    def error(given: tuple[Tensor, Tensor]) -> Tensor:
        x, wanted = given
        return functional.mse_loss(encoder(x).float(), wanted)

    def batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        shuffled = rng.permutation(rows)
        for start in range(0, len(rows), size):
            yield batch(shuffled.take(np.arange(start, start + size), mode="wrap"))

    def validate() -> float:
        x, wanted = batch(held if len(held) else rows)
        with torch.no_grad():
            return -float(error((x.to(device), wanted.to(device))))

    with seeded(spec.seed):
        train(
            encoder,
            spec.optimisation,
            steps=-(-len(rows) // size),
            batches=batches,
            loss=error,
            validate=validate,
            description="content encoder",
            progress=progress,
            device=spec.device,
            bfloat16=spec.precision == "bfloat16",
        )
    blocks = tuple(content.blocks.values())
    fitted = FittedGraph(spec, network, blocks, teacher.log)
    same = np.cumprod(fitted.encode(content) == teacher.encode(smoothed), axis=1)
    network.get_buffer("agreement").copy_(torch.from_numpy(same.mean(axis=0)))
    return fitted
