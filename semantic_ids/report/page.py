"""Page: one self-contained HTML file about a tokenizer, readable without a network."""

import os
from importlib import resources
from pathlib import Path
from typing import Any

from semantic_ids.features import Features
from semantic_ids.fitted import Fitted
from semantic_ids.items import Items
from semantic_ids.report.contents import Contents, gather
from semantic_ids.report.payload import payload
from semantic_ids.report.sections import sections

#: Nothing is fetched: only what stands in the page runs, and it can send nothing anywhere.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


def write_report(
    fitted: Fitted,
    path: str | os.PathLike[str],
    features: Any = None,
    items: Any = None,
    *,
    progress: bool | None = None,
) -> Path:
    """Write the page of a tokenizer; see `Tokenizer.report`."""
    place = Path(path)
    if place.is_dir() or not place.parent.is_dir():
        raise ValueError(f"path: expected a file in a folder that exists, got {str(place)!r}")
    script = _plotly_script()
    given = None if features is None else Features.of(features)
    known = None if items is None else Items.of(items, fitted.catalogue.ids)
    page = render(gather(fitted, given, known, progress=progress), script)
    # Half a surrogate pair in a title is no character that a file could hold.
    place.write_bytes(page.encode(errors="replace"))
    return place


def render(contents: Contents, plotly: str) -> str:
    """Return the HTML of a page, the script of plotly.js included."""
    n = len(contents.fitted.catalogue)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Semantic IDs of {n:,} items</title>
<style>{_file("page.css")}</style>
</head>
<body>
{sections(contents)}
<script type="application/json" id="data">{payload(contents)}</script>
<script>{plotly}</script>
<script>{_file("page.js")}</script>
</body>
</html>
"""


def _file(name: str) -> str:
    return resources.files("semantic_ids.report").joinpath(name).read_text(encoding="utf-8")


def _plotly_script() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError("report needs plotly; pip install 'semantic-ids[report]'") from error
    return get_plotlyjs()
