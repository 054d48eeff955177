"""Reading a data folder: every line and every array is checked."""

import tokenize
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recmodels.data.dataset import Dataset
from recmodels.data.histories import Histories
from recmodels.data.jsonl import get, get_text, is_int, lines, parse, short
from semantic_ids import Features

ABOUT = "dataset.json"
#: Lies in a folder while it is being made; not all that the others say is there yet.
UNFINISHED = "unfinished.json"
ITEMS = "items.jsonl.gz"
INTERACTIONS = "interactions.jsonl.gz"
ARRAY_ENDINGS = ("_emb", "_feat")
MASK_ENDING = "_mask"
SEQUENCE = ("items",)
UNORDERED_SETS = ("train", "valid", "test")

# What numpy raises for a damaged .npy header, found by damaging them; one that promises too many
# numbers ends in a MemoryError.
_DAMAGE = (ValueError, TypeError, SyntaxError, tokenize.TokenError, OverflowError, MemoryError)

# Row numbers are int32.
_MOST_ITEMS = int(np.iinfo(np.int32).max) + 1
_STRINGS = np.dtypes.StringDType(coerce=False)


def read_dataset(
    folder: str | Path,
    *,
    min_items: int = 3,
    short_users: Literal["error", "drop"] = "error",
) -> Dataset:
    """Read a data folder, checking every line and every array.

    Parameters
    ----------
    folder : holds any of these files, at least one besides ``dataset.json``.

        ``dataset.json``
            ``{"name": ...}``; without it the folder's name is the dataset's.
        ``items.jsonl.gz``
            one item a line, ``{"i": 0, "id": "B0047", "title": ..., "categories": ...}``. `i` is
            the row number; `id` is null for every item or for none, and null ids are row numbers.
        ``interactions.jsonl.gz``
            one user a line, ``{"u": 0, "user": "A1Y" or null, "items": [...]}``, row numbers,
            oldest first. Where lines hold unordered ``train``, ``valid`` and ``test`` instead,
            they are checked, but `histories` is None.
        ``NAME_emb.npy`` or ``NAME_feat.npy``
            the vectors of modality NAME, (N, d); modalities come in the order of their names.
        ``NAME_mask.npy``
            bool (N,), True where an item has modality NAME; without it every item has.

    min_items : how many items a user needs.
    short_users : what to do with a user who has fewer: refuse the folder, or leave the user out
        and count it in `dropped_users`.

    Returns
    -------
    dataset : its items are the lines of ``items.jsonl.gz``, without it the rows of the arrays,
        and with interactions alone the rows up to the largest one named.

    Raises
    ------
    FileNotFoundError
        if there is no such folder.
    ValueError
        if an argument is not valid, or the folder holds anything else than described above; the
        message names the file, and the line in it.

    Notes
    -----
    Arrays are loaded whole and keep their type. A folder with ``unfinished.json`` is still being
    made, or was cut off, and is refused. Other keys of a line and other files are passed over.

    Examples
    --------
    >>> import gzip, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/text_emb.npy", np.eye(4, dtype=np.float16))
    ...     with gzip.open(f"{folder}/interactions.jsonl.gz", "wt") as file:
    ...         _ = file.write('{"u": 0, "user": null, "items": [2, 0, 3]}')
    ...     dataset = read_dataset(folder)
    >>> dataset.size, dataset.features.widths, dataset.histories[0].tolist()
    (4, {'text': 4}, [2, 0, 3])
    """
    if min_items < 0:
        raise ValueError(f"min_items: expected 0 or more, got {min_items}")
    if short_users not in ("error", "drop"):
        raise ValueError(f'short_users: expected "error" or "drop", got {short_users!r}')
    folder = _find(Path(folder))
    items = _read_items(folder / ITEMS)
    arrays = _read_arrays(folder)
    size = _count_items(folder, items, arrays)
    masks = _read_masks(folder, arrays, size)
    people = _read_people(folder / INTERACTIONS, size, min_items, drop=short_users == "drop")
    ids = _id_array(items, people.largest + 1 if size is None else size)
    return Dataset(
        name=_read_name(folder),
        ids=ids,
        features=_build_features(arrays, masks, ids),
        histories=Histories(np.array(people.items), np.array(people.offsets))
        if people.ordered
        else None,
        users=tuple(people.users),
        titles=items.titles if items else None,
        categories=items.categories if items else None,
        dropped_users=people.dropped,
    )


