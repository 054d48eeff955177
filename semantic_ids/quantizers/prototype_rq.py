"""PrototypeRQ: the first code names a prototype, the others refine it."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from semantic_ids.latent import Latent, check_range
from semantic_ids.optimisation import Optimisation
from semantic_ids.quantizers.base import Arrays, Quantizer, check_enough_rows
from semantic_ids.quantizers.fitted_residual import FittedResidual
from semantic_ids.quantizers.neural.spec import Weight
from semantic_ids.quantizers.prototype_inputs import directions, labels_of, where
from semantic_ids.quantizers.residual import ResidualCodebooks
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.side import Side
from semantic_ids.storage import stored_array


class PrototypeRQ(Quantizer):
    """Residual quantization whose first codebook has a name for each entry.

    ``side.prototypes`` are points in the space of the items, such as the text vectors of
    category names; an item's first code is the prototype of the largest cosine, so that a code
    can be read, and an item of no known kind gets a sensible one. The other levels are
    `RQKMeans` of what is left over.

    The piece of PCQ (arXiv 2511.12079) that carries over to items: prototypes fixed by text,
    moved a little by training a Gumbel-softmax assignment for compactness and separation; the
    offsets stand for its learned prompts. Two things that the paper does not mention are
    needed. Items and prototypes are each centred first: a constant difference between two
    encoders' spaces else decides the cosines. And cosines are multiplied by `logit_scale`
    before sampling: at 1, samples are nearly random.

    Parameters
    ----------
    names : one a prototype, at least 2; how many there are is the size of the first codebook.
    modality : in whose columns of the latent the prototypes lie; None where in all of them. An
        item that lacks the modality takes the prototype nearest to the fuser's stand-in.
    levels : number of codes an item gets, the first included, 1-64.
    codebook_size : entries of each level after the first, one number or one a level.
    centre : whether items and prototypes are centred.
    logit_scale : of the cosines; below some 10 the assignment is noise, at 20 it is not.
    temperatures : of the Gumbel-softmax in the first and in the last epoch.
    compactness : weight of the squared distance between items and what they are assigned to.
    separation : weight of the closeness of prototypes to each other.
    anchor : weight of the squared offsets; without it, prototypes drift from their names.
    alignment : weight of the cross-entropy with ``side.labels``, which number the names; -1
        where none is known.
    batch_size : items of a training step.
    optimisation : of the offsets; with ``epochs=0`` the prototypes stay where they are.
    iterations : k-means iterations of each other level, at most.
    seed : where the random numbers begin.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> kinds = np.eye(3, 8)
    >>> items = kinds[[0, 1, 2, 2] * 25] + 0.1 * rng.normal(size=(100, 8))
    >>> spec = PrototypeRQ(names=("cups", "mugs", "pots"), levels=2, codebook_size=4)
    >>> fitted = spec.fit(items, side=Side(prototypes=kinds), progress=False)
    >>> fitted.names_of(fitted.encode(items[:4]))
    ['cups', 'mugs', 'pots', 'pots']
    """

    kind: Literal["prototype-rq"] = "prototype-rq"
    names: tuple[str, ...] = Field(min_length=2, max_length=2**20)
    modality: str | None = None
    levels: int = Field(default=4, ge=1, le=64)
    codebook_size: int | tuple[int, ...] = 256
    centre: bool = True
    logit_scale: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    temperatures: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1.0, 0.3)
    compactness: Weight = 1.0
    separation: Weight = 0.1
    anchor: Weight = 1.0
    alignment: Weight = 0.0
    batch_size: int = Field(default=256, ge=1)
    optimisation: Optimisation = Optimisation(epochs=20, learning_rate=0.01, weight_decay=0.0)
    iterations: int = Field(default=25, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31 - 64)
    needs: ClassVar[tuple[str, ...]] = ("prototypes",)

    @field_validator("names")
    @classmethod
    def _names_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"names: {twice!r} occurs more than once")
        return names

    @model_validator(mode="after")
    def _other_levels(self) -> "PrototypeRQ":
        size = self.codebook_size
        if isinstance(size, tuple) and len(size) != self.levels - 1:
            raise ValueError(
                f"codebook_size={size} has {len(size)} entries, but {self.levels - 1} levels "
                "follow the prototypes; give one number, or one for each of these"
            )
        if self.levels > 1:
            self._rest()
        return self

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level."""
        return (len(self.names), *(self._rest().codebook_sizes if self.levels > 1 else ()))

    def _rest(self) -> RQKMeans:
        return RQKMeans(
            levels=self.levels - 1,
            codebook_size=self.codebook_size,
            iterations=self.iterations,
            seed=self.seed,
        )

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedPrototypeRQ":
        """Move the prototypes towards the items, then learn the other levels.

        Parameters
        ----------
        latent : a Latent, or an array (N, d).
        side : with `prototypes`, (K, columns of the modality or of the latent) in the order of
            `names`; and with `labels`, where `alignment` is above 0.
        progress : show a bar; None shows it in a terminal.

        Raises
        ------
        ValueError
            if `side` lacks an array or has one that does not fit the names or columns, a
            prototype cannot be told from the mean of all, there are fewer rows than entries in
            a codebook, or the rows are not finite.
        """
        from semantic_ids.quantizers.neural.prototypes import named_codebook

        given, checked = Latent.of(latent), self.check_side(side)
        checked.check_length(len(given))
        columns, there = where(given, self.modality)
        points = directions(checked, self.names, columns, centre=self.centre)
        labels = labels_of(checked, self.names)[there] if self.alignment else None
        check_enough_rows(len(given), max(self.codebook_sizes))
        first = named_codebook(self, given, columns, there, points, labels, progress)
        books = [first]
        if self.levels > 1:
            chosen = ResidualCodebooks([first]).greedy_codes(given.matrix)[:, 0]
            books += self._rest().fit(given.matrix - first[chosen], progress=progress).codebooks
        return FittedPrototypeRQ(self, books)

    def restore(self, arrays: Arrays) -> "FittedPrototypeRQ":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        books, width = [], None
        for level, size in enumerate(self.codebook_sizes):
            books.append(stored_array(arrays, f"codebook.{level}", (size, width)))
            check_range(books[-1], f"codebook.{level}")
            width = books[-1].shape[1]
        return FittedPrototypeRQ(self, books)


class FittedPrototypeRQ(FittedResidual):
    """Fitted residual codebooks, the first of which has names."""

    def __init__(self, spec: PrototypeRQ, codebooks: Sequence[np.ndarray]) -> None:
        super().__init__(spec, ResidualCodebooks(codebooks))
        self._names = spec.names

    def names_of(self, codes: np.ndarray) -> list[str]:
        """Return the name of the prototype that each code (n, l) begins with."""
        return [self._names[first] for first in np.asarray(codes)[:, 0]]
