"""Several processes that train one module together, through Hugging Face accelerate."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Workers:
    """This process alone; the other processes' side of it is `Launched`.

    Attributes
    ----------
    first : whether this is the process that shows bars and writes files.
    """

    first = True

    def part(self, batch: Any) -> Any:
        """Return this process's rows of a batch: a tensor, or a tuple of tensors."""
        return batch

    def average(self, module: nn.Module) -> None:
        """Replace gradients and floating-point buffers by their means over the processes."""

    def mean(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the means over the processes."""
        return values

    def wait(self) -> None:
        """Go on when every process has come here."""


class Launched(Workers):
    """One of the processes that ``accelerate launch`` or ``torchrun`` started.

    Every process has the whole data and the same seeds, and takes every n-th row of each batch.
    Gradients are averaged by hand, since a loss here is any function of the module, not one
    forward pass that a wrapper could watch.
    """

    def __init__(self, device: torch.device) -> None:
        try:
            from accelerate import Accelerator
        except ImportError:
            raise ImportError(
                "training in several processes needs accelerate: pip install semantic-ids[train]"
            ) from None
        self._accelerator = Accelerator(cpu=device.type == "cpu")
        self.first = self._accelerator.is_main_process

    def part(self, batch: Any) -> Any:
        """Return every n-th row, beginning with the number of this process."""
        first, count = self._accelerator.process_index, self._accelerator.num_processes
        if isinstance(batch, Tensor):
            return batch[first::count]
        return tuple(tensor[first::count] for tensor in batch)

    def average(self, module: nn.Module) -> None:
        """Replace gradients and floating-point buffers by their means over the processes."""
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad = self._mean(parameter.grad)
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(self._mean(buffer))

    def mean(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the means over the processes."""
        return {name: self._mean(value) for name, value in values.items()}

    def wait(self) -> None:
        """Go on when every process has come here."""
        self._accelerator.wait_for_everyone()

    def _mean(self, value: Tensor) -> Tensor:
        return self._accelerator.reduce(value, reduction="mean")  # type: ignore[return-value]


def launched_workers(device: torch.device) -> Workers:
    """Return the processes this one was launched with; alone, it needs no accelerate.

    Examples
    --------
    >>> launched_workers(torch.device("cpu")).first
    True
    """
    return Launched(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Workers()
