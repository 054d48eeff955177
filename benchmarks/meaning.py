"""Do codes mean something? Prefixes against categories that people gave the items.

RQ-KMeans (the default tokenizer, on the text vectors) and every published index of a data set,
each against itself with its codes handed out at random: the same prefixes, so the same bucket
sizes at each depth, permuted over the items. Compared are

* AMI: chance-adjusted mutual information of the prefixes of one and of two codes with the
  categories; about 0 for codes without meaning, however many prefixes there are;
* accuracy: how often the category of a held-out item is the most frequent one of the training
  items under its prefix of one code, or of two, and of the shorter prefix (at last, of all)
  where no training item has it; 5 folds.

A category is the path of categories from the root down to the deepest level that at least nine
of ten items reach: the most informative level that hardly leaves out an item. Those without are
left out and counted. Where the text behind the vectors names the categories, as in the data sets
that this was written for, the figures say how much of them the codes keep, not that codes find
out what the text does not say.

    python benchmarks/meaning.py --data DATA/amazon18_scientific DATA/amazon14_beauty
"""

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import sklearn
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from semantic_ids import Tokenizer

DEPTHS = (1, 2)
FOLDS = 5
COVERED = 0.9
_COMMA, _BARE_COMMA = re.compile(", *"), re.compile(",(?! )")


@dataclass(frozen=True)
class Categories:
    """The categories of a data set's items.

    Attributes
    ----------
    labels : (N,) int64, the item's category from 0 on, -1 for none.
    level : the level of the hierarchy that they were taken from, 0 for the root.
    """

    labels: np.ndarray
    level: int

    @property
    def left_out(self) -> int:
        """Items without a category."""
        return int((self.labels < 0).sum())


@dataclass(frozen=True)
class Figure:
    """One figure of an index beside that of its codes permuted over the items."""

    value: float
    random_mean: float
    random_deviation: float

    @property
    def deviations(self) -> float | None:
        """Standard deviations of random codes above their mean; None where these do not vary."""
        if self.random_deviation < 1e-12:
            return None
        return (self.value - self.random_mean) / self.random_deviation


@dataclass(frozen=True)
class Result:
    """What was measured of one index, by depth."""

    data: str
    index: str
    items: int
    left_out: int
    prefixes: list[int]
    ami: list[Figure]
    accuracy: list[Figure]


def read_categories(folder: Path) -> Categories:
    """Read the categories of items.jsonl.gz, as text with commas or as a list.

    In text, a comma without a space after it divides levels, and one with a space belongs to a
    name ("Tapes, Adhesives & Sealants"), unless most texts have none of the first kind.
    """
    with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as file:
        given = [json.loads(line)["categories"] for line in file]
    texts = [value for value in given if isinstance(value, str) and "," in value]
    bare = sum(_BARE_COMMA.search(text) is not None for text in texts) > len(texts) / 2
    return deepest_common_level([_path(value, _BARE_COMMA if bare else _COMMA) for value in given])


def _path(value: str | list[str] | None, separator: re.Pattern[str]) -> list[str]:
    if not value:
        return []
    return separator.split(value) if isinstance(value, str) else [str(name) for name in value]


def deepest_common_level(paths: Sequence[Sequence[str]]) -> Categories:
    """Cut paths at the deepest level that nine of ten items reach; shorter ones are none."""
    lengths = np.array([len(path) for path in paths])
    reached = [level for level in range(lengths.max()) if (lengths > level).mean() >= COVERED]
    if not reached:
        raise ValueError(f"categories: only {(lengths > 0).mean():.1%} of the items have one")
    level = reached[-1]
    names = ["\n".join(path[: level + 1]) if len(path) > level else None for path in paths]
    # The most frequent first, so that the first of equally frequent ones is a fair guess.
    order = [name for name, _ in Counter(names).most_common() if name is not None]
    numbers = {name: number for number, name in enumerate(order)}
    return Categories(np.array([-1 if name is None else numbers[name] for name in names]), level)


class Agreement:
    """Chance-adjusted mutual information of prefixes, in any order, with categories.

    What is expected by chance depends on the bucket sizes alone: it is computed once.
    """

    def __init__(self, prefixes: np.ndarray, classes: np.ndarray) -> None:
        self._classes = classes
        met = contingency_matrix(classes, prefixes, sparse=True)
        self._expected = float(expected_mutual_information(met, len(classes)))
        self._mean_entropy = (entropy(np.bincount(prefixes)) + entropy(np.bincount(classes))) / 2

    def of(self, prefixes: np.ndarray) -> float:
        """Return the figure for the prefixes in some order of theirs."""
        shared = mutual_info_score(self._classes, prefixes)
        return float((shared - self._expected) / (self._mean_entropy - self._expected))


