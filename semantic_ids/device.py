"""Where searches and networks run: on the processor, or on a graphics card if one asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from semantic_ids.spec import Spec

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]

#: None for the processor, which needs no torch.
_CHOSEN: ContextVar["torch.device | None"] = ContextVar("device", default=None)


def chosen_device(device: Device) -> "torch.device":
    """Return the device of a name; ``auto`` is CUDA where there is one.

    Raises
    ------
    ValueError
        if it is ``cuda``, and torch finds none, or no name of a device.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: expected 'auto', 'cpu' or 'cuda', got {device!r}")
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ValueError("device='cuda': torch finds no CUDA device; choose 'auto' or 'cpu'")
    return torch.device("cuda" if found and device != "cpu" else "cpu")


def check_devices(spec: Any) -> None:
    """Refuse a spec that names CUDA, itself or in a part of it, where torch finds none."""
    if isinstance(spec, Spec):
        if getattr(spec, "device", None) == "cuda":
            chosen_device("cuda")
        for name in type(spec).model_fields:
            check_devices(getattr(spec, name))
    elif isinstance(spec, tuple):  # of parts
        for part in spec:
            check_devices(part)


@contextmanager
def on_device(device: Device | None) -> Iterator[None]:
    """Let greedy searches, and the encoders of neural quantizers, run on a device inside.

    So `Tokenizer.fit`, `add` and `encode` look for nearest entries on the card, in the thread that
    calls them. Greedy searches find the same codes everywhere: what a card cannot tell apart is
    decided by the processor. Of the vectors that a neural encoder makes, at least 99.9 % get the
    same codes. Beam searches, parallel codes and fusers run on the processor all the same, and
    neural quantizers are trained where the `device` of their spec says. Codebooks stay on the card
    as long as the tokenizer lives.

    Parameters
    ----------
    device : ``"cuda"``, ``"cpu"``, or ``"auto"`` for CUDA where there is one; None changes
        nothing.

    Raises
    ------
    ValueError
        if torch finds no such device.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Tokenizer
    >>> vectors = np.random.default_rng(0).normal(size=(300, 8))
    >>> with on_device("auto"):
    ...     tokenizer = Tokenizer.fit(vectors)
    >>> bool((tokenizer.encode(vectors) == tokenizer.content_codes).all())
    True
    """
    chosen = _CHOSEN.get() if device is None else _beside_the_processor(device)
    before = _CHOSEN.set(chosen)
    try:
        yield
    finally:
        _CHOSEN.reset(before)


def _beside_the_processor(device: Device) -> "torch.device | None":
    if device == "cpu":
        return None  # without torch
    chosen = chosen_device(device)
    if chosen.type == "cpu":
        return None
    import torch

    # By its number: what is kept there stays with that card, whichever is chosen later.
    return torch.device("cuda", torch.cuda.current_device())


def device_in_use() -> "torch.device | None":
    """Return what `on_device` chose; None for the processor."""
    return _CHOSEN.get()
