"""Docstrings of this project as the documentation's reader of numpydoc takes them.

What stands after ``name :`` is prose with the shape in it, and may go on in the next line; a
reader of numpydoc takes the first line for a type. So it is put below the name; the type comes
from the annotations, and of the fields of a spec, with the default, from the class itself.
"""

import importlib
import re
from typing import Any

import griffe
from pydantic import BaseModel

_SECTION = re.compile(r"^(Parameters|Attributes|Returns|Yields)\n-+\n", re.MULTILINE)
_ITEM = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.+)$", re.MULTILINE)
_END = re.compile(r"\n\n(?=\S)")
_MODULES = re.compile(r"\b(?:\w+\.)+(?=\w)")


class ProseAfterColons(griffe.Extension):
    """Rewrites the docstrings of every package that is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _rewritten(obj.docstring.value, _fields(obj))


def _rewritten(text: str, fields: dict[str, str]) -> str:
    parts = _SECTION.split(text)
    done = parts[0]
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        # The section ends where a line that is not one of its items follows an empty one.
        end = _section_end(body)
        returned = heading in ("Returns", "Yields")

        def item(found: re.Match[str], returned: bool = returned) -> str:
            names, prose = found.groups()
            kind = " :" if returned else f" : {fields[names]}" if names in fields else ""
            return f"{names}{kind}\n    {prose}"

        done += f"{heading}\n{'-' * len(heading)}\n" + _ITEM.sub(item, body[:end]) + body[end:]
    return done


def _section_end(body: str) -> int:
    for gap in _END.finditer(body):
        if not _ITEM.match(body, gap.end()):
            return gap.start()
    return len(body)


def _fields(obj: griffe.Object) -> dict[str, str]:
    """Return the type and the default of each field, if it is the class of a spec."""
    if not obj.is_class:
        return {}
    cls = getattr(importlib.import_module(obj.module.path), obj.name, None)
    if not (isinstance(cls, type) and issubclass(cls, BaseModel)):
        return {}
    return {
        name: _type_name(field.annotation)
        + ("" if field.is_required() else f", default: {field.get_default()!r}")
        for name, field in cls.model_fields.items()
    }


def _type_name(annotation: Any) -> str:
    plain = isinstance(annotation, type) and not hasattr(annotation, "__args__")
    return annotation.__name__ if plain else _MODULES.sub("", str(annotation))
