"""A joint law of four pixels, its exact denoiser, and the laws that orders end in, by enumeration
in float64. Nothing here comes from the package but what `outcomes` of a step are handed in.
"""

import itertools

import numpy as np

K, N = 3, 4


def joint():
    """Two independent pairs; the second pixel of a pair mostly copies the first. No two
    probabilities of different pixels are equal.
    """

    def pair(first, copied, else_):
        return np.array(first)[:, None] * (copied * np.eye(K) + (1 - copied) * np.array(else_))

    one = pair([0.6, 0.3, 0.1], 0.6, [0.2, 0.3, 0.5])
    two = pair([0.57, 0.32, 0.11], 0.53, [0.27, 0.24, 0.49])
    return one[:, :, None, None] * two[None, None]


def conditionals(state):
    """p(x_0 of each pixel | those that a state shows), (K, N); K stands for the mask."""
    law = joint()
    shown = tuple(slice(None) if x == K else slice(x, x + 1) for x in state)
    part = law[shown] / law[shown].sum()
    out = np.zeros((K, N))
    for pixel in range(N):
        marginal = part.sum(tuple(axis for axis in range(N) if axis != pixel))
        out[:, pixel] = marginal if state[pixel] == K else np.eye(K)[state[pixel]]
    return out


def chain(outcomes, calls):
    """The law that a chain from masks ends in, (K,) * N.

    `outcomes(call, state, p)` gives pairs of a probability and the next state.
    """
    states = {(K,) * N: 1.0}
    for call in range(calls):
        following = {}
        for state, weight in states.items():
            for share, after in outcomes(call, state, conditionals(state)):
                following[after] = following.get(after, 0.0) + weight * share
        states = following
    law = np.zeros((K,) * N)
    for state, weight in states.items():
        law[state] += weight
    return law


def total_variation(law):
    return np.abs(law - joint()).sum() / 2


def draws(state, p):
    """All ways to draw a token at each masked pixel, with their probabilities."""
    masked = [pixel for pixel in range(N) if state[pixel] == K]
    for tokens in itertools.product(range(K), repeat=len(masked)):
        drawn = dict(zip(masked, tokens))
        yield float(np.prod([p[k, pixel] for pixel, k in drawn.items()])), drawn


def choices(keys, count, temperature):
    """The sets of `count` pixels by their keys, with their probabilities."""
    if temperature == 0:
        order = sorted(keys, key=lambda pixel: (-keys[pixel], pixel))
        yield 1.0, tuple(order[:count])
        return
    weights = {pixel: float(np.exp(key / temperature)) for pixel, key in keys.items()}
    for order in itertools.permutations(keys, count):
        share, left = 1.0, sum(weights.values())
        for pixel in order:
            share *= weights[pixel] / left
            left -= weights[pixel]
        yield share, order


def key(by, column, token):
    ranked = np.sort(column)[::-1]
    return {
        "random": lambda: 0.0,
        "purity": lambda: np.log(ranked[0]),
        "margin": lambda: np.log(ranked[0] - ranked[1]),
        "entropy": lambda: float((column * np.log(np.maximum(column, 1e-300))).sum()),
        "confidence": lambda: np.log(column[token]),
    }[by]()


def order_law(by, temperature, calls):
    """The law that an order ends in, with N / calls pixels a call."""

    def outcomes(call, state, p):
        for share, drawn in draws(state, p):
            keys = {pixel: key(by, p[:, pixel], token) for pixel, token in drawn.items()}
            temperature_here = 1 if by == "random" else temperature
            for chance, pixels in choices(keys, N // calls, temperature_here):
                after = list(state)
                for pixel in pixels:
                    after[pixel] = drawn[pixel]
                yield share * chance, tuple(after)

    return chain(outcomes, calls)
