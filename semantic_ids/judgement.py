"""Judgement: the statistics of a whole catalogue, with what is known of its items."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from semantic_ids.categories import category_agreement, category_labels
from semantic_ids.features import Features
from semantic_ids.fitted import Fitted
from semantic_ids.fused import Fused
from semantic_ids.fusers.concat import Concat
from semantic_ids.neighbourhoods import (
    CodeSpace,
    Neighbourhoods,
    Space,
    VectorSpace,
    measure_neighbourhoods,
)
from semantic_ids.statistics import CodebookStatistics, codebook_statistics

#: Rows without ids whose codes are looked at.
_COMPARED_ROWS = 100


def judge(
    fitted: Fitted,
    features: Features | None,
    categories: Any,
    *,
    progress: bool | None = None,
) -> CodebookStatistics:
    """Return the statistics of a tokenizer's content codes; see `Tokenizer.statistics`."""
    catalogue = fitted.catalogue
    if not len(catalogue):
        raise ValueError("the catalogue is empty: there is nothing to count")
    sizes = catalogue.sizes[: catalogue.content_codes.shape[1]]
    rows = np.arange(len(catalogue))
    if features is not None:
        features, rows = catalogue_features(fitted, features)
    content, unique = catalogue.content_codes[rows], catalogue.codes[rows]
    agreement = None
    labels = np.zeros(0)
    if categories is not None:
        if isinstance(categories, Mapping):
            categories = [categories.get(item) for item in catalogue.ids[rows].tolist()]
        labels = category_labels(categories, len(catalogue))
        agreement = category_agreement(content, sizes, labels)
    errors = None if fitted.generation else fitted.relative_errors
    by_modality = None if fitted.generation else fitted.modality_errors
    if features is not None and fitted.codec is not None:
        everyone = np.ones(len(features), dtype=bool)
        measured = fitted.codec.measure(features, content, decoded=everyone, progress=progress)
        errors, by_modality = measured.sums.relative(), measured.modality_errors
    figures = codebook_statistics(
        content,
        sizes,
        unique_codes=unique,
        relative_errors=errors,
        modality_errors=by_modality,
        agreement=agreement,
    )
    if categories is not None:
        figures = replace(figures, categorised=int((labels >= 0).sum()))
    if features is not None:
        of_content, of_unique = _neighbourhoods(
            fitted, features, content, unique[:, : len(sizes)], progress
        )
        figures = replace(figures, neighbourhoods=of_content, unique_neighbourhoods=of_unique)
    return figures


def catalogue_features(fitted: Fitted, features: Features) -> tuple[Features, np.ndarray]:
    """Return the catalogue's features with ids, and which row of the catalogue each of them is.

    Raises
    ------
    ValueError
        if they are not one row an item, or have no ids and the catalogue has changed.
    UnknownItemError
        if their ids are not those of the catalogue.
    """
    catalogue = fitted.catalogue
    if len(features) != len(catalogue):
        raise ValueError(
            f"features: {len(features)} rows, the catalogue has {len(catalogue)} items"
        )
    if features.ids is None and fitted.generation:
        raise ValueError(
            "features: the catalogue has changed, and its rows with it; "
            "give each row its id: Features(x, ids=...)"
        )
    if features.ids is None:
        features = Features.of(features, catalogue.ids)
        _check_order(fitted, features)
    return features, catalogue.rows(features.ids)


def _check_order(fitted: Fitted, features: Features) -> None:
    """Warn where rows that were taken for the catalogue's, in its order, have other codes."""
    if fitted.codec is None:
        return
    rows = np.unique(np.linspace(0, len(features) - 1, _COMPARED_ROWS).astype(np.int64))
    codes = fitted.codec.encode(features.rows(rows))
    same = int((codes == fitted.catalogue.content_codes[rows]).all(axis=1).sum())
    if same < len(rows) / 2:
        warnings.warn(
            f"features: {same} of {len(rows)} rows that were looked at have the codes of the "
            "catalogue's items: are they in its order? Features(x, ids=...) says which is which",
            stacklevel=5,
        )


def fused_features(fitted: Fitted, features: Features) -> Fused:
    """Return features as the codec fuses them; as `Concat()` does where there is no codec."""
    if fitted.codec is None:
        return Fused(Concat().fit(features), features, {})
    return fitted.codec.fused(features)


def code_space(fitted: Fitted, codes: np.ndarray) -> Space:
    """Return the space of codes (n, L): that of their vectors, of levels without a codec."""
    if fitted.codec is None:
        return CodeSpace(codes, ordered=fitted.ordered)
    return VectorSpace.decoded(fitted.codec.quantizer.decode, codes)


def _neighbourhoods(
    fitted: Fitted,
    features: Features,
    content: np.ndarray,
    unique: np.ndarray,
    progress: bool | None,
) -> tuple[Neighbourhoods | None, Neighbourhoods | None]:
    """Measure the neighbourhoods of content codes and of unique codes, both (N, L)."""
    moved = bool((content != unique).any())
    spaces = [code_space(fitted, codes) for codes in ([content, unique] if moved else [content])]
    fused = VectorSpace.fused(fused_features(fitted, features))
    figures = measure_neighbourhoods(fused, spaces, len(features), progress=progress)
    return figures[0], figures[-1]
