"""BBQRec: codes of what each modality says of behaviour."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.spec import ModalQuantizer, Weight
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.network import QuantizerNetwork
    from semantic_ids.quantizers.neural.objective import Objective


class BBQRec(ModalQuantizer):
    """Quantize what each modality says of behaviour, by codebooks that behaviour shares.

    Each modality is split into a behaviour part, which should agree with the item's
    collaborative vector (InfoNCE), and a specific part; together they rebuild the modality, and
    a bound of their mutual information (CLUB) is kept low. One residual quantizer serves the
    behaviour parts of all modalities and, in the fit, the projected collaborative vectors.

    A code is the levels of the first modality's behaviour part, then those of the second one's,
    and so on: the parts stand side by side. It is a function of the content alone, so new items
    get one; behaviour itself shapes the codebooks and the parts. An item that lacks a modality
    gets the reserved code `codebook_size` at that modality's levels. Decoding tells what codes
    say of the features; the specific parts are not in the code, so it rebuilds less than
    quantizers that are after the features.

    BBQRec, arXiv 2504.06636, of which we know the abstract and reviews: two branches a
    modality, CLUB, one shared codebook. Its quantized behaviour and item-id streams need an
    item's interactions, so they are no part of content codes here. All sizes and weights, and
    how the parts are aligned, are ours.

    Parameters
    ----------
    modalities : names of the modalities, in the order of the features; one array without a name
        is ``"features"``.
    levels : codes for each modality.
    codebook_size : entries of each level's codebook.
    code_dim : columns of each part.
    hidden : units of the hidden layer of each branch and decoder.
    reconstruction : weight of the error of the modalities rebuilt from both parts.
    alignment : weight of the InfoNCE loss between behaviour parts and behaviour.
    temperature : of that loss.
    club : weight of the bound of the mutual information of the two parts, which the specific
        part is to lower.
    club_steps, club_learning_rate : how CLUB's own nets are fitted in turn, steps for each step
        of the others.
    commitment : weight of the commitment loss.
    batch_size, held_out, least_utilisation, restart, device, precision, optimisation, seed :
        see `RQVAE`.

    Examples
    --------
    >>> from semantic_ids import Optimisation
    >>> rng = np.random.default_rng(0)
    >>> vectors, side = rng.normal(size=(90, 6)), Side(collaborative=rng.normal(size=(90, 4)))
    >>> spec = BBQRec(levels=2, codebook_size=8, hidden=16, optimisation=Optimisation(epochs=2))
    >>> spec.fit(vectors, side=side, progress=False).encode(vectors).shape
    (90, 2)
    """

    kind: Literal["bbqrec"] = "bbqrec"
    levels: int = Field(default=3, ge=1, le=64)
    code_dim: int = Field(default=32, ge=1)
    hidden: int = Field(default=256, ge=1)
    reconstruction: Weight = 1.0
    alignment: Weight = 0.1
    temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    club: Weight = 1.0
    club_steps: int = Field(default=2, ge=1)
    club_learning_rate: float = Field(default=5e-3, gt=0, allow_inf_nan=False)
    commitment: Weight = 0.25
    needs: ClassVar[tuple[str, ...]] = ("collaborative",)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each position; one more where a modality can be absent."""
        return (self.modal_size,) * (self.levels * len(self.modalities))

    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return untrained branches, codebooks and decoders for these columns."""
        from semantic_ids.quantizers.neural.disentangle import DisentangledNetwork

        self.check_blocks(blocks)
        return DisentangledNetwork(self, blocks)

    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return the losses; refuse a side without vectors."""
        from semantic_ids.quantizers.neural.disentangle import DisentanglingObjective

        behaviour = np.asarray(self.check_side(side).collaborative)
        return DisentanglingObjective(self, len(self.modalities), behaviour)
