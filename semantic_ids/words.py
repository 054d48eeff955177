"""Words: which of them set some items apart from others."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_WORD = re.compile(r"[^\W\d_]{2,}(?:['’-][^\W\d_]+)*")
#: Words' worth of belief, before any is counted, that all items use words alike.
_PRIOR_WORDS = 500.0


@dataclass(frozen=True, eq=False)
class Terms:
    """Which terms each of N items has: the words of its title, and its categories.

    Parameters
    ----------
    names : V terms.
    matrix : (N, V) sparse, 1 where the item has the term.

    Examples
    --------
    >>> terms = Terms.of(["Green tea, 20 bags", None], [("Tea",), ()])
    >>> terms.names, terms.matrix.toarray().tolist()
    (('Tea', 'bags', 'green', 'tea'), [[1, 1, 1, 1], [0, 0, 0, 0]])
    """

    names: tuple[str, ...]
    matrix: "csr_array"

    @classmethod
    def of(cls, titles: Sequence[str | None], categories: Sequence[tuple[str, ...]]) -> "Terms":
        """Count each word of a title once, in lower case, and each category as one term."""
        from scipy.sparse import csr_array

        numbers: dict[str, int] = {}
        columns: list[int] = []
        ends = [0]
        for title, classes in zip(titles, categories, strict=True):
            found = {*classes, *words(title or "")}
            columns.extend(numbers.setdefault(term, len(numbers)) for term in sorted(found))
            ends.append(len(columns))
        values = np.ones(len(columns), dtype=np.int64)
        shape = (len(titles), len(numbers))
        matrix = csr_array((values, np.array(columns, np.int64), np.array(ends)), shape=shape)
        return cls(tuple(numbers), matrix)

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Return how many of some items have each term, (V,) int64."""
        return np.asarray(self.matrix[rows].sum(axis=0))

    def marking(self, inside: np.ndarray, outside: np.ndarray, most: int = 6) -> tuple[str, ...]:
        """Return the terms that set the rows `inside` apart from the rows `outside`.

        Parameters
        ----------
        inside, outside : int arrays of rows, none in both.
        most : how many terms at most, the clearest first; each has log-odds more than one
            standard error above 0, and at least two of the items inside have it.
        """
        if not self.names or not len(inside) or not len(outside):
            return ()
        return self.clearest(self.counts(inside), self.counts(outside), most)

    def clearest(self, inside: np.ndarray, outside: np.ndarray, most: int = 6) -> tuple[str, ...]:
        """Return the same as `marking` of the counts (V,) of the terms inside and outside."""
        scores = log_odds(inside, outside)
        scores[inside < 2] = 0
        order = np.argsort(-scores, kind="stable")[:most]
        return tuple(self.names[term] for term in order if scores[term] > 1)


def words(text: str) -> Iterable[str]:
    """Return the words of a text, in lower case and without numbers.

    Examples
    --------
    >>> list(words("Kid's 3-in-1 Glue-Stick, x4"))
    ["kid's", 'in', 'glue-stick']
    """
    return _WORD.findall(text.lower())


def log_odds(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return how much more a word belongs to one text than to another, in standard errors.

    The log-odds ratio with an informative Dirichlet prior: words that are rare in both count for
    little, as do words that are frequent in both. The prior is 500 words long and has the shares
    of both texts together.

    Parameters
    ----------
    inside, outside : (V,) counts of each word in both texts.

    Returns
    -------
    scores : (V,) float64, 0 for a word that neither has.

    References
    ----------
    Monroe, Colaresi and Quinn (2008), "Fightin' Words: Lexical Feature Selection and Evaluation
    for Identifying the Content of Political Conflict".

    Examples
    --------
    >>> log_odds(np.array([50, 50]), np.array([50, 950])).round(1)
    array([  7.1, -19.7])
    """
    both = inside + outside
    prior = _PRIOR_WORDS * both / max(1, both.sum())
    scores = np.zeros(len(both))
    known = (both > 0) & (both < both.sum())  # the odds of a language of one word are infinite
    one, other = (inside + prior)[known], (outside + prior)[known]
    one_total, other_total = (inside.sum() + prior.sum()), (outside.sum() + prior.sum())
    ratio = np.log(one / (one_total - one)) - np.log(other / (other_total - other))
    scores[known] = ratio / np.sqrt(1 / one + 1 / other)
    return scores
