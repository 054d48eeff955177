"""DynamicFusion: modalities fused by a gated cross-modal transformer under an ID query."""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from recmodels.fusion_network import FusionNetwork, contrast, near_duplicates, rebuilding_error
from recmodels.training import Optimisation, TrainingLog, seeded, train
from semantic_ids import Features, FittedFuser, Fuser, Latent, Side
from semantic_ids.checkpoints import identity
from semantic_ids.fusers.standardise import Standard
from semantic_ids.ids import pack_ids, unpack_ids
from semantic_ids.latent import check_range
from semantic_ids.one_thread import one_thread
from semantic_ids.storage import stored_array

#: Rows that are fused together; shorter blocks are padded, so that one shape serves them all.
_BLOCK = 1024

Arrays = dict[str, np.ndarray]


class DynamicFusion(Fuser):
    """Fuse modalities into one vector an item by a gated cross-modal transformer.

    Each item has a learnt ID query. Its cosines with the projected modalities weigh these;
    transformer layers then update the query from the weighted modalities, each layer by as much
    as its gate says, and an item stops at the first layer whose gate is nearly shut. Training
    contrasts the fused vector with each modality, and the modalities with each other, and
    rebuilds the features from the fused vector (which is what decoding uses).

    Q-BERT4Rec, stage 1 (arXiv 2512.02474). The paper's settings are not known; the defaults are
    this package's. With one vector a modality its softmax over a modality's parts has nothing
    to choose from, so it is taken across the modalities.

    Parameters
    ----------
    width : columns of the fused vectors.
    layers, heads : of the transformer.
    id_in_code : whether an item's ID query enters its fused vector, so its code. If not, codes
        are a function of the features alone; the queries then only shape training.
    id_dropout : share of the queries that training replaces by zero, which is what an item
        without a query has.
    alignment_temperature : of the softmax over modalities.
    contrast_temperature : of the contrastive losses.
    near_duplicate : items whose features have at least this cosine are not contrasted.
    reconstruction : weight of the squared error of the rebuilt features.
    depth_cost : weight of the gates, which rewards stopping early.
    gate_threshold : an item stops at the first layer after the first whose gate is below it.
    batch_size : items of a training step.
    optimisation : how it is trained.
    seed : where the random numbers begin.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = Features({"text": rng.normal(size=(60, 8)), "image": rng.normal(size=(60, 5))})
    >>> spec = DynamicFusion(width=16, heads=2, optimisation=Optimisation(epochs=2))
    >>> fitted = spec.fit(features, progress=False)
    >>> fitted.transform(features).matrix.shape
    (60, 16)
    """

    kind: Literal["dynamic-fusion"] = "dynamic-fusion"
    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    id_in_code: bool = False
    id_dropout: float = Field(default=0.5, ge=0, le=1)
    alignment_temperature: float = Field(default=0.1, gt=0)
    contrast_temperature: float = Field(default=0.1, gt=0)
    near_duplicate: float = Field(default=0.95, gt=0)
    reconstruction: float = Field(default=1.0, ge=0)
    depth_cost: float = Field(default=0.01, ge=0)
    gate_threshold: float = Field(default=0.1, ge=0, le=1)
    batch_size: int = Field(default=512, ge=2)
    optimisation: Optimisation = Optimisation(epochs=60, learning_rate=2e-3)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "DynamicFusion":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        return self

    def fit(
        self, features: Features, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedDynamicFusion":
        """Train the fusion on a catalogue's features.

        Raises
        ------
        FloatingPointError
            if training diverges.
        """
        standards = {name: Standard.of(features, name) for name in features.widths}
        ids = np.arange(len(features)) if features.ids is None else features.ids
        with seeded(self.seed):
            network = self._network(features.widths, len(ids))
            log = _train(network, self, _inputs(standards, features), features.present, progress)
        return FittedDynamicFusion(self, standards, network, ids, log)

    def restore(self, widths: Mapping[str, int], arrays: Arrays) -> "FittedDynamicFusion":
        """Rebuild from saved arrays.

        Raises
        ------
        ValueError
            if an array is missing, of another shape, or not finite.
        """
        standards = {
            name: Standard(
                stored_array(arrays, f"mean.{name}", (width,)),
                stored_array(arrays, f"scale.{name}", (width,)),
            )
            for name, width in widths.items()
        }
        ids = unpack_ids(arrays) if self.id_in_code else np.zeros(0, dtype=np.int64)
        with seeded(0):
            network = self._network(widths, len(ids))
        weights = {
            name: torch.from_numpy(
                stored_array(arrays, f"network.{name}", tuple(value.shape)).copy()
            )
            for name, value in network.state_dict().items()
        }
        for name, value in weights.items():
            if not value.isfinite().all():
                raise ValueError(f"network.{name}: holds NaN or infinity")
        network.load_state_dict(weights)
        return FittedDynamicFusion(self, standards, network.eval(), ids, TrainingLog())

    def _network(self, widths: Mapping[str, int], items: int) -> FusionNetwork:
        return FusionNetwork(
            list(widths.values()),
            items,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            temperature=self.alignment_temperature,
            gate_threshold=self.gate_threshold,
        )


class FittedDynamicFusion(FittedFuser):
    """A fitted `DynamicFusion`.

    A row whose id was in the fit uses its ID query where `spec.id_in_code` says so; a row
    without an id takes a zero query. The inverse is the trained reconstruction: it returns the
    part of each modality that the fused vector kept.

    Attributes
    ----------
    log : losses of the training; empty after loading.
    """

    def __init__(
        self,
        spec: DynamicFusion,
        standards: Mapping[str, Standard],
        network: FusionNetwork,
        ids: np.ndarray,
        log: TrainingLog,
    ) -> None:
        self.spec = spec
        self._choices = spec
        self.widths = {name: len(standard.mean) for name, standard in standards.items()}
        self.log = log
        self._standards = dict(standards)
        self._network = network
        self._ids = ids
        self._by_id = np.argsort(ids, kind="stable")

    def transform(self, features: Features) -> Latent:
        """Fuse rows into unit vectors (N, width)."""
        self.check(features)
        parts = [self._fuse(block) for block in features.blocks(_BLOCK)]
        matrix = np.concatenate([fused for fused, _, _ in parts])
        return Latent(matrix, {"fused": slice(0, self._choices.width)}, self._presence(features))

    def depths(self, features: Features) -> np.ndarray:
        """Return how many layers each row went through, (N,) int64."""
        return np.concatenate([depth for _, depth, _ in map(self._fuse, features.blocks(_BLOCK))])

    def modality_weights(self, features: Features) -> np.ndarray:
        """Return the alignment weights (N, M) float32 of each row; a row sums to 1."""
        return np.concatenate([weight for _, _, weight in map(self._fuse, features.blocks(_BLOCK))])

    def inverse(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """Rebuild each modality from fused vectors by the trained heads."""
        with torch.inference_mode(), one_thread():
            rebuilt = self._network.rebuild(torch.from_numpy(np.asarray(matrix, np.float32)))
        return {
            name: standard.backward(values.numpy())
            for (name, standard), values in zip(self._standards.items(), rebuilt, strict=True)
        }

    def arrays(self) -> Arrays:
        """Return scalers, weights and, where they enter the code, the queries and their ids."""
        arrays = {
            f"network.{name}": value.numpy()
            for name, value in self._network.state_dict().items()
            if self._choices.id_in_code or name != "queries.weight"
        }
        if self._choices.id_in_code:
            arrays |= pack_ids(self._ids)
        else:
            arrays["network.queries.weight"] = np.zeros((0, self._choices.width), np.float32)
        for name, standard in self._standards.items():
            arrays[f"mean.{name}"] = standard.mean
            arrays[f"scale.{name}"] = standard.scale
        return arrays

    def _fuse(self, block: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n, spare = len(block), _BLOCK - len(block)
        values = [np.pad(v, ((0, spare), (0, 0))) for v in _inputs(self._standards, block)]
        present = np.pad(self._presence(block), ((0, spare), (0, 0)), constant_values=True)
        with torch.inference_mode(), one_thread():
            queries = torch.zeros(_BLOCK, self._choices.width)
            rows = torch.from_numpy(self._query_rows(block))
            known = (rows >= 0).nonzero()[:, 0]
            queries[known] = self._network.queries.weight[rows[known]]
            fused, depth, weights = self._network.fuse_hard(
                self._network.project([torch.from_numpy(v) for v in values]),
                torch.from_numpy(present),
                queries,
            )
        return fused[:n].numpy(), depth[:n].numpy(), weights[:n].numpy()

    def _presence(self, features: Features) -> np.ndarray:
        presence = np.zeros((len(features), len(self.widths)), dtype=bool)
        for column, name in enumerate(self.widths):
            if name in features.modalities:
                presence[:, column] = features.modality(name)[1]
        return presence

    def _query_rows(self, features: Features) -> np.ndarray:
        """Return the row of each id's query, -1 where it has none."""
        ids = features.ids
        nobody = np.full(len(features), -1)
        if not self._choices.id_in_code or ids is None or ids.dtype.kind != self._ids.dtype.kind:
            return nobody
        at = np.searchsorted(self._ids, ids, sorter=self._by_id)
        found = self._by_id[np.minimum(at, len(self._ids) - 1)]
        return np.where(self._ids[found] == ids, found, nobody)


def _inputs(standards: Mapping[str, Standard], features: Features) -> list[np.ndarray]:
    """Standardise each modality of the fit; one that is left out becomes zeros."""
    inputs = []
    for name, standard in standards.items():
        if name in features.modalities:
            inputs.append(standard.forward(*features.modality(name)))
            check_range(inputs[-1], f"features[{name!r}], standardised")
        else:
            inputs.append(np.zeros((len(features), len(standard.mean)), np.float32))
    return inputs


def _train(
    network: FusionNetwork,
    spec: DynamicFusion,
    values: list[np.ndarray],
    present: np.ndarray,
    progress: bool | None,
) -> TrainingLog:
    inputs, presence = [torch.from_numpy(value) for value in values], torch.from_numpy(present)
    items = len(presence)
    size = min(spec.batch_size, items)
    rng = np.random.default_rng(spec.seed)

    def batches(_: int) -> Iterator[Tensor]:
        order = rng.permutation(items)
        # The last batch is filled up from the first: every step has one shape.
        for start in range(0, items, size):
            yield torch.from_numpy(order.take(np.arange(start, start + size), mode="wrap"))

    def loss(rows: Tensor) -> Tensor:
        batch, there = [value[rows] for value in inputs], presence[rows]
        keep = torch.rand(size, 1) >= spec.id_dropout
        tokens = network.project(batch)
        fused, gates = network.fuse_soft(tokens, there, network.queries(rows) * keep)
        alike = near_duplicates(batch, there, spec.near_duplicate)
        apart = contrast(fused, tokens, there, alike, spec.contrast_temperature)
        rebuilt = rebuilding_error(network.rebuild(fused), batch, there)
        return apart + spec.reconstruction * rebuilt + spec.depth_cost * gates.mean()

    return train(
        network,
        spec.optimisation,
        steps=-(-items // size),
        batches=batches,
        loss=loss,
        description="fusion",
        progress=progress,
        rng=rng,
        identity=lambda: identity(spec, present, *values),
    )
