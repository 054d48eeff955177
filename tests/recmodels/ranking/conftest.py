"""A recommender whose probabilities are known, to compare ways of ranking."""

import numpy as np
import pytest

from semantic_ids import CodeTrie

LEVELS, SIZE, ITEMS, USERS, LIKED = 4, 8, 1000, 60, 5


class Planted:
    """Users who like 5 items each, as a model that knows their probabilities exactly.

    What a model of independent levels can know are the shares of codes at each level; a model
    that reads codes one after another knows how each depends on those before. `forwards` counts
    how often either is asked.
    """

    def __init__(self, *, shared: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        chosen = rng.choice(SIZE**LEVELS, size=ITEMS, replace=False)
        self.codes = np.stack(np.unravel_index(chosen, [SIZE] * LEVELS), axis=1)
        self.trie = CodeTrie.of(self.codes, [SIZE] * LEVELS)
        self.liked = np.array([self._draw_liked(shared, rng) for _ in range(USERS)])
        self.probabilities = np.full((USERS, ITEMS), 0.1 / (ITEMS - LIKED))
        shares = 0.9 * rng.dirichlet(np.full(LIKED, 20.0), size=USERS)
        np.put_along_axis(self.probabilities, self.liked, shares, axis=1)
        self.forwards = 0

    def _draw_liked(self, shared: int, rng: np.random.Generator) -> np.ndarray:
        """Draw items whose first `shared` codes are equal."""
        while True:
            one = self.codes[rng.integers(ITEMS), :shared]
            alike = np.flatnonzero((self.codes[:, :shared] == one).all(axis=1))
            if len(alike) >= LIKED:
                return rng.choice(alike, size=LIKED, replace=False)

    def level_logits(self) -> list[np.ndarray]:
        """Return log-probabilities of each level's codes, (USERS, SIZE) each."""
        self.forwards += 1
        return [np.log(self.probabilities @ np.eye(SIZE)[codes]) for codes in self.codes.T]

    def step(self, prefixes: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Return log-probabilities of the codes that follow prefixes."""
        self.forwards += 1
        level = prefixes.shape[2]
        under = (self.codes[:, :level] == prefixes[:, :, None]).all(axis=3)
        mass = (under * self.probabilities[users, None]) @ np.eye(SIZE)[self.codes[:, level]]
        with np.errstate(divide="ignore"):
            return np.log(mass) - np.log(mass.sum(axis=2, keepdims=True))

    def verify(self, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the log-probabilities of items, all their codes read at once."""
        self.forwards += 1
        return np.log(self.probabilities[users[:, None], rows])

    def recall(self, rows: np.ndarray) -> float:
        """Return the share of liked items that are among the rows (USERS, k)."""
        return float((rows[:, None] == self.liked[:, :, None]).any(axis=2).mean())


@pytest.fixture(params=[2, 0], ids=["liked items share 2 of 4 codes", "arbitrary codes"])
def planted(request) -> Planted:
    return Planted(shared=request.param)
