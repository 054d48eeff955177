"""Codes as a plain parquet file: a column of ids, and one of each level."""

from pathlib import Path
from typing import Any

import numpy as np

from semantic_ids.frames import ID_COLUMNS, import_pyarrow
from semantic_ids.interop.table import CodeTable, code_columns, code_table, column_names


def write_parquet(path: str | Path, ids: Any, codes: Any) -> None:
    """Write codes as the columns `item_id`, `code_a`, `code_b`, ... of a parquet file.

    Needs the extra ``frames``.

    Parameters
    ----------
    path : file to write.
    ids : N distinct str or int; None for row numbers.
    codes : (N, L) int, written as int32.

    Raises
    ------
    ImportError
        if pyarrow is not installed.
    TypeError, ValueError
        if ids or codes are not valid.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(f"{folder}/codes.parquet", ["x", "y"], [[12, 7], [3, 9]])
    ...     read_parquet(f"{folder}/codes.parquet").ids.tolist()
    ['x', 'y']
    """
    pa = import_pyarrow()
    from pyarrow import parquet

    table = code_table(ids, codes)
    names = ["item_id", *column_names(table.codes.shape[1])]
    columns = [pa.array(table.ids.tolist()), *map(pa.array, np.ascontiguousarray(table.codes.T))]
    parquet.write_table(pa.table(dict(zip(names, columns, strict=True))), path)


def read_parquet(path: str | Path) -> CodeTable:
    """Read ids (`item_id` or `id`) and the columns `code_a`, `code_b`, ... of a parquet file.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ImportError
        if pyarrow is not installed.
    ValueError
        if it is no such file, a column is missing or holds nulls or no integers, or an id occurs
        twice.
    """
    pa = import_pyarrow()
    from pyarrow import parquet

    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        # ParquetFile, for read_table would take folders, too, and guess partitions from names.
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            ids = [name for name in ID_COLUMNS if name in names]
            if len(ids) != 1:
                raise ValueError(f"expected a column item_id or id, got {names}")
            levels = code_columns(names, name="columns")
            table = file.read(columns=[*ids, *levels])
        for name in table.column_names:
            if table[name].null_count:
                raise ValueError(f"column {name!r}: {table[name].null_count} nulls")
        codes = [table[name].to_numpy() for name in levels]
        return code_table(table[ids[0]].to_pylist(), np.stack(codes, axis=1))
    except (pa.ArrowException, OSError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a parquet file of codes: {error}") from None
