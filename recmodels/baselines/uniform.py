"""Recommend at random: what chance alone achieves."""

import hashlib
from dataclasses import dataclass

import numpy as np

from recmodels.data import Histories


@dataclass(frozen=True)
class Uniform:
    """A recommender whose scores are uniform in [0, 1) and independent of everything.

    Parameters
    ----------
    size : number of items N, at least 1.
    seed : at least 0 and below 2**64.

    Raises
    ------
    ValueError
        if `size` or `seed` is out of range.

    Notes
    -----
    The scores of a history are a function of the seed and the history's items: a counter-based
    generator (Philox; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is
    keyed by a hash of both. So they depend neither on the block that a history is scored in nor
    on what was scored before, and two users with the same history get the same scores.

    A target's rank is uniform on 1 to N, but for rare ties of float32: HR@k is k / N on average.

    Examples
    --------
    >>> from recmodels.data import Histories
    >>> uniform = Uniform(size=5, seed=1)
    >>> both = uniform.scores(Histories.of([[0, 3], [2]]))
    >>> alone = uniform.scores(Histories.of([[2]]))
    >>> bool((both[1] == alone[0]).all())
    True
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a size or a seed that is out of range."""
        if self.size < 1:
            raise ValueError(f"size={self.size} should be >= 1")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed={self.seed} should be >= 0 and < 2**64")

    def scores(self, histories: Histories) -> np.ndarray:
        """Draw a score of each item for each history.

        Parameters
        ----------
        histories : n histories.

        Returns
        -------
        (n, N) float32
        """
        scores = np.empty((len(histories), self.size), dtype=np.float32)
        for user, row in enumerate(scores):
            generator = np.random.Generator(np.random.Philox(key=self._key(histories[user])))
            generator.random(dtype=np.float32, out=row)
        return scores

    def _key(self, items: np.ndarray) -> int:
        # The byte order is fixed so that every machine draws the same scores.
        content = self.seed.to_bytes(8, "little") + items.astype("<i4").tobytes()
        return int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "little")
