"""A spec from a file and from options: what was set last wins."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer

from semantic_ids.spec import Spec

AnySpec = TypeVar("AnySpec", bound=Spec)


def resolve(
    cls: type[AnySpec],
    file: Path | None,
    shortcuts: Mapping[str, Any],
    sets: Iterable[str] | None,
    seed: int | None = None,
) -> AnySpec:
    """Return the spec that a file and options describe.

    Parameters
    ----------
    cls : class of the spec, whose defaults are what nothing is said of.
    file : a JSON or YAML document of its fields.
    shortcuts : values of fields by their paths, such as ``quantizer.levels``; None says nothing.
    sets : further ones as ``PATH=VALUE``; they win over the shortcuts.
    seed : of every part that has one and is not set by its path.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if the file, a value, or the spec as a whole is not valid.

    Examples
    --------
    >>> from semantic_ids import TokenizerSpec
    >>> spec = resolve(TokenizerSpec, None, {"quantizer.levels": 3}, ["resolver.kind=suffix"])
    >>> spec.quantizer.levels, spec.resolver.kind, spec.code_length
    (3, 'suffix', 4)
    """
    given = {path: value for path, value in shortcuts.items() if value is not None}
    given |= dict(map(_parse_set, sets or []))
    document = cls.model_validate(_read(file)).model_dump(mode="json")
    spec = cls.model_validate(_changed(document, given))
    if seed is None:
        return spec
    seeded = _seeded(spec.model_dump(mode="json"), seed)
    return cls.model_validate(_changed(seeded, given))


def parse_value(text: str) -> Any:
    """Return the JSON value that a text is, or else the text.

    Examples
    --------
    >>> parse_value("3"), parse_value("[256, 64]"), parse_value("true"), parse_value("rq-vae")
    (3, [256, 64], True, 'rq-vae')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


def sizes(text: str | None) -> Any:
    """Return a codebook size, or a list of them, one a level.

    Examples
    --------
    >>> sizes("256"), sizes("256,64")
    (256, [256, 64])
    """
    if text is None:
        return None
    return [parse_value(part) for part in text.split(",")] if "," in text else parse_value(text)


def _parse_set(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise typer.BadParameter(f"--set: expected FIELD=VALUE, got {text!r}")
    return path, parse_value(value)


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    import yaml

    text = file.read_text(encoding="utf-8")
    try:
        document = json.loads(text) if file.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: not a JSON or YAML document: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"{file}: expected fields of a spec, got {document!r}")
    return document


def _changed(document: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with values at paths; another kind begins its part anew."""
    changed = json.loads(json.dumps(document))
    # A kind decides which fields there are: it comes before them, and outer ones before inner.
    order = sorted(given, key=lambda path: (not _is_kind(path), path.count(".")))
    for path in order:
        *parents, last = path.split(".")
        part = changed
        for depth, name in enumerate(parents):
            part = part.setdefault(name, {})
            if not isinstance(part, dict):
                raise ValueError(
                    f"--set {path}: {'.'.join(parents[: depth + 1])} is {part!r}, without fields"
                )
        if last == "kind" and part.get("kind") != given[path]:
            part.clear()
        part[last] = given[path]
    return changed


def _is_kind(path: str) -> bool:
    return path.rpartition(".")[2] == "kind"


def _seeded(part: Any, seed: int) -> Any:
    """Return a document with every seed in it replaced."""
    if isinstance(part, list):
        return [_seeded(value, seed) for value in part]
    if not isinstance(part, dict):
        return part
    return {
        name: seed if name == "seed" and isinstance(value, int) else _seeded(value, seed)
        for name, value in part.items()
    }
