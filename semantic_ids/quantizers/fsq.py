"""FSQ: finite scalar quantization."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from semantic_ids.latent import Latent
from semantic_ids.quantizers.neural.spec import NeuralQuantizer, Width
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.network import QuantizerNetwork
    from semantic_ids.quantizers.neural.objective import Objective


class FSQ(NeuralQuantizer):
    """Round each of a few numbers that an encoder makes of a vector to a fixed grid.

    Mentzer et al. 2023 (arXiv 2309.15505): no codebook, so nothing to collapse and no loss but
    the squared error of what the decoder rebuilds; gradients go straight through the rounding.
    The codes are parallel: one a column, none refines another.

    Parameters
    ----------
    sizes : grid points of each column, from 2 on (the paper advises 5 or more); their product is
        the number of codes.
    hidden : widths of the encoder's hidden layers; the decoder has them in reverse.
    batch_size, held_out, least_utilisation, device, precision, optimisation, seed : see
        `NeuralQuantizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Optimisation
    >>> vectors = np.random.default_rng(0).normal(size=(300, 12))
    >>> spec = FSQ(sizes=(8, 8, 5), hidden=(32,), optimisation=Optimisation(epochs=2))
    >>> fitted = spec.fit(vectors, progress=False)
    >>> fitted.encode(vectors).shape, fitted.ordered
    ((300, 3), False)
    """

    kind: Literal["fsq"] = "fsq"
    sizes: tuple[Annotated[int, Field(ge=2, le=2**20)], ...] = Field(
        default=(8,) * 8, min_length=1, max_length=64
    )
    hidden: tuple[Width, ...] = (512,)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level."""
        return self.sizes

    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return an untrained network for vectors whose columns are these blocks."""
        from semantic_ids.quantizers.neural.finite_scalar import Bounded, FiniteScalars
        from semantic_ids.quantizers.neural.network import QuantizerNetwork, perceptron

        width = blocks[-1].stop
        widths = (width, *self.hidden, len(self.sizes))
        encoder = perceptron(widths).append(Bounded(self.sizes))
        return QuantizerNetwork(width, encoder, FiniteScalars(self.sizes), perceptron(widths[::-1]))

    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return the reconstruction loss alone."""
        from semantic_ids.quantizers.neural.objective import Objective

        return Objective(commitment=0.0, codebook=0.0)
