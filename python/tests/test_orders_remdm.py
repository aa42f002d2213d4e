"""ReMDM in docs/orders.md: σ of each strategy, eq. 7, and the marginals along whole chains.

The recipe runs with a scheduler that notes its steps. What those draw from is compared with the
paper's formulas in float64, on the four pixels of unmask_laws.py with their exact denoiser.
"""

import itertools

import numpy as np
import order_laws as laws
import pytest
from recipe_blocks import ORDERS, page
from test_remask import posterior
from unmask_laws import K, N, conditionals, joint

from vqdiffusion import VQDiffusionScheduler, _native, schedules

STATES = list(itertools.product(range(K + 1), repeat=N))
CLEAN = [all(x < K for x in state) for state in STATES]
DENOISED = [conditionals(state) for state in STATES]


class Recorder(VQDiffusionScheduler):
    """Notes (t, s, σ) of each step, and takes it."""

    def step(self, log_p, t, sample, rng, *, remask):
        self.taken.append((t, self.previous_timestep(t), remask))
        return super().step(log_p, t, sample, rng, remask=remask)


def recorded(alphas, calls, sigma):
    """The steps of the recipe."""
    scheduler = Recorder(
        K + 1, alphas_cumprod=alphas, gammas_cumprod=1 - alphas, timestep_spacing="trailing"
    )
    scheduler.taken = []
    masks = np.full((2, N), K)
    table = np.append(1 - alphas, 0)
    final = page(ORDERS)["remdm"](scheduler, page(ORDERS)["network"](K), masks, calls, table, sigma)
    assert (final < K).all() and len(scheduler.taken) == calls
    return scheduler.taken


def native_coefficients(alphas, t, s, sigma):
    names = _native.step_coefficient_names
    out = np.empty((1, len(names)))
    tables = np.ascontiguousarray(alphas), np.ascontiguousarray(1 - alphas)
    _native.step_coefficients(K, *tables, np.array([t]), np.array([s]), out, sigma)
    return dict(zip(names, out[0], strict=True))


def distance(steps, law_of_pixel):
    """Total variation between the data and what a chain of these steps ends in; the law as well.

    `law_of_pixel(step, p, x)` is (K + 1,).
    """
    law = np.array([float(all(x == K for x in state)) for state in STATES])
    for step in steps:
        following = np.zeros((K + 1,) * N)
        for weight, state, p in zip(law, STATES, DENOISED, strict=True):
            if weight > 0:
                q = [law_of_pixel(step, p[:, n], state[n]) for n in range(N)]
                following += weight * np.einsum("a,b,c,d->abcd", *q)
        law = following.ravel()
    final = law.reshape((K + 1,) * N)[:K, :K, :K, :K]
    assert final.sum() == pytest.approx(1, abs=1e-12)
    return np.abs(final - joint()).sum() / 2, final


def both(alphas, steps, expected_sigmas, alpha_of):
    """The recipe's chain and the paper's; how far from the data they end."""
    native = {}

    def ours(step, p, x):
        if step not in native:
            native[step] = native_coefficients(alphas, *step)
        return posterior(native[step], K, p, x)

    def theirs(step, p, x):
        (t, s, _), sigma = step
        return laws.remdm(p, x, alpha_of(t), alpha_of(s), sigma)

    apart, law = distance(steps, ours)
    _, expected = distance(list(zip(steps, expected_sigmas, strict=True)), theirs)
    np.testing.assert_allclose(law, expected, rtol=0, atol=1e-12)
    return apart


@pytest.mark.parametrize("calls", [4, 8])
@pytest.mark.parametrize("strategy, eta", [("cap", 0.04), ("rescale", 0.05)])
def test_cap_and_rescale(strategy, eta, calls):
    alphas, _ = schedules.log_linear(16, eps=0)
    steps = recorded(alphas, calls, page(ORDERS)[strategy])

    def alpha_of(t):
        return 1 - (t + 1) / 16

    sigmas = [laws.remdm_sigma(strategy, eta, alpha_of(t), alpha_of(s)) for t, s, _ in steps]
    np.testing.assert_allclose([sigma for *_, sigma in steps], sigmas, rtol=0, atol=1e-12)
    assert sigmas[-1] == 0 < sigmas[-2]
    both(alphas, steps, sigmas, alpha_of)


def test_loop():
    names = page(ORDERS)
    calls, shape = names["calls"], (names["on"], names["off"], names["height"])
    alphas = names["alphas"]
    expected = [laws.remdm_loop_alpha((t + 1) / calls, *shape) for t in range(-1, calls)]
    np.testing.assert_allclose(np.append(1, alphas), expected, rtol=0, atol=1e-12)
    steps = recorded(alphas, calls, names["loop"])
    sigmas = [0.02 if 0.05 < (t + 1) / calls - 1e-9 and (t + 1) / calls <= 0.55 else 0.0
              for t, *_ in steps]  # fmt: skip
    np.testing.assert_allclose([sigma for *_, sigma in steps], sigmas, rtol=0, atol=1e-12)
    assert sum(sigma > 0 for sigma in sigmas) == 10
    both(alphas, steps, sigmas, lambda t: expected[t + 1])


@pytest.mark.parametrize("strategy", ["cap", "rescale", "largest"])
@pytest.mark.parametrize("schedule", ["absorbing", "published"])
def test_marginals_stay(schedule, strategy):
    """Of a denoiser that knows the clean class: γ̄ of each timestep masked, ᾱ + β̄ of it."""
    alphas, gammas = (
        schedules.log_linear(100, eps=0) if schedule == "absorbing" else schedules.linear(100)
    )
    table = np.append(gammas, 0)
    sigma = page(ORDERS).get(strategy, lambda t, s, largest: largest)
    scheduler = VQDiffusionScheduler(
        K + 1, alphas_cumprod=alphas, gammas_cumprod=gammas, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(10)
    names, truth = _native.step_coefficient_names, np.eye(K)[0]
    now = np.append((1 - alphas[-1] - gammas[-1]) / K + alphas[-1] * truth, gammas[-1])
    now[1:K] = (1 - alphas[-1] - gammas[-1]) / K
    for t in scheduler.timesteps.tolist()[:-1]:
        s = scheduler.previous_timestep(t)
        shown = 1 - table[t]
        largest = min(1.0, table[s] / shown) if shown > 0 else 1.0
        out = np.empty((1, len(names)))
        _native.step_coefficients(
            K, alphas, gammas, np.array([t]), np.array([s]), out, sigma(t, s, largest)
        )
        c = dict(zip(names, out[0], strict=True))
        now = now @ np.array([posterior(c, K, truth, x) for x in range(K + 1)])
        level = (1 - alphas[s] - gammas[s]) / K
        expected = np.append(level + alphas[s] * truth, gammas[s])
        np.testing.assert_allclose(now, expected, rtol=0, atol=1e-12)


def test_a_larger_sigma_is_refused_and_the_last_step_takes_none():
    names = page(ORDERS)
    masks = np.full((2, 32), 50)
    given = (names["absorbing"], names["network"](50), masks, 4, names["gammas_absorbing"])
    with pytest.raises(ValueError, match=r"^remask must be a probability from 0 to .*, not "):
        names["remdm"](*given, lambda t, s, largest: 1.01 * largest)
    with pytest.raises(ValueError, match=r"^remask must be a probability from 0 to 0.* -1, not "):
        names["remdm"](*given, lambda t, s, largest: 0.01)
