"""PerModality: each modality has a quantizer, and positions of the code, of its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator

from semantic_ids.codes import check_codes
from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import Arrays, FittedQuantizer, Quantizer, prefixed, restored
from semantic_ids.quantizers.ranked import Ranked
from semantic_ids.side import Side
from semantic_ids.storage import stored_array


def _as_pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


Parsed = Annotated[SerializeAsAny[Quantizer], BeforeValidator(Quantizer.parse)]
Pairs = Annotated[tuple[tuple[str, Parsed], ...], BeforeValidator(_as_pairs), Field(min_length=1)]


class PerModality(Quantizer):
    """Quantize each modality on its own, and put the codes side by side.

    Each quantizer learns from the items that have its modality. At each of its levels it gets one
    entry more than it asks for, the last: that index, at all levels of a modality, says that the
    item does not have it. Needs a fuser that keeps modalities apart, such as `Concat`.

    Parameters
    ----------
    quantizers : modality name to its quantizer, in the order of their positions in the code. A
        mapping, or pairs: it is kept, and written to JSON, as pairs, since their order counts.

    Notes
    -----
    MQL4GRec (ICLR 2025) gives each modality codes of its own, which one model reads.

    Examples
    --------
    >>> from semantic_ids import Concat, Features, RQKMeans
    >>> rng = np.random.default_rng(0)
    >>> items = Features({"text": rng.normal(size=(90, 6)), "image": rng.normal(size=(90, 4))},
    ...                  present={"image": np.arange(90) > 0})
    >>> latent = Concat().fit(items).transform(items)
    >>> spec = PerModality(quantizers={"text": RQKMeans(levels=2, codebook_size=16),
    ...                                "image": RQKMeans(levels=1, codebook_size=32)})
    >>> spec.codebook_sizes
    (17, 17, 33)
    >>> codes = spec.fit(latent).encode(latent)
    >>> codes.shape, codes[0, 2]
    ((90, 3), np.int32(32))
    """

    kind: Literal["per-modality"] = "per-modality"
    quantizers: Pairs

    if TYPE_CHECKING:
        # The type of the field does not say that a mapping becomes pairs.
        def __init__(
            self, *, quantizers: Mapping[str, Quantizer] | Sequence[tuple[str, Quantizer]]
        ) -> None: ...

    @field_validator("quantizers")
    @classmethod
    def _distinct(cls, value: Pairs) -> Pairs:
        names = [name for name, _ in value]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{repeated[0]!r} has several quantizers; give one a modality")
        return value

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes at each level, those for an absent modality included."""
        return tuple(size + 1 for _, inner in self.quantizers for size in inner.codebook_sizes)

    @property
    def least_items(self) -> int:
        """Items that `fit` needs at least, if all of them have every modality."""
        return max(inner.least_items for _, inner in self.quantizers)

    def fit(
        self, latent: Latent | Any, *, side: Side | None = None, progress: bool | None = None
    ) -> "FittedPerModality":
        """Fit each quantizer on the rows that have its modality.

        Parameters
        ----------
        latent : a Latent that has one block for each modality, or an array (N, d), which is the
            block "features".
        side : handed on, with the same rows.
        progress : handed on.

        Raises
        ------
        ValueError
            if a block has no quantizer or a quantizer no block, the fuser mixes modalities, or
            a quantizer cannot be fitted; the error names the modality.
        """
        latent = Latent.of(latent)
        blocks, names = latent.blocks, [name for name, _ in self.quantizers]
        for name in names:
            if name not in blocks:
                raise ValueError(f"quantizers: no block {name!r} among the fused {list(blocks)}")
        for name in blocks:
            if name not in names:
                raise ValueError(f"quantizers: none for block {name!r}; expected one for each")
        present = _presence(latent, names)
        fitted = []
        for column, (name, quantizer) in enumerate(self.quantizers):
            rows = np.flatnonzero(present[:, column])
            part, some = _part(latent, name, rows), None if side is None else side.rows(rows)
            try:
                fitted.append(quantizer.fit(part, side=some, progress=progress))
            except ValueError as error:
                raise ValueError(f"quantizers[{name!r}]: {error}") from error
        return FittedPerModality(self, {name: blocks[name] for name in names}, fitted)

    def restore(self, arrays: Arrays) -> "FittedPerModality":
        """Rebuild from saved arrays; refuse those that do not fit the spec."""
        spans = stored_array(arrays, "blocks", (len(self.quantizers), 2), np.int64)
        in_order = spans[np.argsort(spans[:, 0], kind="stable")]
        starts, stops = in_order.T.tolist()
        if starts != [0, *stops[:-1]] or not all(a < b for a, b in in_order.tolist()):
            raise ValueError(f"blocks: expected columns side by side, got {spans.tolist()}")
        blocks, fitted = {}, []
        for number, (name, quantizer) in enumerate(self.quantizers):
            start, stop = spans[number].tolist()
            inner = restored(quantizer, arrays, f"{number}.")
            width = inner.decode(np.zeros((1, len(inner.codebook_sizes)), np.int32)).shape[1]
            if width != stop - start:
                raise ValueError(
                    f"quantizers[{name!r}]: {width} columns, but its block has {stop - start}"
                )
            blocks[name] = slice(start, stop)
            fitted.append(inner)
        return FittedPerModality(self, blocks, fitted)


