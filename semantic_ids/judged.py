"""Judged: how good a tokenizer's codes are, and what they mean."""

import os
from pathlib import Path
from typing import Any

from semantic_ids.codec import Codec
from semantic_ids.comparison import Comparison, compare
from semantic_ids.drift import Drift, measure_drift
from semantic_ids.errors import NoCodecError
from semantic_ids.explanation import (
    Explanation,
    PrefixDescription,
    describe_prefix,
    explain_item,
)
from semantic_ids.features import Features
from semantic_ids.fitted import Fitted
from semantic_ids.judgement import judge
from semantic_ids.report.page import write_report
from semantic_ids.statistics import CodebookStatistics

NO_CODEC = (
    "this tokenizer was made from codes and has no codec: it cannot turn features into codes or "
    "codes into features; fit one with Tokenizer.fit(features)"
)


class Judged:
    """What a `Tokenizer` says of its codes; nothing here changes it."""

    _fitted: Fitted

    def statistics(
        self, features: Any = None, categories: Any = None, *, progress: bool | None = None
    ) -> CodebookStatistics:
        """Return the figures of the catalogue's content codes.

        Parameters
        ----------
        features : the catalogue's features, by their ids or, without, row by row, to measure the
            error on, and whether near items have near codes: by the vectors that the codes decode
            to or, without a codec, by the levels that differ, against the features fused
            (without a codec by `Concat()`). Without features, the errors are those of the fit (a
            modality's: of the rows that it learnt from), and None once the catalogue has changed.
        categories : one str or int an item, or None; by id, as a mapping, or in the order of the
            features, where these carry ids, or of the catalogue's rows. Prefixes are compared
            with them.
        progress : show bars; None shows them in a terminal.

        Raises
        ------
        TypeError, ValueError
            if every item was removed, or the features or categories are not the catalogue's.

        Examples
        --------
        >>> from semantic_ids import Tokenizer
        >>> published = Tokenizer.from_codes(None, [[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> figures = published.statistics(categories=["tea", "tea", "milk", "milk"])
        >>> [round(level.categories.ami, 3) for level in figures.levels]
        [1.0, 0.0]
        """
        features = None if features is None else Features.of(features)
        return judge(self._fitted, features, categories, progress=progress)

    def report(
        self,
        path: str | os.PathLike[str],
        features: Any = None,
        items: Any = None,
        *,
        progress: bool | None = None,
    ) -> Path:
        """Write one HTML page about the codes, which opens without a network.

        It holds a verdict, the figures of `statistics`, plots, the tree of the codes, a map of
        the items and a search. Below 10 MB for any catalogue: of a large one it names a sample,
        and says so.

        Parameters
        ----------
        path : of the file to write, in place of one that is there.
        features : the catalogue's features, as in `statistics`; without them errors are those of
            the fit, the map is of decoded vectors, and neighbours are not compared.
        items : titles and categories; see `explain`. They are shown as plain text. Categories
            are compared with the codes where no item has more than one.
        progress : show bars; None shows them in a terminal.

        Returns
        -------
        path : of the file.

        Raises
        ------
        ImportError
            if plotly is not installed (the extra ``report``).
        TypeError, ValueError
            if `path` is no file in a folder that exists, every item was removed, or the features
            or items are not valid.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from semantic_ids import Tokenizer
        >>> tokenizer = Tokenizer.from_codes(["x", "y"], [[0, 0], [0, 1]])
        >>> with TemporaryDirectory() as folder:
        ...     tokenizer.report(Path(folder) / "codes.html", items={"x": "Green tea"}).name
        'codes.html'
        """
        return write_report(self._fitted, path, features, items, progress=progress)

    def explain(self, id: str | int, items: Any = None) -> Explanation:
        """Say what an item's code means, level by level.

        Parameters
        ----------
        id : of an item of the catalogue.
        items : titles and categories, in any form that `Items.of` reads: a mapping of id to
            title, columns, a frame, or Items.

        Raises
        ------
        UnknownItemError
            if the item is not in the catalogue.
        TypeError, ValueError
            if `id` is not one id, or `items` are not valid.

        Examples
        --------
        >>> from semantic_ids import Tokenizer
        >>> tokenizer = Tokenizer.from_codes(["x", "y", "z"], [[0, 0], [0, 1], [1, 0]])
        >>> print(tokenizer.explain("x", items={"x": "Green tea", "y": "Black tea"}))
        x “Green tea”
        unique code  <a_0><b_0><c_0>
        content code <a_0><b_0> (not moved)
          <a_0>; 2 items
            near: y “Black tea”
          <b_0>; 1 item
          <c_0> tells items with one content code apart; 1 item
        """
        return explain_item(self._fitted, id, items)

    def describe(self, prefix: Any, items: Any = None, features: Any = None) -> PrefixDescription:
        """Say what the items whose unique codes begin with a prefix have in common.

        Parameters
        ----------
        prefix : (l,) codes, 1 <= l <= P.
        items : titles and categories; see `explain`.
        features : the catalogue's features, as in `statistics`.

        Raises
        ------
        TypeError, ValueError
            if the prefix is that of no item, or `items` or `features` are not valid.

        Examples
        --------
        >>> from semantic_ids import Tokenizer
        >>> tokenizer = Tokenizer.from_codes(["x", "y", "z"], [[0, 0], [0, 1], [1, 0]])
        >>> print(tokenizer.describe([0]))
        <a_0>: 2 items, 66.67% of the catalogue
            near its centre: x; y
        """
        given = None if features is None else Features.of(features)
        return describe_prefix(self._fitted, prefix, items, given)

    def drift(self, features: Any) -> Drift:
        """Say how well the codec fits items that it was not fitted on; refit where it does not.

        Parameters
        ----------
        features : of new items, as in `encode`; they are not added.

        Raises
        ------
        NoCodecError
            if the tokenizer was made from codes.
        ValueError
            if the catalogue is empty.
        """
        if not len(self._fitted.catalogue):
            raise ValueError("the catalogue is empty: there is nothing to compare with")
        return measure_drift(
            self._need_codec(),
            Features.of(features).without_ids(),
            self._fitted.catalogue.content_codes,
            self._fitted.relative_errors,
            self._fitted.variance,
        )

    def compare(self, other: "Judged", *, k: int = 10) -> Comparison:
        """Say how another tokenizer's codes differ, over the items that both know.

        Parameters
        ----------
        other : may be of another spec, or made from codes.
        k : nearest neighbours of an item that are compared.

        Raises
        ------
        TypeError
            if `other` is not a Tokenizer.
        ValueError
            if the ids of one are str and those of the other int, or k < 1.
        """
        if not isinstance(other, Judged):
            raise TypeError(f"other: expected a Tokenizer, got {type(other).__name__}")
        return compare(self._fitted, other._fitted, k)

    def _need_codec(self) -> Codec:
        if self._fitted.codec is None:
            raise NoCodecError(NO_CODEC)
        return self._fitted.codec
