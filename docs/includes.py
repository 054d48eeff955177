"""What pages take from elsewhere, put in when the documentation is built.

A line of a page that is

    {{ README: The tokenizer }}    becomes what stands under that heading of the README,
    {{ file: CHANGELOG.md }}       becomes that file, without its first heading,
    {{ help }}                     becomes the help of every command.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_INCLUDE = re.compile(r"^\{\{ (\w+)(?:: (.+?))? \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the lines that ask for something; mkdocs calls this for every page."""
    return _INCLUDE.sub(_included, markdown)


def _included(found: re.Match[str]) -> str:
    kind, what = found.groups()
    if kind == "README":
        # Paths of the README begin at the root of the repository, those of pages in docs.
        return readme_section(what).replace("](docs/", "](")
    if kind == "file":
        return (ROOT / what).read_text(encoding="utf-8").split("\n", 1)[1]
    if kind == "help":
        return command_help()
    raise ValueError(f"{found[0]}: expected README, file or help")


def readme_section(heading: str) -> str:
    """Return what stands under a heading of the README, up to the next heading of any level.

    Raises
    ------
    ValueError
        if there is no such heading.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    # A fence is one match, so a comment of the code in it is no heading.
    parts = re.split(r"^(```[\s\S]*?^```|#+ .+)$", text, flags=re.MULTILINE)
    sections: dict[str, str] = {}
    name = ""
    for part in parts:
        if part.startswith("#"):
            name = part.lstrip("# ")
            sections[name] = ""
        elif name:
            sections[name] += part
    if heading not in sections:
        raise ValueError(f"README.md: no heading {heading!r} among {list(sections)}")
    return sections[heading].strip()


def command_help() -> str:
    """Return the help of every command, a heading and a block each."""
    import typer
    from typer.main import get_command
    from typer.testing import CliRunner

    from semantic_ids.cli.app import app

    def helped(words: list[str]) -> str:
        shown = CliRunner().invoke(
            app, [*words, "--help"], prog_name="semantic-ids", terminal_width=88
        )
        return f"```text\n{shown.output.strip()}\n```\n"

    root = get_command(app)
    every = _command_words(root, typer.Context(root), [])
    return "\n".join(f"### {' '.join(words)}\n\n{helped(words)}" for words in every)


def _command_words(group: Any, context: Any, before: list[str]) -> Iterator[list[str]]:
    """Go through the words of every command of a group, and of the groups in it."""
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        words = [*before, name]
        if hasattr(command, "list_commands"):
            yield from _command_words(command, context, words)
        else:
            yield words
