"""CLUB on Gaussians, whose mutual information is known, and against a loop over pairs."""

import math

import numpy as np
import pytest
import torch

from semantic_ids.quantizers.neural.club import Club
from semantic_ids.training import seeded

WIDTH = 4


def pairs(n, rho):
    x = torch.randn(n, WIDTH)
    return x, rho * x + math.sqrt(1 - rho**2) * torch.randn(n, WIDTH)


@pytest.fixture(scope="module")
def bounds():
    """The bound for each correlation, q fitted by maximum likelihood."""
    found = {}
    for rho in (0.0, 0.3, 0.6, 0.9):
        with seeded(0):
            club = Club(WIDTH, WIDTH, hidden=32)
            optimiser = torch.optim.Adam(club.parameters(), lr=5e-3)
            for _ in range(300):
                optimiser.zero_grad()
                club.misfit(*pairs(256, rho)).backward()
                optimiser.step()
            with torch.no_grad():
                found[rho] = float(club(*pairs(8000, rho)))
    return found


def truth(rho):
    return WIDTH / 2 * math.log(1 / (1 - rho**2))


def test_it_is_nothing_without_dependence(bounds):
    assert abs(bounds[0.0]) < 0.02


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_it_stays_above_the_truth(bounds, rho):
    assert bounds[rho] > truth(rho)


def test_it_rises_with_dependence(bounds):
    values = [bounds[rho] for rho in sorted(bounds)]
    assert values == sorted(values)


@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_it_is_the_loose_bound_that_gaussians_have(bounds, rho):
    assert bounds[rho] == pytest.approx(WIDTH * rho**2 / (1 - rho**2), rel=0.1)


def test_the_variance_that_is_kept_small_caps_it(bounds):
    """The closed form is 17.05 here; q's variance cannot fall to the 0.19 that would take."""
    assert bounds[0.9] < 12


def test_the_bound_is_the_mean_over_all_pairs():
    with seeded(1):
        club, (x, y) = Club(WIDTH, WIDTH, hidden=8), pairs(7, 0.5)
    with torch.no_grad():
        mean = club.mean(x).numpy().astype(np.float64)
        variance = np.exp(club.log_variance(x).numpy().astype(np.float64))
        y64 = y.numpy().astype(np.float64)

        def log_q(i, j):
            gaps = (y64[j] - mean[i]) ** 2 / variance[i]
            return -0.5 * (gaps + np.log(2 * np.pi * variance[i])).sum()

        own = sum(log_q(i, i) for i in range(7)) / 7
        every = sum(log_q(i, j) for i in range(7) for j in range(7)) / 49
        assert float(club(x, y)) == pytest.approx(own - every, rel=1e-4)
        assert float(club.misfit(x, y)) == pytest.approx(-own, rel=1e-5)
