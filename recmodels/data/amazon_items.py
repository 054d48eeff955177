"""Amazon metadata: one item a line, in the spelling of 2018 or in that of 2023."""

import html
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from recmodels.data.jsonl import get, get_text, lines, short
from semantic_ids.progress import progress_bar

_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


class AmazonItem(NamedTuple):
    """What the metadata say of an item; empty where they say nothing.

    Attributes
    ----------
    title, description, brand : plain text. In 2023 the description begins with the features, and
        the brand is the one among the details, or else the store.
    categories : from the broadest, with ", " between.
    image : address of its first picture, the largest there is.
    """

    title: str = ""
    description: str = ""
    brand: str = ""
    categories: str = ""
    image: str = ""

    def text(self, description: int = 1000) -> str:
        """Return title, brand, categories and the beginning of the description as one text.

        Parameters
        ----------
        description : characters of the description, at most.

        Examples
        --------
        >>> AmazonItem("Green tea", "Picked by hand.", "Fenwick").text(description=6)
        'Green tea. Fenwick. Picked'
        """
        parts = (self.title, self.brand, self.categories, self.description[:description])
        return ". ".join(part for part in parts if part)


def read_amazon_items(
    path: str | Path, wanted: Collection[str] | None = None, *, progress: bool | None = None
) -> dict[str, AmazonItem]:
    """Read what is known of items.

    Parameters
    ----------
    path : JSON lines, plain or .gz, of the metadata of Amazon Reviews 2018
        (``meta_All_Beauty.json.gz``) or 2023 (``meta_All_Beauty.jsonl.gz``).
    wanted : ids of the items to keep; all where it is None. Of a catalogue of millions this is
        what decides the memory.
    progress : show a bar; None shows it in a terminal.

    Returns
    -------
    items : by id (``asin``, in 2023 ``parent_asin``), in the order of the file. Of an item that is
        there more than once, the first line counts. Texts are without HTML; a title that is the
        script of a page, as some of 2018 are, is left out.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if a line is no such item; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "meta_Tea.jsonl"
    ...     _ = path.write_text('{"parent_asin": "B01", "title": "Tea &amp; more", "store": "F"}')
    ...     read_amazon_items(path)["B01"]
    AmazonItem(title='Tea & more', description='', brand='F', categories='', image='')
    """
    items: dict[str, AmazonItem] = {}
    chosen = None if wanted is None else set(wanted)
    key = None
    for where, record in progress_bar(lines(Path(path)), description="metadata", progress=progress):
        if key is None:
            key = "parent_asin" if "parent_asin" in record else "asin"
        get(where, record, key, "an id")
        name = get_text(where, record, key)
        if not name:
            raise ValueError(f'{where}: "{key}" is {short(name)}, expected an id')
        if name not in items and (chosen is None or name in chosen):
            items[name] = _item(where, record)
    if key is None:
        raise ValueError(f"{path}: holds no items; expected one a line")
    return items


def _item(where: str, record: dict[str, Any]) -> AmazonItem:
    title = " ".join(_texts(where, record, "title"))
    details = record.get("details")
    brand = _texts(where, details, "Brand") if isinstance(details, dict) else []
    return AmazonItem(
        title="" if "getTime" in title else title,
        description=" ".join(
            [*_texts(where, record, "features"), *_texts(where, record, "description")]
        ),
        brand=" ".join(brand or _texts(where, record, "brand") or _texts(where, record, "store")),
        categories=", ".join(
            _texts(where, record, "categories") or _texts(where, record, "category")
        ),
        image=_first_image(record),
    )


def _texts(where: str, record: dict[str, Any], key: str) -> list[str]:
    """Return the plain texts, not empty ones, of a text or of lists of texts."""
    found: list[str] = []
    waiting = [record.get(key)]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, list):
            waiting = [*value, *waiting]
        elif text := _plain(get_text(where, {key: value}, key) or ""):
            found.append(text)
    return found


def _plain(text: str) -> str:
    """Return a text without HTML, and with one blank where there is space.

    Examples
    --------
    >>> _plain("Salt &amp; <b>pepper</b>,<br>  1 < 2")
    'Salt & pepper , 1 < 2'
    """
    return " ".join(_TAG.sub(" ", html.unescape(text)).split())


def _first_image(record: dict[str, Any]) -> str:
    """Return the address of the first picture; those of 2023 name their sizes."""
    first = _first(record.get("images"))
    sizes = first if isinstance(first, dict) else {}
    found = [
        *(_first(sizes.get(size)) for size in ("hi_res", "large", "thumb")),
        *(_first(record.get(key)) for key in ("imageURLHighRes", "imageURL", "imUrl")),
    ]
    return next((value for value in found if isinstance(value, str) and value), "")


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
