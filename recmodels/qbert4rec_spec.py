"""The whole of Q-BERT4Rec as a value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from recmodels.data import Dataset
from recmodels.fusion import DynamicFusion
from recmodels.masking import MaskMix
from recmodels.training import Optimisation
from semantic_ids import Spec, Tokenizer, TokenizerSpec
from semantic_ids.device import Device

if TYPE_CHECKING:
    from recmodels.qbert4rec import QBert4Rec

ItemPart = Literal["codes", "item", "features"]
Positions = Literal["item", "code", "transfer"]


class QBert4RecSpec(Spec):
    """The whole of Q-BERT4Rec as a value.

    Parameters
    ----------
    tokenizer : stages 1 and 2: how items are fused, quantized and told apart.
    item_parts : what an item's vector is the sum of, as the encoder reads it and as it is scored
        by: ``"codes"``, the embeddings of its codes; ``"item"``, a vector of its own, which holds
        what quantization lost and is zero for an item without training interactions;
        ``"features"``, a projection of its features, left out where the data set has none.
    positions : of the encoder. ``"item"`` reads and names an item in one, the sum of its parts.
        ``"code"`` gives each of its P codes one, with an equal share of the other parts: P times
        the length, and all codes of a masked item are masked. ``"transfer"`` reads an item in
        one, and names a masked one in P, which see the history and one another. With the last
        two an item's vector is its P positions' side by side, of P * `width` columns.
    item_start : what the items' own vectors are before training: ``"random"``, or ``"fused"``, the
        vectors of stage 1 on their first `width` principal directions, which need features and a
        tokenizer that was fitted to them. `finetune` goes on from what was trained, and from zeros.
    item_dropout : share of the items whose own vector training takes as zero in a step.
    width, layers, heads, dropout : of the encoder.
    max_history : items of a history that are read, the latest ones.
    cosine : whether an item's score is the cosine of the hidden vector and the item's, so the
        sum of its level logits relative to its length; if not, it is the plain sum.
    temperature : divides the cosines.
    repeats : whether an item's score has a learnt bonus for each time that the history holds it;
        below zero where people rarely come back to an item. It needs an objective that scores
        items: ``"levels"`` leaves it at zero.
    objective : ``"items"`` is the cross-entropy over the catalogue, an item's score being the sum
        of its level logits; ``"sampled"`` estimates it from `negatives` items a step, for large
        catalogues; ``"levels"`` is the mean of the cross-entropies over the codes of each level.
    negatives : items that a step of ``"sampled"`` draws. Of 50,000 items 1,024 gave .93 of the
        NDCG@10 of the full softmax after as many steps, 8,192 gave .98.
    masks : the mixture of pretraining.
    pretraining, finetuning : how the two phases are trained. Fine-tuning is measured by NDCG@10
        on the validation targets after each epoch.
    validated_users : most users whose targets that is; of more, a random choice, the same ones
        after every epoch.
    batch_size : sequences of a step.
    epoch_size : most sequences of an epoch; of more, each epoch takes a new random choice.
    device : where stage 3 is trained; ``"auto"`` is CUDA where there is one.
    bfloat16 : compute losses in bfloat16 where that is safe; on CUDA, and on processors that
        multiply matrices of bfloat16 themselves. It pays where catalogues or encoders are large.
    seed : where the random numbers of stage 3 begin; the tokenizer's stages have their own.
    """

    tokenizer: TokenizerSpec = TokenizerSpec(fuser=DynamicFusion())
    item_parts: tuple[ItemPart, ...] = Field(default=("codes", "item", "features"), min_length=1)
    positions: Positions = "item"
    item_start: Literal["random", "fused"] = "random"
    item_dropout: float = Field(default=0.0, ge=0, lt=1)
    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    max_history: int = Field(default=50, ge=1)
    cosine: bool = True
    temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False)
    repeats: bool = True
    objective: Literal["items", "sampled", "levels"] = "items"
    negatives: int = Field(default=8192, ge=1)
    masks: MaskMix = MaskMix()
    pretraining: Optimisation = Optimisation(epochs=10, learning_rate=3e-3)
    finetuning: Optimisation = Optimisation(epochs=24, learning_rate=3e-3, patience=4)
    batch_size: int = Field(default=256, ge=1)
    validated_users: int = Field(default=65536, ge=1)
    epoch_size: int = Field(default=32768, ge=1)
    device: Device = "cpu"
    bfloat16: bool = False
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("item_parts")
    @classmethod
    def _each_part_once(cls, parts: tuple[ItemPart, ...]) -> tuple[ItemPart, ...]:
        if len(set(parts)) < len(parts):
            raise ValueError(f"a part is named twice in {parts}")
        return parts

    @model_validator(mode="after")
    def _fields_go_together(self) -> "QBert4RecSpec":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        if self.positions != "item" and "codes" not in self.item_parts:
            raise ValueError(
                f"positions={self.positions!r} needs codes in item_parts={self.item_parts}"
            )
        if self.item_start == "fused" and "item" not in self.item_parts:
            raise ValueError(f"item_start='fused' needs item in item_parts={self.item_parts}")
        if self.objective == "levels" and "codes" not in self.item_parts:
            raise ValueError(f"objective='levels' needs codes in item_parts={self.item_parts}")
        return self

    def fit(
        self,
        dataset: Dataset,
        *,
        tokenizer: Tokenizer | None = None,
        progress: bool | None = None,
    ) -> "QBert4Rec":
        """Fit the three stages; see `QBert4Rec.fit`."""
        from recmodels.qbert4rec import QBert4Rec

        return QBert4Rec.of(self, dataset, tokenizer=tokenizer, progress=progress)


def spec_of(
    tokenizer: Tokenizer | TokenizerSpec | None, seed: int, fields: Mapping[str, Any]
) -> QBert4RecSpec:
    """Return a spec with a tokenizer's own spec in it, where it has one.

    Raises
    ------
    TypeError
        if `tokenizer` is neither a Tokenizer nor a TokenizerSpec nor None.
    ValueError
        if a field is not valid.
    """
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer | TokenizerSpec):
        kind = type(tokenizer).__name__
        raise TypeError(f"tokenizer: expected a Tokenizer or a TokenizerSpec, got {kind}")
    own = tokenizer.spec if isinstance(tokenizer, Tokenizer) else tokenizer
    return QBert4RecSpec(seed=seed, **({} if own is None else {"tokenizer": own}), **fields)
