"""Payload: what the scripts of a page read, as JSON that is safe inside HTML."""

import json
from typing import Any

import numpy as np

from semantic_ids.report.contents import Contents
from semantic_ids.report.sample import RUN

#: Bytes of JSON that the named items may take. With plotly.js (4.8 MB), 6,000 prefixes of at most
#: 0.4 kB and 4,000 points a page stays below 10 MB, whatever the catalogue.
_ITEM_BYTES = 2_500_000
_LABEL, _TITLE = 60, 120
_DIGITS = 4


def payload(contents: Contents) -> str:
    """Return the JSON of a page."""
    named = contents.named
    items = to_json(_items(contents, named))
    while len(items.encode(errors="replace")) > _ITEM_BYTES and len(named) > RUN:
        named = named[np.arange(len(named)) // RUN % 2 == 0]
        items = to_json(_items(contents, named))
    rest = to_json(
        {
            "names": contents.level_names,
            "ordered": contents.fitted.ordered,
            "total": len(contents.fitted.catalogue),
            "levels": _levels(contents),
            "shared": _shared(contents),
            "tree": _tree(contents),
            "map": _map(contents, named),
        }
    )
    return f'{rest[:-1]},"items":{items}}}'


def to_json(value: Any) -> str:
    r"""Return JSON without a character that means something to HTML.

    Examples
    --------
    >>> to_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def shortened(text: str, width: int) -> str:
    """Return a text of at most `width` characters.

    Examples
    --------
    >>> shortened("Green tea", 6)
    'Green…'
    """
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _levels(contents: Contents) -> dict[str, Any]:
    levels = contents.statistics.levels
    errors: dict[str, list[float | None]] = {}
    if levels[0].relative_error is not None:
        errors["all, as fused"] = [level.relative_error for level in levels]
    for name in levels[0].modality_errors or {}:
        errors[name] = [(level.modality_errors or {}).get(name) for level in levels]
    return {
        "size": [level.size for level in levels],
        "used": [level.used for level in levels],
        "perplexity": [level.perplexity for level in levels],
        "entropy": [level.entropy for level in levels],
        "conditional": [level.conditional_entropy for level in levels],
        "errors": errors,
    }


def _shared(contents: Contents) -> dict[str, Any]:
    before = [bucket.items for bucket in contents.shared]
    # After the resolver every item has a code of its own.
    after = [sum(before), *[0] * (len(before) - 1)]
    return {"names": [str(b) for b in contents.shared], "before": before, "after": after}


def _tree(contents: Contents) -> dict[str, Any]:
    tree = contents.tree
    return {
        "depths": tree.depths.tolist(),
        "codes": tree.codes.tolist(),
        "parents": tree.parents.tolist(),
        "items": tree.items.tolist(),
        "titles": [shortened(_title(contents, row), _LABEL) for row in tree.firsts.tolist()],
        "words": {
            str(place): shortened(", ".join(words), _LABEL)
            for place, words in enumerate(contents.words)
            if words
        },
    }


def _title(contents: Contents, row: int) -> str:
    """Return an item's title, or its id where it has none."""
    title = None if contents.items is None else contents.items.titles[row]
    return str(contents.fitted.catalogue.ids[row]) if title is None else title


def _map(contents: Contents, named: np.ndarray) -> dict[str, Any] | None:
    drawn = contents.map
    if drawn is None:
        return None
    places = np.full(len(contents.fitted.catalogue), -1)
    places[named] = np.arange(len(named))
    x, y = ([float(f"{v:.{_DIGITS}g}") for v in axis.tolist()] for axis in drawn.points.T)
    return {
        "x": x,
        "y": y,
        "first": contents.fitted.catalogue.codes[drawn.rows, 0].tolist(),
        "item": places[drawn.rows].tolist(),
        "axes": [
            f"{name} component ({share:.1%} of the variance)"
            for name, share in zip(("First", "Second"), drawn.shares, strict=True)
        ],
    }


def _items(contents: Contents, named: np.ndarray) -> dict[str, Any]:
    catalogue = contents.fitted.catalogue
    codes, content = catalogue.codes[named], catalogue.content_codes[named]
    moved = np.flatnonzero((codes[:, : content.shape[1]] != content).any(axis=1))
    titles = None
    if contents.items is not None:
        known = contents.items.titles
        titles = [shortened(known[row] or "", _TITLE) for row in named.tolist()]
    shown = np.isin(contents.named, named)
    return {
        "ids": [shortened(str(name), _TITLE) for name in catalogue.ids[named].tolist()],
        "titles": titles,
        "codes": codes.T.tolist(),
        "under": contents.under[shown].T.tolist(),
        "moved": {str(row): content[row].tolist() for row in moved.tolist()},
    }
