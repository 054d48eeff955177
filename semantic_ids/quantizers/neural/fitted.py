"""FittedNeural: what every neural quantizer becomes."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from semantic_ids.codes import check_codes
from semantic_ids.device import device_in_use
from semantic_ids.latent import Latent
from semantic_ids.one_thread import one_thread
from semantic_ids.optimisation import TrainingLog
from semantic_ids.quantizers.base import Arrays, FittedQuantizer
from semantic_ids.quantizers.neural.network import QuantizerNetwork
from semantic_ids.quantizers.neural.spec import NeuralQuantizer
from semantic_ids.storage import stored_array
from semantic_ids.training import seeded

#: Rows that pass a network together; shorter blocks are padded, so that one shape serves all.
_BLOCK = 256
_DEVICE_BLOCK = 1024
_DECODED_VALUES = 1 << 22


class FittedNeural(FittedQuantizer):
    """A trained encoder, exact search over the codebooks, and a trained decoder.

    The search is that of the latents. Errors and the order of candidates are those of the
    vectors: squared distances to what the decoder makes of the codes.

    Attributes
    ----------
    network : as trained, on the CPU; not to be changed.
    log : losses, errors and utilisation of the training; empty after loading.
    """

    def __init__(
        self,
        spec: NeuralQuantizer,
        network: QuantizerNetwork,
        blocks: Sequence[slice],
        log: TrainingLog,
    ) -> None:
        self.spec = spec
        self.network = network.eval().requires_grad_(False)
        self._wide = copy.deepcopy(self.network).double()
        self._on_devices: dict[torch.device, QuantizerNetwork] = {}
        self.log = log
        self.ordered = network.codebooks.ordered
        self._search = network.codebooks.search()
        self._blocks = tuple(blocks)
        self._width = self._blocks[-1].stop

    @classmethod
    def of_arrays(cls, spec: NeuralQuantizer, arrays: Arrays) -> "FittedNeural":
        """Rebuild from `arrays`.

        Raises
        ------
        ValueError
            if an array is missing, of another shape, or not finite.
        """
        blocks = _read_blocks(stored_array(arrays, "blocks", (None, 2), np.int64))
        with seeded(0):
            network = spec.network(blocks)
        weights = {}
        for name, value in network.state_dict().items():
            stored = stored_array(arrays, f"network.{name}", tuple(value.shape))
            if not np.isfinite(stored).all():
                raise ValueError(f"network.{name}: holds NaN or infinity")
            weights[name] = torch.from_numpy(stored.copy())
        network.load_state_dict(weights)
        return cls(spec, network, blocks, TrainingLog())

    def arrays(self) -> Arrays:
        """Return the weights, and the columns of the blocks."""
        weights = self.network.state_dict().items()
        arrays = {f"network.{name}": value.numpy().copy() for name, value in weights}
        arrays["blocks"] = np.array([(b.start, b.stop) for b in self._blocks], dtype=np.int64)
        return arrays

    def latents(self, latent: Latent | Any) -> np.ndarray:
        """Return what the encoder makes of rows, (N, c) float32; the codebooks search there."""
        rows = self._rows(latent)
        device = device_in_use()
        network = self._wide if device is None else self._wide_on(device)

        def encoded(x: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
            return network.encoded(network.standardised(x), present)

        return _in_blocks(encoded, rows.matrix, rows.present, device=device)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is on devices: other processes may have none."""
        return {**self.__dict__, "_on_devices": {}}

    def _wide_on(self, device: torch.device) -> QuantizerNetwork:
        if device not in self._on_devices:
            self._on_devices[device] = copy.deepcopy(self._wide).to(device)
        return self._on_devices[device]

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32: of the encoded rows, the nearest entries."""
        return self._search.codes(self.latents(latent))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return what the decoder makes of the entries, (n, d) float32; codes may be prefixes."""
        return _in_blocks(self._wide.decoded, self._search.decode(codes))

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 of rows to the first 1, 2, ... L levels."""
        matrix = self._rows(latent).matrix
        codes = check_codes(codes, self.codebook_sizes)
        errors = np.empty(codes.shape, dtype=np.float64)
        for level in range(codes.shape[1]):
            errors[:, level] = _distances(matrix, self.decode(codes[:, : level + 1])[:, None])[:, 0]
        return errors

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m codes a row that the search finds nearest to its latent.

        Returns
        -------
        codes : (N, m', L) int32, by (error, code); m' = min(m, number of codes).
        errors : (N, m') float64, squared distances of the row to what the codes decode to.
        """
        rows = self._rows(latent)
        codes, _ = self._search.best(self.latents(rows), m)
        errors = np.empty(codes.shape[:2])
        step = max(1, _DECODED_VALUES // (codes.shape[1] * self._width))
        for start in range(0, len(codes), step):
            block = slice(start, start + step)
            some = codes[block]
            decoded = self.decode(some.reshape(-1, some.shape[2]))
            errors[block] = _distances(
                rows.matrix[block], decoded.reshape(*some.shape[:2], self._width)
            )
        order = np.lexsort((*np.moveaxis(codes, 2, 0)[::-1], errors), axis=1)
        return (
            np.take_along_axis(codes, order[:, :, None], axis=1),
            np.take_along_axis(errors, order, axis=1),
        )

    def _rows(self, latent: Latent | Any) -> Latent:
        rows = Latent.of(latent)
        if rows.matrix.shape[1] != self._width:
            raise ValueError(
                f"vectors: expected {self._width} columns as in the fit, got {rows.matrix.shape[1]}"
            )
        return rows


def _distances(matrix: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return squared distances (n, m) float64 of rows (n, d) to vectors (n, m, d)."""
    gaps = matrix.astype(np.float64)[:, None] - decoded
    return np.square(gaps, out=gaps).sum(axis=2)


def _in_blocks(
    function: Callable[..., torch.Tensor],
    *arrays: np.ndarray,
    device: torch.device | None = None,
) -> np.ndarray:
    """Apply a row-wise function of float64 block by block, on a device; return float32.

    In one shape and on one thread a row's result depends on no other row. But some matrix kernels
    add in another order at the end of a block than inside: rounding to float32 undoes what
    float64 had left of that, except for one number in some hundred million.
    """
    parts, rows = [], _BLOCK if device is None else _DEVICE_BLOCK
    with torch.inference_mode(), one_thread():
        for start in range(0, len(arrays[0]), rows):
            blocks = [array[start : start + rows] for array in arrays]
            spare = rows - len(blocks[0])
            padded = [torch.from_numpy(np.pad(b, ((0, spare), (0, 0)))).to(device) for b in blocks]
            wide = [part.double() if part.is_floating_point() else part for part in padded]
            parts.append(function(*wide)[: len(blocks[0])].float().cpu().numpy())
    return np.concatenate(parts)


def _read_blocks(stored: np.ndarray) -> tuple[slice, ...]:
    if not len(stored) or (stored[:, 0] >= stored[:, 1]).any() or (stored < 0).any():
        raise ValueError(f"blocks: expected (start, stop) pairs of columns, got {stored.tolist()}")
    return tuple(slice(int(start), int(stop)) for start, stop in stored)
