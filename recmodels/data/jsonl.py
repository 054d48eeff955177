"""Files of one JSON object a line, plain or compressed, whose errors name file and line."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through a file of JSON objects, with the place of each for errors; .gz is compressed."""
    line = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line, text in enumerate(file, start=1):
                where = f"{path}, line {line}"
                yield where, parse(where, text)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}, after line {line}: expected a whole gzip file: {error}"
        ) from None


def parse(where: str, text: bytes) -> dict[str, Any]:
    """Read one JSON object; `where` names it in errors."""
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected a JSON object, got {short(text)}: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, got {short(value)}")
    return value


def get(where: str, record: dict[str, Any], key: str, expected: str) -> Any:
    """Return what a record has under `key`, which must be there."""
    if key not in record:
        raise ValueError(f'{where}: no "{key}", expected {expected}; got {short(sorted(record))}')
    return record[key]


def get_text(where: str, record: dict[str, Any], key: str) -> str | None:
    """Return a text, None where it is null or not there."""
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f'{where}: "{key}" is {short(value)}, expected a string or null')
    try:
        (value or "").encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, UTF-8 cannot
        raise ValueError(f'{where}: "{key}" is {value!a}, expected valid Unicode') from None
    return value


def is_int(value: Any) -> bool:
    """Say whether a value is an integer; JSON's true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: Any) -> str:
    """Spell a value for an error, at most 80 characters of it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
