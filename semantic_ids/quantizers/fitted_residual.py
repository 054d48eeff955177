"""FittedResidual: what every quantizer with residual codebooks over the vectors becomes."""

from typing import Any

import numpy as np

from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import Arrays, FittedQuantizer, Quantizer, matrix_of
from semantic_ids.quantizers.residual import ResidualCodebooks


class FittedResidual(FittedQuantizer):
    """Fitted residual codebooks; encoding is the greedy search, level by level."""

    ordered = True

    def __init__(self, spec: Quantizer, codebooks: ResidualCodebooks) -> None:
        self.spec = spec
        self._search = codebooks

    @property
    def codebooks(self) -> tuple[np.ndarray, ...]:
        """One float32 array (K_l, d) a level; a vector is decoded to the sum of its entries."""
        return self._search.codebooks

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32: at each level the nearest entry to what is left.

        The search is exact: distances closer than float32 can tell are decided in float64, the
        lowest index first.
        """
        return self._search.greedy_codes(self._matrix(latent))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the sum of the chosen entries, (n, d) float32; codes may be prefixes (n, l)."""
        return self._search.decode(codes)

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best codes a row that a beam of width m over all levels finds.

        Returns
        -------
        codes : (N, m', L) int32, best first; m' = min(m, number of codes).
        errors : (N, m') float64, squared distances.
        """
        return self._search.beam_codes(self._matrix(latent), m)

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 of rows to the first 1, 2, ... L levels."""
        return self._search.errors(self._matrix(latent), codes)

    def arrays(self) -> Arrays:
        """Return the codebooks."""
        return {f"codebook.{level}": book for level, book in enumerate(self.codebooks)}

    def _matrix(self, latent: Latent | Any) -> np.ndarray:
        return matrix_of(latent, self._search.width)