@dataclass(frozen=True)
class _Modality:
    """One modality's columns, its levels of the code, and what quantizes it.

    Attributes
    ----------
    reserved : (l,) int32, the code that says that it is absent.
    """

    name: str
    block: slice
    levels: slice
    quantizer: FittedQuantizer
    reserved: np.ndarray

    def of(self, latent: Latent, rows: np.ndarray | None = None) -> Latent:
        """Return its columns, of some rows or all; they count as having it."""
        return _part(latent, self.name, np.arange(len(latent)) if rows is None else rows)

    def squares(self, latent: Latent) -> np.ndarray:
        """Return the squared lengths of its columns, (N,) float64: the errors of zeros."""
        return np.square(self.of(latent).matrix.astype(np.float64)).sum(axis=1)

    def real(self, latent: Latent, m: int) -> Ranked:
        """Rank its codes without reserved indices."""
        return Ranked(*self.quantizer.candidates(self.of(latent), m))

    def zeros(self, latent: Latent, codes: np.ndarray) -> Ranked:
        """Rank codes (c, l) that decode to zeros and stand in order."""
        shape = (len(latent), len(codes))
        errors = np.broadcast_to(self.squares(latent)[:, None], shape)
        return Ranked(np.broadcast_to(codes, (*shape, codes.shape[1])), errors)


