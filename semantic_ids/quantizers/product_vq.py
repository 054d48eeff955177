"""ProductVQ: slots side by side, whose entries may come from one shared codebook."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.spec import LevelledQuantizer
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.network import QuantizerNetwork
    from semantic_ids.quantizers.neural.objective import Objective


class ProductVQ(LevelledQuantizer):
    """An encoder makes as many small vectors as there are levels; each takes its nearest entry.

    The discrete bottleneck of DB-VAE (arXiv 2004.10603; its settings are not known): one table
    of entries for all levels, which costs a level's memory and lets entries be compared across
    levels. The codes are parallel, none refines another. `shuffle_gap` of
    `semantic_ids.quantizers.neural.diagnostics` says whether the decoder listens to them.

    Parameters
    ----------
    levels : number of codes an item gets, 1-64.
    codebook_size : entries of each level's codebook, one number or one a level.
    shared : whether all levels have one codebook.
    slot_dim : columns of a level's latent.
    hidden : widths of the encoder's hidden layers; the decoder has them in reverse.
    commitment : weight of the commitment loss.
    lookup : how entries are compared, chosen and learnt.
    batch_size, held_out, restart, device, precision, optimisation, seed : see
        `NeuralQuantizer`.
    least_utilisation : as there; lower, since a level may leave entries to the others.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Optimisation
    >>> vectors = np.random.default_rng(0).normal(size=(300, 12))
    >>> spec = ProductVQ(levels=3, codebook_size=16, slot_dim=4, hidden=(32,),
    ...                  optimisation=Optimisation(epochs=2))
    >>> fitted = spec.fit(vectors, progress=False)
    >>> fitted.encode(vectors).shape, fitted.ordered
    ((300, 3), False)
    """

    kind: Literal["product-vq"] = "product-vq"
    shared: bool = True
    slot_dim: int = Field(default=16, ge=1)
    lookup: Lookup = Lookup()
    least_utilisation: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _one_size_where_shared(self) -> "ProductVQ":
        if self.shared and len(set(self.codebook_sizes)) > 1:
            raise ValueError(
                f"codebook_size={self.codebook_size}: a shared codebook has one size; give one "
                "number, or shared=False"
            )
        return self

    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return an untrained network for vectors whose columns are these blocks."""
        from semantic_ids.quantizers.neural.network import QuantizerNetwork, perceptron
        from semantic_ids.quantizers.neural.slots import ParallelSlots, UnitSlots

        width = blocks[-1].stop
        slots = ParallelSlots(self.codebook_sizes, self.slot_dim, self.lookup, shared=self.shared)
        widths = (width, *self.hidden, slots.width)
        encoder = perceptron(widths)
        if self.lookup.search == "cosine":
            encoder.append(UnitSlots(self.levels))
        return QuantizerNetwork(width, encoder, slots, perceptron(widths[::-1]))

    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return reconstruction, codebook and commitment losses."""
        from semantic_ids.quantizers.neural.objective import Objective

        return Objective(self.commitment, 1.0 if self.lookup.decay is None else 0.0)
