"""Tokenizer: items with features become semantic IDs."""

import math
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from semantic_ids.catalogue import Catalogue
from semantic_ids.codec import Codec, fuse
from semantic_ids.codes import check_codes
from semantic_ids.comparison import Comparison, compare_codes
from semantic_ids.drift import Drift, measure_drift
from semantic_ids.errors import CollisionError, NoCodecError
from semantic_ids.features import Features
from semantic_ids.fusers.base import Fuser
from semantic_ids.fusers.concat import Concat
from semantic_ids.ids import check_unique, id_array, is_id, pack_ids, unpack_ids
from semantic_ids.latent import Latent
from semantic_ids.quantizers.base import Quantizer
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.resolvers.base import Resolver
from semantic_ids.resolvers.nearest_free import NearestFree
from semantic_ids.resolvers.suffix import Suffix
from semantic_ids.spec import Spec
from semantic_ids.statistics import CodebookStatistics, codebook_statistics, relative_errors
from semantic_ids.storage import State, read_state, stored_array, write_state
from semantic_ids.trie import CodeTrie
from semantic_ids.vocabulary import Vocabulary

_NO_CODEC = (
    "this tokenizer was made from codes and has no codec: it cannot turn features into codes or "
    "codes into features; fit one with Tokenizer.fit(features)"
)


class TokenizerSpec(Spec):
    """A whole tokenizer as a value: one choice a stage.

    Parameters
    ----------
    fuser : how modalities become one vector.
    quantizer : how vectors become content codes.
    resolver : how content codes become unique.

    Examples
    --------
    >>> spec = TokenizerSpec(quantizer=RQKMeans(levels=3))
    >>> TokenizerSpec.model_validate_json(spec.model_dump_json()) == spec
    True
    """

    fuser: Annotated[SerializeAsAny[Fuser], BeforeValidator(Fuser.parse)] = Concat()
    quantizer: Annotated[SerializeAsAny[Quantizer], BeforeValidator(Quantizer.parse)] = RQKMeans()
    resolver: Annotated[SerializeAsAny[Resolver], BeforeValidator(Resolver.parse)] = NearestFree()

    @property
    def code_length(self) -> int:
        """Positions of a unique code."""
        return len(self.quantizer.codebook_sizes) + len(self.resolver.added_sizes)

    def fit(self, features: Any, *, ids: Any = None, progress: bool | None = None) -> "Tokenizer":
        """Fit every stage on a catalogue; see `Tokenizer.fit`."""
        features = Features.of(features, ids)
        if features.ids is None:
            features = Features.of(features, np.arange(len(features)))
        self._check_size(len(features))
        fuser = self.fuser.fit(features, progress=progress)
        latent = fuse(fuser, features)
        quantizer = self.quantizer.fit(latent, progress=progress)
        content = quantizer.encode(latent)
        errors = quantizer.errors(latent, content)
        codes = self.resolver.resolve(
            content,
            features.ids,
            quantizer.codebook_sizes,
            candidates=lambda rows, m: quantizer.candidates(latent.rows(rows), m),
            errors=errors[:, -1],
        )
        sizes = quantizer.codebook_sizes + self.resolver.added_sizes
        return Tokenizer(
            self,
            Catalogue(features.ids, codes, content, sizes),
            codec=Codec(fuser, quantizer),
            ordered=quantizer.ordered,
            relative_errors=relative_errors(errors, latent.matrix),
        )

    def _check_size(self, n: int) -> None:
        sizes = self.quantizer.codebook_sizes
        if n < max(sizes):
            raise ValueError(
                f"codebook_size={max(sizes)} needs at least {max(sizes)} items, got {n}; "
                f"choose codebook_size <= {n}"
            )
        total = math.prod(sizes + self.resolver.added_sizes)
        if n > total:
            raise CollisionError(
                f"{n:,} items, but only {total:,} codes (codebook sizes {list(sizes)}); "
                "choose more levels or larger codebooks"
            )


class _Metadata(Spec):
    """What the manifest says of a tokenizer beside its arrays."""

    spec: TokenizerSpec | None
    code_sizes: tuple[Annotated[int, Field(ge=1, le=2**31)], ...]
    levels: int = Field(ge=1)
    ordered: bool
    relative_errors: list[float] | None
    generation: int = Field(ge=0)
    widths: dict[str, Annotated[int, Field(ge=1)]]

    @model_validator(mode="after")
    def _consistent(self) -> "_Metadata":
        errors, spec = self.relative_errors, self.spec
        if errors is not None and len(errors) != self.levels:
            raise ValueError(f"{len(errors)} relative errors of {self.levels} levels")
        if spec is None:
            return self
        levels = spec.quantizer.codebook_sizes
        if (self.code_sizes, self.levels) != (levels + spec.resolver.added_sizes, len(levels)):
            raise ValueError(f"code_sizes {list(self.code_sizes)} are not those of the spec")
        return self


