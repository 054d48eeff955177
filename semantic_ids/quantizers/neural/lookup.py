"""Lookup: how codebooks compare vectors with entries, choose, and learn; without torch."""

from typing import Literal

from pydantic import Field, model_validator

from semantic_ids.spec import Spec


class Lookup(Spec):
    """How the entries of codebooks are compared, chosen and learnt.

    Parameters
    ----------
    search : the nearest entry, or the one of the largest cosine (then all entries of a level
        have one norm).
    estimator : how the decoder's gradient gets past the choice: straight through, rotated
        (arXiv 2410.06424), or through a Gumbel-Softmax draw.
    temperature : of the draw; squared distances are divided by it.
    decay : of the running means that entries are; None learns them by the codebook loss.

    Examples
    --------
    >>> Lookup(estimator="rotation").search
    'euclidean'
    """

    search: Literal["euclidean", "cosine"] = "euclidean"
    estimator: Literal["straight-through", "rotation", "gumbel"] = "straight-through"
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    decay: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_teacher(self) -> "Lookup":
        if self.decay is not None and self.estimator == "gumbel":
            raise ValueError(
                "estimator='gumbel' teaches the entries by its gradient; leave decay=None"
            )
        return self
