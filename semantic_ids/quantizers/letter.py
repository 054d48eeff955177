"""LETTER: RQ-VAE whose codes also follow who interacts with the items."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from semantic_ids.latent import Latent
from semantic_ids.quantizers.rqvae import ResidualAutoencoder
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.network import QuantizerNetwork
    from semantic_ids.quantizers.neural.objective import Objective


class LETTER(ResidualAutoencoder):
    """RQ-VAE with codes aligned to collaborative vectors, and entries spread evenly.

    LETTER (arXiv 2405.07314): two losses are added to those of RQ-VAE. A contrastive one makes
    the quantized latent of an item most like the item's own collaborative vector, among the
    items of the batch (here by cosine, at a temperature, both ways; there by inner product, one
    way, to vectors of the latent's width). A second one draws the entries of a cluster of
    entries together, so that codes are assigned more evenly. New items are encoded by their
    features alone.

    Alignment that weighs too much pays with the features: watch the relative error. Entries
    that no item has are moved as in RQ-VAE, so that levels do not collapse.

    Parameters
    ----------
    levels, codebook_size, hidden, code_dim, commitment, lookup, sinkhorn : see `RQVAE`.
    alignment : weight of the contrastive loss.
    temperature : what its cosines are divided by.
    diversity : weight of the diversity loss; the authors' code has 0.1 for both weights.
    clusters : of the entries of a level, found anew for each epoch; 10 in the authors' code.
    batch_size, held_out, least_utilisation, restart, device, precision, optimisation, seed :
        see `NeuralQuantizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Optimisation
    >>> rng = np.random.default_rng(0)
    >>> vectors, side = rng.normal(size=(300, 12)), Side(collaborative=rng.normal(size=(300, 6)))
    >>> spec = LETTER(levels=3, codebook_size=16, hidden=(32,), code_dim=8,
    ...               optimisation=Optimisation(epochs=2))
    >>> spec.fit(vectors, side=side, progress=False).encode(vectors).shape
    (300, 3)
    """

    kind: Literal["letter"] = "letter"
    needs: ClassVar[tuple[str, ...]] = ("collaborative",)
    alignment: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    diversity: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    clusters: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _entries_can_be_drawn(self) -> "LETTER":
        if self.diversity and self.lookup.decay is not None:
            raise ValueError(
                "diversity draws entries by its gradient, and running means have none; "
                "give diversity=0 or lookup=Lookup()"
            )
        return self

    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return the losses of RQ-VAE, alignment and diversity; `side` needs collaborative."""
        from semantic_ids.quantizers.neural.letter import LetterObjective

        collaborative = self.check_side(side).collaborative
        assert collaborative is not None
        return LetterObjective(
            self.commitment,
            1.0 if self.lookup.decay is None else 0.0,
            collaborative,
            self.code_dim,
            alignment=self.alignment,
            temperature=self.temperature,
            diversity=self.diversity,
            clusters=self.clusters,
        )