class Tokenizer:
    """A fitted tokenizer: turns items into semantic IDs and back.

    Made by `Tokenizer.fit`, `Tokenizer.load` or `Tokenizer.from_codes`.

    `generation` counts the changes of the catalogue by `add` and `remove`.

    Content codes (N, L) are a function of the features alone; unique codes (N, P) identify one
    item of the catalogue, with P = L or, where the resolver adds a position, L + 1.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(500, 16))
    >>> tokenizer = Tokenizer.fit(features, quantizer=RQKMeans(levels=3, codebook_size=32))
    >>> tokenizer
    Tokenizer(500 items, codes of 3 positions [32, 32, 32])
    >>> codes = tokenizer.encode([7, 8])
    >>> tokenizer.lookup(codes)
    [7, 8]
    >>> tokenizer.decode(codes)["features"].shape
    (2, 16)
    """

    def __init__(
        self,
        spec: TokenizerSpec | None,
        catalogue: Catalogue,
        *,
        codec: Codec | None,
        ordered: bool,
        relative_errors: list[float] | None = None,
        generation: int = 0,
    ) -> None:
        self.generation = generation
        self.spec = spec
        self.ordered = ordered
        self._catalogue = catalogue
        self._codec = codec
        self._relative_errors = relative_errors
        self._seals: dict[Path, str] = {}
        self._trie: CodeTrie | None = None

    @classmethod
    def fit(
        cls, features: Any, *, ids: Any = None, progress: bool | None = None, **fields: Any
    ) -> "Tokenizer":
        """Fit a tokenizer on a catalogue and give every item a unique code.

        Parameters
        ----------
        features : array (N, d), mapping of modality name to array, or Features.
        ids : N distinct str or int; row numbers if left out.
        progress : show bars; None shows them in a terminal.
        **fields : `fuser`, `quantizer`, `resolver`: the fields of TokenizerSpec. By default
            Concat, RQ-KMeans with 4 levels of 256, and NearestFree.

        Raises
        ------
        TypeError, ValueError
            if the features, the ids or a field are not valid, before any work begins.
        CollisionError
            if there are more items than codes.
        """
        return TokenizerSpec(**fields).fit(features, ids=ids, progress=progress)

    @classmethod
    def from_codes(
        cls,
        ids: Any,
        codes: Any,
        *,
        codebook_sizes: Sequence[int] | None = None,
        ordered: bool = True,
        resolver: Resolver | None = Suffix(),  # noqa: B008 (a frozen value)
    ) -> "Tokenizer":
        """Make a tokenizer of codes that exist already; it has no codec.

        Parameters
        ----------
        ids : N distinct str or int; None for row numbers.
        codes : integers (N, L), or a list of such arrays that are put side by side.
        codebook_sizes : codes at each level; the largest that occurs + 1 if left out.
        ordered : whether each level refines the levels before it.
        resolver : what makes the codes unique, one that needs no vectors; None refuses
            collisions.

        Raises
        ------
        CollisionError
            if codes collide and `resolver` is None or has no room.
        ValueError
            if ids or codes are not valid, or the resolver needs vectors.

        Examples
        --------
        >>> tokenizer = Tokenizer.from_codes(["a", "b"], [[0, 1], [2, 0]], resolver=None)
        >>> tokenizer.vocabulary.to_strings(tokenizer.encode("b"))
        ['<a_2><b_0>']
        """
        content = _side_by_side(codes)
        sizes = _code_sizes(content, codebook_sizes)
        content = check_codes(content, sizes)
        names = id_array(np.arange(len(content)) if ids is None else ids)
        if len(names) != len(content):
            raise ValueError(f"ids: {len(names)} ids for {len(content)} codes")
        check_unique(names)
        if resolver is None:
            repeated = len(content) - len(np.unique(content, axis=0))
            if repeated:
                raise CollisionError(
                    f"codes: {repeated} of {len(content)} items repeat another item's code; "
                    "give a resolver such as Suffix()"
                )
            unique, added = content, ()
        elif resolver.needs_vectors:
            raise ValueError(f"resolver: {type(resolver).__name__} needs vectors; use Suffix()")
        else:
            unique, added = resolver.resolve(content, names, sizes), resolver.added_sizes
        return cls(
            None, Catalogue(names, unique, content, sizes + added), codec=None, ordered=ordered
        )

    def encode(self, items: Any) -> np.ndarray:
        """Turn items into codes.

        Parameters
        ----------
        items : ids of the catalogue (a sequence, a 1-D array, or one id), or features of any
            items: a 2-D array, a mapping of modality name to array, or Features.

        Returns
        -------
        codes : int32; for ids the unique codes (n, P), for features the content codes (n, L).
            A feature row's code depends on that row alone.

        Raises
        ------
        UnknownItemError
            if an id is not in the catalogue.
        ValueError
            if features do not fit those of the fit.
        NoCodecError
            for features, if the tokenizer was made from codes.
        """
        if is_id(items) or not _are_features(items):
            return self.codes[self._catalogue.rows(items)]
        return self._need_codec().encode(Features.of(items).without_ids())

    def add(self, features: Any, *, ids: Any = None, update: bool = False) -> np.ndarray:
        """Give new items unique codes; no code that was given out changes.

        The whole batch is checked before anything changes, and the change is in memory only
        until `save`.

        Parameters
        ----------
        features : of n items, as in `fit`.
        ids : n distinct ids, of the catalogue's kind; may be the features' own.
        update : what to do with an id that is there already with another content code: refuse
            the batch, or retire its code and give it a new one. An item that is there with the
            same content code keeps its unique code either way, and one that was removed gets it
            back.

        Returns
        -------
        codes : (n, P) int32 unique codes, in input order.

        Raises
        ------
        ValueError
            if ids are missing, repeat or are of another kind, features do not fit those of the
            fit, or content changed and `update` is not set.
        CollisionError
            if no code is free.
        NoCodecError
            if the tokenizer was made from codes.

        Examples
        --------
        >>> features = np.random.default_rng(0).normal(size=(300, 8))
        >>> tokenizer = Tokenizer.fit(features)
        >>> new = tokenizer.add(features[:2], ids=[300, 301])
        >>> tokenizer.lookup(new), len(tokenizer)
        ([300, 301], 302)
        """
        codec = self._need_codec()
        features = Features.of(features, ids)
        names = self._check_new_ids(features.ids)
        latent = codec.fuse(features)
        content = codec.quantizer.encode(latent)
        catalogue = self._catalogue
        rows = catalogue.rows_or_none(names)
        changed = rows >= 0
        changed[changed] = (catalogue.content_codes[rows[changed]] != content[changed]).any(axis=1)
        if changed.any() and not update:
            first = names.tolist()[int(np.flatnonzero(changed)[0])]
            raise ValueError(
                f"ids: {changed.sum()} are in the catalogue with other content (first: {first!r}); "
                "give update=True to move them to new codes"
            )
        catalogue = catalogue.retired(rows[changed])
        absent = catalogue.rows_or_none(names) < 0
        catalogue = catalogue.revived(names[absent], content[absent])
        arriving = np.flatnonzero(catalogue.rows_or_none(names) < 0)
        if len(arriving):
            codes = self._resolve(latent.rows(arriving), content[arriving], names[arriving])
            catalogue = catalogue.extended(names[arriving], codes, content[arriving])
        self._change(catalogue)
        return self.codes[catalogue.rows_or_none(names)]

    def remove(self, ids: Any) -> None:
        """Retire items: they are not found any more, and nobody else gets their codes.

        Raises
        ------
        UnknownItemError
            if an id is not in the catalogue; then nothing is removed.
        """
        self._change(self._catalogue.retired(self._catalogue.rows(ids)))

    def _check_new_ids(self, ids: np.ndarray | None) -> np.ndarray:
        if ids is None:
            raise ValueError("ids: every new item needs one; give ids=[...]")
        if ids.dtype.kind != self._catalogue.ids.dtype.kind:
            kind = "int" if self._catalogue.ids.dtype.kind == "i" else "str"
            raise ValueError(f"ids: this catalogue's ids are {kind}, got {ids.tolist()[0]!r}")
        return ids

    def _resolve(self, latent: Latent, content: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return unique codes of arriving items, none of which was ever given out."""
        quantizer = self._need_codec().quantizer
        return self._need_spec().resolver.resolve(
            content,
            ids,
            quantizer.codebook_sizes,
            candidates=lambda rows, m: quantizer.candidates(latent.rows(rows), m),
            errors=quantizer.errors(latent, content)[:, -1],
            taken=self._catalogue.taken,
        )

    def _change(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._trie = None
        self.generation += 1

    def decode(self, codes: Any) -> dict[str, np.ndarray]:
        """Turn codes into the features they stand for.

        Parameters
        ----------
        codes : (n, L) content codes or (n, P) unique codes; a position that the resolver added
            is ignored.

        Returns
        -------
        features : modality name to float32 (n, d_m).

        Raises
        ------
        NoCodecError
            if the tokenizer was made from codes.
        """
        codec = self._need_codec()
        array = np.asarray(codes)
        array = array[None] if array.ndim == 1 else array
        if array.ndim == 2 and array.shape[1] == self.code_length:
            array = array[:, : len(codec.sizes)]
        return codec.decode(array)

    def rows(self, ids: Any) -> np.ndarray:
        """Return where ids (a sequence, a 1-D array, or one) stand in `ids` and `codes`, (n,).

        Raises
        ------
        UnknownItemError
            if an id is not in the catalogue.
        """
        return self._catalogue.rows(ids)

    def lookup(self, codes: Any) -> list[str | int | None]:
        """Return the id of each unique code (n, P), None where no item has that code."""
        return self._catalogue.lookup(codes)

    def statistics(self, features: Any = None) -> CodebookStatistics:
        """Return the figures of the catalogue's content codes.

        Parameters
        ----------
        features : the catalogue's features, row by row, to measure the error on; the figures
            kept from the fit if left out.
        """
        errors = self._relative_errors
        if features is not None:
            errors = self._measure(Features.of(features))
        content = self._catalogue.content_codes
        return codebook_statistics(
            content,
            self._catalogue.sizes[: content.shape[1]],
            unique_codes=self.codes,
            relative_errors=errors,
        )

    def drift(self, features: Any) -> Drift:
        """Say how well the codec fits items that it was not fitted on; refit where it does not.

        Parameters
        ----------
        features : of new items, as in `encode`; they are not added.

        Raises
        ------
        NoCodecError
            if the tokenizer was made from codes.
        """
        return measure_drift(
            self._need_codec(),
            Features.of(features).without_ids(),
            self._catalogue.content_codes,
            self._relative_errors,
        )

    def compare(self, other: "Tokenizer") -> Comparison:
        """Say how another tokenizer's content codes differ, over the items that both know.

        Raises
        ------
        ValueError
            if the ids of one are str and those of the other int.
        """
        if self.ids.dtype.kind != other.ids.dtype.kind:
            raise ValueError("other: its ids are of another kind, str against int")
        theirs = other._catalogue.rows_or_none(self.ids)
        common = np.flatnonzero(theirs >= 0)
        changed, agreement = compare_codes(
            self.content_codes[common],
            other.content_codes[theirs[common]],
            self.code_sizes[: self.content_codes.shape[1]],
            other.code_sizes[: other.content_codes.shape[1]],
        )
        return Comparison(
            items=len(common),
            only_first=len(self) - len(common),
            only_second=len(other) - len(common),
            changed=changed,
            prefix_agreement=agreement,
        )

    def _measure(self, features: Features) -> list[float]:
        codec = self._need_codec()
        if len(features) != len(self):
            raise ValueError(f"features: {len(features)} rows, the catalogue has {len(self)} items")
        if features.ids is None:
            features = Features.of(features, self.ids)
        latent = codec.fuse(features)
        return relative_errors(
            codec.quantizer.errors(latent, self._catalogue.content_codes), latent.matrix
        )

    @property
    def ids(self) -> np.ndarray:
        """Ids of the catalogue, row by row, (N,)."""
        return self._catalogue.ids

    @property
    def codes(self) -> np.ndarray:
        """Unique codes of the catalogue, row by row, (N, P) int32, read-only."""
        return self._catalogue.codes

    @property
    def content_codes(self) -> np.ndarray:
        """Content codes of the catalogue, row by row, (N, L) int32, read-only."""
        return self._catalogue.content_codes

    @property
    def code_length(self) -> int:
        """Positions P of a unique code."""
        return self.codes.shape[1]

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Number of codes at each of the P positions of a unique code."""
        return self._catalogue.sizes

    @property
    def vocabulary(self) -> Vocabulary:
        """Token ids and strings of the unique codes."""
        return Vocabulary(self.code_sizes)

    @property
    def trie(self) -> CodeTrie:
        """Prefix trie over the unique codes, a snapshot of this generation."""
        if self._trie is None:
            self._trie = CodeTrie.of(self.codes, self.code_sizes)
        return self._trie

    def items_under(self, prefix: Any) -> list[str | int]:
        """Return the ids of the items whose unique code begins with `prefix`, in code order."""
        return self.ids[self.trie.rows_under(prefix)].tolist()

    def __len__(self) -> int:
        return len(self._catalogue)

    def __contains__(self, item: Any) -> bool:
        return item in self._catalogue

    def __repr__(self) -> str:
        return (
            f"Tokenizer({len(self):,} items, codes of {self.code_length} positions "
            f"{list(self.code_sizes)})"
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the tokenizer into a folder, in place of what it holds, as one commit.

        Raises
        ------
        FileExistsError
            if the folder holds other files.
        BlockingIOError
            if another process is saving there.
        StaleFolderError
            if the tokenizer was loaded from this folder, or saved there, and the folder holds
            another state by now.
        """
        place = Path(folder).resolve()
        seal = write_state(folder, self.to_state(), replaces=self._seals.get(place))
        self._seals[place] = seal

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Tokenizer":
        """Read a tokenizer that `save` wrote.

        Raises
        ------
        FileNotFoundError
            if there is none.
        ValueError
            if a file is damaged or of a newer format; the error names it.
        """
        state = read_state(folder, "tokenizer")
        try:
            tokenizer = cls.from_state(state)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder}: manifest.json and its files disagree: {error}") from error
        tokenizer._seals[Path(folder).resolve()] = state.seal
        return tokenizer

    def to_state(self) -> State:
        """Return all that the tokenizer is as plain metadata and arrays."""
        metadata: dict[str, Any] = {
            "spec": None if self.spec is None else self.spec.model_dump(mode="json"),
            "code_sizes": list(self.code_sizes),
            "levels": self.content_codes.shape[1],
            "ordered": self.ordered,
            "relative_errors": self._relative_errors,
            "generation": self.generation,
            "widths": {} if self._codec is None else self._codec.fuser.widths,
        }
        ids, codes, content, retired = self._catalogue.to_rows()
        files = {
            "catalogue": {
                "codes": codes,
                "content_codes": content,
                "retired": retired,
                **pack_ids(ids),
            }
        }
        if self._codec is not None:
            files["codec"] = self._codec.arrays()
        return State("tokenizer", metadata, files)

    @classmethod
    def from_state(cls, state: State) -> "Tokenizer":
        """Rebuild a tokenizer from `to_state`.

        Raises
        ------
        TypeError, ValueError
            if the state is not that of a tokenizer.
        """
        metadata = _Metadata.model_validate(dict(state.metadata))
        arrays = state.files.get("catalogue", {})
        codes = stored_array(arrays, "codes", (None, len(metadata.code_sizes)), np.int32)
        content = stored_array(arrays, "content_codes", (None, metadata.levels), np.int32)
        retired = stored_array(arrays, "retired", (None,), np.bool_)
        catalogue = Catalogue(
            unpack_ids(dict(arrays)), codes, content, metadata.code_sizes, retired
        )
        codec = None
        if metadata.spec is not None:
            stored = state.files.get("codec", {})
            codec = Codec.restore(
                metadata.spec.fuser, metadata.spec.quantizer, metadata.widths, stored
            )
        return cls(
            metadata.spec,
            catalogue,
            codec=codec,
            ordered=metadata.ordered,
            relative_errors=metadata.relative_errors,
            generation=metadata.generation,
        )

    def _need_codec(self) -> Codec:
        if self._codec is None:
            raise NoCodecError(_NO_CODEC)
        return self._codec

    def _need_spec(self) -> TokenizerSpec:
        if self.spec is None:
            raise NoCodecError(_NO_CODEC)
        return self.spec


def _are_features(items: Any) -> bool:
    if isinstance(items, Features | Mapping | Path):
        return True
    return getattr(items, "ndim", 1) != 1


def _code_sizes(codes: np.ndarray, sizes: Sequence[int] | None) -> tuple[int, ...]:
    # Plain ints: the largest uint8 + 1 is 0, and products of numpy's integers wrap around.
    if sizes is None:
        sizes = [largest + 1 for largest in codes.max(axis=0).tolist()]
    plain = tuple(operator.index(size) for size in sizes)
    if max(plain, default=0) > 2**31:
        raise ValueError(f"codes: codes are 0 to {2**31 - 1}, got {max(plain) - 1}")
    return plain


def _side_by_side(codes: Any) -> np.ndarray:
    several = isinstance(codes, list | tuple) and all(np.ndim(part) == 2 for part in codes)
    array = np.concatenate([np.asarray(part) for part in codes], axis=1) if several else codes
    array = np.asarray(array)
    if array.ndim != 2 or array.dtype.kind not in "iu" or 0 in array.shape:
        raise ValueError(
            f"codes: expected integers of shape (N, L), got {array.dtype} of shape {array.shape}"
        )
    return array
