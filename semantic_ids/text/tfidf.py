"""TfidfText: texts by their weighted terms, in the directions in which they differ most."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from semantic_ids.ids import pack_strings, unpack_strings
from semantic_ids.storage import stored_array
from semantic_ids.text.base import Arrays, FittedText, TextVectorizer


class TfidfText(TextVectorizer):
    """Count terms, weigh them by how rare they are, and keep the leading singular directions.

    Latent semantic analysis (Deerwester et al., 1990): scikit-learn's tf-idf rows of length 1,
    times the right singular vectors of the rows of the fit. A text without any term of the fit
    becomes zeros. Words say nothing of meaning: for that, give vectors of a language model, or
    `SentenceTransformerText`.

    Parameters
    ----------
    width : columns of the vectors; fewer where the texts have fewer independent directions.
    analyzer : terms are words of two letters or more, or, with ``"char_wb"``, runs of characters
        within words, which suits languages without spaces.
    ngrams : least and most words, or characters, of a term.
    max_terms : terms that are kept, the most frequent ones.
    seed : where the random numbers of the decomposition begin.

    Examples
    --------
    >>> texts = ["red lipstick", "blue lipstick", "red shoe", "green shoe"]
    >>> fitted = TfidfText(width=3).fit(texts)
    >>> fitted.transform(["a red shoe", "purple"]).round(2).tolist()[1]
    [0.0, 0.0, 0.0]
    """

    kind: Literal["tfidf-svd"] = "tfidf-svd"
    width: int = Field(default=128, ge=1, le=4096)
    analyzer: Literal["word", "char_wb"] = "word"
    ngrams: tuple[int, int] = (1, 1)
    max_terms: int = Field(default=50_000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _ordered_ngrams(self) -> "TfidfText":
        if not 1 <= self.ngrams[0] <= self.ngrams[1]:
            raise ValueError(f"ngrams: expected 1 <= least <= most, got {self.ngrams}")
        return self

    def fit(self, texts: Sequence[str], *, progress: bool | None = None) -> "FittedTfidf":
        """Choose the terms, count the texts that hold each, and find the directions.

        Raises
        ------
        ValueError
            if no text holds a term.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.utils.extmath import randomized_svd

        vectorizer = TfidfVectorizer(
            analyzer=self.analyzer, ngram_range=self.ngrams, max_features=self.max_terms
        )
        try:
            rows = vectorizer.fit_transform(texts)
        except ValueError as error:  # of an empty vocabulary
            raise ValueError(
                f"no term in any of {len(texts)} texts (analyzer={self.analyzer!r})"
            ) from error
        terms = [str(term) for term in vectorizer.get_feature_names_out()]
        width = min(self.width, *rows.shape)
        _, values, directions = randomized_svd(rows, width, random_state=self.seed)
        # Rows have length 1: a direction in which they extend no further than float32 rounds
        # would be noise, which a fuser that standardises blows up.
        extent = values > np.sqrt(len(texts)) * 8 * np.finfo(np.float32).eps
        components = np.ascontiguousarray(directions[extent].T, dtype=np.float32)
        return FittedTfidf(self, terms, vectorizer.idf_.astype(np.float32), components)

    def restore(self, arrays: Arrays) -> "FittedTfidf":
        """Rebuild from saved arrays; refuse those that do not fit together."""
        terms = unpack_strings(arrays, "term").tolist()
        idf = stored_array(arrays, "idf", (len(terms),))
        components = stored_array(arrays, "components", (len(terms), None))
        if not terms or not components.shape[1] or len(set(terms)) < len(terms):
            raise ValueError("expected distinct terms and at least one component")
        return FittedTfidf(self, terms, idf, components)


class FittedTfidf(FittedText):
    """A fitted `TfidfText`.

    Parameters
    ----------
    spec : what it was fitted from.
    terms : T distinct terms.
    idf : (T,) float32 weights.
    components : (T, width) float32, a unit vector a column.
    """

    def __init__(
        self, spec: TfidfText, terms: Sequence[str], idf: np.ndarray, components: np.ndarray
    ) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.spec = spec
        self.width = components.shape[1]
        self._terms, self._idf, self._components = list(terms), idf, components
        self._counter = CountVectorizer(
            analyzer=spec.analyzer,
            ngram_range=spec.ngrams,
            vocabulary={term: row for row, term in enumerate(terms)},
            dtype=np.float32,  # pyright: ignore[reportArgumentType]
        )

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 vectors (n, width).

        A row of a sparse matrix times a dense one is a sum over the row's terms in the order of
        the vocabulary: other rows have no part in it.
        """
        from sklearn.preprocessing import normalize

        counts: Any = self._counter.transform(texts)
        counts.data *= self._idf[counts.indices]
        return np.asarray(normalize(counts, copy=False) @ self._components)

    def arrays(self) -> Arrays:
        """Terms, their weights, and the directions."""
        return {
            **pack_strings(self._terms, "term"),
            "idf": self._idf,
            "components": self._components,
        }
