"""Amazon Reviews: one review a line, in the spelling of 2014 and 2018 or in that of 2023."""

from pathlib import Path
from typing import NamedTuple

from recmodels.data.interactions import Interactions
from recmodels.data.jsonl import get, get_text, is_int, lines, short
from semantic_ids.progress import progress_bar


class _Spelling(NamedTuple):
    user: str
    item: str
    time: str


# In 2023 variants of an item (colours, sizes) have one parent_asin, which items' metadata go by.
_SPELLINGS = (
    _Spelling("reviewerID", "asin", "unixReviewTime"),
    _Spelling("user_id", "parent_asin", "timestamp"),
)


def read_amazon(path: str | Path, *, progress: bool | None = None) -> Interactions:
    """Read who reviewed what when.

    Parameters
    ----------
    path : JSON lines, plain or .gz, of Amazon Reviews 2014 or 2018 (``Beauty_5.json.gz``: whole
        days, in seconds) or 2023 (``All_Beauty.jsonl.gz``: milliseconds).
    progress : show a bar; None shows it in a terminal.

    Returns
    -------
    interactions : all reviews, whatever the rating. Of one user at one time, in the order of the
        file.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ValueError
        if a line is no such review; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "Tea.json"
    ...     _ = path.write_text('{"reviewerID": "A1", "asin": "B01", "unixReviewTime": 1400000000}')
    ...     read_amazon(path)
    Interactions(1 of 1 users with 1 items)
    """
    users: list[str] = []
    items: list[str] = []
    times: list[int] = []
    spelling = None
    for where, record in progress_bar(lines(Path(path)), description="reviews", progress=progress):
        if spelling is None:
            spelling = next((of for of in _SPELLINGS if of.user in record), _SPELLINGS[0])
        for key, ids in ((spelling.user, users), (spelling.item, items)):
            get(where, record, key, "an id")
            value = get_text(where, record, key)
            if not value:
                raise ValueError(f'{where}: "{key}" is {short(value)}, expected an id')
            ids.append(value)
        time = get(where, record, spelling.time, "a time")
        if not is_int(time):
            raise ValueError(f'{where}: "{spelling.time}" is {short(time)}, expected an integer')
        times.append(time)
    if not users:
        raise ValueError(f"{path}: holds no reviews; expected one a line")
    return Interactions.of(users, items, times)
