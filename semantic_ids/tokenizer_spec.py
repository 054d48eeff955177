"""TokenizerSpec: a whole tokenizer as a value."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from semantic_ids.fusers.base import Fuser
from semantic_ids.fusers.concat import Concat
from semantic_ids.quantizers.base import Quantizer
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.resolvers.base import Resolver
from semantic_ids.resolvers.nearest_free import NearestFree
from semantic_ids.side import Side
from semantic_ids.spec import Spec
from semantic_ids.text.base import TextVectorizer
from semantic_ids.text.tfidf import TfidfText

if TYPE_CHECKING:
    from semantic_ids.tokenizer import Tokenizer

#: As many rows as k-means learns from, of 256 entries and of each entry.
_LEAST_SAMPLE, _POINTS_PER_ENTRY = 1 << 16, 256


class TokenizerSpec(Spec):
    """A whole tokenizer as a value: one choice a stage.

    Parameters
    ----------
    fuser : how modalities become one vector.
    quantizer : how vectors become content codes.
    resolver : how content codes become unique.
    text : how modalities of raw text become vectors, before they are fused.
    fit_sample : rows that vectorizers, fuser and quantizer learn from where there are more; by
        default 256 an entry of the largest codebook, and 65,536 at least.
    seed : where the random numbers of that sample begin; the stages have seeds of their own.

    Examples
    --------
    >>> spec = TokenizerSpec(quantizer=RQKMeans(levels=3))
    >>> TokenizerSpec.model_validate_json(spec.model_dump_json()) == spec
    True
    """

    fuser: Annotated[SerializeAsAny[Fuser], BeforeValidator(Fuser.parse)] = Concat()
    quantizer: Annotated[SerializeAsAny[Quantizer], BeforeValidator(Quantizer.parse)] = RQKMeans()
    resolver: Annotated[SerializeAsAny[Resolver], BeforeValidator(Resolver.parse)] = NearestFree()
    text: Annotated[SerializeAsAny[TextVectorizer], BeforeValidator(TextVectorizer.parse)] = (
        TfidfText()
    )
    fit_sample: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _unique_codes(self) -> "TokenizerSpec":
        if getattr(self.resolver, "capacity", 1) > 1:
            raise ValueError("resolver: capacity > 1 gives several items one code; use it alone")
        least = self.quantizer.least_items
        if self.fit_sample is not None and self.fit_sample < least:
            raise ValueError(
                f"fit_sample={self.fit_sample} should be at least "
                f"{least}, the entries of the largest codebook; "
                "256 rows an entry are enough"
            )
        return self

    @property
    def sample_size(self) -> int:
        """Most rows that fuser and quantizer learn from."""
        if self.fit_sample is not None:
            return self.fit_sample
        return max(_LEAST_SAMPLE, _POINTS_PER_ENTRY * max(self.quantizer.codebook_sizes))

    @property
    def code_length(self) -> int:
        """Positions of a unique code."""
        return len(self.quantizer.codebook_sizes) + len(self.resolver.added_sizes)

    def fit(
        self,
        features: Any,
        *,
        ids: Any = None,
        side: Side | None = None,
        progress: bool | None = None,
    ) -> "Tokenizer":
        """Fit every stage on a catalogue; see `Tokenizer.fit`."""
        from semantic_ids.tokenizer import Tokenizer

        return Tokenizer.of(self, features, ids=ids, side=side, progress=progress)
