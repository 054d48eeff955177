"""Tables of codes as .npy files, as TIGER's implementations keep them: row i, item i.

Such a file holds no ids: items are the row numbers. Those of torch (.pt) are pickles, which are
not read: `Tokenizer.from_codes(None, tensor)` takes what `torch.load` made of one.
"""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from semantic_ids.interop.table import CodeTable, code_table


def write_npy(path: str | Path, ids: Any, codes: Any) -> None:
    """Write codes as a .npy file, (N, L) int32, in the order of the ids.

    Parameters
    ----------
    path : file to write.
    ids : the numbers 0 to N - 1 in any order, which say whose row is whose; None if the rows are
        in order.
    codes : (N, L) int.

    Raises
    ------
    TypeError, ValueError
        if ids or codes are not valid, or the ids are no row numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_npy(f"{folder}/codes.npy", [1, 0], [[12, 7], [3, 9]])
    ...     read_npy(f"{folder}/codes.npy").codes.tolist()
    [[3, 9], [12, 7]]
    """
    rows = _by_number(ids, codes)
    with Path(path).open("wb") as file:  # np.save would put another ending after the name
        np.lib.format.write_array(file, rows, allow_pickle=False)


def read_npy(path: str | Path) -> CodeTable:
    """Read a .npy file of integers (N, L); ids are row numbers.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is no such file, or holds Python objects, which would have to be unpickled.
    """
    try:
        with Path(path).open("rb") as file:
            codes = np.lib.format.read_array(file, allow_pickle=False)
        return code_table(None, codes)
    except (
        *(ValueError, TypeError, SyntaxError, OverflowError),
        *(TokenError, MemoryError, RecursionError, EOFError),
    ) as error:
        raise ValueError(f"{path}: not a .npy file of codes: {error}") from None


def _by_number(ids: Any, codes: Any) -> np.ndarray:
    """Return codes (N, L) int32 such that row i is that of item i."""
    table = code_table(ids, codes)
    if table.ids.dtype.kind != "i" or table.ids.min() < 0 or table.ids.max() >= len(table.ids):
        raise ValueError(
            f"ids: a .npy file has room for the row numbers 0 to {len(table.ids) - 1} alone, "
            f"got {table.ids.tolist()[0]!r}, ...; choose a format that holds ids, such as parquet"
        )
    return table.codes[np.argsort(table.ids)]
