"""Vocabulary: codes as token ids and as strings."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from semantic_ids.codes import check_codes

# One spelling a number: no leading zeros, no digits of other scripts, none beyond 64 bits.
_TOKEN = re.compile(r"<([a-z]+)_(0|[1-9][0-9]{0,9})>")


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


@dataclass(frozen=True)
class Vocabulary:
    """Token ids and strings of codes.

    Token ids begin with the special tokens; then each position has a range of its own.

    Parameters
    ----------
    sizes : number of codes at each position.
    specials : names of the special tokens, ids 0, 1, 2, ...

    Examples
    --------
    >>> vocabulary = Vocabulary((256, 256))
    >>> vocabulary.to_strings([[12, 7]]), vocabulary.encode([[12, 7]]).tolist()
    (['<a_12><b_7>'], [[18, 269]])
    >>> vocabulary.from_strings(["<a_12><b_7>"]).tolist(), len(vocabulary)
    ([[12, 7]], 518)
    """

    sizes: tuple[int, ...]
    specials: tuple[str, ...] = ("<pad>", "<mask>", "<bos>", "<eos>", "<sep>", "<unk>")

    def __len__(self) -> int:
        return len(self.specials) + sum(self.sizes)

    @property
    def offsets(self) -> np.ndarray:
        """Token id of code 0 at each position, (P,) int64."""
        return len(self.specials) + np.cumsum((0, *self.sizes[:-1]))

    def special(self, name: str) -> int:
        """Return the token id of a special token."""
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
        ValueError
            if a string is not one token of each position, in order, or a code is out of range.
        """
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
