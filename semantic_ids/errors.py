"""Errors that a caller may want to catch by name; everything else is a ValueError or TypeError."""

from collections.abc import Iterable


class UnknownItemError(KeyError):
    """An id was asked for that the catalogue does not hold.

    Parameters
    ----------
    message : what is wrong.
    ids : all the ids that are unknown, in the order in which they were asked for; kept as a list.

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> Tokenizer.from_codes(["a"], [[0]]).encode("b")
    Traceback (most recent call last):
    semantic_ids.errors.UnknownItemError: ids: 1 of 1 are not in the catalogue (first: 'b')
    """

    def __init__(self, message: str = "", ids: Iterable[str | int] = ()) -> None:
        super().__init__(message)
        self.ids = list(ids)

    def __str__(self) -> str:
        # KeyError prints the repr of its message, which puts a sentence in quotes.
        return str(self.args[0]) if self.args else ""


class NoCodecError(RuntimeError):
    """The tokenizer was made from codes alone and cannot turn features into codes or back.

    Examples
    --------
    >>> from semantic_ids import Tokenizer
    >>> try:
    ...     Tokenizer.from_codes(["a"], [[0]]).decode([[0]])
    ... except NoCodecError:
    ...     print("no codec")
    no codec
    """


class CollisionError(ValueError):
    """Items cannot be given unique codes: no code, or no further position value, is free.

    Examples
    --------
    >>> from semantic_ids import Suffix, Tokenizer
    >>> try:
    ...     Tokenizer.from_codes(["a", "b"], [[0], [0]], resolver=Suffix(max_suffix=1))
    ... except CollisionError as error:
    ...     print(str(error).partition(";")[0])
    max_suffix=1: 2 items share one content code
    """


class StaleFolderError(RuntimeError):
    """A folder changed since its state was loaded; saving would undo somebody else's change.

    Examples
    --------
    >>> import tempfile
    >>> from semantic_ids import Tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Tokenizer.from_codes(["a", "b"], [[0], [1]]).save(folder)
    ...     first, second = Tokenizer.load(folder), Tokenizer.load(folder)
    ...     first.remove("a")
    ...     first.save(folder)
    ...     try:
    ...         second.save(folder)
    ...     except StaleFolderError:
    ...         print("load again")
    load again
    """
