"""The command `semantic-ids`; also `python -m semantic_ids.cli`."""

import sys


def main() -> None:
    """Run the command on the arguments of the process, and exit.

    The exit code is 0 where all went well, 1 where what was given cannot be used, 2 where the
    command is not spelled as it should be, 130 where it was interrupted, and 141 where nobody
    reads on.
    """
    try:
        import typer  # noqa: F401
        import yaml  # noqa: F401
    except ImportError as error:
        sys.stderr.write(f"semantic-ids: {error}; pip install 'semantic-ids[cli]'\n")
        raise SystemExit(1) from None
    from semantic_ids.cli.app import run

    raise SystemExit(run(sys.argv[1:]))
