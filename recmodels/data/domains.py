"""Domains: several data sets as one, in which every item says where it is from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recmodels.data.dataset import Dataset
from recmodels.data.histories import Histories
from semantic_ids import Features
from semantic_ids.ids import STRINGS, id_array

#: Stands between a domain and an id; so a domain's name cannot hold it, an id may.
SEPARATOR = ":"


def domain_ids(domain: str, ids: Any) -> np.ndarray:
    """Put a domain before ids, so that those of several domains stay apart.

    Parameters
    ----------
    domain : a name without ``":"``, not empty.
    ids : n str or int, as a sequence or 1-D array.

    Returns
    -------
    ids : (n,) numpy strings such as ``"scientific:B00421"``.

    Raises
    ------
    ValueError
        if the name is empty or holds ``":"``, or the ids are not valid.

    Examples
    --------
    >>> domain_ids("toys", ["B01", "B02"]).tolist(), domain_ids("films", [7]).tolist()
    (['toys:B01', 'toys:B02'], ['films:7'])
    """
    if not domain or SEPARATOR in domain:
        raise ValueError(f"domain: expected a name without {SEPARATOR!r}, got {domain!r}")
    prefix = np.array(domain + SEPARATOR, dtype=STRINGS)
    return np.strings.add(prefix, id_array(ids).astype(STRINGS))


def split_domain_ids(ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """Take ids apart that `domain_ids` made: its inverse, but that an int comes back as a str.

    Returns
    -------
    domains : (n,) numpy strings.
    ids : (n,) numpy strings, the ids within their domains.

    Raises
    ------
    ValueError
        if an id names no domain.

    Examples
    --------
    >>> domains, own = split_domain_ids(["toys:B01", "films:a:b"])
    >>> domains.tolist(), own.tolist()
    (['toys', 'films'], ['B01', 'a:b'])
    """
    array = id_array(ids).astype(STRINGS)
    domains, found, own = np.strings.partition(array, np.array(SEPARATOR, dtype=STRINGS))
    bare = np.flatnonzero((found == "") | (domains == ""))
    if len(bare):
        raise ValueError(
            f"ids: expected a domain and {SEPARATOR!r} before every id, got {array[bare[0]]!r}"
        )
    return domains, own


def unite(datasets: Sequence[Dataset]) -> Dataset:
    """Put data sets one after another: their items, and their users.

    The names of the data sets are the domains. Nobody's history changes: a user of two domains
    stays two users.

    Parameters
    ----------
    datasets : with different names; all or none with features, of the same modalities and
        widths, and all or none with histories.

    Returns
    -------
    dataset : items and users of the first data set, then of the second, and so on; item ids as
        `domain_ids` makes them.

    Raises
    ------
    ValueError
        if there is no data set, names repeat or hold ``":"``, or they do not fit together.

    Examples
    --------
    >>> toys = Dataset("toys", np.array([0, 1]), histories=Histories.of([[1, 0]]), users=("ann",))
    >>> films = Dataset("films", np.array([0]), histories=Histories.of([[0]]), users=("ann",))
    >>> both = unite([toys, films])
    >>> both.ids.tolist(), [history.tolist() for history in both.histories]
    (['toys:0', 'toys:1', 'films:0'], [[1, 0], [2]])
    """
    if not datasets:
        raise ValueError("datasets: expected at least one, got none")
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise ValueError(f"datasets: each needs a name of its own, got {names}")
    ids = np.concatenate([domain_ids(dataset.name, dataset.ids) for dataset in datasets])
    return Dataset(
        name=" + ".join(names),
        ids=ids,
        features=_features(datasets, ids),
        histories=_histories(datasets),
        users=tuple(user for dataset in datasets for user in dataset.users),
        titles=_texts(datasets, "titles"),
        categories=_texts(datasets, "categories"),
        dropped_users=sum(dataset.dropped_users for dataset in datasets),
    )


def _features(datasets: Sequence[Dataset], ids: np.ndarray) -> Features | None:
    if not _all_or_none(datasets, "features"):
        return None
    parts = [dataset.features for dataset in datasets if dataset.features is not None]
    widths = parts[0].widths
    for dataset, part in zip(datasets, parts, strict=True):
        if part.widths != widths:
            raise ValueError(
                f"datasets: {dataset.name} has features {part.widths}, expected {widths} "
                f"as {datasets[0].name} has"
            )
    arrays = {name: np.concatenate([part.modalities[name] for part in parts]) for name in widths}
    masks = [dict(zip(part.modalities, part.present.T, strict=True)) for part in parts]
    present = {name: np.concatenate([mask[name] for mask in masks]) for name in widths}
    return Features(arrays, present, ids)


def _histories(datasets: Sequence[Dataset]) -> Histories | None:
    if not _all_or_none(datasets, "histories"):
        return None
    parts = [dataset.histories for dataset in datasets if dataset.histories is not None]
    firsts = np.cumsum([0, *(dataset.size for dataset in datasets[:-1])])
    lengths = np.concatenate([part.lengths for part in parts])
    return Histories(
        np.concatenate([part.items + first for part, first in zip(parts, firsts, strict=True)]),
        np.concatenate([[0], np.cumsum(lengths)]),
    )


def _texts(datasets: Sequence[Dataset], field: str) -> tuple[str, ...] | None:
    if all(getattr(dataset, field) is None for dataset in datasets):
        return None
    return tuple(
        text for dataset in datasets for text in getattr(dataset, field) or ("",) * dataset.size
    )


def _all_or_none(datasets: Sequence[Dataset], field: str) -> bool:
    there = [getattr(dataset, field) is not None for dataset in datasets]
    if any(there) and not all(there):
        lacking = datasets[there.index(False)].name
        raise ValueError(f"datasets: {lacking} has no {field}, but others have")
    return all(there)
