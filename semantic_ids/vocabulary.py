"""Vocabulary: codes as token ids and as strings."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from semantic_ids.codes import check_codes

# One spelling a number: no leading zeros, no digits of other scripts, none beyond 64 bits.
_TOKEN = re.compile(r"<([a-z]+)_(0|[1-9][0-9]{0,9})>")

# What a reader could take for a token of a code, whichever levels this vocabulary has.
_LIKE_TOKEN = re.compile(r"<[a-z]+_[0-9]+>")
_SPECIAL = re.compile(r"<[^<>\s]+>")

Side = Literal["left", "right"]


def level_name(level: int) -> str:
    """Return a level's letters: a to z, then aa, ab, ...

    Examples
    --------
    >>> level_name(0), level_name(25), level_name(26), level_name(27)
    ('a', 'z', 'aa', 'ab')
    """
    letters = ""
    level += 1
    while level:
        level, last = divmod(level - 1, 26)
        letters = chr(ord("a") + last) + letters
    return letters


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Sequences of items as the rows of one array, as transformers take them.

    Attributes
    ----------
    input_ids : (B, T) int64, token ids.
    attention_mask : (B, T) int64, 1 at tokens and 0 at padding.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray


@dataclass(frozen=True)
class Vocabulary:
    """Token ids and strings of codes.

    Token ids begin with the special tokens; then each position has a range of its own.

    Parameters
    ----------
    sizes : number of codes at each position.
    specials : names of the special tokens, ids 0, 1, 2, ...: distinct, of the form ``<...>``,
        and not of that of a code's token, ``<letters_digits>``.

    Raises
    ------
    ValueError
        if a size is below 1, or a special token's name is none or occurs twice.

    Examples
    --------
    >>> vocabulary = Vocabulary((256, 256))
    >>> vocabulary.to_strings([[12, 7]]), vocabulary.encode([[12, 7]]).tolist()
    (['<a_12><b_7>'], [[18, 269]])
    >>> vocabulary.from_strings(["<a_12><b_7>"]).tolist(), len(vocabulary)
    ([[12, 7]], 518)
    >>> batch = vocabulary.encode_batch([[[12, 7], [3, 9]], [[0, 1]]], eos=True)
    >>> batch.input_ids
    array([[ 18, 269,   9, 271,   3],
           [  6, 263,   3,   0,   0]])
    >>> [codes.tolist() for codes in vocabulary.decode_batch(batch.input_ids)]
    [[[12, 7], [3, 9]], [[0, 1]]]
    """

    sizes: tuple[int, ...]
    specials: tuple[str, ...] = ("<pad>", "<mask>", "<bos>", "<eos>", "<sep>", "<unk>")

    def __post_init__(self) -> None:
        """Refuse sizes and names that would make tokens ambiguous."""
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"sizes: expected a number of codes a position, got {self.sizes}")
        for name in self.specials:
            if not _SPECIAL.fullmatch(name):
                raise ValueError(f"specials: expected names of the form <...>, got {name!r}")
            if _LIKE_TOKEN.fullmatch(name):
                raise ValueError(f"specials: {name!r} has the form of a code's token")
        if len(set(self.specials)) < len(self.specials):
            twice = next(name for name in self.specials if self.specials.count(name) > 1)
            raise ValueError(f"specials: {twice!r} occurs twice")

    def __len__(self) -> int:
        """Number of token ids."""
        return len(self.specials) + sum(self.sizes)

    @property
    def offsets(self) -> np.ndarray:
        """Token id of code 0 at each position, (P,) int64."""
        return len(self.specials) + np.cumsum((0, *self.sizes[:-1]))

    @property
    def token_names(self) -> list[str]:
        """Every token's name in the order of the ids, to add to a language model's vocabulary.

        Examples
        --------
        >>> Vocabulary((2, 1), specials=("<pad>",)).token_names
        ['<pad>', '<a_0>', '<a_1>', '<b_0>']
        """
        return [
            *self.specials,
            *(
                f"<{level_name(i)}_{code}>"
                for i, size in enumerate(self.sizes)
                for code in range(size)
            ),
        ]

    def special(self, name: str) -> int:
        """Return the token id of a special token.

        Raises
        ------
        ValueError
            if there is none of that name.
        """
        if name not in self.specials:
            raise ValueError(f"name: no special token {name!r} among {list(self.specials)}")
        return self.specials.index(name)

    def encode(self, codes: object) -> np.ndarray:
        """Return token ids (n, P) int64 of unique codes (n, P)."""
        return check_codes(codes, self.sizes) + self.offsets

    def decode(self, tokens: object) -> np.ndarray:
        """Return unique codes (n, P) int32 of token ids (n, P).

        Raises
        ------
        ValueError
            if a token is not one of its position's; the error names row and level.
        """
        array = np.asarray(tokens)
        if array.size:
            if array.shape[-1:] != (len(self.sizes),):
                raise ValueError(
                    f"tokens: expected shape (n, {len(self.sizes)}), got {array.shape}"
                )
            array = array - self.offsets
        return check_codes(array, self.sizes, name="tokens - offsets")

    def encode_batch(
        self,
        sequences: Iterable[ArrayLike],
        *,
        max_length: int | None = None,
        truncation_side: Side = "left",
        padding_side: Side = "right",
        bos: bool = False,
        eos: bool = False,
        sep: bool = False,
    ) -> TokenBatch:
        """Return token ids of sequences of items, such as users' histories, as padded rows.

        Parameters
        ----------
        sequences : B arrays (n, P) of unique codes, n of each sequence's own, also 0.
        max_length : the most tokens a row may have; all if left out. A sequence that has more
            loses whole items, never a part of a code nor its `bos` and `eos`.
        truncation_side : where items are lost; "left" keeps the newest of a history.
        padding_side : where `<pad>` fills rows up to the longest.
        bos, eos : whether `<bos>` begins and `<eos>` ends every row.
        sep : whether `<sep>` stands between items.

        Returns
        -------
        TokenBatch
            of T columns, the tokens of the longest row.

        Raises
        ------
        ValueError
            if a code is not valid, naming the sequence and the row, a special token that is
            needed is not among `specials`, a side is neither "left" nor "right", or
            `max_length` has no room for one item.

        Examples
        --------
        >>> vocabulary = Vocabulary((4, 4), specials=("<pad>", "<sep>"))
        >>> history = [[0, 0], [1, 1], [2, 2]]
        >>> batch = vocabulary.encode_batch([history, []], max_length=5, sep=True)
        >>> batch.input_ids
        array([[3, 7, 1, 4, 8],
               [0, 0, 0, 0, 0]])
        >>> batch.attention_mask
        array([[1, 1, 1, 1, 1],
               [0, 0, 0, 0, 0]])
        """
        _check_side(truncation_side, name="truncation_side")
        _check_side(padding_side, name="padding_side")
        codes = [
            self._sequence(rows, name=f"sequences[{number}]")
            for number, rows in enumerate(sequences)
        ]
        counts = np.array([len(rows) for rows in codes], dtype=np.int64)
        kept = counts
        if max_length is not None:
            least = bos + len(self.sizes) + eos
            if max_length < least:
                raise ValueError(
                    f"max_length={max_length} should be at least {least}, the tokens of one item"
                )
            kept = np.minimum(counts, 1 + (max_length - least) // (len(self.sizes) + sep))
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        lost = np.repeat(counts - kept, counts)
        keep = place >= lost if truncation_side == "left" else place < np.repeat(kept, counts)
        flat = np.concatenate([check_codes([], self.sizes), *codes])[keep]
        return self._rows(self.encode(flat), kept, padding_side, bos=bos, eos=eos, sep=sep)

    def _sequence(self, rows: ArrayLike, *, name: str) -> np.ndarray:
        array = np.asarray(rows)
        # One code is no sequence: it would come of a history that is given as the whole batch.
        if array.size and array.ndim != 2:
            raise ValueError(
                f"{name}: expected codes of shape (n, {len(self.sizes)}), got shape {array.shape}"
            )
        return check_codes(array, self.sizes, name=name)

    def _rows(
        self, tokens: np.ndarray, items: np.ndarray, side: Side, *, bos: bool, eos: bool, sep: bool
    ) -> TokenBatch:
        """Lay out tokens (n, P) as rows of the given numbers of items (B,)."""
        stride = len(self.sizes) + sep
        lengths = (bos + np.maximum(items * stride - sep, 0) + eos)[:, None]
        width = int(lengths.max(initial=0))
        at = np.arange(width) - (width - lengths if side == "left" else 0)
        filled = (at >= 0) & (at < lengths)
        ids = np.full(filled.shape, self.special("<pad>"), dtype=np.int64)
        free = filled.copy()
        for name, wanted, here in (
            ("<bos>", bos, at == 0),
            ("<eos>", eos, at == lengths - 1),
            ("<sep>", sep, (at - bos) % stride == stride - 1),
        ):
            if wanted:
                ids[here & free] = self.special(name)
                free &= ~here
        ids[free] = tokens.ravel()
        return TokenBatch(ids, filled.astype(np.int64))

    def decode_batch(self, input_ids: ArrayLike) -> list[np.ndarray]:
        """Return the unique codes that rows of token ids hold; special tokens are skipped.

        Parameters
        ----------
        input_ids : (B, T) int, as `encode_batch` or a model gives them.

        Returns
        -------
        codes : B arrays (n, P) int32, n of each row's own.

        Raises
        ------
        ValueError
            if the shape or type is wrong, an id is none of the vocabulary, its level is not the
            next one, or a row ends within a code; the error names row, position and level.
        """
        ids = np.asarray(input_ids)
        if not ids.size:
            return [check_codes([], self.sizes) for _ in ids]
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise ValueError(
                f"input_ids: expected integers (B, T), got {ids.dtype} of shape {ids.shape}"
            )
        ids = ids.astype(np.int64)
        coded = (ids < 0) | (ids >= len(self.specials))
        level = (np.cumsum(coded, axis=1) - 1) % len(self.sizes)
        codes = ids - self.offsets[level]
        wrong = coded & ((codes < 0) | (codes >= np.asarray(self.sizes)[level]))
        if wrong.any():
            row, at = (int(part[0]) for part in np.nonzero(wrong))
            raise ValueError(self._misplaced(int(ids[row, at]), row, at, int(level[row, at])))
        counts = coded.sum(axis=1)
        partial = np.flatnonzero(counts % len(self.sizes))
        if len(partial):
            row = int(partial[0])
            raise ValueError(
                f"input_ids: row {row} ends within a code: its last token, at position "
                f"{np.flatnonzero(coded[row])[-1]}, is of level {counts[row] % len(self.sizes) - 1}"
            )
        flat = codes[coded].astype(np.int32).reshape(-1, len(self.sizes))
        return np.split(flat, np.cumsum(counts // len(self.sizes))[:-1])

    def _misplaced(self, token: int, row: int, position: int, level: int) -> str:
        first = int(self.offsets[level])
        return (
            f"input_ids: row {row} has {token} at position {position}, where a token of level "
            f"{level} belongs, {first} to {first + self.sizes[level] - 1}"
        )

    def to_strings(self, codes: object) -> list[str]:
        """Write codes (n, P) as ``<a_12><b_7>``."""
        names = [level_name(level) for level in range(len(self.sizes))]
        return [
            "".join(f"<{name}_{code}>" for name, code in zip(names, row, strict=True))
            for row in check_codes(codes, self.sizes).tolist()
        ]

    def from_strings(self, strings: Iterable[str]) -> np.ndarray:
        """Read codes (n, P) int32 from ``<a_12><b_7>``.

        Raises
        ------
        TypeError
            if `strings` is one str.
        ValueError
            if a string is not one token of each position, in order, or a code is out of range.
        """
        if isinstance(strings, str):
            raise TypeError(f"strings: expected a list of str, got one; give [{strings!r}]")
        rows = [self._parse(text) for text in strings]
        return check_codes(np.array(rows, dtype=np.int64), self.sizes)

    def _parse(self, text: str) -> Sequence[int]:
        names = [level_name(level) for level in range(len(self.sizes))]
        found = _TOKEN.findall(text)
        whole = "".join(f"<{name}_{code}>" for name, code in found) == text
        if not whole or [name for name, _ in found] != names:
            form = "".join(f"<{name}_#>" for name in names)
            raise ValueError(f"strings: expected the form {form}, got {text!r}")
        return [int(code) for _, code in found]


def _check_side(side: str, *, name: str) -> None:
    if side not in ("left", "right"):
        raise ValueError(f"{name}={side!r} should be 'left' or 'right'")
