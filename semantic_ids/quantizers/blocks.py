"""Rows in blocks: as many at a time as a quantizer may have in work."""

from collections.abc import Iterator


def blocks(n: int, rows: int) -> Iterator[slice]:
    """Split n rows into slices of at most `rows`, at least one each.

    Examples
    --------
    >>> list(blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = max(1, rows)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))
