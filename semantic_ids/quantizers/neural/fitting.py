"""Fitting a neural quantizer: k-means starts, training, dead entries, the epoch that is kept."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from semantic_ids.checkpoints import identity
from semantic_ids.device import chosen_device
from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.fitted import FittedNeural
from semantic_ids.quantizers.neural.network import QuantizerNetwork, Step
from semantic_ids.quantizers.neural.objective import Objective
from semantic_ids.quantizers.neural.spec import NeuralQuantizer
from semantic_ids.side import Side
from semantic_ids.training import Measured, seeded, train
from semantic_ids.workers import launched_workers

#: Rows for each entry of the largest codebook on which codebooks begin, and are measured.
_ROWS_PER_ENTRY = 64
_MEASURED_ROWS = 2048


def fit_neural(
    spec: NeuralQuantizer, latent: Latent, side: Side | None, progress: bool | None
) -> FittedNeural:
    """Train what the spec describes, and return it with its log."""
    blocks = tuple(latent.blocks.values())
    with seeded(spec.seed):
        network = spec.network(blocks)
        objective = spec.objective(network, latent, side)
        network.learn_scale(latent.matrix)
        fit = _Fit(spec, network, objective, latent)
        fit.start()
        device = chosen_device(spec.device)
        log = train(
            fit.trained,
            spec.optimisation,
            steps=fit.steps,
            batches=fit.batches,
            loss=fit.loss,
            validate=fit.validate,
            least_utilisation=spec.least_utilisation,
            after_epoch=fit.restart if spec.restart else None,
            description=fit.description,
            progress=progress,
            device=spec.device,
            bfloat16=spec.precision == "bfloat16",
            workers=launched_workers(device),
            rng=fit.rng,
            identity=lambda: identity(spec, latent.matrix, latent.present, *_arrays(side)),
        )
    return FittedNeural(spec, network, blocks, log)


def losses(
    network: QuantizerNetwork, objective: Objective, batch: tuple[Tensor, Tensor, Tensor]
) -> dict[str, Tensor]:
    """Return the parts of the loss of rows (B,), their vectors (B, d) and modalities (B, M).

    Under autocast the network's layers alone are short. Objectives look entries up, sum over
    batches, and may train nets of their own, whose weights autocast would remember as they were.
    """
    step = network(*batch)
    with torch.autocast(step.x.device.type, enabled=False):
        return objective(replace(step, rebuilt=step.rebuilt.float()), network)


class _Fit:
    """The closures of one training over one catalogue."""

    def __init__(
        self, spec: NeuralQuantizer, network: QuantizerNetwork, objective: Objective, latent: Latent
    ) -> None:
        self.network, self.objective, self.latent = network, objective, latent
        self.trained = nn.ModuleDict({"network": network, "objective": objective})
        self.rng = np.random.default_rng(spec.seed)
        self.seed = spec.seed
        self.description = spec.model_dump()["kind"]
        self.sizes = spec.codebook_sizes
        # Never so many held out that a codebook could not begin at as many rows as it has entries.
        spare = len(latent) - max(self.sizes)
        held = min(round(spec.held_out * len(latent)), spare)
        order = self.rng.permutation(len(latent))
        self.held, self.rows = np.sort(order[:held]), np.sort(order[held:])
        self.size = min(spec.batch_size, len(self.rows))
        self.steps = -(-len(self.rows) // self.size)
        sample = self.rng.permutation(len(self.rows))[: _ROWS_PER_ENTRY * max(self.sizes)]
        self.sample = self.rows[np.sort(sample)]
        # What `validate` saw last, for `restart`.
        self._latents = np.empty((0, 0), dtype=np.float32)
        self._codes = np.empty((0, 0), dtype=np.int64)

    def start(self) -> None:
        """Begin the codebooks at the centroids of what the untrained encoder makes."""
        latents, _ = self._encoded(self.sample)
        self.network.codebooks.start(latents, self.seed)

    def batches(self, _: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Go through the rows in a new order; the last batch is filled up from the first."""
        self.objective.begin_epoch(self.network, self.rng)
        order = self.rng.permutation(self.rows)
        for start in range(0, len(order), self.size):
            rows = order.take(np.arange(start, start + self.size), mode="wrap")
            yield self._batch(rows)

    def _batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.from_numpy(np.ascontiguousarray(self.latent.matrix[rows]))
        return torch.from_numpy(rows), x, torch.from_numpy(self.latent.present[rows])

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the parts of the loss of a batch."""
        return losses(self.network, self.objective, batch)

    def validate(self) -> Measured:
        """Measure how well held-out rows are rebuilt, and which entries are in use."""
        latents, codes = self._encoded(self.sample)
        self._latents, self._codes = latents, codes
        used = [len(np.unique(codes[:, level])) / size for level, size in enumerate(self.sizes)]
        held = self.held if len(self.held) else self.sample
        error = sum(float((step.rebuilt - step.x).square().sum()) for step in self._steps(held))
        return Measured(-error / (len(held) * self.latent.matrix.shape[1]), used)

    def restart(self, optimiser: torch.optim.Optimizer) -> None:
        """Move entries that no row has."""
        self.network.codebooks.restart(self._latents, self._codes, self.rng, optimiser)

    def _encoded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps = list(self._steps(rows))
        return (
            torch.cat([step.latents for step in steps]).cpu().numpy(),
            torch.cat([step.quantized.codes for step in steps]).cpu().numpy(),
        )

    @torch.no_grad()
    def _steps(self, rows: np.ndarray) -> Iterator[Step]:
        self.network.eval()
        device = self.network.get_buffer("mean").device
        for start in range(0, len(rows), _MEASURED_ROWS):
            batch = self._batch(rows[start : start + _MEASURED_ROWS])
            yield self.network(*(part.to(device) for part in batch))


def _arrays(side: Side | None) -> list[np.ndarray | None]:
    if side is None:
        return []
    graph = side.graph
    edges = [] if graph is None else [graph.data, graph.indices, graph.indptr]
    return [side.collaborative, side.counts, side.labels, side.prototypes, *edges]
