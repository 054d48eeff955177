"""Fingerprint: a name for what a codec does, the same wherever it does the same."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def fingerprint(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of plain values and of named arrays, 64 hexadecimal digits.

    Parameters
    ----------
    content : values that JSON can hold; the order of keys does not matter.
    arrays : by name; their order and strides do not matter, their names, dtypes and shapes do.

    Examples
    --------
    >>> one = fingerprint({"levels": 2}, {"book": np.zeros((2, 3))})
    >>> one == fingerprint({"levels": 2}, {"book": np.zeros((3, 2))})
    False
    """
    digest = hashlib.sha256(_canonical(content))
    for name, array in sorted(arrays.items()):
        # One line of JSON before the bytes, whose number it fixes: nothing can shift.
        digest.update(_canonical([name, array.dtype.name, array.shape]) + b"\n")
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
