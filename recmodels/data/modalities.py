"""Structure as further modalities of a data set: category paths, and who stands near whom."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recmodels.data.dataset import Dataset
from recmodels.data.structure import cooccurrence_vectors
from semantic_ids import Features


def with_category_vectors(
    dataset: Dataset, *, width: int = 32, separator: str = ",", seed: int = 0
) -> Dataset:
    """Add the modality ``"category"``: `category_vectors`, absent where an item has no category.

    Raises
    ------
    ValueError
        if the data set has no categories, or a modality of that name.

    Examples
    --------
    >>> from recmodels.data import synthetic_catalogue
    >>> with_category_vectors(synthetic_catalogue(items=200, users=50), width=16).features.widths
    {'text': 64, 'image': 48, 'category': 16}
    """
    if dataset.categories is None:
        raise ValueError(f"dataset: {dataset.name!r} has no categories")
    vectors = category_vectors(dataset.categories, width=width, separator=separator, seed=seed)
    known = [bool(_elements(path, separator)) for path in dataset.categories]
    return _with_modality(dataset, "category", vectors, np.array(known))


def with_collaborative_vectors(
    dataset: Dataset, *, width: int = 64, window: int = 5, seed: int = 0
) -> Dataset:
    """Add the modality ``"collaborative"``: `cooccurrence_vectors` of the training histories.

    Each user's last two items, which are held out, leave no trace. An item of which the training
    histories say nothing has a vector of zeros there; it lacks the modality here.

    Raises
    ------
    ValueError
        if the data set has no histories, or a modality of that name; see `cooccurrence_vectors`
        for others.

    Examples
    --------
    >>> from recmodels.data import synthetic_catalogue
    >>> dataset = synthetic_catalogue(items=200, users=50)
    >>> with_collaborative_vectors(dataset, width=16).features.widths
    {'text': 64, 'image': 48, 'collaborative': 16}
    """
    vectors = cooccurrence_vectors(dataset.split(), width=width, window=window, seed=seed)
    return _with_modality(dataset, "collaborative", vectors, (vectors != 0).any(axis=-1))


def category_vectors(
    categories: Sequence[str], *, width: int = 32, separator: str = ",", seed: int = 0
) -> np.ndarray:
    """Turn category paths into vectors that are near each other where paths have much in common.

    A path is the set of its elements, each weighted by how rare it is (the smoothed inverse
    document frequency), at length 1; of all paths the `width` leading singular directions are
    kept, unscaled: where none is dropped, products of vectors are cosines of paths.

    Parameters
    ----------
    categories : N texts such as ``"Garden, Pots, Glazed"``; an empty one where an item has none.
    width : columns, at most as many as there are items, and different elements.
    separator : between the elements of a path.
    seed : where the random numbers of the decomposition begin.

    Returns
    -------
    vectors : (N, width or fewer) float32; zeros for an item without a category.

    Raises
    ------
    ValueError
        if no item has a category, or `width` is below 1.

    Examples
    --------
    >>> vectors = category_vectors(["Tea, Green", "Tea, Black", "Milk", ""], width=4)
    >>> vectors.shape, vectors[3].tolist()
    ((4, 4), [0.0, 0.0, 0.0, 0.0])
    >>> round(float(vectors[0] @ vectors[1]), 2)  # the cosine of two paths with one element in two
    0.38
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.utils.extmath import randomized_svd

    if width < 1:
        raise ValueError(f"width: expected at least 1, got {width}")
    if not any(_elements(path, separator) for path in categories):
        raise ValueError("categories: no item has one")
    paths = TfidfVectorizer(
        analyzer=lambda path: _elements(path, separator),  # pyright: ignore[reportArgumentType]
        binary=True,
    ).fit_transform(categories)
    left, values, _ = randomized_svd(paths, min(width, *paths.shape), random_state=seed)
    vectors = (left * values).astype(np.float32)
    # Else what rounding leaves of an empty path.
    vectors[np.diff(paths.indptr) == 0] = 0
    return vectors


def _elements(path: str, separator: str) -> list[str]:
    return [name for part in path.split(separator) if (name := part.strip())]


def _with_modality(
    dataset: Dataset, name: str, vectors: np.ndarray, present: np.ndarray
) -> Dataset:
    arrays, masks = {}, {}
    if dataset.features is not None:
        arrays = dict(dataset.features.modalities)
        masks = dict(zip(arrays, dataset.features.present.T, strict=True))
    if name in arrays:
        raise ValueError(f"features: {dataset.name!r} has a modality {name!r} already")
    features = Features({**arrays, name: vectors}, {**masks, name: present}, dataset.ids)
    return replace(dataset, features=features)
