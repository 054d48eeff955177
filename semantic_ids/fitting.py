"""Fitting: a catalogue's features, or codes that exist already, become a tokenizer's state."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from semantic_ids.catalogue import Catalogue
from semantic_ids.codec import Codec
from semantic_ids.codes import check_codes, code_sizes, side_by_side
from semantic_ids.device import check_devices
from semantic_ids.errors import CollisionError
from semantic_ids.features import Features
from semantic_ids.fitted import Fitted
from semantic_ids.fused import Fused
from semantic_ids.ids import check_unique, id_array
from semantic_ids.resolvers.base import Resolver
from semantic_ids.side import Side
from semantic_ids.text.base import fit_texts, vectorise
from semantic_ids.tokenizer_spec import TokenizerSpec


def fit_stages(
    spec: TokenizerSpec,
    features: Features,
    *,
    side: Side | None = None,
    progress: bool | None = None,
) -> Fitted:
    """Fit every stage, one after the other, on a catalogue whose features carry ids.

    Vectorizers, fuser and quantizer learn from a sample where there are more rows than that;
    then all rows go through them, block by block.
    """
    check_devices(spec)
    check_catalogue(spec, len(features), side)
    rows = _sample(spec, len(features))
    learnt, learnt_side = features, side
    if rows is not None:
        learnt, learnt_side = features.rows(rows), None if side is None else side.rows(rows)
    texts = fit_texts(spec.text, learnt, progress=progress)
    learnt = vectorise(learnt, texts)
    fuser = spec.fuser.fit(learnt, side=learnt_side, progress=progress)
    latent = Fused(fuser, learnt).whole()
    codec = Codec(fuser, spec.quantizer.fit(latent, side=learnt_side, progress=progress), texts)
    del latent, learnt
    sampled = np.zeros(len(features), dtype=bool)
    sampled[slice(None) if rows is None else rows] = True
    measured = codec.measure(features, decoded=sampled, progress=progress)
    ids = np.arange(len(features)) if features.ids is None else features.ids
    codes = spec.resolver.resolve(
        measured.codes,
        ids,
        codec.sizes,
        candidates=lambda rows, m: codec.candidates(features, rows, m),
        errors=measured.errors,
        priority=None if side is None else side.counts,
    )
    return Fitted(
        spec,
        codec,
        Catalogue(ids, codes, measured.codes, codec.sizes + spec.resolver.added_sizes),
        ordered=codec.quantizer.ordered,
        relative_errors=measured.sums.relative(),
        variance=measured.sums.variance,
        modality_errors=measured.modality_errors,
    )


def check_catalogue(spec: TokenizerSpec, n: int, side: Side | None) -> None:
    """Refuse a catalogue of n items that a spec cannot be fitted on, before any work begins.

    Raises
    ------
    TypeError
        if `side` is not a Side.
    ValueError
        if a codebook is larger than the catalogue or the sample, or `side` has another length
        or lacks what the quantizer or the resolver needs.
    CollisionError
        if there are fewer codes than items.
    """
    if side is not None:
        if not isinstance(side, Side):
            raise TypeError(f"side: expected Side(...), got {type(side).__name__}")
        side.check_length(n)
    spec.quantizer.check_side(side)
    sizes = spec.quantizer.codebook_sizes
    least = spec.quantizer.least_items
    if n < least:
        raise ValueError(
            f"codebook_size={least} needs at least {least} items, got {n}; "
            f"choose codebook_size <= {n}"
        )
    added = spec.resolver.added_sizes
    total = math.prod(sizes + added)
    if n > total:
        position = f" and {list(added)} of the resolver" if added else ""
        wider = " or a resolver with more room" if added else ""
        raise CollisionError(
            f"{n:,} items, but only {total:,} codes (codebook sizes {list(sizes)}{position}); "
            f"choose more levels or larger codebooks{wider}"
        )
    if spec.resolver.needs_priority and (side is None or side.counts is None):
        raise ValueError(
            f"side: {type(spec.resolver).__name__} needs counts, one an item; "
            "give side=Side(counts=...)"
        )


def _sample(spec: TokenizerSpec, n: int) -> np.ndarray | None:
    """Return which of n rows to learn from, in order and drawn by the seed; None for all."""
    size = spec.sample_size
    if n <= size:
        return None
    rows = np.random.default_rng(spec.seed).choice(n, size=size, replace=False)
    rows.sort()
    return rows


def fitted_of_codes(
    ids: Any,
    codes: Any,
    codebook_sizes: int | Sequence[int] | None,
    resolver: Resolver | None,
    *,
    ordered: bool,
) -> Fitted:
    """Take codes that exist already; see `Tokenizer.from_codes`."""
    content = side_by_side(codes)
    sizes = code_sizes(content, codebook_sizes)
    content = check_codes(content, sizes)
    names = id_array(np.arange(len(content)) if ids is None else ids)
    if len(names) != len(content):
        raise ValueError(f"ids: {len(names)} ids for {len(content)} codes")
    check_unique(names)
    if resolver is None:
        repeated = len(content) - len(np.unique(content, axis=0))
        if repeated:
            raise CollisionError(
                f"codes: {repeated} of {len(content)} items repeat another item's code; "
                "give a resolver such as Suffix()"
            )
        unique, added = content, ()
    elif resolver.needs_vectors:
        raise ValueError(f"resolver: {type(resolver).__name__} needs vectors; use Suffix()")
    elif resolver.needs_priority:
        raise ValueError(
            f"resolver: {type(resolver).__name__} needs counts, which codes alone do not bring; "
            "use Suffix()"
        )
    else:
        unique, added = resolver.resolve(content, names, sizes), resolver.added_sizes
    catalogue = Catalogue(names, unique, content, sizes + added)
    return Fitted(None, None, catalogue, ordered=ordered)
