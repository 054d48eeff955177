"""Growth: new items for a catalogue, and codes for them that nobody else had."""

from dataclasses import replace

import numpy as np

from semantic_ids.catalogue import Catalogue
from semantic_ids.codec import Codec
from semantic_ids.features import Features
from semantic_ids.fitted import Fitted
from semantic_ids.ids import id_array
from semantic_ids.tokenizer_spec import TokenizerSpec


def with_items(
    fitted: Fitted, codec: Codec, spec: TokenizerSpec, features: Features, *, update: bool
) -> Fitted:
    """Return what a tokenizer is after items were added; see `Tokenizer.add`.

    Raises
    ------
    ValueError
        if ids are missing or of another kind, features do not fit those of the fit, or content
        changed and `update` is not set.
    CollisionError
        if no code is free.
    """
    before = _of_any_kind(fitted.catalogue, features.ids)
    names = check_new_ids(before, features.ids)
    measured = codec.measure(features)
    catalogue = _without_changed(before, names, measured.codes, update=update)
    absent = catalogue.rows_or_none(names) < 0
    catalogue = catalogue.revived(names[absent], measured.codes[absent])
    arriving = np.flatnonzero(catalogue.rows_or_none(names) < 0)
    if len(arriving):
        rows, content = features.rows(arriving), measured.codes[arriving]
        codes = spec.resolver.resolve(
            content,
            names[arriving],
            codec.sizes,
            candidates=lambda some, m: codec.candidates(rows, some, m),
            errors=measured.errors[arriving],
            priority=np.zeros(len(arriving)),  # nothing is known of them yet
            taken=catalogue.taken,
        )
        catalogue = catalogue.extended(names[arriving], codes, content)
    return with_catalogue(fitted, catalogue)


def with_catalogue(fitted: Fitted, catalogue: Catalogue) -> Fitted:
    """Return what a tokenizer is with its catalogue changed once more."""
    return replace(fitted, catalogue=catalogue, generation=fitted.generation + 1)


def check_new_ids(catalogue: Catalogue, ids: np.ndarray | None) -> np.ndarray:
    """Return ids of new items, refused if there are none or they are not of the catalogue's kind.

    Raises
    ------
    ValueError
        naming the kind.
    """
    if ids is None:
        raise ValueError("ids: every new item needs one; give ids=[...]")
    if ids.dtype.kind != catalogue.ids.dtype.kind:
        kind = "int" if catalogue.ids.dtype.kind == "i" else "str"
        raise ValueError(f"ids: this catalogue's ids are {kind}, got {ids.tolist()[0]!r}")
    return id_array(ids)


def _of_any_kind(catalogue: Catalogue, ids: np.ndarray | None) -> Catalogue:
    """Return a catalogue that holds nothing, not even retired rows, for ids of another kind."""
    if ids is None or len(catalogue.taken):
        return catalogue
    return Catalogue(ids[:0], catalogue.codes, catalogue.content_codes, catalogue.sizes)


def _without_changed(
    catalogue: Catalogue, names: np.ndarray, content: np.ndarray, *, update: bool
) -> Catalogue:
    """Retire the items that are there with other content, or refuse them."""
    changed = changes(catalogue, names, content) == "moves"
    if changed.any() and not update:
        first = names.tolist()[int(np.flatnonzero(changed)[0])]
        raise ValueError(
            f"ids: {changed.sum()} are in the catalogue with other content (first: {first!r}); "
            "give update=True to move them to new codes"
        )
    return catalogue.retired(catalogue.rows_or_none(names[changed]))


def changes(catalogue: Catalogue, names: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Say what adding items would do to each: (n,) of ``"new"``, ``"stays"`` and ``"moves"``.

    Parameters
    ----------
    catalogue : as it stands.
    names : (n,) ids of its kind.
    content : (n, L) int32 content codes of what is given now.
    """
    rows = catalogue.rows_or_none(names)
    found = np.full(len(names), "new", dtype="<U5")
    there = np.flatnonzero(rows >= 0)
    same = (catalogue.content_codes[rows[there]] == content[there]).all(axis=1)
    found[there] = np.where(same, "stays", "moves")
    return found
