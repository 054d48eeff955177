"""DynamicFusion: modalities fused by a gated cross-modal transformer under an ID query."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from recmodels.fusion_fitted import FittedDynamicFusion
from recmodels.fusion_inputs import Arrays, TokenInput
from recmodels.fusion_losses import contrast, near_duplicates, rebuilding_error
from recmodels.fusion_network import FusionNetwork
from recmodels.training import Optimisation, TrainingLog, seeded, train
from semantic_ids import Features, Fuser, Side
from semantic_ids.checkpoints import identity
from semantic_ids.ids import unpack_ids
from semantic_ids.storage import stored_array


class DynamicFusion(Fuser):
    """Fuse modalities into one vector an item by a gated cross-modal transformer.

    Each item has a query: a learnt part that all items share, and an ID query of its own. The
    cosines of the query with the projected tokens of a modality weigh these, and its cosines with
    the modalities weigh those. Transformer layers then update the query from the weighted
    modalities, each layer by as much as its gate says, and an item stops at the first layer whose
    gate is nearly shut. Training contrasts the fused vector with each modality, and the modalities
    with each other, and rebuilds the features from the fused vector (which is what decoding uses).

    Q-BERT4Rec, stage 1 (arXiv 2512.02474). The paper's settings are not known; the defaults are
    this package's. With one vector a modality its softmax over a modality's parts has nothing
    to choose from, so it is taken across the modalities, and over the parts where there are some.
    The shared part of the query is this package's: without it, all weights of an item without an
    ID query of its own would be equal.

    Parameters
    ----------
    width : columns of the fused vectors.
    layers, heads : of the transformer.
    fixed_depth : None lets gates say how far each item goes; a number sends every item through
        so many layers, at most `layers`, without gates.
    tokens : modality name to a number T of tokens or patches, at least 2: its T * c columns are T
        vectors of c columns, one after the other. Vectors of zeros are padding. A modality that
        is not named is one vector.
    id_in_code : whether an item's ID query enters its fused vector, so its code. If not, codes
        are a function of the features alone; the queries then only shape training, and can serve
        a recommender (`FittedDynamicFusion.own_queries`).
    id_dropout : share of the ID queries that training replaces by zero, which is what an item
        without one has.
    alignment_temperature : of the softmax over tokens, and over modalities.
    contrast : weight of the contrastive losses; 0 leaves them out.
    contrast_temperature : of these.
    near_duplicate : items whose features have at least this cosine are not contrasted.
    reconstruction : weight of the squared error of the rebuilt features.
    depth_cost : weight of the gates after the first, summed, which rewards stopping early.
    gate_threshold : an item stops at the first layer after the first whose gate is below it.
    batch_size : items of a training step.
    optimisation : how it is trained.
    seed : where the random numbers begin.

    Notes
    -----
    What the defaults do is no more than this (one seed, cosine neighbours; by chance .006 and
    .002). Of the ten nearest films by poster and by text (ml100k), .107 and .093 are among the ten
    nearest fused vectors, .172 and .217 of those that `Concat` makes, which keeps all columns; of
    the ten nearest products by text (Amazon Scientific) .731, by `Concat` .877.
    Gates shut or open for a whole catalogue at once: every film went through one layer, every
    product through two.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = Features({"text": rng.normal(size=(60, 8)), "image": rng.normal(size=(60, 5))})
    >>> spec = DynamicFusion(width=16, heads=2, tokens={"text": 2},
    ...                      optimisation=Optimisation(epochs=2))
    >>> fitted = spec.fit(features, progress=False)
    >>> fitted.transform(features).matrix.shape
    (60, 16)
    """

    kind: Literal["dynamic-fusion"] = "dynamic-fusion"
    width: int = Field(default=128, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    fixed_depth: int | None = Field(default=None, ge=1)
    tokens: dict[str, Annotated[int, Field(ge=2)]] = Field(default={})
    id_in_code: bool = False
    id_dropout: float = Field(default=0.5, ge=0, le=1)
    alignment_temperature: float = Field(default=0.1, gt=0)
    contrast: float = Field(default=0.1, ge=0)
    contrast_temperature: float = Field(default=0.2, gt=0)
    near_duplicate: float = Field(default=0.95, gt=0)
    reconstruction: float = Field(default=1.0, ge=0)
    depth_cost: float = Field(default=0.003, ge=0)
    gate_threshold: float = Field(default=0.1, ge=0, le=1)
    batch_size: int = Field(default=128, ge=2)
    optimisation: Optimisation = Optimisation(epochs=20, learning_rate=5e-3)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _consistent(self) -> "DynamicFusion":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        if (self.fixed_depth or 1) > self.layers:
            raise ValueError(f"fixed_depth={self.fixed_depth} is more than layers={self.layers}")
        if not self.contrast and not self.reconstruction:
            raise ValueError("contrast and reconstruction are both 0: there is nothing to learn")
        return self

    def fit(
        self, features: Features, *, side: Side | None = None, progress: bool | None = None
    ) -> FittedDynamicFusion:
        """Train the fusion on a catalogue's features.

        Items without ids get row numbers for ids.

        Raises
        ------
        FloatingPointError
            if training diverges.
        ValueError
            if `tokens` names a modality that the features do not have or cannot divide, or a
            modality cannot be learnt from them.
        """
        unknown = sorted(set(self.tokens) - set(features.widths))
        if unknown:
            raise ValueError(
                f"tokens: no modality {unknown[0]!r} among the features {list(features.widths)}"
            )
        inputs = {
            name: TokenInput.of(features, name, self.tokens.get(name, 1))
            for name in features.widths
        }
        ids = np.arange(len(features)) if features.ids is None else features.ids
        with seeded(self.seed):
            network = self._network(inputs, len(ids))
            log = _train(
                network, self, [one.forward(features) for one in inputs.values()], progress
            )
        return FittedDynamicFusion(self, inputs, network, ids, log)

    def restore(self, widths: Mapping[str, int], arrays: Arrays) -> FittedDynamicFusion:
        """Rebuild from saved arrays.

        Raises
        ------
        ValueError
            if an array is missing, of another shape, or not finite.
        """
        inputs = {
            name: TokenInput.restore(name, self.tokens.get(name, 1), width, arrays)
            for name, width in widths.items()
        }
        ids = unpack_ids(arrays)
        with seeded(0):
            network = self._network(inputs, len(ids))
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
        return FittedDynamicFusion(self, inputs, network.eval(), ids, TrainingLog())

    def _network(self, inputs: Mapping[str, TokenInput], items: int) -> FusionNetwork:
        return FusionNetwork(
            [(one.tokens, one.columns) for one in inputs.values()],
            items,
            width=self.width,
            layers=self.fixed_depth or self.layers,
            heads=self.heads,
            adaptive=self.fixed_depth is None,
            temperature=self.alignment_temperature,
            gate_threshold=self.gate_threshold,
        )


def _train(
    network: FusionNetwork,
    spec: DynamicFusion,
    inputs: list[tuple[np.ndarray, np.ndarray]],
    progress: bool | None,
) -> TrainingLog:
    values = [torch.from_numpy(value) for value, _ in inputs]
    there = [torch.from_numpy(real) for _, real in inputs]
    items = len(values[0])
    size = min(spec.batch_size, items)
    rng = np.random.default_rng(spec.seed)

    def batches(_: int) -> Iterator[Tensor]:
        order = rng.permutation(items)
        # The last batch is filled up from the first: every step has one shape.
        for start in range(0, items, size):
            yield torch.from_numpy(order.take(np.arange(start, start + size), mode="wrap"))

    def loss(rows: Tensor) -> dict[str, Tensor]:
        batch, real = [value[rows] for value in values], [part[rows] for part in there]
        present = torch.stack([part.any(dim=1) for part in real], dim=1)
        keep = torch.rand(size, 1) >= spec.id_dropout
        queries = network.common + network.own(rows) * keep
        aligned = network.align(batch, real, queries)
        fused, gates = network.fuse_soft(aligned, present, queries)
        rebuilt = rebuilding_error(network.rebuild(fused), batch, real)
        terms = {"reconstruction": spec.reconstruction * rebuilt}
        if spec.fixed_depth is None:
            # The first layer is never left out: its gate costs nothing.
            terms["depth"] = spec.depth_cost * gates[:, 1:].sum(dim=1).mean()
        if spec.contrast:
            alike = near_duplicates([v.flatten(1) for v in batch], present, spec.near_duplicate)
            apart = contrast(fused, aligned, present, alike, spec.contrast_temperature)
            terms["contrast"] = spec.contrast * apart
        return terms

    return train(
        network,
        spec.optimisation,
        steps=-(-items // size),
        batches=batches,
        loss=loss,
        description="fusion",
        progress=progress,
        rng=rng,
        identity=lambda: identity(spec, *(array for pair in inputs for array in pair)),
    )
