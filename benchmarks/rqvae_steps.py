"""How many training steps a second RQ-VAE does, beside vector-quantize-pytorch's ResidualVQ.

Both stand between the same perceptrons (384-512-256-128 and back), with codebooks of 4 x 256 that
are running means, and both are trained by the same loop and optimiser, by turns, on batches of
2,048 made-up vectors. Prints one table and writes one JSON; without the other package, ours alone.

    OMP_NUM_THREADS=1 python benchmarks/rqvae_steps.py --out rqvae_steps.json
"""

import argparse
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn
from turns import Ratio, columns, libraries_line, median_spent, ratio, take_turns, write_json
from vectors import clustered

from semantic_ids import RQVAE, Optimisation
from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.network import perceptron
from semantic_ids.training import train

WIDTH, HIDDEN, CODE_DIM, LEVELS, SIZE = 384, (512, 256), 128, 4, 256
DECAY = 0.95


@dataclass(frozen=True)
class Result:
    """One row of the table; `ours_is` is None for ours."""

    name: str
    steps_a_second: float
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
        terms = objective(network(rows, x[rows], present[rows]), network)
        return torch.stack(list(terms.values())).sum()

    return network, loss


class Theirs(nn.Module):
    """ResidualVQ of vector-quantize-pytorch between the same perceptrons."""

    def __init__(self) -> None:
        super().__init__()
        widths = (WIDTH, *HIDDEN, CODE_DIM)
        self.encoder, self.decoder = perceptron(widths), perceptron(widths[::-1])
        self.quantizer = import_module("vector_quantize_pytorch").ResidualVQ(
            dim=CODE_DIM,
            num_quantizers=LEVELS,
            codebook_size=SIZE,
            decay=DECAY,
            commitment_weight=0.25,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss of standardised vectors (B, d)."""
        values, _, commitment = self.quantizer(self.encoder(x)[None])
        return nn.functional.mse_loss(self.decoder(values[0]), x) + commitment.mean()


def theirs(x: Tensor) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return their network and its loss for rows of x."""
    network = Theirs()
    return network, lambda rows: network(x[rows])


def measure(steps: int, batch: int, rounds: int) -> list[Result]:
    """Train both by turns, a few steps each."""
    torch.manual_seed(0)
    x = torch.from_numpy(clustered(4 * batch, WIDTH, seed=0))
    x = (x - x.mean(dim=0)) / x.std()
    makers = {"RQVAE": ours}
    if importlib.util.find_spec("vector_quantize_pytorch"):
        makers["vector-quantize-pytorch ResidualVQ"] = theirs
    else:
        print("vector-quantize-pytorch is not installed: pip install 'semantic-ids[bench]'")
    calls = {}
    for name, make in makers.items():
        module, loss = make(x)
        calls[name] = lambda module=module, loss=loss: train(
            module,
            Optimisation(epochs=1),
            steps=steps,
            batches=lambda epoch: (torch.randint(len(x), (batch,)) for _ in range(steps)),
            loss=loss,
            description="steps",
            progress=False,
        )
    taken = take_turns(calls, rounds)
    return [
        Result(
            name,
            steps / median_spent(runs).wall,
            None if name == "RQVAE" else ratio(taken["RQVAE"], runs),
        )
        for name, runs in taken.items()
    ]


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    rows = [
        [r.name, f"{r.steps_a_second:.2f}", "" if r.ours_is is None else str(r.ours_is)]
        for r in results
    ]
    return columns(["", "steps/s", "ours is times as fast"], rows)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure the training steps of RQ-VAE.")
    parser.add_argument("--steps", type=int, default=5, help="of each turn")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    results = measure(args.steps, args.batch, args.rounds)
    print(libraries_line())
    print(table(results))
    write_json(args.out, vars(args), results)


if __name__ == "__main__":
    main()
