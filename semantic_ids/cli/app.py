"""The command's parts put together, and how errors end it."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup
from typer.main import get_command

from semantic_ids.cli.coding import decode, encode, lookup, neighbours
from semantic_ids.cli.exchanging import export, from_codes, report
from semantic_ids.cli.fitting import fit
from semantic_ids.cli.growing import add, remove
from semantic_ids.cli.judging import compare, describe, drift, explain, stats
from semantic_ids.cli.output import ReaderGone, say

#: Entry points under which other packages add commands: each is a typer.Typer.
COMMANDS = "semantic_ids.commands"

#: Errors that say what is wrong with what was given; any other is one of the program.
_EXPECTED = (ValueError, TypeError, KeyError, OSError, RuntimeError, ImportError, MemoryError)

#: What errors advise, and the option of a command that does it.
_OPTIONS = {'missing="nan"': "--nan-is-missing", 'short_users="drop"': "--drop-short"}

#: Characters that an error shows of a value, which may be a whole document.
_SHOWN = 120


class _Later(TyperGroup):
    """Commands of another package, which is imported when one of them is used."""

    def __init__(self, point: EntryPoint) -> None:
        package = point.module.partition(".")[0]
        super().__init__(name=point.name, help=f"Commands of {package}.", rich_markup_mode=None)
        self._point = point

    @cached_property
    def _group(self) -> Any:
        return get_command(self._point.load())

    def list_commands(self, ctx: Any) -> list[str]:
        return self._group.list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._group.get_command(ctx, cmd_name)


class _Root(TyperGroup):
    """The package's own commands, then those of others."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *sorted(entry_points(group=COMMANDS).names)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for point in entry_points(group=COMMANDS, name=cmd_name):
            return _Later(point)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(cls=_Root, add_completion=False, rich_markup_mode=None)

_OWN: list[Callable[..., None]] = [
    *(fit, encode, add, remove, decode, lookup, neighbours),
    *(explain, describe, stats, compare, drift, report),
    *(export, from_codes),
]
for _command in _OWN:
    app.command(_command.__name__.replace("_", "-"))(_command)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        say(version("semantic-ids"))
    except PackageNotFoundError:
        say("unknown: the package is not installed")
    raise typer.Exit


@app.callback()
def semantic_ids(
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error arose; goes anywhere.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Semantic IDs: items with features become short discrete codes.

    Results go to standard output, progress and errors to standard error. Exit codes: 0 all went
    well, 1 what was given cannot be used, 2 the command is not spelled as it should be, 130 it was
    interrupted, 141 nobody reads on.
    """


def run(arguments: list[str]) -> int:
    """Run the command and return its exit code; an error is one line on standard error.

    Parameters
    ----------
    arguments : those after the command's name. ``--traceback`` may stand anywhere before ``--``.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    shown = "--traceback" in arguments[:end]
    kept = [word for word in arguments[:end] if word != "--traceback"] + arguments[end:]
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return get_command(app).main(kept, prog_name="semantic-ids", standalone_mode=False) or 0
    except ReaderGone:
        # What is left in the buffer would complain once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except typer.Abort:
        return 130
    except Exception as error:
        if shown:
            traceback.print_exc()
        else:
            sys.stderr.write(f"{_line(error)}{_advised(error, kept)}\n")
        return getattr(error, "exit_code", 1)


def _warn(message: Warning | str, *_: Any) -> None:
    sys.stderr.write(f"semantic-ids: warning: {' '.join(str(message).split())}\n")


def _line(error: Exception) -> str:
    """Say in one line what went wrong."""
    name = "semantic-ids"
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        name = context.command_path if context else name
        text = error.format_message().removeprefix("Invalid value: ").rstrip(".")
        text = f"{text}; see {name} --help"
    elif isinstance(error, ValidationError):
        text = "; ".join(map(_problem, error.errors()))
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, _EXPECTED):
        text = str(error) or type(error).__name__
    else:
        text = f"{type(error).__name__}: {error} (an error of the program; --traceback says where)"
    return f"{name}: {' '.join(text.split())}"


def _advised(error: Exception, words: list[str]) -> str:
    """Name the options of the command that do what an error advises."""
    command: Any = get_command(app)
    for word in words:
        if not hasattr(command, "get_command"):
            break
        command = command.get_command(None, word) or command
    known = {option for parameter in command.params for option in parameter.opts}
    named = [option for said, option in _OPTIONS.items() if said in str(error) and option in known]
    return "".join(f" (here: {option})" for option in named)


def _problem(problem: Any) -> str:
    """Say what is wrong with one field of a spec."""
    if problem["type"] == "value_error":  # a validator's own words
        text = str(problem["ctx"]["error"])
    elif problem["type"] == "unknown_field":  # they name it; what came is the whole document
        text = problem["msg"]
    else:
        came = repr(problem["input"])
        text = f"{problem['msg']}, got {came[:_SHOWN]}{'...' * (len(came) > _SHOWN)}"
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {text}" if place else text