def accuracy(prefixes: Sequence[np.ndarray], classes: np.ndarray, folds: np.ndarray) -> float:
    """Return the share of held-out items whose category their prefix names.

    Parameters
    ----------
    prefixes : (n,) prefix numbers of 1, 2, ... codes; the longest that a training item has counts.
    classes : (n,) categories, numbered by falling frequency.
    folds : (n,) the fold that holds each item out.
    """
    correct = 0
    for fold in np.unique(folds):
        train, test = folds != fold, np.flatnonzero(folds == fold)
        guesses = np.full(len(test), np.bincount(classes[train]).argmax())
        for numbers in prefixes:
            votes = majority(numbers[train], classes[train], int(numbers.max()) + 1)
            vote = votes[numbers[test]]
            guesses = np.where(vote >= 0, vote, guesses)
        correct += int((guesses == classes[test]).sum())
    return correct / len(classes)


def majority(groups: np.ndarray, classes: np.ndarray, n: int) -> np.ndarray:
    """Return the most frequent class of each of n groups, the lowest of equals, -1 for none."""
    width = int(classes.max()) + 1
    pairs, counts = np.unique(groups * width + classes, return_counts=True)
    order = np.lexsort((-pairs, counts))  # later ones overwrite
    votes = np.full(n, -1)
    votes[pairs[order] // width] = pairs[order] % width
    return votes


def measure(
    data: str,
    index: str,
    codes: np.ndarray,
    categories: Categories,
    *,
    permutations: int = 20,
    seed: int = 0,
) -> Result:
    """Compare the prefixes of codes (N, L), -1 for an item without, with the categories."""
    if len(codes) != len(categories.labels):
        raise ValueError(f"{index}: {len(codes)} codes for {len(categories.labels)} items")
    kept = (codes[:, : max(DEPTHS)] >= 0).all(axis=1) & (categories.labels >= 0)
    classes = categories.labels[kept]
    prefixes = [
        np.unique(codes[kept, :depth], axis=0, return_inverse=True)[1].ravel() for depth in DEPTHS
    ]
    rng = np.random.default_rng(seed)
    folds = rng.permutation(np.arange(len(classes)) % FOLDS)
    agreements = [Agreement(numbers, classes) for numbers in prefixes]

    def figures(order: np.ndarray) -> list[float]:
        shown = [numbers[order] for numbers in prefixes]
        return [
            *(agreement.of(numbers) for agreement, numbers in zip(agreements, shown, strict=True)),
            *(accuracy(shown[:depth], classes, folds) for depth in DEPTHS),
        ]

    found = figures(np.arange(len(classes)))
    random = np.array([figures(rng.permutation(len(classes))) for _ in range(permutations)])
    every = [
        Figure(value, float(column.mean()), float(column.std(ddof=1)))
        for value, column in zip(found, random.T, strict=True)
    ]
    return Result(
        data=data,
        index=index,
        items=len(classes),
        left_out=int((~kept).sum()),
        prefixes=[int(numbers.max()) + 1 for numbers in prefixes],
        ami=every[: len(DEPTHS)],
        accuracy=every[len(DEPTHS) :],
    )


def measure_set(folder: Path, *, permutations: int, seed: int) -> list[Result]:
    """Measure RQ-KMeans and every published index of one data set."""
    categories = read_categories(folder)
    found = len(np.unique(categories.labels[categories.labels >= 0]))
    print(
        f"{folder.name}: {found} categories of level {categories.level} (0 is the root), "
        f"{categories.left_out:,} of {len(categories.labels):,} items without one"
    )
    vectors = np.load(folder / "text_emb.npy", mmap_mode="r")
    indexes = {"RQ-KMeans 4 x 256 (ours)": Tokenizer.fit(vectors).content_codes}
    for path in sorted((folder / "sid").glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            indexes[path.stem] = file["codes"]
    return [
        measure(folder.name, name, codes, categories, permutations=permutations, seed=seed)
        for name, codes in indexes.items()
    ]


def table(results: list[Result]) -> str:
    """Return the results as lines of equal columns."""
    heads = ["data", "index", "items", "left out", "prefixes"]
    for name in ("AMI", "accuracy"):
        for depth in DEPTHS:
            heads += [f"{name}@{depth}", "random", "deviations"]
    rows = [heads]
    for result in results:
        row = [result.data, result.index, f"{result.items:,}", f"{result.left_out:,}"]
        row.append(" / ".join(map(str, result.prefixes)))
        for figure in (*result.ami, *result.accuracy):
            above = "-" if figure.deviations is None else f"{figure.deviations:,.0f}"
            spread = f"{figure.random_mean:.4f} ± {figure.random_deviation:.4f}"
            row += [f"{figure.value:.3f}", spread, above]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place < 2 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Compare codes with the items' categories.")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of one data set each"
    )
    parser.add_argument("--permutations", type=int, default=20, help="of random codes, at least 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    args = parser.parse_args()
    results = [
        result
        for folder in args.data
        for result in measure_set(folder, permutations=args.permutations, seed=args.seed)
    ]
    print(table(results))
    if args.out:
        figures = {
            "permutations": args.permutations,
            "seed": args.seed,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "results": [asdict(result) for result in results],
        }
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
