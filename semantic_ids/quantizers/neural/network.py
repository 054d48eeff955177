"""QuantizerNetwork: an encoder, codebooks, and a decoder between standardised vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from semantic_ids.quantizers.neural.codebooks import Codebooks, Quantized

_BLOCK_VALUES = 1 << 21


@dataclass(frozen=True)
class Step:
    """What a training step knows; objectives make losses of it.

    Attributes
    ----------
    rows : (B,) int64, which items these are.
    x : (B, d) standardised vectors; what the decoder should rebuild.
    present : (B, M) bool, which modalities each item has.
    latents : (B, c) what the encoder made of them.
    quantized : what the codebooks made of the latents.
    rebuilt : (B, d) what the decoder made of that.
    """

    rows: Tensor
    x: Tensor
    present: Tensor
    latents: Tensor
    quantized: Quantized
    rebuilt: Tensor


class QuantizerNetwork(nn.Module):
    """An encoder, codebooks and a decoder.

    Vectors are centred and divided by one number, so that losses and weights do not depend on
    the unit, while all distances keep their ratios.

    Parameters
    ----------
    width : columns d of the vectors.
    encoder : (B, d) to latents (B, c); a subclass may override `encoded` to read more.
    codebooks : see `Codebooks`.
    decoder : (B, c) to (B, d); it must end without an activation, else it rebuilds one sign.
    """

    def __init__(
        self, width: int, encoder: nn.Module, codebooks: Codebooks, decoder: nn.Module
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.encoder, self.decoder = encoder, decoder
        self.codebooks: Codebooks = codebooks

    def standardised(self, x: Tensor) -> Tensor:
        """Centre and scale vectors (B, d)."""
        return (x - self.get_buffer("mean")) / self.get_buffer("scale")

    def encoded(self, x: Tensor, present: Tensor) -> Tensor:
        """Return latents (B, c) of standardised vectors (B, d); `present` is (B, M) bool."""
        return self.encoder(x)

    def decoded(self, values: Tensor) -> Tensor:
        """Return vectors (B, d) in the units of the input for values (B, c)."""
        return self.decoder(values) * self.get_buffer("scale") + self.get_buffer("mean")

    def forward(self, rows: Tensor, x: Tensor, present: Tensor) -> Step:
        """Pass vectors (B, d) of items (B,) through all three."""
        x = self.standardised(x)
        # Distances of 8 bits choose wrong entries: under autocast only the layers are short.
        latents = self.encoded(x, present).float()
        with torch.autocast(x.device.type, enabled=False):
            quantized = self.codebooks(latents)
        return Step(rows, x, present, latents, quantized, self.decoder(quantized.values))

    @torch.no_grad()
    def learn_scale(self, matrix: np.ndarray) -> None:
        """Take mean and scale from vectors (N, d)."""
        mean = matrix.mean(axis=0, dtype=np.float64)
        rows = max(1, _BLOCK_VALUES // matrix.shape[1])
        squares = sum(
            ((matrix[start : start + rows] - mean) ** 2).sum()
            for start in range(0, len(matrix), rows)
        )
        scale = float(np.sqrt(squares / matrix.size))
        self.get_buffer("mean").copy_(torch.from_numpy(mean))
        # Equal rows leave a scale of rounding errors: these are not blown up.
        tiny = 1e-6 * max(1e-30, float(np.abs(mean).max()))
        self.get_buffer("scale").fill_(scale if scale > tiny else 1.0)


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers of these widths with ReLU between them, none after the last.

    Examples
    --------
    >>> perceptron([8, 4, 2])(torch.zeros(3, 8)).shape
    torch.Size([3, 2])
    """
    layers: list[nn.Module] = []
    for one, other in pairwise(widths):
        layers += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
