"""The fuser stage: several modalities become one matrix, and back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from semantic_ids.features import SINGLE, Features
from semantic_ids.latent import Latent
from semantic_ids.side import Side
from semantic_ids.spec import StageSpec

Arrays = dict[str, np.ndarray]


class Fuser(StageSpec, ABC):
    """How modalities are brought together; `fit` learns what that needs.

    A subclass declares its `kind`, by which it is found.

    Examples
    --------
    >>> Fuser.parse({"kind": "concat", "weights": {"text": 2}}).kind
    'concat'
    """

    group: ClassVar[str] = "semantic_ids.fusers"

    @abstractmethod
    def fit(
        self, features: Features, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedFuser":
        """Learn from a catalogue's features; `side` has their rows."""

    @abstractmethod
    def restore(self, widths: Mapping[str, int], arrays: Arrays) -> "FittedFuser":
        """Rebuild what `fit` returned from `FittedFuser.widths` and `FittedFuser.arrays`."""


class FittedFuser(ABC):
    """A fitted fuser: a pure function from features to a matrix.

    Attributes
    ----------
    spec : the Fuser it was fitted from.
    widths : columns of each modality it was fitted on, by name.
    """

    spec: Fuser
    widths: dict[str, int]

    @abstractmethod
    def transform(self, features: Features) -> Latent:
        """Fuse rows into a float32 matrix (N, d); rows may lack modalities."""

    @abstractmethod
    def inverse(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        """Return, for each modality, the float32 features (n, d_m) that fuse into `matrix`."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what was learned, as named arrays."""

    def check(self, features: Features) -> None:
        """Refuse features whose modalities or widths are not those of the fit.

        A modality of the fit may be left out: it then is missing for every row.
        """
        for name, width in features.widths.items():
            if name not in self.widths:
                named = "; a bare array has no name: " if name == SINGLE else "; "
                raise ValueError(
                    f"features[{name!r}]: unknown modality{named}give a mapping with "
                    f"{list(self.widths)}, as in the fit"
                )
            if width != self.widths[name]:
                raise ValueError(
                    f"features[{name!r}]: expected {self.widths[name]} columns as in the fit, "
                    f"got {width}"
                )