@dataclass(frozen=True)
class _Items:
    """What items.jsonl.gz says; `ids` is None where they are all null."""

    size: int
    ids: list[str] | None
    titles: tuple[str, ...] | None
    categories: tuple[str, ...] | None


@dataclass
class _People:
    """What interactions.jsonl.gz says, gathered line by line."""

    users: list[str | None] = field(default_factory=list)
    items: "array[int]" = field(default_factory=lambda: array("i"))
    offsets: "array[int]" = field(default_factory=lambda: array("q", [0]))
    ordered: bool = False
    dropped: int = 0
    largest: int = -1


@dataclass(frozen=True)
class _Array:
    """An array and the file that it came from, which errors name."""

    path: Path
    values: np.ndarray


def _find(folder: Path) -> Path:
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, got a file")
    if (folder / UNFINISHED).exists():
        raise ValueError(f"{folder}: is not finished ({UNFINISHED}); repeat what was to make it")
    return folder


def _read_name(folder: Path) -> str:
    path = folder / ABOUT
    about = parse(str(path), path.read_bytes()) if path.exists() else {}
    return get_text(str(path), about, "name") or folder.resolve().name


def _read_items(path: Path) -> _Items | None:
    """Read the items; None where there is no such file."""
    if not path.exists():
        return None
    line_of: dict[str, int] = {}
    titles: list[str] = []
    categories: list[str] = []
    for row, (where, record) in enumerate(lines(path)):
        _check_row_number(where, record, row)
        _add_item_id(where, record, row, line_of)
        titles.append(get_text(where, record, "title") or "")
        categories.append(get_text(where, record, "categories") or "")
    if not titles:
        raise ValueError(f"{path}: holds no items; expected one a line")
    return _Items(
        size=len(titles),
        ids=list(line_of) or None,
        titles=tuple(titles) if any(titles) else None,
        categories=tuple(categories) if any(categories) else None,
    )


def _check_row_number(where: str, record: dict[str, Any], row: int) -> None:
    value = get(where, record, "i", "the row number")
    if not is_int(value) or value != row:
        raise ValueError(f'{where}: "i" is {short(value)}, expected the row number {row}')


def _add_item_id(where: str, record: dict[str, Any], row: int, line_of: dict[str, int]) -> None:
    get(where, record, "id", "a string or null")
    item = get_text(where, record, "id")
    if row and (item is None) == bool(line_of):
        raise ValueError(
            f'{where}: "id" is {short(item)}, but {"strings" if line_of else "nulls"} came '
            "before; expected an id for every item or null for every item"
        )
    if item is None:
        return
    if item in line_of:
        raise ValueError(
            f'{where}: "id" is {short(item)}, as on line {line_of[item]}; '
            "expected an id of its own for every item"
        )
    line_of[item] = row + 1


def _read_people(path: Path, size: int | None, min_items: int, *, drop: bool) -> _People:
    """Read the users and their items; nobody where there is no such file."""
    people = _People()
    if not path.exists():
        return people
    keys: tuple[str, ...] = ()
    line_of: dict[str, int] = {}
    for line, (where, record) in enumerate(lines(path), start=1):
        keys = keys or _people_keys(record)
        user = _user(where, record, line, line_of)
        lists = [_row_numbers(where, record, key, size) for key in keys]
        people.largest = max(people.largest, *(max(rows, default=-1) for rows in lists))
        people.ordered = keys == SEQUENCE
        if not people.ordered or len(lists[0]) >= min_items:
            people.users.append(user)
            people.items.extend(lists[0])
            people.offsets.append(len(people.items))
        elif drop:
            people.dropped += 1
        else:
            raise ValueError(
                f"{where}: user {short(user)} has {len(lists[0])} items, expected at least "
                f'min_items={min_items}; short_users="drop" leaves such users out'
            )
    _check_people(path, people, size, min_items)
    return people


def _people_keys(record: dict[str, Any]) -> tuple[str, ...]:
    """Say whether a file holds sequences or unordered sets, by its first line."""
    if "items" not in record and any(key in record for key in UNORDERED_SETS):
        return UNORDERED_SETS
    return SEQUENCE


