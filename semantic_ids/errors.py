"""Errors that a caller may want to catch by name; everything else is a ValueError or TypeError."""


class UnknownItemError(KeyError):
    """An id was asked for that the catalogue does not hold."""

    def __str__(self) -> str:
        # KeyError prints the repr of its message, which puts a sentence in quotes.
        return str(self.args[0]) if self.args else ""


class NoCodecError(RuntimeError):
    """The tokenizer was made from codes alone and cannot turn features into codes or back."""


class CollisionError(ValueError):
    """Items cannot be given unique codes: no code, or no further position value, is free."""
