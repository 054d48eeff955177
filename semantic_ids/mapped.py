"""Memory-mapped arrays: making them, and giving back the memory of what has been read."""

import mmap
import tempfile

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


class RowFile:
    """Rows that are written into an unlinked temporary file, then read as a memory-mapped array.

    The file lies in the folder of temporary files (``tempfile.gettempdir()``, which TMPDIR sets)
    and goes with the last array over it. Rows that nobody writes are zeros.

    Parameters
    ----------
    shape : (rows, columns), both at least 1.
    dtype : a numeric dtype.

    Examples
    --------
    >>> rows = RowFile((3, 2), np.dtype(np.float32))
    >>> rows[1:3] = np.ones((2, 2))
    >>> rows.mapped().tolist()
    [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    >>> rows.close()
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype) -> None:
        self.shape = shape
        self._dtype = dtype
        self._file = tempfile.TemporaryFile(prefix="semantic-ids-")  # noqa: SIM115 (see `close`)
        self._file.truncate(shape[0] * self._row_bytes)

    @property
    def _row_bytes(self) -> int:
        return self.shape[1] * self._dtype.itemsize

    def __setitem__(self, part: slice, values: np.ndarray) -> None:
        self._file.seek(part.start * self._row_bytes)
        self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)

    def mapped(self) -> np.ndarray:
        """Return all rows as a read-only map, which outlives the file's closing."""
        self._file.flush()
        return np.memmap(self._file, dtype=self._dtype, mode="r", shape=self.shape)

    def close(self) -> None:
        """Close the file: nothing can be written any more."""
        self._file.close()
