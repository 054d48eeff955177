"""Codec: fitted vectorizers, fuser and quantizer, one pure function from features to codes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.distortion import ErrorSums
from semantic_ids.features import Features
from semantic_ids.fused import Fused
from semantic_ids.fusers.base import FittedFuser, Fuser
from semantic_ids.latent import Latent
from semantic_ids.progress import progress_bar
from semantic_ids.quantizers.base import FittedQuantizer, Quantizer
from semantic_ids.text.base import FittedText, TextVectorizer, vectorise


@dataclass(frozen=True)
class Measured:
    """Content codes of N items and how far they are from the items.

    Attributes
    ----------
    codes : (N, L) int32 content codes.
    errors : (N,) float64, squared error of each whole code.
    sums : of the errors after each level, over all items.
    modality_errors : relative errors after each level in each modality's own feature space, over
        the items that have it; empty where no item was decoded.
    """

    codes: np.ndarray
    errors: np.ndarray
    sums: ErrorSums
    modality_errors: dict[str, tuple[float, ...]]


class Codec:
    """Turns features into content codes and back; never changes.

    Parameters
    ----------
    fuser, quantizer : fitted one after the other.
    texts : the vectorizer of each modality that is raw text, by name.
    """

    def __init__(
        self,
        fuser: FittedFuser,
        quantizer: FittedQuantizer,
        texts: Mapping[str, FittedText] | None = None,
    ) -> None:
        self.fuser = fuser
        self.quantizer = quantizer
        self.texts = dict(texts or {})

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codebook size of each of the L levels."""
        return self.quantizer.codebook_sizes

    def fused(self, features: Features) -> Fused:
        """Return the rows that the quantizer sees."""
        return Fused(self.fuser, features, self.texts)

    def encode(self, features: Features, *, progress: bool | None = False) -> np.ndarray:
        """Return content codes (N, L) int32, block by block."""
        codes = np.empty((len(features), len(self.sizes)), dtype=np.int32)
        for part, latent in self._blocks(features, progress):
            codes[part] = self.quantizer.encode(latent)
        return codes

    def measure(
        self,
        features: Features,
        codes: np.ndarray | None = None,
        *,
        decoded: np.ndarray | None = None,
        progress: bool | None = False,
    ) -> Measured:
        """Measure content codes on features, block by block; found first if they are not given.

        Parameters
        ----------
        features : of N items.
        codes : (N, L) int32 content codes, or None.
        decoded : (N,) bool, the items to decode after each level, all the way back into their
            features, for the errors of each modality; None for no item.
        progress : show a bar; None shows it in a terminal.
        """
        found = np.empty((len(features), len(self.sizes)), np.int32) if codes is None else codes
        last, sums = np.empty(len(features)), ErrorSums()
        modalities: dict[str, ErrorSums] = {}
        for part, latent in self._blocks(features, progress):
            if codes is None:
                found[part] = self.quantizer.encode(latent)
            errors = self.quantizer.errors(latent, found[part])
            last[part] = errors[:, -1]
            sums.add(errors, latent.matrix)
            if decoded is not None and decoded[part].any():
                chosen = part.start + np.flatnonzero(decoded[part])
                rows = vectorise(features.rows(chosen), self.texts)
                self._add_modalities(modalities, rows, found[chosen])
        return Measured(
            found,
            last,
            sums,
            {
                name: tuple(ratios)
                for name, errors in modalities.items()
                if (ratios := errors.relative()) is not None
            },
        )

    def _add_modalities(
        self, sums: dict[str, ErrorSums], features: Features, codes: np.ndarray
    ) -> None:
        """Add a block's errors in feature space, of the first 1, 2, ... L levels."""
        decoded = [
            self.fuser.inverse(self.quantizer.decode(codes[:, : level + 1]))
            for level in range(len(self.sizes))
        ]
        for name in features.modalities:
            values, present = features.modality(name)
            if present.any():
                there = values[present]
                lost = [_squared_errors(back[name][present], there) for back in decoded]
                sums.setdefault(name, ErrorSums()).add(np.stack(lost, axis=1), there)

    def candidates(
        self, features: Features, rows: np.ndarray, m: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Name the best codes of some rows, block by block; see `FittedQuantizer.candidates`."""
        blocks = self.fused(features).blocks(rows)
        found = [self.quantizer.candidates(latent, m) for latent in blocks]
        return np.concatenate([c for c, _ in found]), np.concatenate([e for _, e in found])

    def _blocks(self, features: Features, progress: bool | None) -> Iterator[tuple[slice, Latent]]:
        start = 0
        bar = progress_bar(description="items", total=len(features), progress=progress)
        with bar:
            for latent in self.fused(features).blocks():
                yield slice(start, start + len(latent)), latent
                start += len(latent)
                bar.update(len(latent))

    def decode(self, codes: Any) -> dict[str, np.ndarray]:
        """Return the features, one float32 array a modality, of codes (n, l) of l <= L levels.

        Those of raw text are its vectors.
        """
        array = np.asarray(codes)
        if not array.ndim:
            raise ValueError(f"codes: expected integers of shape (n, l), got {array.item()!r}")
        levels = array.shape[-1] if array.size else None
        return self.fuser.inverse(self.quantizer.decode(check_codes(array, self.sizes[:levels])))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned, as named arrays."""
        fuser, quantizer = self.fuser.arrays(), self.quantizer.arrays()
        # Numbered, since a modality may have a dot in its name.
        texts = enumerate(text.arrays() for text in self.texts.values())
        return {
            **{f"text{i}.{name}": array for i, text in texts for name, array in text.items()},
            **{f"fuser.{name}": array for name, array in fuser.items()},
            **{f"quantizer.{name}": array for name, array in quantizer.items()},
        }

    @classmethod
    def restore(
        cls,
        fuser: Fuser,
        quantizer: Quantizer,
        text: TextVectorizer,
        widths: Mapping[str, int],
        texts: Sequence[str],
        arrays: Mapping[str, np.ndarray],
    ) -> "Codec":
        """Rebuild from specs, widths of the modalities, names of those of raw text, and `arrays`.

        Raises
        ------
        TypeError, ValueError
            if the arrays are not those that the specs need.
        """
        codec = cls(
            fuser.restore(widths, _part(arrays, "fuser.")),
            quantizer.restore(_part(arrays, "quantizer.")),
            {name: text.restore(_part(arrays, f"text{i}.")) for i, name in enumerate(texts)},
        )
        for name, fitted in codec.texts.items():
            if fitted.width != widths.get(name):
                raise ValueError(f"texts: {name!r} has {fitted.width} columns, not as in widths")
        if codec.arrays().keys() != arrays.keys():
            raise ValueError(f"codec: the spec has no use for all of {sorted(arrays)}")
        return codec


def _squared_errors(decoded: np.ndarray, rows: np.ndarray) -> np.ndarray:
    difference = decoded - rows
    return np.einsum("ij,ij->i", difference, difference, dtype=np.float64)


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
