"""Runs a recipe of docs/orders.md along every path that its steps can take.

The recipe gets `Explorer` for a scheduler. Each of its steps takes one outcome of the scheduler's
own step, that is one way to draw the tokens and to choose the pixels; the recipe is run again for
every outcome, until the law that it ends in is known.
"""

import functools

import numpy as np
from test_unmask_laws import uniforms_that_draw
from unmask_laws import K, N, choices, conditionals, draws

from vqdiffusion.revealing import reveal_given

HALF = np.full((1, N), 0.5)


class Branch(Exception):
    """A step whose outcome the script does not name: all of them."""


class Explorer:
    def __init__(self, scheduler, script, seen):
        self._scheduler, self._script, self._seen = scheduler, list(script), seen
        self.weight = 1.0

    def __getattr__(self, name):
        return getattr(self._scheduler, name)

    def step(self, log_p, t, sample, rng, *, unmask, previous_timestep=None):
        s = self._scheduler.previous_timestep(t) if previous_timestep is None else previous_timestep
        state = tuple(int(x) for x in sample[0])
        how = (unmask.by, unmask.temperature, unmask.threshold, unmask.entropy_bound)
        how += (
            unmask.prior_weight,
            *(None if one is None else one.tobytes() for one in (unmask.count, unmask.positions)),
        )
        if (state, t, s, how) not in self._seen:
            found = outcomes(self._scheduler._chain, state, log_p, t, s, unmask)
            self._seen[state, t, s, how] = found
        found = self._seen[state, t, s, how]
        if not self._script:
            raise Branch(len(found))
        share, after = found[self._script.pop(0)]
        self.weight *= share
        return Step(np.array([after]))


class Step:
    def __init__(self, prev_sample):
        self.prev_sample = prev_sample


def token_law(log_p, state, prior_weight):
    """p^(1 + r q), normalised, q the largest p over that of all masked pixels."""
    p = np.exp(log_p[0])
    masked = [n for n in range(N) if state[n] == K]
    if prior_weight and masked:
        q = p.max(0) / p[:, masked].max()
        p = p / p.max(0)
        p = p ** (1 + prior_weight * q)
    return p / p.sum(0)


def outcomes(chain, state, log_p, t, s, unmask):
    """Pairs of a probability and the next state, as the native step has them."""
    law = token_law(log_p, state, unmask.prior_weight)
    found = {}
    for share, drawn in draws(state, law):
        if share == 0:
            continue
        u = uniforms_that_draw(state, law, drawn)
        out = reveal_given(chain, t, s, log_p, np.array([state]), u, HALF, None, None, unmask)
        revealed = np.flatnonzero(out.revealed[0])
        if unmask._has_noise:
            allowed = drawn if unmask.positions is None else np.flatnonzero(unmask.positions)
            keys = {n: 0.0 if unmask.by == "random" else out.scores[0, n] for n in allowed}
            temperature = 1 if unmask.by == "random" else unmask.temperature
            ways = choices(keys, len(revealed), temperature)
        else:
            ways = [(1.0, revealed)]
            assert all(out.prev_sample[0, n] == drawn[n] for n in revealed)
        for chance, pixels in ways:
            after = tuple(drawn[n] if n in pixels else state[n] for n in range(N))
            found[after] = found.get(after, 0.0) + share * chance
    return [(share, after) for after, share in found.items()]


@functools.cache
def log_conditionals(state):
    with np.errstate(divide="ignore"):
        return np.log(conditionals(state))[None]


def exact_model(sample, t):
    return log_conditionals(tuple(int(x) for x in sample[0]))


def law_of(recipe, scheduler):
    """What `recipe(scheduler, model, sample)` ends in, (K,) * N."""
    law, scripts, seen = np.zeros((K,) * N), [()], {}
    while scripts:
        script = scripts.pop()
        explorer = Explorer(scheduler, script, seen)
        try:
            final = recipe(explorer, exact_model, np.full((1, N), K))
        except Branch as branch:
            scripts += [(*script, outcome) for outcome in range(branch.args[0])]
            continue
        law[tuple(final[0])] += explorer.weight
    return law
