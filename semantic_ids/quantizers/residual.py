"""Residual codebooks: a vector is the sum of one entry of each level's codebook.

Codes are defined by the greedy search: level by level, the entry nearest to what is left over, the
lowest index where two are equally near, as far as float64 can tell. `greedy_codes` finds them with
faster matrix products: a decision closer than the bound of their rounding error is taken again
in float32, and if that is not enough in float64. So a row's code depends on the row alone, on no
batch, order or thread.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from semantic_ids.codes import check_codes
from semantic_ids.device import device_in_use
from semantic_ids.quantizers.beam import BeamSearch
from semantic_ids.quantizers.rounding import largest_norms, norm_bounds, score_bounds
from semantic_ids.quantizers.screening import BFloat16, Float32, Rounded, Screening, bfloat16_pays

if TYPE_CHECKING:
    import torch

    from semantic_ids.quantizers.device_search import DeviceSearch

_BLOCK_VALUES = 1 << 21  # numbers in work at a time
_CACHED_VALUES = 1 << 19  # scores in work at a time: they stay in the processor's cache
_KEPT_VALUES = 1 << 22  # of a beam search's tables between searches: 32 MB
_NEAR_AT_MOST = 1.5  # entries a code that a coarse product may leave for a finer one
_LEAST_ROWS = 256  # fewer would not be worth a matrix product's packing of the codebook


class ResidualCodebooks:
    """The codebooks of L levels and what searching them needs; they do not change.

    Parameters
    ----------
    codebooks : one float32 array (K_l, d) a level.
    """

    #: Multiplications of all searches so far, by which torch is worth its import: large files come
    #: in pieces of few rows, fits in iterations. No code depends on it.
    _multiplied: ClassVar[float] = 0.0

    def __init__(self, codebooks: Sequence[np.ndarray]) -> None:
        self.codebooks = tuple(np.ascontiguousarray(book, dtype=np.float32) for book in codebooks)
        self.sizes = tuple(len(book) for book in self.codebooks)
        self.width = self.codebooks[0].shape[1]
        self._float32 = Float32(self.codebooks)
        self._half_norms = self._float32.half_norms
        self._largest = largest_norms(self.codebooks)
        self._on_devices: dict[torch.device, DeviceSearch] = {}

    def greedy_codes(
        self, matrix: np.ndarray, screening: Callable[[int], Screening] | None = None
    ) -> np.ndarray:
        """Return the greedy codes (N, L) int32 of float32 rows (N, d).

        Parameters
        ----------
        matrix : the rows.
        screening : gives, for a number of rows at a time, how entries are looked through before
            close ones are decided on; by default the fastest way here. It changes no code.
        """
        device = device_in_use()
        if device is not None and screening is None:
            return self._codes_on(device, matrix)
        return self._codes_here(matrix, screening)

    def _codes_on(self, device: "torch.device", matrix: np.ndarray) -> np.ndarray:
        """Return the greedy codes, of which the processor finds those that the device cannot."""
        if device not in self._on_devices:
            from semantic_ids.quantizers.device_search import DeviceSearch

            self._on_devices[device] = DeviceSearch(self.codebooks, self._half_norms, device)
        codes, sure = self._on_devices[device].codes(matrix)
        if not sure.all():
            codes[~sure] = self._codes_here(matrix[~sure])
        return codes

    def _codes_here(
        self, matrix: np.ndarray, screening: Callable[[int], Screening] | None = None
    ) -> np.ndarray:
        codes = np.empty((len(matrix), len(self.sizes)), dtype=np.int32)
        rows = max(_LEAST_ROWS, _CACHED_VALUES // max(*self.sizes, self.width))
        work = _Work(min(rows, len(matrix)), self.sizes, self.width)
        screen = self._screening(len(matrix), rows) if screening is None else screening(rows)
        for start in range(0, len(matrix), rows):
            block = slice(start, start + rows)
            codes[block], near = self._greedy_block(matrix[block], work, screen)
            if near > _NEAR_AT_MOST * codes[block].size and screen is not self._float32:
                screen = self._float32  # entries are so alike that looking closer pays
        return codes

    @cached_property
    def _rounded(self) -> Rounded:
        return Rounded(self.codebooks, self._half_norms)

    def _screening(self, rows: int, block: int) -> Screening:
        """Return the fastest screening."""
        ResidualCodebooks._multiplied += float(rows) * sum(book.size for book in self.codebooks)
        if bfloat16_pays(rows, self.width, ResidualCodebooks._multiplied):
            return BFloat16(self._rounded, block)
        return self._float32

    def _greedy_block(
        self, x: np.ndarray, work: "_Work", screen: Screening
    ) -> tuple[np.ndarray, int]:
        """Return the codes of some rows, and how many entries had to be looked at more closely."""
        closely = 0
        codes = np.empty((len(x), len(self.sizes)), dtype=np.int32)
        bounds = self._rounding_bounds(x)
        left = x
        for level, size in enumerate(self.sizes):
            if level:
                chosen = work.entries[: len(x)]
                # In range already; without "clip" numpy writes to a copy first.
                self.codebooks[level - 1].take(codes[:, level - 1], 0, chosen, "clip")
                left = np.subtract(left, chosen, out=work.residual[: len(x)])
            scores = work.scores[level][: len(x)]
            screen.score(level, left, scores)
            best = least(scores)
            codes[:, level] = best - np.arange(len(x)) * size
            limits = screen.limits(level, scores.ravel()[best], codes[:, level], bounds[:, level])
            # What is not a number, after an overflow, is not sure either.
            unsure = np.flatnonzero(~(least_but(scores, best) > limits))
            if len(unsure):
                near = screen.near(level, scores[unsure], limits[unsure], bounds[unsure, level])
                closely += int(np.count_nonzero(near))
                codes[unsure, level] = self._decide(
                    x[unsure], left[unsure], codes[unsure, :level], near, bounds[unsure, level]
                )
        return codes, closely

    def _rounding_bounds(self, x: np.ndarray) -> np.ndarray:
        """Bound the rounding error of each row's scores at each level, (n, L) float32."""
        levels = np.arange(len(self.sizes))
        reach = norm_bounds(x)[:, None] + np.cumsum(np.append(0.0, self._largest[:-1]))
        return score_bounds(reach, self._largest, self.width, levels)

    def _decide(
        self,
        x: np.ndarray,
        left: np.ndarray,
        prefix: np.ndarray,
        near: np.ndarray,
        bounds: np.ndarray,
    ) -> np.ndarray:
        """Choose among near entries, in float32 where that is enough, (n,) within the level."""
        level = prefix.shape[1]
        book, half_norms = self.codebooks[level], self._half_norms[level]
        rows, entries = np.divmod(np.flatnonzero(near), near.shape[1])
        scores = np.empty(len(rows), dtype=np.float32)
        for some in self._slices(len(rows)):
            scores[some] = np.vecdot(left[rows[some]], book[entries[some]])
        np.subtract(half_norms[entries], scores, out=scores)
        starts = np.searchsorted(rows, np.arange(len(near)))
        limits = np.minimum.reduceat(scores, starts) + 2 * bounds
        close = ~(scores > limits[rows])
        sure = np.add.reduceat(close, starts, dtype=np.int64) == 1
        chosen = np.empty(len(near), dtype=np.int64)
        found = close & sure[rows]
        chosen[rows[found]] = entries[found]
        if not sure.all():
            rest = close & ~sure[rows]
            chosen[~sure] = self._nearest(x, prefix, rows[rest], entries[rest])
        return chosen

    def _nearest(
        self, x: np.ndarray, prefix: np.ndarray, rows: np.ndarray, entries: np.ndarray
    ) -> np.ndarray:
        """Choose for each of the rows, which ascend, among its entries, in float64."""
        book = self.codebooks[prefix.shape[1]]
        first = np.diff(rows, prepend=-1) > 0
        some, at = rows[first], np.cumsum(first) - 1
        residual = self._residual(x[some], prefix[some])
        distances = np.empty(len(rows))
        for pairs in self._slices(len(rows)):
            apart = residual[at[pairs]] - book[entries[pairs]]
            distances[pairs] = (apart**2).sum(axis=1)
        order = np.lexsort((entries, distances, at))
        return entries[order[np.searchsorted(at, np.arange(len(some)))]]

    def _slices(self, pairs: int) -> Iterator[slice]:
        """Go through pairs of rows and entries, as many at a time as may be in work."""
        step = max(1, _BLOCK_VALUES // self.width)
        return (slice(start, start + step) for start in range(0, pairs, step))

    def _residual(self, x: np.ndarray, prefix: np.ndarray) -> np.ndarray:
        residual = x.astype(np.float64)
        for level in range(prefix.shape[1]):
            residual -= self.codebooks[level][prefix[:, level]]
        return residual

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the sums of entries (n, d) float32 of codes (n, l), l <= L."""
        codes = check_codes(codes, self.sizes[: np.asarray(codes).shape[-1]])
        return (-self._residual(np.zeros((len(codes), self.width)), codes)).astype(np.float32)

    def errors(self, matrix: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return squared distances (N, L) float64 to the sums of the first 1 ... L entries."""
        errors = np.empty(codes.shape, dtype=np.float64)
        rows = max(1, _BLOCK_VALUES // self.width)
        for start in range(0, len(matrix), rows):
            block = slice(start, start + rows)
            residual = matrix[block].astype(np.float64)
            for level, book in enumerate(self.codebooks):
                residual -= book[codes[block, level]]
                errors[block, level] = (residual**2).sum(axis=1)
        return errors

    def beam_codes(
        self, matrix: np.ndarray, m: int, *, passes: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the m best codes a row that a beam of width m finds, best first.

        The beam is complete where m reaches the number of all codes; see `BeamSearch`.

        Parameters
        ----------
        matrix : (N, d) float32.
        m : width of the beam.
        passes : coordinate passes over the codes that the beam found, at most.

        Returns
        -------
        codes : (N, m', L) int32, by (error, code), m' = min(m, number of codes).
        errors : (N, m') float64.
        """
        return self._beam_search().best(matrix, m, passes=passes)

    def beam_first(self, matrix: np.ndarray, m: int, *, passes: int = 0) -> np.ndarray:
        """Return the first of the codes that `beam_codes` finds for each row, (N, L) int32."""
        return self._beam_search().first(matrix, m, passes=passes)

    def _beam_search(self) -> BeamSearch:
        """Return the search, whose tables are kept where they are small: files come in pieces."""
        few = sum(self.sizes) ** 2 <= _KEPT_VALUES
        return self._kept_beam_search if few else BeamSearch(self.codebooks)

    @cached_property
    def _kept_beam_search(self) -> BeamSearch:
        return BeamSearch(self.codebooks)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what searches keep: other processes make it themselves."""
        kept = {"_rounded", "_kept_beam_search"}
        state = {name: value for name, value in self.__dict__.items() if name not in kept}
        return {**state, "_on_devices": {}}


class _Work:
    """Arrays that the blocks of one search share: numpy would ask the system for each anew.

    Rows of scores lie side by side without gaps, on which numpy is several times faster.
    """

    def __init__(self, rows: int, sizes: Sequence[int], width: int) -> None:
        one_for_all = np.empty(rows * max(sizes), dtype=np.float32)
        self.scores = [one_for_all[: rows * size].reshape(rows, size) for size in sizes]
        self.residual = np.empty((rows, width), dtype=np.float32)
        self.entries = np.empty((rows, width), dtype=np.float32)


def least(scores: np.ndarray) -> np.ndarray:
    """Return where in all scores (n, K), row after row, each row's least lies, the first one.

    Examples
    --------
    >>> least(np.array([[3.0, 1.0, 2.0], [5.0, 6.0, 5.0]])).tolist()
    [1, 3]
    """
    return np.arange(len(scores)) * scores.shape[1] + scores.argmin(axis=1)


def least_but(scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return each row's least score but the one at `best`, (n,); infinite where K = 1.

    Looking for the least twice is faster than comparing all with the first.

    Parameters
    ----------
    scores : (n, K), C-contiguous; left as they were.
    best : (n,), as `least` has them.

    Examples
    --------
    >>> scores = np.array([[3.0, 1.0, 2.0], [5.0, 6.0, 5.0]])
    >>> least_but(scores, least(scores)).tolist()
    [2.0, 5.0]
    """
    flat = scores.reshape(-1)
    kept = flat[best]
    flat[best] = np.inf
    others = flat[least(scores)]
    flat[best] = kept
    return others
