"""A fitted `DynamicFusion`: a pure function from features, and ids, to fused vectors."""

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from recmodels.fusion_inputs import Arrays, TokenInput
from recmodels.fusion_network import FusionNetwork
from recmodels.training import TrainingLog
from semantic_ids import Features, FittedFuser, Latent
from semantic_ids.id_index import IdIndex
from semantic_ids.ids import id_array, pack_ids
from semantic_ids.one_thread import one_thread

if TYPE_CHECKING:
    from recmodels.fusion import DynamicFusion

#: Rows that are fused together; shorter blocks are padded, so that one shape serves them all.
_BLOCK = 1024


class Fusion(NamedTuple):
    """What becomes of n items.

    Attributes
    ----------
    matrix : fused unit vectors (n, w) float32.
    depths : layers that each went through, (n,) int64.
    weights : of the modalities, (n, M) float32; a row sums to 1.
    present : (n, M) bool, which modalities each has.
    """

    matrix: np.ndarray
    depths: np.ndarray
    weights: np.ndarray
    present: np.ndarray


class FittedDynamicFusion(FittedFuser):
    """A fitted `DynamicFusion`.

    Two ways lead to a fused vector. Where `spec.id_in_code` says so, a row whose id was in the fit
    uses that item's own query. Any other row (without an id, with an unknown one, and every row
    where `spec.id_in_code` is False) takes the cold way: its own query is zero, and its vector
    depends on its features alone. Training prepares for both, by `spec.id_dropout`. The own
    queries are kept by id either way, for recommenders; see `own_queries`.

    The inverse is the trained reconstruction: it returns the part of each modality that the fused
    vector kept. Of tokens it returns all T: which were padding is not kept.

    Attributes
    ----------
    inputs : how each modality enters.
    log : losses of the training; empty after loading.
    """

    def __init__(
        self,
        spec: "DynamicFusion",
        inputs: Mapping[str, TokenInput],
        network: FusionNetwork,
        ids: np.ndarray,
        log: TrainingLog,
    ) -> None:
        self.spec = spec
        self._choices = spec
        self.inputs = dict(inputs)
        self.widths = {name: one.tokens * one.columns for name, one in inputs.items()}
        self.log = log
        self._network = network
        # As it was trained, but in float64: some matrix kernels add in another order at the end
        # of a block than inside, and rounding to float32 undoes what float64 had left of that.
        # Its queries of single items, which may be as many as these, are left out.
        self._wide = copy.deepcopy(network, {id(network.own): nn.Identity()}).double()
        self._ids = ids
        self._index = IdIndex.of(ids)

    @property
    def layers(self) -> int:
        """Layers that an item may go through."""
        return len(self._network.layers)

    def transform(self, features: Features) -> Latent:
        """Fuse rows into unit vectors (N, w)."""
        parts = [fusion for _, fusion in self.fusions(features)]
        return Latent(
            np.concatenate([part.matrix for part in parts]),
            {"fused": slice(0, self._choices.width)},
            np.concatenate([part.present for part in parts]),
        )

    def depths(self, features: Features) -> np.ndarray:
        """Return how many layers each row went through, (N,) int64."""
        return np.concatenate([fusion.depths for _, fusion in self.fusions(features)])

    def modality_weights(self, features: Features) -> np.ndarray:
        """Return the alignment weights (N, M) float32 of each row; a row sums to 1."""
        return np.concatenate([fusion.weights for _, fusion in self.fusions(features)])

    def own_queries(self, ids: np.ndarray | list[str] | list[int]) -> np.ndarray:
        """Return what training learnt for each item alone, (n, w) float32; zeros for unknown ids.

        A recommender may use them in its item vectors, whether or not they enter the codes.
        """
        rows = torch.from_numpy(self._query_rows(id_array(ids)))
        return self._own(rows).numpy()

    def fusions(self, features: Features) -> Iterator[tuple[Features, Fusion]]:
        """Fuse rows block by block; go through the blocks, and what becomes of each.

        Raises
        ------
        ValueError
            if the modalities are not those of the fit, a row of tokens holds nothing but padding,
            or numbers are so much larger than those of the fit that they leave float32.
        """
        self.check(features)
        return ((block, self._fuse(block)) for block in features.blocks(_BLOCK))

    def inverse(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """Rebuild each modality from fused vectors by the trained heads."""
        with torch.inference_mode(), one_thread():
            rebuilt = self._wide.rebuild(torch.from_numpy(np.asarray(matrix, np.float64)))
        return {
            name: one.backward(values.float().numpy())
            for (name, one), values in zip(self.inputs.items(), rebuilt, strict=True)
        }

    def arrays(self) -> Arrays:
        """Return scalers, weights, and the items' own queries with their ids."""
        arrays = {
            f"network.{name}": value.numpy() for name, value in self._network.state_dict().items()
        }
        for one in self.inputs.values():
            arrays |= one.arrays()
        return arrays | pack_ids(self._ids)

    def _fuse(self, block: Features) -> Fusion:
        n, spare = len(block), _BLOCK - len(block)
        values, there = zip(*(one.forward(block) for one in self.inputs.values()), strict=True)
        present = np.stack([real.any(axis=1) for real in there], axis=1)
        with torch.inference_mode(), one_thread():
            rows = np.full(_BLOCK, -1)
            if self._choices.id_in_code and block.ids is not None:
                rows[:n] = self._query_rows(block.ids)
            queries = self._wide.common + self._own(torch.from_numpy(rows))
            aligned = self._wide.align(
                [torch.from_numpy(_padded(value, spare)).double() for value in values],
                [torch.from_numpy(_padded(real, spare)) for real in there],
                queries,
            )
            # Nobody reads the rows that are padding; all present, they do not become NaN.
            everything = torch.from_numpy(_padded(present, spare, True))
            fused, depths, weights = self._wide.fuse_hard(aligned, everything, queries)
        numbers = fused[:n].float().numpy(), depths[:n].numpy(), weights[:n].float().numpy()
        return Fusion(*numbers, present)

    @torch.inference_mode()
    def _own(self, rows: torch.Tensor) -> torch.Tensor:
        queries = torch.zeros(len(rows), self._choices.width)
        known = (rows >= 0).nonzero()[:, 0]
        queries[known] = self._network.own.weight[rows[known]]
        return queries

    def _query_rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the row of each id's own query, -1 where it has none."""
        if ids.dtype.kind != self._ids.dtype.kind:
            return np.full(len(ids), -1)
        return self._index.find(ids)


def _padded(array: np.ndarray, rows: int, value: float = 0) -> np.ndarray:
    """Add so many rows at the end."""
    return np.concatenate([array, np.full((rows, *array.shape[1:]), value, array.dtype)])