def _user(where: str, record: dict[str, Any], line: int, line_of: dict[str, int]) -> str | None:
    number = get(where, record, "u", "the user's number")
    if not is_int(number):
        raise ValueError(f'{where}: "u" is {short(number)}, expected the user\'s number')
    user = get_text(where, record, "user")
    if user is None:
        return None
    if user in line_of:
        raise ValueError(
            f'{where}: "user" is {short(user)}, as on line {line_of[user]}; '
            "expected one line a user"
        )
    line_of[user] = line
    return user


def _row_numbers(where: str, record: dict[str, Any], key: str, size: int | None) -> list[int]:
    rows = get(where, record, key, "a list of row numbers")
    if not isinstance(rows, list):
        raise ValueError(f'{where}: "{key}" is {short(rows)}, expected a list of row numbers')
    end = _MOST_ITEMS if size is None else size
    unknown = [row for row in rows if not is_int(row) or not 0 <= row < end]
    if unknown:
        raise ValueError(
            f'{where}: "{key}" names {short(unknown[0])}, which is no item; '
            f"expected row numbers 0 to {end - 1}"
        )
    return rows


def _check_people(path: Path, people: _People, size: int | None, min_items: int) -> None:
    if not people.users and not people.dropped:
        raise ValueError(f"{path}: holds no users; expected one a line")
    if not people.users:
        raise ValueError(
            f"{path}: none of the {people.dropped} users has min_items={min_items} items; "
            "expected at least one"
        )
    if size is None and people.largest < 0:
        raise ValueError(f"{path}: names no item, and there is no {ITEMS}; expected at least one")


def _read_arrays(folder: Path) -> dict[str, _Array]:
    """Read the vectors of every modality, by its name."""
    arrays: dict[str, _Array] = {}
    for ending in ARRAY_ENDINGS:
        for path in sorted(folder.glob(f"*{ending}.npy")):
            name = path.stem.removesuffix(ending)
            if name in arrays:
                raise ValueError(
                    f"{path}: modality {name!r} has {arrays[name].path.name} too; expected one"
                )
            arrays[name] = _load(path)
    return dict(sorted(arrays.items()))


def _read_masks(folder: Path, arrays: dict[str, _Array], size: int | None) -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob(f"*{MASK_ENDING}.npy")):
        name = path.stem.removesuffix(MASK_ENDING)
        if name not in arrays:
            wanted = " or ".join(f"{name}{ending}.npy" for ending in ARRAY_ENDINGS)
            raise ValueError(f"{path}: a mask without its array; expected {wanted} beside it")
        mask = _load(path).values
        if mask.dtype != bool or mask.shape != (size,):
            raise ValueError(
                f"{path}: expected bool of shape ({size},), got {mask.dtype} of shape {mask.shape}"
            )
        masks[name] = mask
    return masks


def _load(path: Path) -> _Array:
    try:
        with path.open("rb") as file:
            return _Array(path, np.lib.format.read_array(file, allow_pickle=False))
    except _DAMAGE as error:
        raise ValueError(f"{path}: expected a whole .npy array without pickles: {error}") from None


def _count_items(folder: Path, items: _Items | None, arrays: dict[str, _Array]) -> int | None:
    """Return the number of items; None where only the interactions can tell it."""
    size, source = (items.size, ITEMS) if items else (None, "")
    for each in arrays.values():
        shape = each.values.shape
        if len(shape) != 2:
            raise ValueError(
                f"{each.path}: expected two dimensions (items, columns), got shape {shape}"
            )
        if size is None:
            size, source = shape[0], each.path.name
        if shape[0] != size:
            raise ValueError(f"{each.path}: {shape[0]} rows, expected {size} as in {source}")
    if size is None and not (folder / INTERACTIONS).exists():
        raise ValueError(
            f"{folder}: found no {ITEMS}, no {INTERACTIONS}, no NAME_emb.npy and no NAME_feat.npy"
        )
    return size


def _id_array(items: _Items | None, size: int) -> np.ndarray:
    if items is None or items.ids is None:
        return np.arange(size, dtype=np.int64)
    return np.array(items.ids, dtype=_STRINGS)


def _build_features(
    arrays: dict[str, _Array], masks: dict[str, np.ndarray], ids: np.ndarray
) -> Features | None:
    if not arrays:
        return None
    try:
        return Features({name: array.values for name, array in arrays.items()}, masks, ids)
    except (TypeError, ValueError) as error:
        paths = ", ".join(str(array.path) for array in arrays.values())
        raise ValueError(f"{paths}: {error}") from error
