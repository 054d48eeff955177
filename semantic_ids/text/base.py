"""The text stage: raw text becomes vectors, before modalities are fused."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from semantic_ids.features import Features
from semantic_ids.spec import StageSpec

Arrays = dict[str, np.ndarray]


class TextVectorizer(StageSpec, ABC):
    """How texts become vectors; `fit` learns what that needs.

    A subclass declares its `kind`, by which it is found.

    Examples
    --------
    >>> TextVectorizer.parse({"kind": "tfidf-svd", "width": 64}).width
    64
    """

    group: ClassVar[str] = "semantic_ids.text"

    @abstractmethod
    def fit(self, texts: Sequence[str], *, progress: bool | None = None) -> "FittedText":
        """Learn from the texts of a catalogue."""

    @abstractmethod
    def restore(self, arrays: Arrays) -> "FittedText":
        """Rebuild what `fit` returned from `FittedText.arrays`."""


class FittedText(ABC):
    """A fitted vectorizer: a pure function from one text to one vector.

    Attributes
    ----------
    spec : the TextVectorizer it was fitted from.
    width : columns of the vectors.
    """

    spec: TextVectorizer
    width: int

    @abstractmethod
    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 vectors (n, width); each depends on its text alone, to the last bit."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what was learned, as named arrays."""


def fit_texts(
    spec: TextVectorizer, features: Features, *, progress: bool | None = None
) -> dict[str, FittedText]:
    """Fit a vectorizer for each modality of raw text, on the items that have it.

    Examples
    --------
    >>> from semantic_ids.text.tfidf import TfidfText
    >>> features = Features({"title": ["red lipstick", "red shoe", None], "text": np.ones((3, 2))})
    >>> fitted = fit_texts(TfidfText(width=2), features)
    >>> vectorise(features, fitted).widths
    {'title': 2, 'text': 2}
    """
    fitted = {}
    for name in features.texts:
        present = features.present[:, list(features.modalities).index(name)]
        texts: list[str] = features.modalities[name][present].tolist()
        if not texts:
            raise ValueError(
                f"features[{name!r}]: no text in the {len(features):,} rows to learn from"
            )
        try:
            fitted[name] = spec.fit(texts, progress=progress)
        except ValueError as error:
            raise ValueError(f"features[{name!r}]: {error}") from error
    return fitted


def vectorise(features: Features, fitted: Mapping[str, FittedText]) -> Features:
    """Return the same items with vectors in place of raw text.

    Raises
    ------
    ValueError
        if a modality is raw text, but was not at the fit.
    """
    arrays = {}
    for name in features.texts:
        if name not in fitted:
            known = f"raw text was {list(fitted)}" if fitted else "there was none"
            raise ValueError(
                f"features[{name!r}]: raw text, but at the fit {known}; give vectors as in the fit"
            )
        present = features.present[:, list(features.modalities).index(name)]
        vectors = np.zeros((len(features), fitted[name].width), dtype=np.float32)
        if present.any():
            vectors[present] = fitted[name].transform(features.modalities[name][present].tolist())
        arrays[name] = vectors
    return features.replaced(arrays) if arrays else features
