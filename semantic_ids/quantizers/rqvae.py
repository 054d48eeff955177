"""RQ-VAE: residual codebooks between a trained encoder and a trained decoder."""

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


class ResidualAutoencoder(LevelledQuantizer):
    """What RQ-VAE and the methods that build on it share.

    Parameters
    ----------
    code_dim : columns of the latents, in which the codebooks live.
    lookup : how entries are compared, chosen and learnt.
    sinkhorn : epsilon of the balanced assignment in training, one number or one a level; 0
        takes the nearest entry. Encoding always does.
    """

    code_dim: int = Field(default=64, ge=1)
    lookup: Lookup = Lookup()
    sinkhorn: float | tuple[float, ...] = 0.0

    @model_validator(mode="after")
    def _one_epsilon_a_level(self) -> "ResidualAutoencoder":
        if len(self.epsilons) != self.levels or min(self.epsilons) < 0:
            raise ValueError(
                f"sinkhorn={self.sinkhorn}: expected numbers of at least 0, one or one for each "
                f"of the {self.levels} levels"
            )
        return self

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Epsilon of each level's balanced assignment."""
        given = self.sinkhorn
        return given if isinstance(given, tuple) else (given,) * self.levels

    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return an untrained network for vectors whose columns are these blocks."""
        from semantic_ids.quantizers.neural.codebooks import ResidualLevels
        from semantic_ids.quantizers.neural.network import QuantizerNetwork, perceptron

        width = blocks[-1].stop
        widths = (width, *self.hidden, self.code_dim)
        books = ResidualLevels(self.codebook_sizes, self.code_dim, self.lookup, self.epsilons)
        return QuantizerNetwork(width, perceptron(widths), books, perceptron(widths[::-1]))

    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return reconstruction, codebook and commitment losses."""
        from semantic_ids.quantizers.neural.objective import Objective

        return Objective(self.commitment, 1.0 if self.lookup.decay is None else 0.0)


class RQVAE(ResidualAutoencoder):
    """Residual quantization of what an encoder makes of the vectors, trained end to end.

    TIGER (arXiv 2305.05065, section 3.1) and LC-Rec (arXiv 2311.09049): the loss is the squared
    error of what the decoder rebuilds, plus the mean over levels of codebook loss and 0.25
    commitment loss. Codebooks begin at k-means; entries that no item has are moved after each
    epoch. The commitment of every level reaches the encoder, which most public code misses.
    Entries are running means by default, which rebuild better than entries learnt by the
    codebook loss, as the papers have it: that is ``lookup=Lookup()``.

    MQL4GRec, for comparison, has hidden=(2048, 1024, 512, 256, 128, 64), code_dim=32,
    batch_size=2048, learning rate 1e-3, 500 epochs, sinkhorn=(0, 0, 0, 0.003), and keeps the
    epoch with the fewest collisions; here it is the one that rebuilds held-out items best. The
    defaults are for thousands of items: a network of one hidden layer rebuilds these better
    than a deep one, and in less time.

    Parameters
    ----------
    levels : number of codes an item gets, 1-64.
    codebook_size : entries of each level's codebook, one number or one a level.
    hidden : widths of the encoder's hidden layers; the decoder has them in reverse.
    code_dim : columns of the latents, in which the codebooks live.
    commitment : weight of the commitment loss.
    lookup : how entries are compared, chosen and learnt.
    sinkhorn : epsilon of the balanced assignment in training, one number or one a level; 0
        takes the nearest entry. Encoding always does.
    batch_size, held_out, least_utilisation, restart, device, precision, optimisation, seed :
        see `NeuralQuantizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Optimisation
    >>> vectors = np.random.default_rng(0).normal(size=(300, 12))
    >>> spec = RQVAE(levels=3, codebook_size=16, hidden=(32,), code_dim=8,
    ...              optimisation=Optimisation(epochs=2))
    >>> fitted = spec.fit(vectors, progress=False)
    >>> codes = fitted.encode(vectors)
    >>> codes.shape, fitted.decode(codes).shape
    ((300, 3), (300, 12))
    """

    kind: Literal["rq-vae"] = "rq-vae"
    lookup: Lookup = Lookup(decay=0.95)
