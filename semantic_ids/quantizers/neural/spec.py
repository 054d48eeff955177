"""What the specs of neural quantizers share; without torch, which `fit` and `restore` import."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from semantic_ids.features import SINGLE
from semantic_ids.latent import Latent
from semantic_ids.optimisation import Optimisation
from semantic_ids.quantizers.base import Arrays, Quantizer, check_enough_rows
from semantic_ids.quantizers.levelled import Levelled
from semantic_ids.side import Side

if TYPE_CHECKING:
    from semantic_ids.quantizers.neural.fitted import FittedNeural
    from semantic_ids.quantizers.neural.network import QuantizerNetwork
    from semantic_ids.quantizers.neural.objective import Objective

Width = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class NeuralQuantizer(Quantizer):
    """How an encoder, codebooks and a decoder are trained together.

    A subclass says which network (`network`) and what for (`objective`).

    Parameters
    ----------
    batch_size : items of a training step.
    held_out : share of the items that is not trained on; the epoch that rebuilds these best is
        kept. (A low collision rate says nothing: untrained networks have the lowest.) With 0 it
        is the epoch that rebuilds the trained items best.
    least_utilisation : share of its entries that every level has to use for an epoch to be
        compared by its error; see `semantic_ids.optimisation.best_epoch`.
    restart : whether entries that no item has after an epoch are moved to where the error is.
    device : where to train, ``auto`` being CUDA where there is one; encoding is on the CPU.
    precision : of the layers in training on CUDA, and on processors that multiply matrices of
        bfloat16 themselves; elsewhere training is in float32. Encoding is in float64. Started by
        ``accelerate launch`` or ``torchrun``, the processes share each batch.
    optimisation : how it is trained.
    seed : where the random numbers begin.
    """

    batch_size: int = Field(default=256, ge=2)
    held_out: float = Field(default=0.05, ge=0, lt=1)
    least_utilisation: float = Field(default=0.95, ge=0, le=1)
    restart: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    optimisation: Optimisation = Optimisation(
        epochs=40, learning_rate=3e-3, weight_decay=1e-4, patience=10
    )
    seed: int = Field(default=0, ge=0, lt=2**31 - 64)

    @abstractmethod
    def network(self, blocks: Sequence[slice]) -> "QuantizerNetwork":
        """Return an untrained network for vectors whose columns are these blocks."""

    @abstractmethod
    def objective(
        self, network: "QuantizerNetwork", latent: Latent, side: Side | None
    ) -> "Objective":
        """Return what the network is trained for on these items.

        Raises
        ------
        ValueError
            if `side` lacks what it needs.
        """

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedNeural":
        """Train on a Latent or an array (N, d); batches are gathered row by row from it.

        Parameters
        ----------
        latent : what to learn from; a memory-mapped matrix is never loaded whole.
        side : what else is known of the items; see `objective` for what is used of it.
        progress : show a bar over the steps; None shows it in a terminal.

        Raises
        ------
        ValueError
            if there are fewer rows than entries in a codebook, the rows are not finite, or
            `side` lacks what the objective needs.
        FloatingPointError
            if training diverges.
        """
        from semantic_ids.quantizers.neural.fitting import fit_neural

        given = Latent.of(latent)
        check_enough_rows(len(given), max(self.codebook_sizes))
        self.check_side(side).check_length(len(given))
        return fit_neural(self, given, side, progress)

    def restore(self, arrays: Arrays) -> "FittedNeural":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        from semantic_ids.quantizers.neural.fitted import FittedNeural

        return FittedNeural.of_arrays(self, arrays)


class ModalQuantizer(NeuralQuantizer):
    """A neural quantizer some positions of whose code belong to one modality each.

    Its spec names the modalities, since the length of the code follows from them.

    Parameters
    ----------
    modalities : names of the latent's blocks, in order; by default that of a plain array.
    codebook_size : entries of each codebook.
    """

    modalities: tuple[str, ...] = Field(default=(SINGLE,), min_length=1)
    codebook_size: int = Field(default=256, ge=1, le=2**20)

    @field_validator("modalities")
    @classmethod
    def _modalities_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"modalities: {list(names)} names one more than once")
        return names

    @property
    def modal_size(self) -> int:
        """Codes at a modality's position; one more where the modality can be absent."""
        return self.codebook_size + (len(self.modalities) > 1)

    def check_blocks(self, blocks: Sequence[slice]) -> None:
        """Refuse columns that are not one block a modality.

        Raises
        ------
        ValueError
            naming both numbers.
        """
        if len(blocks) != len(self.modalities):
            raise ValueError(
                f"modalities={self.modalities}: expected as many blocks of columns, "
                f"got {len(blocks)}"
            )

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedNeural":
        """Train as `NeuralQuantizer.fit` does; refuse a latent of other modalities."""
        given = Latent.of(latent)
        if tuple(given.blocks) != self.modalities:
            raise ValueError(
                f"modalities={self.modalities}: the latent's blocks are {tuple(given.blocks)}; "
                f"give modalities={tuple(given.blocks)}"
            )
        return super().fit(given, side=side, progress=progress)


class LevelledQuantizer(Levelled, NeuralQuantizer):
    """A neural quantizer of so many levels (or slots), each with a codebook.

    Parameters
    ----------
    levels : number of codes an item gets, 1-64.
    codebook_size : entries of each level's codebook, one number or one a level.
    hidden : widths of the encoder's hidden layers; the decoder has them in reverse.
    commitment : weight of the commitment loss.
    """

    hidden: tuple[Width, ...] = (512,)
    commitment: float = Field(default=0.25, ge=0, allow_inf_nan=False)
