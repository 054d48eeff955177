"""Fitted: everything that a tokenizer is at one moment, as a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from semantic_ids.catalogue import Catalogue
from semantic_ids.codec import Codec
from semantic_ids.fingerprint import fingerprint
from semantic_ids.ids import pack_ids, unpack_ids
from semantic_ids.spec import Spec
from semantic_ids.storage import State, stored_array
from semantic_ids.tokenizer_spec import TokenizerSpec


@dataclass(frozen=True)
class Fitted:
    """What the stages learned, and the catalogue as it stands.

    Parameters
    ----------
    spec, codec : what was chosen, and what was fitted by it; None for codes without a codec.
    catalogue : id <-> code.
    ordered : whether each level refines the levels before it.
    relative_errors : after each level, measured at the fit; None where there was none.
    variance : of the fused items of the fit: their mean squared distance to the mean.
    modality_errors : the same of each modality in its own feature space, over the rows that the
        stages learnt from; empty where there was no fit.
    generation : how often the catalogue changed.
    """

    spec: TokenizerSpec | None
    codec: Codec | None
    catalogue: Catalogue
    ordered: bool
    relative_errors: list[float] | None = None
    variance: float | None = None
    modality_errors: Mapping[str, Sequence[float]] = field(default_factory=dict)
    generation: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """Name of the codec, or, without one, of the code sizes and their order."""
        spec = None if self.spec is None else self.spec.model_dump(mode="json")
        return _fingerprint(spec, self.codec, self.catalogue.sizes, self.ordered)


def _fingerprint(
    spec: Mapping[str, Any] | None, codec: Codec | None, sizes: tuple[int, ...], ordered: bool
) -> str:
    """Name what turns features into content codes; the resolver has no part in it."""
    if spec is None or codec is None:
        return fingerprint({"sizes": list(sizes), "ordered": ordered}, {})
    stages = {stage: spec.get(stage) for stage in ("text", "fuser", "quantizer")}
    return fingerprint(stages, codec.arrays())


class _Metadata(Spec):
    """What the manifest says of a tokenizer beside its arrays."""

    spec: TokenizerSpec | None
    code_sizes: tuple[Annotated[int, Field(ge=1, le=2**31)], ...]
    levels: int = Field(ge=1)
    ordered: bool
    relative_errors: list[float] | None
    variance: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    modality_errors: dict[str, list[float]] = Field(default={})
    generation: int = Field(ge=0)
    fingerprint: str = Field(pattern="^[0-9a-f]{64}$")
    # Pairs, not a mapping: their order is that of the columns, and JSON objects have none.
    widths: tuple[tuple[str, Annotated[int, Field(ge=1)]], ...]
    texts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "_Metadata":
        errors, spec = self.relative_errors, self.spec
        if errors is not None and len(errors) != self.levels:
            raise ValueError(f"{len(errors)} relative errors of {self.levels} levels")
        for name, found in self.modality_errors.items():
            if len(found) != self.levels:
                raise ValueError(f"{len(found)} errors of {name!r}, {self.levels} levels")
        if spec is None:
            return self
        levels = spec.quantizer.codebook_sizes
        if (self.code_sizes, self.levels) != (levels + spec.resolver.added_sizes, len(levels)):
            raise ValueError(f"code_sizes {list(self.code_sizes)} are not those of the spec")
        return self


def to_state(fitted: Fitted) -> State:
    """Return plain metadata and arrays."""
    catalogue = fitted.catalogue
    metadata: dict[str, Any] = {
        "spec": None if fitted.spec is None else fitted.spec.model_dump(mode="json"),
        "code_sizes": list(catalogue.sizes),
        "levels": catalogue.content_codes.shape[1],
        "ordered": fitted.ordered,
        "relative_errors": fitted.relative_errors,
        "variance": fitted.variance,
        "modality_errors": {name: list(e) for name, e in fitted.modality_errors.items()},
        "generation": fitted.generation,
        "fingerprint": fitted.fingerprint,
        "widths": [] if fitted.codec is None else list(fitted.codec.fuser.widths.items()),
        "texts": [] if fitted.codec is None else list(fitted.codec.texts),
    }
    ids, codes, content, retired = catalogue.to_rows()
    files = {
        "catalogue": {
            "codes": codes,
            "content_codes": content,
            "retired": retired,
            **pack_ids(ids),
        }
    }
    if fitted.codec is not None:
        files["codec"] = fitted.codec.arrays()
    return State("tokenizer", metadata, files)


def from_state(state: State) -> Fitted:
    """Rebuild what `to_state` wrote.

    Raises
    ------
    TypeError, ValueError
        if the state is not that of a tokenizer.
    """
    metadata = _Metadata.model_validate(dict(state.metadata))
    arrays = state.files.get("catalogue", {})
    codes = stored_array(arrays, "codes", (None, len(metadata.code_sizes)), np.int32)
    content = stored_array(arrays, "content_codes", (None, metadata.levels), np.int32)
    retired = stored_array(arrays, "retired", (None,), np.bool_)
    catalogue = Catalogue(unpack_ids(dict(arrays)), codes, content, metadata.code_sizes, retired)
    codec = None
    if metadata.spec is not None:
        stored = state.files.get("codec", {})
        codec = Codec.restore(
            metadata.spec.fuser,
            metadata.spec.quantizer,
            metadata.spec.text,
            dict(metadata.widths),
            metadata.texts,
            stored,
        )
    # The spec as it was written: a field that it gets later does not rename the codec.
    found = _fingerprint(state.metadata["spec"], codec, metadata.code_sizes, metadata.ordered)
    if found != metadata.fingerprint:
        raise ValueError(
            f"the catalogue is that of a codec with fingerprint {metadata.fingerprint}, but the "
            f"codec here has {found}"
        )
    return Fitted(
        metadata.spec,
        codec,
        catalogue,
        ordered=metadata.ordered,
        relative_errors=metadata.relative_errors,
        variance=metadata.variance,
        modality_errors=metadata.modality_errors,
        generation=metadata.generation,
    )
