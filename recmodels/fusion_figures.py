"""What a fitted `DynamicFusion` does with items: depths, weights, errors, and code agreement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from recmodels.fusion_fitted import FittedDynamicFusion, Fusion
from semantic_ids import Features, Tokenizer
from semantic_ids.distortion import ErrorSums


@dataclass(frozen=True, repr=False)
class FusionReport:
    """What the fusion does with some items.

    Attributes
    ----------
    items : how many.
    depths : items that went through 1, 2, ... layers.
    weights : of each modality, its mean alignment weight over the items; one that an item lacks
        has weight 0 there. They sum to 1.
    relative_errors : of each modality, what is lost by rebuilding it from the fused vector:
        ``sum ||x - x_hat||^2 / sum ||x - mean||^2`` over the items that have it (over tokens that
        are no padding). None for one that no item has, or that does not vary.
    agreement : share of the items whose catalogue content code and cold code have their first
        1, 2, ... L positions in common; None if not measured. See `code_agreement`.
    """

    items: int
    depths: tuple[int, ...]
    weights: Mapping[str, float] = field(hash=False)
    relative_errors: Mapping[str, float | None] = field(hash=False)
    agreement: tuple[float, ...] | None = None

    @classmethod
    def of(cls, fitted: FittedDynamicFusion, features: Features) -> Self:
        """Measure a fitted fusion on features, block by block; code agreement is left out.

        Raises
        ------
        ValueError
            if the features are not those that `fitted` takes.

        Examples
        --------
        >>> from recmodels import DynamicFusion, Optimisation
        >>> rng = np.random.default_rng(0)
        >>> text, image = rng.normal(size=(50, 8)), rng.normal(size=(50, 5))
        >>> features = Features({"text": text, "image": image})
        >>> spec = DynamicFusion(fixed_depth=1, optimisation=Optimisation(epochs=1))
        >>> report = FusionReport.of(spec.fit(features, progress=False), features)
        >>> report.items, report.depths, list(report.relative_errors)
        (50, (50,), ['text', 'image'])
        """
        depths, weights = np.zeros(fitted.layers + 1, np.int64), np.zeros(len(fitted.widths))
        errors: dict[str, ErrorSums] = {}
        for block, fusion in fitted.fusions(features):
            depths += np.bincount(fusion.depths, minlength=len(depths))
            weights += fusion.weights.sum(axis=0, dtype=np.float64)
            for name, (real, lost) in _lost(fitted, block, fusion).items():
                errors.setdefault(name, ErrorSums()).add(lost, real)
        ratios = {name: sums.relative() for name, sums in errors.items()}
        return cls(
            items=len(features),
            depths=tuple(depths[1:].tolist()),
            weights=dict(zip(fitted.widths, (weights / len(features)).tolist(), strict=True)),
            relative_errors={name: (ratios.get(name) or [None])[0] for name in fitted.widths},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain numbers."""
        return asdict(self)

    def __repr__(self) -> str:
        depths = ", ".join(f"{n:,} after {d}" for d, n in enumerate(self.depths, 1) if n)
        lines = [f"{self.items:,} items; layers: {depths}", "modality  weight  relative error"]
        for name, weight in self.weights.items():
            error = self.relative_errors[name]
            shown = "not measured" if error is None else f"{error:.3f}"
            lines.append(f"{name:<9} {weight:6.3f}  {shown}")
        if self.agreement is not None:
            shares = ", ".join(f"{share:.1%}" for share in self.agreement)
            lines.append(f"catalogue and cold codes agree, by prefix: {shares}")
        return "\n".join(lines)


def _lost(
    fitted: FittedDynamicFusion, block: Features, fusion: Fusion
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rebuilt = fitted.inverse(fusion.matrix)
    found = {
        name: fitted.inputs[name].squared_errors(block, rebuilt[name]) for name in block.modalities
    }
    return {name: (real, lost) for name, (real, lost) in found.items() if len(real)}


def fusion_report(tokenizer: Tokenizer, features: Any) -> FusionReport:
    """Measure the fusion of a tokenizer on items of its catalogue; see `FusionReport`.

    Parameters
    ----------
    tokenizer : fitted with `DynamicFusion`.
    features : of items of the catalogue, as in `code_agreement`.

    Raises
    ------
    TypeError
        if the tokenizer's fuser is another one.
    UnknownItemError
        if an item is not in the catalogue.
    """
    fuser = tokenizer.fuser
    if not isinstance(fuser, FittedDynamicFusion):
        raise TypeError(
            f"tokenizer: expected one fitted with DynamicFusion, got {type(fuser.spec).__name__}"
        )
    features = Features.of(features)
    agreement = code_agreement(tokenizer, features)
    return replace(FusionReport.of(fuser, features), agreement=tuple(agreement.tolist()))


def code_agreement(tokenizer: Tokenizer, features: Any) -> np.ndarray:
    """Return how far the catalogue's content codes are those that the features alone give.

    A catalogue item's content code may use what the fuser learnt for that very item
    (`DynamicFusion(id_in_code=True)`); a row without an id, such as a new item's, takes the cold
    path. Where these differ, items that come later are coded in another way than those of the fit.

    Parameters
    ----------
    tokenizer : fitted on features.
    features : of n items of its catalogue, with their ids; without ids, these are row numbers.

    Returns
    -------
    shares : (L,) float64, share of the items whose two codes have the first 1, 2, ... L positions
        in common; the last is that of the items whose two codes agree.

    Raises
    ------
    UnknownItemError
        if an item is not in the catalogue.
    NoCodecError
        if the tokenizer was made from codes.

    Examples
    --------
    >>> from semantic_ids import RQKMeans
    >>> vectors = np.random.default_rng(0).normal(size=(60, 8))
    >>> tokenizer = Tokenizer.fit(vectors, quantizer=RQKMeans(levels=2, codebook_size=8))
    >>> code_agreement(tokenizer, vectors)
    array([1., 1.])
    """
    features = Features.of(features)
    ids = np.arange(len(features)) if features.ids is None else features.ids
    known = tokenizer.content_codes[tokenizer.rows(ids)]
    return np.logical_and.accumulate(known == tokenizer.encode(features), axis=1).mean(axis=0)
