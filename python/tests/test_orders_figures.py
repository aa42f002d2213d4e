"""The tables of docs/orders.md for four pixels, by enumeration."""

import numpy as np
import order_laws as laws
import pytest
from recipe_blocks import ORDERS, text
from test_orders_remdm import distance
from unmask_laws import N, order_law, total_variation


def rows(first):
    """The cells of the rows that begin with this one, as numbers."""
    found = [line for line in text(ORDERS).split("\n") if line.startswith(f"| {first} |")]
    return [[float(cell) for cell in line.split("|")[2:-1]] for line in found if "0." in line]


@pytest.mark.parametrize("by", ["random", "purity", "margin", "entropy", "confidence"])
def test_orders(by):
    found = [total_variation(order_law(by, heat, calls)) for heat in (0, 1) for calls in (N, 2)]
    np.testing.assert_allclose(rows(by)[0], found, rtol=0, atol=6e-4)


@pytest.mark.parametrize(
    "name, share",
    [("ancestral", 0), ("remasking, 0.2 of the largest σ", 0.2), ("remasking, all of it", 1)],
)
def test_remasking(name, share):
    found = []
    for calls in (2, 4, 8, 25):
        alphas = [1.0, *(1 - np.arange(1, calls + 1) / calls)]
        steps = []
        for alpha_s, alpha_t in reversed(list(zip(alphas, alphas[1:]))):
            last = alpha_s == 1.0
            sigma = 0.0 if last else laws.remdm_sigma("rescale", share, alpha_t, alpha_s)
            steps.append((alpha_t, alpha_s, sigma))
        found.append(distance(steps, lambda step, p, x: laws.remdm(p, x, *step))[0])
    np.testing.assert_allclose(rows(name)[0], found, rtol=0, atol=6e-4)
