"""LAMIA: a palette of aspects, each clustered on its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.spec import NeuralQuantizer, Weight
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.fitted import FittedNeural
    from semantic_ids.quantizers.neural.network import QuantizerNetwork
    from semantic_ids.quantizers.neural.objective import Objective


class LAMIA(NeuralQuantizer):
    """A palette of slots, each an aspect of the item, and k-means over each slot.

    Learned queries attend over the fields of an item, which are the modalities; their outputs,
    the slots, should rebuild all fields and be uncorrelated. Then each slot is clustered, and
    its cluster is the code: the positions stand side by side, none refines another.

    With as many fields as slots, a slot comes to read about one field. With fewer, fields are
    read through several learned projections; with one field (a plain array) slots are
    uncorrelated projections of it, but nothing ties one to a meaning. A slot whose field is
    missing reads the others.

    LAMIA, arXiv 2409.07276, makes its palette by a language model tuned on the items' texts;
    its sizes and weights are not known to us. Kept here: parallel slots, reconstruction,
    contrast, a simple clustering each.

    Parameters
    ----------
    slots : number of codes an item gets, 1-64.
    codebook_size : clusters of each slot.
    code_dim : columns of a slot.
    hidden : units of the hidden layer through which a field is read.
    decorrelation : weight of the squared correlations between slots; where it is small, two
        slots may settle on one field.
    contrast : weight of the InfoNCE loss between a slot's values as different fields are left
        out. Where fields are independent it works against the decorrelation.
    field_dropout : share of the fields that are left out.
    temperature : of the InfoNCE loss.
    batch_size, held_out, device, precision, optimisation, seed : see `RQVAE`.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Optimisation
    >>> vectors = np.random.default_rng(0).normal(size=(200, 12))
    >>> spec = LAMIA(slots=3, codebook_size=8, code_dim=4, hidden=16,
    ...              optimisation=Optimisation(epochs=2))
    >>> fitted = spec.fit(vectors, progress=False)
    >>> fitted.encode(vectors).shape, fitted.ordered
    ((200, 3), False)
    """

    kind: Literal["lamia"] = "lamia"
    slots: int = Field(default=4, ge=1, le=64)
    codebook_size: int = Field(default=256, ge=1, le=2**20)
    code_dim: int = Field(default=32, ge=1)
    hidden: int = Field(default=256, ge=1)
    decorrelation: Weight = 4.0
    contrast: Weight = 0.01
    field_dropout: float = Field(default=0.3, ge=0, lt=1)
    temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each position."""
        return (self.codebook_size,) * self.slots

    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return an untrained palette whose fields are these columns."""
        from semantic_ids.quantizers.neural.palette import PaletteNetwork

        return PaletteNetwork(self, blocks)

    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return reconstruction, decorrelation and contrast."""
        from semantic_ids.quantizers.neural.palette import PaletteObjective

        return PaletteObjective(self)

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedNeural":
        """Train the palette, then cluster each slot; see `NeuralQuantizer.fit`."""
        from semantic_ids.quantizers.neural.fitted import FittedNeural

        given = Latent.of(latent)
        trained = super().fit(given, side=side, progress=progress)
        network = trained.network
        network.codebooks.start(trained.latents(given), self.seed)
        return FittedNeural(self, network, tuple(given.blocks.values()), trained.log)
