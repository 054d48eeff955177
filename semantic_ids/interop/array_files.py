"""Tables of codes as .npy and torch files, as TIGER's implementations keep them: row i, item i.

Such a file holds no ids: items are the row numbers.
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


def write_torch(path: str | Path, ids: Any, codes: Any) -> None:
    """Write codes as a torch file that holds one tensor (N, L) int64; see `write_npy`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_torch(f"{folder}/codes.pt", None, [[12, 7], [3, 9]])
    ...     read_torch(f"{folder}/codes.pt").codes.tolist()
    [[12, 7], [3, 9]]
    """
    import torch

    torch.save(torch.from_numpy(_by_number(ids, codes).astype(np.int64)), path)


def read_torch(path: str | Path) -> CodeTable:
    """Read a torch file of one tensor of integers (N, L); ids are row numbers.

    Only tensors are read: a file of other objects is refused, and none of its code runs.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if it is no such file, or holds anything else.
    """
    import torch

    with Path(path).open("rb") as file:
        try:
            codes = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # what a damaged file raises has no type in common
            raise ValueError(f"{path}: not a torch file of one tensor: {error}") from None
    if not isinstance(codes, torch.Tensor):
        raise ValueError(f"{path}: expected one tensor, got a {type(codes).__name__}")
    try:
        return code_table(None, codes.numpy())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _by_number(ids: Any, codes: Any) -> np.ndarray:
    """Return codes (N, L) int32 such that row i is that of item i."""
    table = code_table(ids, codes)
    if table.ids.dtype.kind != "i" or table.ids.min() < 0 or table.ids.max() >= len(table.ids):
        raise ValueError(
            f"ids: a table of codes has room for the row numbers 0 to {len(table.ids) - 1} alone, "
            f"got {table.ids.tolist()[0]!r}, ...; give ids=None for the rows as they stand"
        )
    return table.codes[np.argsort(table.ids)]
