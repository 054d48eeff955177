"""Frames: one set of rules that turns columns, of pandas, polars or parquet, into features."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from semantic_ids.ids import STRINGS, id_array
from semantic_ids.mapped import RowFile
from semantic_ids.raw_text import text_array

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns that are ids wherever nothing else was named.
ID_COLUMNS = ("id", "item_id")

#: Rows that are turned from columns into rows together.
BATCH_ROWS = 4096

_NUMBERED = re.compile(r"(.+)_(0|[1-9][0-9]*)", re.DOTALL)
#: A column of ids that is not in use as such, or the index that pandas writes into files.
_NO_MODALITY = re.compile(rf"{'|'.join(ID_COLUMNS)}|__index_level_\d+__")
_EXPECTED = (
    "expected lists of numbers, numbers in columns such as text_0, text_1, ..., str, or ids; "
    "leave other columns out"
)


@dataclass(frozen=True)
class Table:
    """Features as a reader found them; `Features` checks what they hold.

    Parameters
    ----------
    modalities : by name; what `Features` takes as an array, or a numpy string array.
    present : masks of those modalities that say themselves which rows lack them.
    ids : those that came with the features, if any.
    """

    modalities: Mapping[str, Any]
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray | None = None


def is_a(value: Any, package: str, name: str) -> bool:
    """Say whether a value is of a package's class, or of one derived from it; imports nothing.

    Examples
    --------
    >>> is_a(np.float64(1), "numpy", "floating"), is_a(1.0, "numpy", "floating")
    (True, False)
    """
    return any(
        cls.__name__ == name and cls.__module__.partition(".")[0] == package
        for cls in type(value).__mro__
    )


def is_frame(value: Any) -> bool:
    """Say whether a value is a DataFrame of pandas or polars."""
    return any(
        is_a(value, *kind)
        for kind in [("pandas", "DataFrame"), ("polars", "DataFrame"), ("polars", "LazyFrame")]
    )


def is_series(value: Any) -> bool:
    """Say whether a value is a Series of pandas or polars."""
    return is_a(value, "pandas", "Series") or is_a(value, "polars", "Series")


def read_frame(frame: Any, name: str, ids: str | None = None) -> Table:
    """Read a pandas or polars DataFrame by the rules of `read_batches`; its index is not read.

    Raises
    ------
    ImportError
        if pyarrow is not installed.
    TypeError, ValueError
        if a column cannot be read; also for a LazyFrame.
    """
    pa = import_pyarrow()
    if is_a(frame, "polars", "LazyFrame"):
        raise TypeError(f"{name}: a polars LazyFrame holds no rows yet; give frame.collect()")
    try:
        if is_a(frame, "pandas", "DataFrame"):
            table = pa.Table.from_pandas(frame, preserve_index=False)
        else:
            table = frame.to_arrow()
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(f"{name}: a column cannot be read: {'; '.join(error.args)}") from None
    batches = table.to_batches(max_chunksize=BATCH_ROWS)
    return read_batches(table.schema, batches, table.num_rows, name=name, ids=ids)


def read_batches(
    schema: "pa.Schema",
    batches: "Iterable[pa.RecordBatch]",
    rows: int,
    *,
    name: str,
    ids: str | None = None,
    mapped: bool = False,
) -> Table:
    """Turn columns into modalities and ids, batch by batch.

    A column of ids is the one that `ids` names, else ``id`` or ``item_id``. A column of lists of
    numbers is a modality; an item with null lacks it. Columns ``text_0``, ``text_1``, ... of
    numbers are one modality ``text``, in the order of the numbers; an item lacks it where all of
    them are null or NaN. A column of str is a modality of raw text. Modalities come in the order
    of their first columns.

    Parameters
    ----------
    schema, batches, rows : Arrow columns, piece by piece, and how many rows they hold in all.
    name : what to call them in errors.
    ids : name of the column of ids.
    mapped : whether to keep vectors in an unlinked temporary file, read-only and memory-mapped,
        instead of in memory.

    Raises
    ------
    ValueError
        naming column and row, if a column is none of these, columns of one modality are not
        numbered from 0 on, lists differ in length or are empty, a row of numbered columns is
        partly null, or an id is null.
    """
    if not rows:
        raise ValueError(f"{name}: expected at least one item, got no rows")
    id_column, groups = _layout(schema, name, ids)
    readings = {key: _Reading(key, group, rows, name, mapped) for key, group in groups.items()}
    names: list[np.ndarray] = []
    start = stop = 0
    with ExitStack() as files:
        for reading in readings.values():
            files.callback(reading.close)
        for batch in batches:
            start, stop = stop, stop + batch.num_rows
            if stop > rows:
                break
            if id_column is not None:
                names.append(_ids(batch.column(id_column), f"{name}, column {id_column!r}", start))
            for reading in readings.values():
                reading.take(batch, start)
        if stop != rows:
            raise ValueError(f"{name}: states {rows:,} rows, but holds others")
        return Table(
            {key: reading.array() for key, reading in readings.items()},
            {key: reading.present for key, reading in readings.items()},
            np.concatenate(names) if names else None,
        )


def import_pyarrow() -> Any:
    """Return pyarrow, or say how to install it."""
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            "frames and .parquet files need pyarrow: pip install 'semantic-ids[frames]'"
        ) from None
    return pyarrow


class _Group(NamedTuple):
    """The columns of one modality, in order, and what they hold."""

    kind: Literal["lists", "numbers", "text"]
    columns: tuple[str, ...]
    dtype: np.dtype


def _layout(
    schema: "pa.Schema", name: str, ids: str | None
) -> tuple[str | None, dict[str, _Group]]:
    """Say which column holds ids, and which columns make up each modality."""
    column, count = Counter(schema.names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{name}: {count} columns are called {column!r}")
    id_column = _id_column(schema.names, name, ids)
    whole: dict[str, _Group] = {}
    numbered: dict[str, dict[int, str]] = {}
    order: list[str] = []
    for column in schema.names:
        if column == id_column:
            continue
        kind, dtype = _kind(schema.field(column).type)
        match = _NUMBERED.fullmatch(column)
        if kind in ("lists", "text") and not _NO_MODALITY.fullmatch(column):
            key = column
            whole[key] = _Group(kind, (column,), dtype)
        elif kind == "numbers" and match:
            key = match[1]
            numbered.setdefault(key, {})[int(match[2])] = column
        else:
            raise ValueError(
                f"{name}, column {column!r}: {_why_not(column, str(schema.field(column).type))}"
            )
        if key not in order:
            order.append(key)
    for key, columns in numbered.items():
        if key in whole:
            raise ValueError(f"{name}: columns {key!r} and '{key}_0' are both modality {key!r}")
        missing = next((i for i in range(len(columns)) if i not in columns), None)
        if missing is not None:
            raise ValueError(
                f"{name}: modality {key!r} has {len(columns)} columns, but no '{key}_{missing}'; "
                "they are numbered from 0 on"
            )
        names = tuple(columns[number] for number in range(len(columns)))
        dtypes = [_kind(schema.field(column).type)[1] for column in names]
        whole[key] = _Group("numbers", names, np.result_type(*dtypes))
    if not whole:
        raise ValueError(f"{name}: no column but ids among {schema.names}; {_EXPECTED}")
    return id_column, {key: whole[key] for key in order}


def _id_column(columns: list[str], name: str, ids: str | None) -> str | None:
    if ids is not None:
        if ids not in columns:
            raise ValueError(f"ids: {name} has no column {ids!r} among {columns}")
        return ids
    found = [column for column in ID_COLUMNS if column in columns]
    if len(found) > 1:
        raise ValueError(f"{name}: columns {found} may both be ids; drop one of them")
    return found[0] if found else None


def _why_not(column: str, type_: str) -> str:
    if _NO_MODALITY.fullmatch(column):
        return "ids or an index that are not in use; name them with ids=..., or leave them out"
    if column.isdecimal():
        return "has no name; a frame that is one matrix goes in as frame.to_numpy()"
    return f"{type_} cannot be used; {_EXPECTED}"


def _kind(
    type_: "pa.DataType",
) -> tuple[Literal["lists", "numbers", "text"] | None, np.dtype]:
    import pyarrow.types as of

    if of.is_floating(type_) or of.is_integer(type_) or of.is_boolean(type_):
        return "numbers", np.dtype(type_.to_pandas_dtype())
    if of.is_list(type_) or of.is_large_list(type_) or of.is_fixed_size_list(type_):
        inner, dtype = _kind(type_.value_type)
        return ("lists" if inner == "numbers" else None), dtype
    if of.is_dictionary(type_):
        inner, dtype = _kind(type_.value_type)
        return ("text" if inner == "text" else None), dtype
    is_text = of.is_string(type_) or of.is_large_string(type_) or of.is_string_view(type_)
    return ("text" if is_text else None), np.dtype(object)


class _Reading:
    """One modality while its batches come."""

    def __init__(self, key: str, group: _Group, rows: int, name: str, mapped: bool) -> None:
        self.present = np.zeros(rows, dtype=bool)
        self._group, self._mapped = group, mapped
        self._what = f"{name}, modality {key!r}"
        if group.kind == "lists":
            self._what = f"{name}, column {key!r}"
        self._rows: np.ndarray | RowFile | None = None
        if group.kind == "text":
            self._rows = np.zeros(rows, dtype=STRINGS)

    def take(self, batch: "pa.RecordBatch", start: int) -> None:
        """Read the rows of a batch, the first of which is row `start` of all."""
        columns = [batch.column(column) for column in self._group.columns]
        if self._group.kind == "text":
            values, present = text_array(columns[0].to_pylist(), self._what)
        elif self._group.kind == "lists":
            width = None if self._rows is None else self._rows.shape[1]
            values, present = _lists(columns[0], self._group.dtype, self._what, start, width)
        else:
            values, present = _table(columns, self._group.dtype, self._what, start)
        self.present[start : start + len(present)] = present
        if not present.any():  # then the width of lists is not known, maybe
            return
        if self._rows is None:
            shape = (len(self.present), values.shape[1])
            make = RowFile if self._mapped else np.zeros
            self._rows = make(shape, values.dtype)
        self._rows[start : start + len(values)] = values

    def array(self) -> np.ndarray:
        """Return all rows; those of absent items are 0."""
        if self._rows is None or not self.present.any():
            raise ValueError(
                f"{self._what}: missing for every one of {len(self.present):,} items; leave it out"
            )
        return self._rows if isinstance(self._rows, np.ndarray) else self._rows.mapped()

    def close(self) -> None:
        """Close the file that rows were written into, if any."""
        if isinstance(self._rows, RowFile):
            self._rows.close()


def _ids(column: "pa.Array", what: str, start: int) -> np.ndarray:
    missing = np.flatnonzero(_nulls(column))
    if len(missing):
        raise ValueError(f"{what}: row {start + missing[0]} is null; every item needs an id")
    return id_array(column.to_pylist(), name=what)


def _lists(
    column: "pa.Array", dtype: np.dtype, what: str, start: int, width: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, width) of lists, and which are not null; None is a width not known yet."""
    from pyarrow.compute import call_function

    present = ~_nulls(column)
    lengths = np.asarray(call_function("list_value_length", [column.drop_null()]))
    if not len(lengths):
        return np.zeros((len(column), width or 0), dtype=dtype), present
    expected = int(lengths[0]) if width is None else width
    other = np.flatnonzero((lengths != expected) | (lengths == 0))
    if len(other):
        row = start + np.flatnonzero(present)[other[0]]
        if not lengths[other[0]]:
            raise ValueError(f"{what}: row {row} is an empty list; null says that an item has none")
        raise ValueError(
            f"{what}: row {row} is a list of {lengths[other[0]]} numbers, expected {expected} as "
            "in the first row"
        )
    flat, missing = _numbers(column.flatten(), dtype)
    if missing.any():
        if dtype.kind != "f":
            inside = int(np.flatnonzero(missing)[0]) // expected
            row = start + np.flatnonzero(present)[inside]
            raise ValueError(f"{what}: row {row} has null inside its list")
        flat[missing] = np.nan  # what NaN means is for Features to say
    values = np.zeros((len(column), expected), dtype=dtype)
    values[present] = flat.reshape(-1, expected)
    return values, present


def _table(
    columns: "list[pa.Array]", dtype: np.dtype, what: str, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, width) of numbered columns, and which are not null or NaN throughout."""
    values = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    missing: np.ndarray = np.empty(values.shape, dtype=bool)
    for place, column in enumerate(columns):
        values[:, place], nulls = _numbers(column, dtype)
        missing[:, place] = nulls | np.isnan(values[:, place])
    absent = np.all(missing, axis=1)
    partly = np.flatnonzero(missing.any(axis=1) & ~absent)
    if len(partly):
        raise ValueError(
            f"{what}: row {start + partly[0]} is null or NaN in {missing[partly[0]].sum()} of "
            f"{len(columns)} columns; expected all of them, or none"
        )
    values[absent] = 0
    return values, ~absent


def _numbers(column: "pa.Array", dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers (n,), 0 where there is none, and where that is."""
    nulls = _nulls(column)
    values = np.zeros(len(column), dtype=dtype)
    values[~nulls] = column.drop_null().to_numpy(zero_copy_only=False)
    return values, nulls


def _nulls(column: "pa.Array") -> np.ndarray:
    return column.is_null().to_numpy(zero_copy_only=False)
