"""Tokenizer: items with features become semantic IDs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from semantic_ids.catalogue import Catalogue
from semantic_ids.device import Device, on_device
from semantic_ids.errors import NoCodecError
from semantic_ids.features import Features
from semantic_ids.fitted import Fitted, from_state, to_state
from semantic_ids.fitting import fit_stages, fitted_of_codes
from semantic_ids.frames import is_frame
from semantic_ids.fusers.base import FittedFuser
from semantic_ids.growth import changes, check_new_ids, with_catalogue, with_items
from semantic_ids.ids import is_id
from semantic_ids.judged import NO_CODEC, Judged
from semantic_ids.neighbours import Neighbours, find_neighbours
from semantic_ids.refit import Refit
from semantic_ids.resolvers.base import Resolver
from semantic_ids.resolvers.suffix import Suffix
from semantic_ids.side import Side
from semantic_ids.storage import State, read_state, write_state
from semantic_ids.tokenizer_spec import TokenizerSpec
from semantic_ids.trie import CodeTrie
from semantic_ids.vocabulary import Vocabulary


class Tokenizer(Judged):
    """A fitted tokenizer: turns items into semantic IDs and back.

    Made by `Tokenizer.fit`, `Tokenizer.load` or `Tokenizer.from_codes`.

    Content codes (N, L) are a function of the features alone; unique codes (N, P) identify one
    item of the catalogue, with P = L or, where the resolver adds a position, L + 1.

    Examples
    --------
    >>> from semantic_ids import RQKMeans
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

    def __init__(self, fitted: Fitted) -> None:
        self._fitted = fitted
        self._seals: dict[Path, str] = {}
        self._trie: CodeTrie | None = None

    @classmethod
    def fit(
        cls,
        features: Any,
        *,
        ids: Any = None,
        side: Side | None = None,
        progress: bool | None = None,
        **fields: Any,
    ) -> "Tokenizer":
        """Fit a tokenizer on a catalogue and give every item a unique code.

        Parameters
        ----------
        features : array or tensor (N, d), mapping of modality name to such or to raw text, pandas
            or polars DataFrame, `pathlib.Path` of a .npy, .safetensors or .parquet file, or
            Features, which describes all of these.
        ids : N distinct str or int, or the name of a column of a frame or .parquet file; row
            numbers if left out.
        side : what only fitting uses, such as counts for `Popularity`; one row an item.
        progress : show bars; None shows them in a terminal.
        **fields : `fuser`, `quantizer`, `resolver`, `text`, ...: the fields of TokenizerSpec. By
            default Concat, RQ-KMeans with 4 levels of 256, NearestFree, and TfidfText.

        Raises
        ------
        TypeError, ValueError
            if the features, the ids or a field are not valid, before any work begins.
        CollisionError
            if there are more items than codes.
        """
        return cls.of(TokenizerSpec(**fields), features, ids=ids, side=side, progress=progress)

    @classmethod
    def of(
        cls,
        spec: TokenizerSpec,
        features: Any,
        *,
        ids: Any = None,
        side: Side | None = None,
        progress: bool | None = None,
    ) -> "Tokenizer":
        """Fit a tokenizer from a whole spec; see `fit`."""
        features = Features.of(features, ids)
        if features.ids is None:
            features = Features.of(features, np.arange(len(features)))
        return cls(fit_stages(spec, features, side=side, progress=progress))

    @classmethod
    def from_codes(
        cls,
        ids: Any,
        codes: Any,
        *,
        codebook_sizes: int | Sequence[int] | None = None,
        ordered: bool = True,
        resolver: Resolver | None = Suffix(),  # noqa: B008 (a frozen value)
    ) -> "Tokenizer":
        """Make a tokenizer of codes that exist already; it has no codec.

        Parameters
        ----------
        ids : N distinct str or int; None for row numbers.
        codes : integers (N, L), or a list of such arrays that are put side by side. Each level's
            codes begin at 0: where a file numbers all levels on (0-255, 256-511, ...), subtract
            each level's first number, or its codebook is taken to be so large.
        codebook_sizes : codes at each level, or one number for all; the largest that occurs + 1
            if left out.
        ordered : whether each level refines the levels before it.
        resolver : what makes the codes unique, one that needs no vectors; None refuses
            collisions. `Suffix()` always adds a position, since the length of a code never
            depends on the data: give None where the codes are unique already.

        Raises
        ------
        TypeError
            if codebook sizes are not whole numbers.
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
        return cls(fitted_of_codes(ids, codes, codebook_sizes, resolver, ordered=ordered))

    def encode(self, items: Any, *, device: Device | None = None) -> np.ndarray:
        """Turn items into codes.

        Parameters
        ----------
        items : ids of the catalogue (a sequence, a 1-D array, or one id), or features of any
            items, as in `fit`: a 2-D array, a mapping, a DataFrame, a `pathlib.Path`, or Features.
            A str is an id, never a path.
        device : where codes of features are looked for: ``"cpu"``, ``"cuda"``, or ``"auto"`` for
            CUDA where there is one; None for where `on_device`, which says what runs there, put
            it.

        Returns
        -------
        codes : int32; for ids the unique codes (n, P), for features the content codes (n, L).
            A feature row's code depends on that row alone.

        Raises
        ------
        UnknownItemError
            if an id is not in the catalogue.
        ValueError
            if features do not fit those of the fit, or torch finds no such device.
        NoCodecError
            for features, if the tokenizer was made from codes.
        """
        with on_device(device):
            if _has_no_rows(items):
                return np.zeros((0, len(self._need_codec().sizes)), dtype=np.int32)
            if is_id(items) or not _are_features(items):
                return self.codes[self._catalogue.rows(items)]
            return self._need_codec().encode(Features.of(items).without_ids())

    def copy(self) -> "Tokenizer":
        """Return a tokenizer that is the same now and changes on its own from here on."""
        copy = Tokenizer(self._fitted)
        copy._seals = dict(self._seals)
        return copy

    def add(self, features: Any, *, ids: Any = None, update: bool = False) -> np.ndarray:
        """Give new items unique codes; no code that was given out changes.

        The whole batch is checked before anything changes, and the change is in memory only
        until `save`.

        Parameters
        ----------
        features : of n items, as in `fit`.
        ids : n distinct ids, of the catalogue's kind, unless it is empty; may be the features' own.
        update : what to do with an id that is there already with another content code: refuse
            the batch, or retire its code and give it a new one. An item that is there with the
            same content code keeps its unique code either way, and one that was removed gets it
            back. An item that moves becomes the last row of the catalogue; `changes` says
            beforehand which do.

        Returns
        -------
        codes : (n, P) int32 unique codes, in input order.

        Raises
        ------
        TypeError
            if `update` is not a bool.
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
        if not isinstance(update, bool):
            raise TypeError(f"update: expected True or False, got {update!r}")
        codec, spec = self._need_codec(), self._need_spec()
        if _has_no_rows(features) and not np.size([] if ids is None else ids):
            return np.zeros((0, self.code_length), dtype=np.int32)
        features = Features.of(features, ids)
        self._change(with_items(self._fitted, codec, spec, features, update=update))
        return self.codes[self._catalogue.rows(features.ids)]

    def changes(self, features: Any, *, ids: Any = None) -> np.ndarray:
        """Say what `add` with `update=True` would do, and change nothing.

        Parameters
        ----------
        features, ids : as `add` takes them.

        Returns
        -------
        changes : (n,) of ``"new"``, an item that is not there; ``"stays"``, one that keeps its
            code, for its content code is the same; and ``"moves"``, one that would get another.

        Raises
        ------
        ValueError
            if ids are missing or of another kind, or features do not fit those of the fit.
        NoCodecError
            if the tokenizer was made from codes.

        Examples
        --------
        >>> features = np.random.default_rng(0).normal(size=(300, 8))
        >>> tokenizer = Tokenizer.fit(features)
        >>> tokenizer.changes(features[[0, 0, 0]], ids=[0, 1, 300]).tolist()
        ['stays', 'moves', 'new']
        """
        codec = self._need_codec()
        features = Features.of(features, ids)
        names = check_new_ids(self._catalogue, features.ids)
        return changes(self._catalogue, names, codec.encode(features))

    def remove(self, ids: Any) -> None:
        """Retire items: they are not found any more, and nobody else gets their codes.

        Raises
        ------
        UnknownItemError
            if an id is not in the catalogue; then nothing is removed.
        """
        catalogue = self._catalogue.retired(self._catalogue.rows(ids))
        self._change(with_catalogue(self._fitted, catalogue))

    def free_retired(self) -> int:
        """Forget removed and moved items, so that new ones may get their codes.

        Without this no code is ever given out twice. Models and logs that still hold such a code
        will take it for the new item's.

        Returns
        -------
        freed : how many codes are free now that were not.

        Examples
        --------
        >>> tokenizer = Tokenizer.from_codes(["a", "b"], [[0], [1]])
        >>> tokenizer.remove("a")
        >>> tokenizer.free_retired()
        1
        """
        freed = self._catalogue.retired_rows
        if freed:
            self._change(with_catalogue(self._fitted, self._catalogue.without_retired()))
        return freed

    def _change(self, fitted: Fitted) -> None:
        self._fitted, self._trie = fitted, None

    def decode(self, codes: Any) -> dict[str, np.ndarray]:
        """Turn codes into the features they stand for.

        Parameters
        ----------
        codes : (n, L) content codes, (n, P) unique codes, or (n, l) prefixes of l < L levels.
            Where P > L, codes of P columns are unique codes, whose added position is ignored.

        Returns
        -------
        features : modality name to float32 (n, d_m); of raw text, its vectors.

        Raises
        ------
        NoCodecError
            if the tokenizer was made from codes.
        """
        codec = self._need_codec()
        array = np.asarray(codes)
        if array.ndim and array.shape[-1] == self.code_length:
            array = array[..., : len(codec.sizes)]
        return codec.decode(array)

    def neighbours(
        self, codes: Any, k: int = 10, by: Literal["vectors", "codes"] | None = None
    ) -> Neighbours:
        """Return the items of the catalogue that are nearest to codes.

        An item stands where the first L positions of its unique code put it.

        Parameters
        ----------
        codes : (n, L) content codes or (n, P) unique codes, of which the first L positions are
            read: those of an item of the catalogue find the item itself first, at distance 0.
        k : items to name for each, 1 to N.
        by : ``"vectors"``, the distance between what codes decode to, exact to the rounding of
            float64; or ``"codes"``, for ordered levels first the longer prefix in common, then
            the more positions that agree, for parallel codes the latter alone. None takes
            vectors where there is a codec. Ties go in catalogue order.

        Raises
        ------
        TypeError
            if k is not a whole number.
        ValueError
            if the catalogue is empty, k is out of range, or codes or `by` are not valid.
        NoCodecError
            by vectors, if the tokenizer was made from codes.

        Examples
        --------
        >>> tokenizer = Tokenizer.from_codes(["a", "b", "c"], [[0, 1], [2, 0], [0, 3]])
        >>> tokenizer.neighbours(tokenizer.encode("c"), k=2).ids
        (('c', 'a'),)
        """
        if by == "vectors":
            self._need_codec()
        return find_neighbours(self._fitted, codes, k, by)

    def refit(
        self,
        features: Any,
        *,
        ids: Any = None,
        side: Side | None = None,
        progress: bool | None = None,
    ) -> Refit:
        """Fit a new tokenizer by the same spec; this one stays as it is.

        All codes are given anew, so models of the old ones are to be trained anew.

        Parameters
        ----------
        features, ids, side, progress : as in `fit`.

        Returns
        -------
        refit : the new tokenizer, with the old and new codes of the items in both.

        Raises
        ------
        TypeError, ValueError, CollisionError
            as `fit`, and if the ids are of another kind than this catalogue's.
        NoCodecError
            if the tokenizer was made from codes.

        Examples
        --------
        >>> features = np.random.default_rng(0).normal(size=(400, 8))
        >>> tokenizer = Tokenizer.fit(features[:300])
        >>> refit = tokenizer.refit(features)
        >>> len(refit.tokenizer), len(refit.ids)
        (400, 300)
        >>> old, new = refit.mapping()[7]
        """
        spec = self._need_spec()
        features = Features.of(features, ids)
        if features.ids is None:
            features = Features.of(features, np.arange(len(features)))
        check_new_ids(self._catalogue, features.ids)
        new = Tokenizer.of(spec, features, side=side, progress=progress)
        rows = new._catalogue.rows_or_none(self.ids)
        common = np.flatnonzero(rows >= 0)
        return Refit(new, self.ids[common], self.codes[common], new.codes[rows[common]])

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

    @property
    def spec(self) -> TokenizerSpec | None:
        """What it was fitted from; None if it was made from codes."""
        return self._fitted.spec

    @property
    def fuser(self) -> FittedFuser:
        """The fitted fuser, which turns features into the vectors that are quantized.

        Raises
        ------
        NoCodecError
            if the tokenizer was made from codes.
        """
        return self._need_codec().fuser

    @property
    def ordered(self) -> bool:
        """Whether each level refines the levels before it (residual codes do)."""
        return self._fitted.ordered

    @property
    def generation(self) -> int:
        """How often `add` and `remove` changed the catalogue."""
        return self._fitted.generation

    @property
    def fingerprint(self) -> str:
        """Name of what turns features into content codes: 64 hexadecimal digits.

        Equal for the same fitted codec, wherever it is loaded and whatever the catalogue holds.
        Without a codec it names the sizes of the codes and whether they are ordered.
        """
        return self._fitted.fingerprint

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

    @property
    def nbytes(self) -> int:
        """Bytes that the catalogue takes in memory: ids, codes and the indexes of both."""
        return self._catalogue.nbytes

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

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the tokenizer into a folder as one commit.

        A tokenizer that the folder holds already is replaced if this one, or the one that it is
        a copy of, was loaded from there or saved there last.

        Parameters
        ----------
        folder : path of the folder; made if there is none.
        overwrite : replace whatever tokenizer the folder holds.

        Raises
        ------
        FileExistsError
            if the folder holds another tokenizer and `overwrite` is not set, or other files, or
            a state of another kind.
        BlockingIOError
            if another process is saving there.
        StaleFolderError
            if the tokenizer was loaded from this folder, or saved there, and the folder holds
            another state by now, and `overwrite` is not set.
        """
        place = Path(folder).resolve()
        self._seals[place] = write_state(
            folder, self.to_state(), replaces=self._seals.get(place), overwrite=overwrite
        )

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
        return to_state(self._fitted)

    @classmethod
    def from_state(cls, state: State) -> "Tokenizer":
        """Rebuild a tokenizer from `to_state`.

        Raises
        ------
        TypeError, ValueError
            if the state is not that of a tokenizer.
        """
        return cls(from_state(state))

    @property
    def _catalogue(self) -> Catalogue:
        return self._fitted.catalogue

    def _need_spec(self) -> TokenizerSpec:
        if self.spec is None:
            raise NoCodecError(NO_CODEC)
        return self.spec


def _has_no_rows(items: Any) -> bool:
    """Say whether features are those of no item at all, as on a day without news."""
    parts = list(items.values()) if isinstance(items, Mapping) else [items]
    shapes = [getattr(part, "shape", ()) for part in parts]
    return bool(shapes) and all(len(shape) == 2 and shape[0] == 0 for shape in shapes)


def _are_features(items: Any) -> bool:
    if getattr(items, "ndim", 0) == 1 and getattr(items.dtype, "kind", "") == "f":
        raise ValueError(
            f"items: expected ids, or features of shape (n, columns), got shape {items.shape}; "
            "one row of features is items[None]"
        )
    if isinstance(items, Features | Mapping | Path) or is_frame(items):
        return True
    if isinstance(items, list | tuple) and items:
        return np.ndim(items[0]) > 0
    return getattr(items, "ndim", 1) != 1
