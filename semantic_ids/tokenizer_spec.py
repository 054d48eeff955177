"""TokenizerSpec: a whole tokenizer as a value."""

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, model_validator

from semantic_ids.errors import CollisionError
from semantic_ids.fusers.base import Fuser
from semantic_ids.fusers.concat import Concat
from semantic_ids.quantizers.base import Quantizer
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.resolvers.base import Resolver
from semantic_ids.resolvers.nearest_free import NearestFree
from semantic_ids.spec import Spec

if TYPE_CHECKING:
    from semantic_ids.tokenizer import Tokenizer


class TokenizerSpec(Spec):
    """A whole tokenizer as a value: one choice a stage.

    Parameters
    ----------
    fuser : how modalities become one vector.
    quantizer : how vectors become content codes.
    resolver : how content codes become unique.

    Examples
    --------
    >>> spec = TokenizerSpec(quantizer=RQKMeans(levels=3))
    >>> TokenizerSpec.model_validate_json(spec.model_dump_json()) == spec
    True
    """

    fuser: Annotated[SerializeAsAny[Fuser], BeforeValidator(Fuser.parse)] = Concat()
    quantizer: Annotated[SerializeAsAny[Quantizer], BeforeValidator(Quantizer.parse)] = RQKMeans()
    resolver: Annotated[SerializeAsAny[Resolver], BeforeValidator(Resolver.parse)] = NearestFree()

    @model_validator(mode="after")
    def _unique_codes(self) -> "TokenizerSpec":
        if getattr(self.resolver, "capacity", 1) > 1:
            raise ValueError("resolver: capacity > 1 gives several items one code; use it alone")
        if getattr(self.resolver, "needs_priority", False):
            raise ValueError("resolver: it needs counts, which fit does not take yet; use it alone")
        return self

    @property
    def code_length(self) -> int:
        """Positions of a unique code."""
        return len(self.quantizer.codebook_sizes) + len(self.resolver.added_sizes)

    def fit(self, features: Any, *, ids: Any = None, progress: bool | None = None) -> "Tokenizer":
        """Fit every stage on a catalogue; see `Tokenizer.fit`."""
        from semantic_ids.tokenizer import Tokenizer

        return Tokenizer.of(self, features, ids=ids, progress=progress)

    def check_size(self, n: int) -> None:
        """Refuse a catalogue of n items that has too few for the codebooks, or too many codes.

        Raises
        ------
        ValueError
            if a codebook is larger than the catalogue.
        CollisionError
            if there are fewer codes than items.
        """
        sizes = self.quantizer.codebook_sizes
        if n < max(sizes):
            raise ValueError(
                f"codebook_size={max(sizes)} needs at least {max(sizes)} items, got {n}; "
                f"choose codebook_size <= {n}"
            )
        total = math.prod(sizes + self.resolver.added_sizes)
        if n > total:
            raise CollisionError(
                f"{n:,} items, but only {total:,} codes (codebook sizes {list(sizes)}); "
                "choose more levels or larger codebooks"
            )