class FittedPerModality(FittedQuantizer):
    """Fitted quantizers side by side.

    A modality whose code holds a reserved index, at all of its levels or only at some, counts as
    absent and decodes to zeros, which is the mean. `encode` never mixes; a resolver that has to
    give out every code may.

    Attributes
    ----------
    blocks : columns of each modality, in the order of the code.
    quantizers : one fitted quantizer a modality.
    ordered : that of the quantizer where there is only one.
    """

    def __init__(
        self,
        spec: PerModality,
        blocks: Mapping[str, slice],
        quantizers: Sequence[FittedQuantizer],
    ) -> None:
        self.spec = spec
        self.blocks = dict(blocks)
        self.quantizers = tuple(quantizers)
        self.ordered = len(quantizers) == 1 and quantizers[0].ordered
        self._modalities, start = [], 0
        for (name, block), inner in zip(blocks.items(), quantizers, strict=True):
            reserved = np.array(inner.codebook_sizes, dtype=np.int32)
            levels = slice(start, start + len(reserved))
            self._modalities.append(_Modality(name, block, levels, inner, reserved))
            start = levels.stop

    def encode(self, latent: Latent | Any) -> np.ndarray:
        """Return content codes (N, L) int32; the last index at each level of an absent modality."""
        latent = self._checked(latent)
        codes = np.empty((len(latent), len(self.codebook_sizes)), dtype=np.int32)
        present = _presence(latent, list(self.blocks))
        for modality, has in zip(self._modalities, present.T, strict=True):
            codes[:, modality.levels] = modality.reserved
            rows = np.flatnonzero(has)
            if len(rows):
                codes[rows, modality.levels] = modality.quantizer.encode(modality.of(latent, rows))
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the vectors (n, d) float32 of codes (n, l), l <= L, zeros where there is none."""
        codes = check_codes(codes, self.codebook_sizes[: np.asarray(codes).shape[-1]])
        width = max(block.stop for block in self.blocks.values())
        vectors = np.zeros((len(codes), width), dtype=np.float32)
        for modality in self._modalities:
            part = codes[:, modality.levels]
            rows = np.flatnonzero((part != modality.reserved[: part.shape[1]]).all(axis=1))
            if len(rows) and part.shape[1]:
                vectors[rows, modality.block] = modality.quantizer.decode(part[rows])
        return vectors

    def errors(self, latent: Latent | Any, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 of rows to what the first 1, 2, ... L levels say.

        They are over all columns: those of modalities that are not reached yet, or whose code
        says that they are absent, count against zeros.
        """
        latent = self._checked(latent)
        errors = np.empty(codes.shape)
        so_far = [modality.squares(latent)[:, None] for modality in self._modalities]
        for number, modality in enumerate(self._modalities):
            part = codes[:, modality.levels]
            absent = np.maximum.accumulate(part == modality.reserved, axis=1)
            own = np.repeat(so_far[number], part.shape[1], axis=1)
            rows = np.flatnonzero(~absent[:, 0])
            if len(rows):
                known = np.where(absent, 0, part)[rows]
                found = modality.quantizer.errors(modality.of(latent, rows), known)
                own[rows] = np.where(absent[rows], own[rows], found)
            errors[:, modality.levels] = sum([*so_far[:number], own, *so_far[number + 1 :]])
            so_far[number] = own[:, -1:]
        return errors

    def candidates(self, latent: Latent | Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Name good codes of each row: those that say of each modality whether the row has it.

        They are the best combinations of what the quantizers name. Only where more codes are
        asked for than there are of these, all others follow: an absent modality that the row
        has, or the other way round.

        Returns
        -------
        codes : (N, m', L) int32, distinct, m' = min(m, number of codes); first those that say
            rightly which modalities the row has, then the others, either by (error, code).
        errors : (N, m') float64, squared distances.
        """
        latent = self._checked(latent)
        m = min(m, math.prod(self.codebook_sizes))
        codes = np.empty((len(latent), m, len(self.codebook_sizes)), dtype=np.int32)
        errors = np.empty((len(latent), m))
        present = _presence(latent, list(self.blocks))
        for pattern in np.unique(present, axis=0):
            rows = np.flatnonzero((present == pattern).all(axis=1))
            found = self._ranked(latent.rows(rows), pattern.tolist(), m)
            codes[rows], errors[rows] = found.codes, found.errors
        return codes, errors

    def arrays(self) -> Arrays:
        """Return the columns of the blocks, and the arrays of each quantizer behind its number."""
        spans = [(block.start, block.stop) for block in self.blocks.values()]
        arrays = {"blocks": np.array(spans, dtype=np.int64)}
        for number, inner in enumerate(self.quantizers):
            arrays |= prefixed(inner.arrays(), f"{number}.")
        return arrays

    def _ranked(self, latent: Latent, pattern: list[bool], m: int) -> Ranked:
        """Rank the codes of rows that have the same modalities."""
        rightly = [
            _right(latent, modality, has, m)
            for modality, has in zip(self._modalities, pattern, strict=True)
        ]
        best = reduce(lambda before, after: before.beside(after, m), rightly)
        missing = m - best.count
        if not missing:
            return best
        wrongly = [
            _wrong(latent, modality, has, m)
            for modality, has in zip(self._modalities, pattern, strict=True)
        ]
        # Codes that are right about all modalities so far, and codes that are wrong about some.
        right, wrong = rightly[0], wrongly[0]
        for then_right, then_wrong in zip(rightly[1:], wrongly[1:], strict=True):
            then_either = then_right.merged(then_wrong, m)
            wrong = wrong.beside(then_either, m).merged(right.beside(then_wrong, m), m)
            right = right.beside(then_right, m)
        return best.followed_by(Ranked(wrong.codes[:, :missing], wrong.errors[:, :missing]))

    def _checked(self, latent: Latent | Any) -> Latent:
        latent = Latent.of(latent)
        if dict(latent.blocks) != self.blocks:
            raise ValueError(
                f"vectors: expected the blocks of columns of the fit, {self.blocks}, "
                f"got {dict(latent.blocks)}"
            )
        return latent


def _presence(latent: Latent, names: list[str]) -> np.ndarray:
    """Return who has which of the modalities, (N, M) bool, in the order of the names."""
    known = list(latent.blocks)
    if latent.present.shape[1] != len(known):
        raise ValueError(
            f"vectors: {latent.present.shape[1]} modalities in the blocks {known}; PerModality "
            "needs a fuser that keeps modalities apart, such as Concat"
        )
    return latent.present[:, [known.index(name) for name in names]]


def _part(latent: Latent, name: str, rows: np.ndarray) -> Latent:
    """Return the columns of one modality, of rows that count as having it."""
    matrix = np.ascontiguousarray(latent.matrix[rows, latent.blocks[name]])
    everyone = np.ones((len(rows), 1), dtype=bool)
    return Latent(matrix, {name: slice(0, matrix.shape[1])}, everyone)


def _right(latent: Latent, modality: _Modality, has: bool, m: int) -> Ranked:
    """Rank the codes that are right about whether rows have a modality."""
    return modality.real(latent, m) if has else modality.zeros(latent, modality.reserved[None])


def _wrong(latent: Latent, modality: _Modality, has: bool, m: int) -> Ranked:
    """Rank the codes that are wrong about it, or mix."""
    mixed = _with_reserved(modality.reserved, m)
    if has:
        return modality.zeros(latent, mixed)
    mixed = mixed[(mixed != modality.reserved).any(axis=1)]
    return modality.real(latent, m).merged(modality.zeros(latent, mixed), m)


def _with_reserved(reserved: np.ndarray, m: int) -> np.ndarray:
    """Return the first m codes (c, l), in order, that hold a reserved index at some level."""
    some, every = np.zeros((0, 0), dtype=np.int32), np.zeros((1, 0), dtype=np.int32)
    for last in reserved[::-1].tolist():
        some = np.concatenate([_headed(range(last), some, m), _headed([last], every, m)])[:m]
        every = _headed(range(last + 1), every, m)
    return some


def _headed(heads: Sequence[int], tails: np.ndarray, m: int) -> np.ndarray:
    """Return the first m codes, in order, of one of the heads before one of the tails."""
    few = np.array(heads[: -(-m // max(1, len(tails)))], dtype=np.int32)
    tiled = np.tile(tails, (len(few), 1))
    return np.column_stack([np.repeat(few, len(tails)), tiled])[:m]
