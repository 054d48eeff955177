"""One way to show that long work goes on."""

import threading
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


class _Bar(tqdm):
    """A bar whose lock is this process's own.

    tqdm's is shared with forked processes: one that is killed while it holds the lock, which
    even a hidden bar takes, would stop all the others for good.
    """


_Bar.set_lock(threading.RLock())


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    description: str,
    total: int | None = None,
    initial: int = 0,
    progress: bool | None = None,
) -> "tqdm[Any]":
    """Return a tqdm bar on standard error.

    Parameters
    ----------
    iterable : what to go through; None for a bar that is moved by ``update``.
    description : what the work is, in a word or two.
    total : number of steps, where `iterable` does not know it.
    initial : steps that were done before.
    progress : True shows the bar, False hides it, None shows it in a terminal only.

    Examples
    --------
    >>> sum(progress_bar(range(4), description="adding", progress=False))
    6
    """
    disable = None if progress is None else not progress
    return _Bar(
        iterable,
        desc=description,
        total=total,
        initial=initial,
        disable=disable,
        dynamic_ncols=True,
    )
