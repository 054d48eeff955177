"""How many training steps a second RQ-VAE does, beside vector-quantize-pytorch and rectokens.

All stand between the same perceptrons (384-512-256-128 and back), with codebooks of 4 x 256 that
are running means, and all are trained by the same loop and optimiser, by turns, on batches of
2,048 made-up vectors: in float32, and by autocast in bfloat16 where the processor multiplies that.
Ratios are between equal precisions. The floor is the time of the perceptrons' products, forwards
and backwards, and of the products that compare latents with entries, at the speed of the largest
that the machine does (`ceilings.py`). Prints one table and writes one JSON; packages that are not
installed are left out (`peers.py` says how to).

    OMP_NUM_THREADS=1 TORCHDYNAMO_DISABLE=1 python benchmarks/rqvae_steps.py --out rqvae_steps.json
"""

import argparse
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from ceilings import machine_lines
from ceilings import measure as ceilings_of_machine
from torch import Tensor, nn
from turns import Ratio, columns, median_spent, ratio, take_turns, write_json
from vectors import clustered

from semantic_ids import RQVAE, Optimisation
from semantic_ids.latent import Latent
from semantic_ids.processor import has_bfloat16
from semantic_ids.quantizers.neural.fitting import losses
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.network import perceptron
from semantic_ids.training import train

WIDTH, HIDDEN, CODE_DIM, LEVELS, SIZE = 384, (512, 256), 128, 4, 256
DECAY = 0.95


@dataclass(frozen=True)
class Result:
    """One row of the table; `ours_is` is None for ours."""

    name: str
    precision: str
    steps_a_second: float
    share_of_floor: float
    ours_is: Ratio | None


def ours(x: Tensor) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return our network and its loss for rows of x."""
    spec = RQVAE(
        levels=LEVELS,
        codebook_size=SIZE,
        hidden=HIDDEN,
        code_dim=CODE_DIM,
        lookup=Lookup(decay=DECAY),
    )
    network = spec.network([slice(0, WIDTH)])
    objective = spec.objective(network, Latent.of(x.numpy()), None)
    present = torch.ones(len(x), 1, dtype=torch.bool)

    def loss(rows: Tensor) -> Tensor:
        terms = losses(network, objective, (rows, x[rows], present[rows]))
        return torch.stack(list(terms.values())).sum()

    return network, loss


class Theirs(nn.Module):
    """A quantizer of another package between the same perceptrons."""

    def __init__(self, quantizer: nn.Module, pick: Callable[..., tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        widths = (WIDTH, *HIDDEN, CODE_DIM)
        self.encoder, self.decoder = perceptron(widths), perceptron(widths[::-1])
        self.quantizer, self.pick = quantizer, pick

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss of standardised vectors (B, d)."""
        values, commitment = self.pick(self.quantizer(self.encoder(x)))
        return nn.functional.mse_loss(self.decoder(values), x) + commitment


def pytorch_residual(x: Tensor) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return the network with vector-quantize-pytorch's ResidualVQ, and its loss."""
    quantizer = import_module("vector_quantize_pytorch").ResidualVQ(
        dim=CODE_DIM,
        num_quantizers=LEVELS,
        codebook_size=SIZE,
        decay=DECAY,
        commitment_weight=0.25,
    )
    network = Theirs(quantizer, lambda found: (found[0], found[2].mean()))
    return network, lambda rows: network(x[rows])


def rectokens_residual(x: Tensor) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return the network with rectokens' ResidualQuantizer, and its loss."""
    precision = torch.get_float32_matmul_precision()
    module = import_module("rectokens.tokenizers.rqvae")
    torch.set_float32_matmul_precision(precision)  # importing it changes that for all
    levels = [module.VQQuantizer(SIZE, CODE_DIM, ema_decay=DECAY) for _ in range(LEVELS)]

    def pick(found: Any) -> tuple[Tensor, Tensor]:
        commitments = [level.commitment_loss for level in found.level_outputs]
        return found.quantized, torch.stack(commitments).mean()

    network = Theirs(module.ResidualQuantizer(levels), pick)
    return network, lambda rows: network(x[rows])


#: Name in the table, module to import, and what makes the network and its loss.
PEERS = {
    "vector-quantize-pytorch ResidualVQ": ("vector_quantize_pytorch", pytorch_residual),
    "rectokens ResidualQuantizer": ("rectokens", rectokens_residual),
}


def measure(steps: int, batch: int, rounds: int) -> list[Result]:
    """Train all by turns, a few steps each."""
    torch.manual_seed(0)
    x = torch.from_numpy(clustered(4 * batch, WIDTH, seed=0))
    x = (x - x.mean(dim=0)) / x.std()
    makers = {"RQVAE": ours}
    for name, (module, make) in PEERS.items():
        if importlib.util.find_spec(module):
            makers[name] = make
        else:
            print(f"{module} is not installed")
    calls = {
        (name, precision): trainer(*make(x), len(x), steps, batch, precision)
        for name, make in makers.items()
        for precision in ("float32", "bfloat16")[: 1 + has_bfloat16()]
    }
    taken = take_turns(calls, rounds)
    ceilings = ceilings_of_machine()
    rates = {"float32": ceilings.float32_gflops, "bfloat16": ceilings.bfloat16_gflops}
    floor = {name: operations(batch) / (1e9 * rate) for name, rate in rates.items()}
    return [
        Result(
            name,
            precision,
            steps / median_spent(runs).wall,
            steps * floor[precision] / median_spent(runs).processor,
            None if name == "RQVAE" else ratio(taken["RQVAE", precision], runs),
        )
        for (name, precision), runs in taken.items()
    ]


def operations(batch: int) -> float:
    """Return how many operations a step's products take.

    Backwards each layer has two products as large as that forwards, one for its weights and one for
    what came in; the vectors themselves need none. Entries are compared forwards alone.
    """
    widths = (WIDTH, *HIDDEN, CODE_DIM)
    layers = sum(one * other for one, other in pairwise(widths))
    products = 2 * 3 * layers - widths[0] * widths[1] + LEVELS * SIZE * CODE_DIM
    return 2.0 * batch * products


def trainer(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    items: int,
    steps: int,
    batch: int,
    precision: str,
) -> Callable[[], object]:
    """Return what trains a module by so many steps of random rows."""
    return lambda: train(
        module,
        Optimisation(epochs=1),
        steps=steps,
        batches=lambda epoch: (torch.randint(items, (batch,)) for _ in range(steps)),
        loss=loss,
        description="steps",
        progress=False,
        bfloat16=precision == "bfloat16",
    )


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    rows = [
        [
            r.name,
            r.precision,
            f"{r.steps_a_second:.2f}",
            f"{r.share_of_floor:.2f}",
            "" if r.ours_is is None else str(r.ours_is),
        ]
        for r in results
    ]
    return columns(["", "precision", "steps/s", "of the floor", "ours is times as fast"], rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure the training steps of RQ-VAE.")
    parser.add_argument("--steps", type=int, default=5, help="of each turn")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    results = measure(args.steps, args.batch, args.rounds)
    print(machine_lines())
    print(table(results))
    write_json(args.out, vars(args), results)


if __name__ == "__main__":
    main()
