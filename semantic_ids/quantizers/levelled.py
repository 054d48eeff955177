"""Fields that quantizers with one codebook a level share."""

from pydantic import Field, field_validator, model_validator

from semantic_ids.quantizers.base import Quantizer


class Levelled(Quantizer):
    """A quantizer with one codebook a level.

    Parameters
    ----------
    levels : number of codes an item gets, 1-64.
    codebook_size : codes of each level, one number or one a level.
    """

    levels: int = Field(default=4, ge=1, le=64)
    codebook_size: int | tuple[int, ...] = 256

    @field_validator("codebook_size")
    @classmethod
    def _sizes_in_range(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        for size in (value,) if isinstance(value, int) else value:
            if not 1 <= size <= 2**20:
                raise ValueError(f"codebook_size={size}: expected 1 to {2**20}")
        return value

    @model_validator(mode="after")
    def _one_size_a_level(self) -> "Levelled":
        size = self.codebook_size
        if isinstance(size, tuple) and len(size) != self.levels:
            raise ValueError(
                f"codebook_size={size} has {len(size)} entries, levels={self.levels}; "
                "give one number, or one a level"
            )
        return self

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level."""
        size = self.codebook_size
        return size if isinstance(size, tuple) else (size,) * self.levels
