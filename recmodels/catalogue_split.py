"""A data set's histories in rows of a tokenizer's catalogue: what stage 3 learns from."""

from recmodels.data import Dataset, Histories, Split
from recmodels.data.split import check_lengths
from semantic_ids import Tokenizer


def catalogue_split(dataset: Dataset, tokenizer: Tokenizer) -> Split:
    """Split a data set's histories, told in rows of the tokenizer's catalogue.

    Raises
    ------
    ValueError
        see `check_histories`; or if a user has fewer than 3 items.
    UnknownItemError
        if the catalogue does not hold an item of the data set.
    """
    known = check_histories(dataset)
    rows = tokenizer.rows(dataset.ids)
    histories = Histories(rows[known.items], known.offsets)
    return Split.leave_one_out(histories, len(tokenizer), ids=tokenizer.ids)


def check_histories(dataset: Dataset) -> Histories:
    """Refuse a data set that leaves nothing to learn from, before any work is done."""
    if dataset.histories is None:
        raise ValueError(f"dataset: {dataset.name} has no histories to learn from")
    if not (dataset.histories.lengths >= 4).any():
        raise ValueError(
            f"dataset: no user of {dataset.name} has 4 items: the last two are held out, and "
            "learning what follows needs two more"
        )
    check_lengths(dataset.histories)
    return dataset.histories
