"""Memory-mapped arrays: giving back the memory of what has been read."""

import mmap

import numpy as np


def release(array: np.ndarray) -> None:
    """Drop the pages of a read-only memory-mapped array from this process's memory.

    Reading on brings them back from the system's cache or the file. Arrays in memory, and maps
    that can be written to, are left alone.

    Parameters
    ----------
    array : any array, or a view of one.

    Examples
    --------
    >>> release(np.zeros(3))
    """
    if array.flags.writeable or not hasattr(mmap, "MADV_DONTNEED"):
        return
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    # A private map that can be written to would lose what was written: numpy's mode "c".
    if isinstance(base, mmap.mmap) and memoryview(base).readonly:
        base.madvise(mmap.MADV_DONTNEED)
