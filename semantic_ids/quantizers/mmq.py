"""MMQ: a code from each of several experts, some of which read one modality alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.spec import ModalQuantizer, Weight
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.network import QuantizerNetwork
    from semantic_ids.quantizers.neural.objective import Objective


class MMQ(ModalQuantizer):
    """Mixture of quantizers: shared experts read all modalities, specific experts one each.

    Every expert has a codebook and gives one code; its vectors are compared by cosine. So a code
    has ``shared + specific * len(modalities)`` positions, which stand side by side: those of the
    shared experts, then those of each modality. An item that lacks a modality gets the reserved
    code `codebook_size` from that modality's experts.

    MMQ, arXiv 2508.15281, first stage (the second one tunes codes with a recommender). Its loss
    is 12 reconstruction + 10 auxiliary reconstruction (each modality from its own experts) +
    0.005 orthogonality of weights, with 2 + 2 + 2 experts and 100 to 3,000 entries. Three things
    are ours. As printed, its loss gives the codebooks no gradient: codebook and commitment
    losses are added. The orthogonality of weights does little (random ones are nearly
    orthogonal): by default the *outputs* of a group's experts are decorrelated, with a weight
    of ours. And decoding, which does not know an item's gates, takes their means.

    Parameters
    ----------
    modalities : names of the modalities, in the order of the features; one array without a name
        is ``"features"``.
    shared : number of experts that read all modalities.
    specific : number of experts that read one, for each modality.
    codebook_size : entries of each expert's codebook.
    code_dim : columns of the experts' outputs.
    hidden : units of the hidden layer of each expert and decoder.
    reconstruction, auxiliary : weights of the errors of what is rebuilt of all experts, and of
        each modality's own.
    decorrelation, orthogonality : weights of the penalties on experts of a group whose outputs,
        or whose first layers, are alike.
    commitment : weight of the commitment loss.
    batch_size, held_out, least_utilisation, restart, device, precision, optimisation, seed :
        see `RQVAE`.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Concat, Features, Optimisation
    >>> rng = np.random.default_rng(0)
    >>> features = Features({"text": rng.normal(size=(90, 6)), "image": rng.normal(size=(90, 4))},
    ...                     present={"image": np.arange(90) > 0})
    >>> latent = Concat().fit(features).transform(features)
    >>> spec = MMQ(modalities=("text", "image"), codebook_size=8, hidden=16,
    ...            optimisation=Optimisation(epochs=2))
    >>> spec.codebook_sizes
    (8, 8, 9, 9, 9, 9)
    >>> spec.fit(latent, progress=False).encode(latent)[0, 4:].tolist()
    [8, 8]
    """

    kind: Literal["mmq"] = "mmq"
    shared: int = Field(default=2, ge=0)
    specific: int = Field(default=2, ge=1)
    code_dim: int = Field(default=32, ge=1)
    hidden: int = Field(default=256, ge=1)
    reconstruction: Weight = 12.0
    auxiliary: Weight = 10.0
    decorrelation: Weight = 0.1
    orthogonality: Weight = 0.0
    commitment: Weight = 0.25

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each position; one more where a modality can be absent."""
        own = (self.modal_size,) * (self.specific * len(self.modalities))
        return (self.codebook_size,) * self.shared + own

    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return untrained experts, codebooks and decoders for these columns."""
        from semantic_ids.quantizers.neural.experts import ExpertNetwork

        self.check_blocks(blocks)
        return ExpertNetwork(self, blocks)

    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return MMQ's losses."""
        from semantic_ids.quantizers.neural.experts import ExpertObjective

        return ExpertObjective(self)
