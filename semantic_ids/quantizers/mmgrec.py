"""MMGRec: RQ-VAE of vectors that were smoothed over a graph of items."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import Arrays
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.rqvae import ResidualAutoencoder
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.graph import FittedGraph
    from semantic_ids.quantizers.neural.network import QuantizerNetwork


class MMGRec(ResidualAutoencoder):
    """RQ-VAE of features smoothed over ``side.graph``, with an encoder that needs no graph.

    In the fit, each item's vector is averaged with those of its neighbours, and an RQ-VAE is
    trained on the result: items that go together come to share first codes. Then a second
    encoder learns to make of the content alone what the first one makes of the smoothed vector,
    and it is the one that encodes: a code stays a function of the content, and new items,
    which have no edges, get codes like any other. Where content says little of an item's
    neighbours the two differ; `FittedGraph.agreement` tells how often they do not.

    MMGRec, arXiv 2404.16555, "Graph RQ-VAE", trains a graph network on users and items with a
    ranking loss before its RQ-VAE, and gives codes to the items of the graph only; it has
    levels=3, codebook_size=128, code_dim=4, hidden=(16,). Here smoothing has no parameters.
    Its popularity token is the resolver `Popularity`.

    Parameters
    ----------
    hops : how many times vectors are averaged with those of their neighbours.
    levels, codebook_size, hidden, code_dim, commitment, lookup, sinkhorn : see `RQVAE`.
    batch_size, held_out, least_utilisation, restart, device, precision, optimisation, seed :
        see `RQVAE`; both trainings take them.

    Examples
    --------
    >>> import numpy as np
    >>> from semantic_ids import Optimisation
    >>> rng = np.random.default_rng(0)
    >>> vectors, side = rng.normal(size=(90, 12)), Side(graph=rng.random((90, 90)) < 0.1)
    >>> spec = MMGRec(levels=3, codebook_size=16, hidden=(32,), code_dim=8,
    ...               optimisation=Optimisation(epochs=2))
    >>> fitted = spec.fit(vectors, side=side, progress=False)
    >>> fitted.encode(vectors).shape, fitted.agreement.shape
    ((90, 3), (3,))
    """

    kind: Literal["mmgrec"] = "mmgrec"
    levels: int = Field(default=3, ge=1, le=64)
    lookup: Lookup = Lookup(decay=0.95)
    hops: int = Field(default=2, ge=0)
    needs: ClassVar[tuple[str, ...]] = ("graph",)

    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return an untrained network for vectors whose columns are these blocks."""
        from torch import zeros

        network = super().network(blocks)
        network.register_buffer("agreement", zeros(self.levels))
        return network

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedGraph":
        """Smooth, train on what that gives, and train the encoder of content.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : with `graph`.
        progress : show bars over the steps; None shows them in a terminal.

        Raises
        ------
        ValueError
            if `side` has no graph, there are fewer rows than entries in a codebook, or the rows
            are not finite.
        FloatingPointError
            if a training diverges.
        """
        from semantic_ids.quantizers.neural.graph import learn_from_content, smooth

        given, checked = Latent.of(latent), self.check_side(side)
        checked.check_length(len(given))
        assert checked.graph is not None
        smoothed = smooth(given.matrix, checked.graph, self.hops)
        rows = Latent(smoothed, given.blocks, given.present)
        teacher = super().fit(rows, side=checked, progress=progress)
        return learn_from_content(teacher, given, smoothed, progress)

    def restore(self, arrays: Arrays) -> "FittedGraph":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        from semantic_ids.quantizers.neural.graph import FittedGraph

        return FittedGraph.of_arrays(self, arrays)  # type: ignore[return-value]
