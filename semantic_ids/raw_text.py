"""Raw text of items: a column of str, and which items have one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from semantic_ids.ids import STRINGS


def is_text(value: Any) -> bool:
    """Say whether a value is a sequence of str, None where there is none.

    Examples
    --------
    >>> is_text([None, "red lipstick"]), is_text([[1.0, 2.0]]), is_text("red lipstick")
    (True, False, False)
    """
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.kind not in "UTO":
            return False
        if value.dtype.kind != "O":
            return True
    elif not isinstance(value, list | tuple):
        return False
    if not len(value):
        return False
    return isinstance(next((text for text in value if text is not None), ""), str)


def text_array(texts: Sequence[Any] | np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return texts as a numpy string array (N,), and which of them there are, bool (N,).

    Parameters
    ----------
    texts : str, or None where an item has none.
    name : what to call them in an error.

    Raises
    ------
    TypeError
        if anything is neither str nor None.
    ValueError
        if a text is not valid Unicode.

    Examples
    --------
    >>> text_array(["red lipstick", None], "title")
    (array(['red lipstick', ''], dtype=StringDType(coerce=False)), array([ True, False]))
    """
    values = texts.tolist() if isinstance(texts, np.ndarray) else list(texts)
    present = np.fromiter((text is not None for text in values), bool, len(values))
    try:
        return np.array(["" if text is None else text for text in values], STRINGS), present
    except (TypeError, ValueError):  # UnicodeEncodeError is one of the latter
        row = next(row for row, text in enumerate(values) if not _is_storable(text))
    if isinstance(values[row], str):
        raise ValueError(f"{name}: row {row} is not valid Unicode")
    raise TypeError(f"{name}: expected str, or None for no text, got {values[row]!r} (row {row})")


def _is_storable(text: Any) -> bool:
    if not isinstance(text, str):
        return text is None
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
