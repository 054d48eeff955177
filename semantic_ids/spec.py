"""What every spec shares: frozen, compared by value, read back from JSON by its `kind`."""

import difflib
import inspect
from importlib.metadata import entry_points
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Spec(BaseModel):
    """A choice of the user's as an immutable value, validated when it is built.

    Examples
    --------
    >>> from semantic_ids import Suffix
    >>> Suffix(max_suffix=9) == Suffix.model_validate_json('{"max_suffix": 9}')
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Refuse values without a name."""
        if values:
            raise TypeError(
                f"{cls.__name__}: give fields by name, got {values[0]!r} without one; "
                f"fields: {', '.join(cls.model_fields)}"
            )
        return super().__new__(cls)

    @model_validator(mode="before")
    @classmethod
    def _fields_are_known(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                near = difflib.get_close_matches(str(name), cls.model_fields, n=1)
                hint = f"; did you mean {near[0]!r}? Its" if near else "; its"
                text = (
                    f"{cls.__name__} has no field {name!r}{hint} fields: "
                    f"{', '.join(cls.model_fields)}"
                )
                # An error of pydantic's own kinds ends in the address of a page about it.
                raise PydanticCustomError("unknown_field", "{text}", {"text": text})
        return given


class StageSpec(Spec):
    """A spec of one stage (fuser, quantizer, resolver), found by the `kind` it declares.

    A subclass registers itself when its module is imported. A kind that is not imported yet
    is looked up among the installed entry points of the stage's `group`.
    """

    group: ClassVar[str]
    _kinds: ClassVar[dict[str, type["StageSpec"]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "group" in cls.__dict__:
            cls._kinds = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        # A subclass that declares no kind of its own does not take its parent's.
        if "kind" in inspect.get_annotations(cls):
            cls._kinds[cls.model_fields["kind"].default] = cls

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return `value` if it is a spec of this stage, or the spec that it describes.

        Parameters
        ----------
        value : a spec, a mapping with its `kind` and fields, or a kind alone (a str), which takes
            the defaults of its fields.

        Raises
        ------
        TypeError
            if it is none of these.
        ValueError
            if its `kind` is unknown, or its fields are not valid.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            field = cls.group.rpartition(".")[2].removesuffix("s")
            raise TypeError(
                f"{field}: expected a {cls.__name__}, or its kind, alone or in a mapping, got "
                f"{value!r}; kinds: {cls._known_kinds()}"
            )
        return cls._class_of(value.get("kind")).model_validate(value)

    @classmethod
    def _class_of(cls, kind: Any) -> type[Self]:
        if isinstance(kind, str) and kind not in cls._kinds:
            for point in entry_points(group=cls.group, name=kind):
                point.load()
        if not isinstance(kind, str) or kind not in cls._kinds:
            near = difflib.get_close_matches(str(kind), cls._known_kinds(), n=1, cutoff=0.75)
            hint = f"did you mean {near[0]!r}? known" if near else "known"
            raise ValueError(
                f"unknown {cls.__name__.lower()} kind {kind!r}; {hint}: {cls._known_kinds()}"
            )
        return cls._kinds[kind]  # type: ignore[return-value]

    @classmethod
    def _known_kinds(cls) -> list[str]:
        return sorted({*cls._kinds, *(point.name for point in entry_points(group=cls.group))})
