"""What every spec shares: frozen, compared by value, read back from JSON by its `kind`."""

import inspect
from importlib.metadata import entry_points
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A choice of the user's as an immutable value, validated when it is built.

    Examples
    --------
    >>> from semantic_ids import Suffix
    >>> Suffix(max_suffix=9) == Suffix.model_validate_json('{"max_suffix": 9}')
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


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
        """Return `value` if it is a spec of this stage, or the spec that a mapping describes.

        Raises
        ------
        TypeError
            if it is neither.
        ValueError
            if its `kind` is unknown, or its fields are not valid.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise TypeError(f"expected a {cls.__name__} or a mapping with its kind, got {value!r}")
        return cls._class_of(value.get("kind")).model_validate(value)

    @classmethod
    def _class_of(cls, kind: Any) -> type[Self]:
        if isinstance(kind, str) and kind not in cls._kinds:
            for point in entry_points(group=cls.group, name=kind):
                point.load()
        if not isinstance(kind, str) or kind not in cls._kinds:
            known = sorted({*cls._kinds, *(point.name for point in entry_points(group=cls.group))})
            raise ValueError(f"unknown {cls.__name__.lower()} kind {kind!r}; known: {known}")
        return cls._kinds[kind]  # type: ignore[return-value]
