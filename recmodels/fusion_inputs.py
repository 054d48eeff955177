"""How one modality enters the fusion: tokens of an item, standardised."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from semantic_ids import Features
from semantic_ids.fusers.standardise import Standard
from semantic_ids.latent import check_range
from semantic_ids.storage import stored_array

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class TokenInput:
    """One modality as T tokens an item, of c columns each; T is 1 for a plain vector.

    Of several tokens those that are zeros throughout are padding. A plain vector of zeros is a
    vector like any other.

    Parameters
    ----------
    name : of the modality, whose arrays are (N, T * c): the tokens of an item one after the other.
    tokens : T.
    standard : mean and scale of each column of a token.
    """

    name: str
    tokens: int
    standard: Standard

    @classmethod
    def of(cls, features: Features, name: str, tokens: int) -> Self:
        """Measure one modality over the tokens that are there.

        Raises
        ------
        ValueError
            if the columns cannot be divided into tokens, no row has the modality, or a row that
            has it holds nothing but padding.
        """
        width = features.widths[name]
        if width % tokens:
            raise ValueError(
                f"tokens[{name!r}]: {tokens} tokens an item do not divide the {width} columns of "
                f"features[{name!r}]"
            )
        if tokens == 1:
            return cls(name, 1, Standard.of(features, name))
        values, there = _split(features, name, tokens)
        if not there.any():
            raise ValueError(
                f"features[{name!r}]: missing for every one of the {len(features):,} items to "
                "learn from; leave the modality out"
            )
        return cls(name, tokens, Standard.of(Features({name: values[there]}), name))

    @classmethod
    def restore(cls, name: str, tokens: int, width: int, arrays: Arrays) -> Self:
        """Rebuild from `arrays`, for a modality of `width` columns."""
        shape = (width // tokens,)
        mean = stored_array(arrays, f"mean.{name}", shape)
        return cls(name, tokens, Standard(mean, stored_array(arrays, f"scale.{name}", shape)))

    def arrays(self) -> Arrays:
        """Return mean and scale."""
        return {f"mean.{self.name}": self.standard.mean, f"scale.{self.name}": self.standard.scale}

    @property
    def columns(self) -> int:
        """Columns of a token, c."""
        return len(self.standard.mean)

    def forward(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Return standardised tokens (n, T, c), zeros where absent, and which are there (n, T).

        A modality that the features lack is absent throughout.

        Raises
        ------
        ValueError
            if a row holds nothing but padding, or numbers far beyond those of the fit.
        """
        shape = (len(features), self.tokens, self.columns)
        if self.name not in features.modalities:
            return np.zeros(shape, np.float32), np.zeros(shape[:2], dtype=bool)
        values, there = _split(features, self.name, self.tokens)
        flat = self.standard.forward(values.reshape(-1, self.columns), there.ravel())
        check_range(flat.reshape(len(values), -1), f"features[{self.name!r}], standardised")
        return flat.reshape(shape), there

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Undo `forward` of values (n, T * c); padding is not told from tokens."""
        tokens = values.reshape(-1, self.columns)
        return self.standard.backward(tokens).reshape(values.shape)

    def squared_errors(
        self, features: Features, rebuilt: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens that are there (k, c), and the squared error of each (k, 1)."""
        values, there = _split(features, self.name, self.tokens)
        real = values[there].astype(np.float64)
        lost = rebuilt.reshape(values.shape)[there] - real
        return real, np.square(lost).sum(axis=1, keepdims=True)


def _split(features: Features, name: str, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return raw tokens (n, T, c) and which are there (n, T)."""
    values, present = features.modality(name)
    values = values.reshape(len(values), tokens, -1)
    if tokens == 1:
        return values, present[:, None]
    there = (values != 0).any(axis=-1)
    empty = np.flatnonzero(present & ~there.any(axis=-1))
    if len(empty):
        raise ValueError(
            f"features[{name!r}]: {len(empty)} rows hold zeros throughout, which is padding "
            f"(first: {empty[0]}); mark them absent: present={{{name!r}: ...}}"
        )
    return values, there
