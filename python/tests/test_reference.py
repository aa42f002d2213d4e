"""The twin against itself, closed forms against explicit matrices, and the kernels against it for
any pair s < t: docs/theory.md states what is checked here."""

import itertools

import numpy as np
import pytest
from reference import (
    Rates, Reference, add_noise, guided, inverse_cdf, invert, is_last, needs_column, posterior,
    random_classes, random_log_p, transition, transition_matrix,
)  # fmt: skip

from vqdiffusion import _native

SUBSTITUTING = {
    "alpha_cum_start": 0.9,
    "alpha_cum_end": 0.1,
    "gamma_cum_start": 0.02,
    "gamma_cum_end": 0.6,
}
SCHEDULES = {"usual": {}, "substituting": SUBSTITUTING}
PAIRS = [(t, s) for t in (0, 1, 5, 11) for s in range(-1, t)]


def truth(classes, schedule=SUBSTITUTING):
    return Reference(classes + 1, 12, **schedule)


def tables(chain):
    """What native functions take of a schedule."""
    bars = (bar[:-1].astype(np.float64) for bar in (chain.alpha_bar, chain.gamma_bar))
    return chain.classes, *bars


@pytest.mark.parametrize("classes", [1, 3, 17])
def test_a_transition_is_the_product_of_its_single_steps(classes):
    chain = truth(classes)
    for t, s in PAIRS:
        rates = transition(chain.level(s), chain.level(t))
        matrix = transition_matrix(rates, classes).astype(np.float64)
        np.testing.assert_allclose(
            matrix, chain.product(t, s).astype(float), rtol=1e-13, atol=1e-15
        )


@pytest.mark.parametrize("classes", [1, 3, 17])
def test_the_closed_posterior_is_bayes_rule(rng, classes):
    chain = truth(classes)
    log_p, x_t = random_log_p(rng, 1, classes, 6), random_classes(rng, 1, classes, 6)
    for t, s in PAIRS:
        expected = chain.posterior(log_p, x_t, t, s)[0].astype(np.float64)
        for n in range(6):
            p = np.exp(log_p[0, :, n].astype(np.float64))
            out = posterior(p, x_t[0, n], chain.level(s), chain.level(t))
            np.testing.assert_allclose(out, expected[:, n], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("x", [0, 2, 4])
def test_inverse_cdf_draws_from_the_posterior(rng, x):
    chain, points = truth(4), 20_000
    p = np.exp(random_log_p(rng, 1, 4, 1, dtype=np.float64)[0, :, 0])
    for t, s in (11, 10), (11, 3), (5, 0), (5, -1):
        earlier, now = chain.level(s), chain.level(t)
        grid = (np.arange(points) + 0.5) / points
        drawn = [inverse_cdf(p, x, u, earlier, now) for u in grid]
        expected = posterior(p, x, earlier, now) / p.sum() * points
        assert np.abs(np.bincount(drawn, minlength=5) - expected).max() < 5
        other = np.roll(p, 1)
        for u, k in zip(grid[::37], drawn[::37], strict=True):
            assert needs_column(x, u, 4, earlier, now) or k == inverse_cdf(
                other, x, u, earlier, now
            )


def test_inversion_passes_over_classes_of_probability_zero():
    p = np.array([0, 0.5, 0, 0.5, 0])
    assert [invert(p, mass) for mass in (0, 0.49, 0.5, 0.99, 1)] == [1, 1, 3, 3, 3]


def test_an_absorbing_chain_carries_unmasked_pixels_over():
    p, earlier, now = np.array([0.2, 0.3, 0.5]), Rates(0.75, 0.0, 0.25), Rates(0.25, 0.0, 0.75)
    np.testing.assert_array_equal(posterior(p, 1, earlier, now), [0, 1, 0, 0])
    # Masked: each class with p_k (γ̄_t - γ̄_s)/γ̄_t.
    expected = [*(p * (0.5 / 0.75)), 0.25 / 0.75]
    np.testing.assert_allclose(posterior(p, 3, earlier, now), expected, rtol=1e-15)
    assert [inverse_cdf(p, 1, u, earlier, now) for u in (0.0, 0.5, 0.999)] == [1, 1, 1]


def test_roundings_make_no_beta_negative():
    """β̄ is 0 here but for roundings."""
    for t, s in (9, 4), (9, -1), (1, 0):
        levels = [Rates(1 - (one + 1) / 11, 1e-17 * (one % 3), (one + 1) / 11) for one in (s, t)]
        assert transition(*levels).beta >= 0


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("classes", [1, 3, 17])
def test_add_noise_agrees(rng, classes, schedule):
    chain = truth(classes, SCHEDULES[schedule])
    x, uniforms = random_classes(rng, 12, classes, 300, mask_rate=0.1), rng.random((12, 300))
    out = np.empty((12, 300), np.int64)
    for s in (-1, 0, 5):
        steps = np.maximum(np.arange(12), s + 1)
        _native.add_noise(*tables(chain), s, x, steps, uniforms, out)
        for row, n in np.ndindex(12, 300):
            levels = chain.level(steps[row]), chain.level(s)
            assert out[row, n] == add_noise(x[row, n], uniforms[row, n], classes, *levels)


def test_add_noise_draws_from_the_forward_process():
    chain, points = truth(4), 20_000
    for (t, x), s in itertools.product(np.ndindex(12, 5), (-1, 4)):
        if t <= s:
            continue
        levels = chain.level(t), chain.level(s)
        drawn = [add_noise(x, (i + 0.5) / points, 4, *levels) for i in range(points)]
        expected = chain.product(t, s)[:, x].astype(float) * points
        assert np.abs(np.bincount(drawn, minlength=5) - expected).max() < 3


@pytest.mark.parametrize("classes", [1, 3, 17])
def test_the_kernels_agree_for_any_pair(rng, classes):
    chain = truth(classes)
    log_p = random_log_p(rng, 2, classes, 50, dtype=np.float64)
    x_t, uniforms = random_classes(rng, 2, classes, 50), rng.random((2, 50))
    for t, s in PAIRS:
        out = np.empty((2, classes + 1, 50))
        _native.q_posterior(*tables(chain), t, s, log_p, x_t, out)
        expected = chain.posterior(log_p, x_t, t, s).astype(np.float64)
        np.testing.assert_allclose(np.exp(out), expected, rtol=1e-12, atol=1e-15)
        if s == -1:
            continue  # the last step draws from the model output: below
        tokens = np.empty((2, 50), np.int64)
        _native.step(*tables(chain), t, s, log_p, x_t, "inverse_cdf", uniforms, tokens)
        np.testing.assert_array_equal(tokens, chain.step_inverse_cdf(log_p, x_t, t, uniforms, s))
        needed = np.empty((2, 50), bool)
        _native.plan(*tables(chain), t, s, x_t, uniforms, needed)
        levels = chain.level(s), chain.level(t)
        for b, n in np.ndindex(2, 50):
            assert needed[b, n] == needs_column(x_t[b, n], uniforms[b, n], classes, *levels)


@pytest.mark.parametrize("t", [0, 7])
def test_the_last_step_draws_from_the_model_output(rng, t):
    chain = truth(17)
    log_p, uniforms = random_log_p(rng, 2, 17, 50), rng.random((2, 50))
    tokens = np.empty((2, 50), np.int64)
    _native.step(*tables(chain), t, -1, log_p, None, "inverse_cdf", uniforms, tokens)
    np.testing.assert_array_equal(tokens, chain.step_inverse_cdf(log_p, None, t, uniforms, -1))


def step(chain, method, t, s, model_output, x_t, uniforms, guidance=None):
    """The tokens of the native module; `guidance` is the other output, scale, rate and floor."""
    tokens = np.empty(x_t.shape, np.int64)
    given = model_output, x_t, method, uniforms, tokens, guidance
    _native.step(*tables(chain), t, s, *given)
    return tokens


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("classes", [1, 3, 17])
def test_steps_agree_for_any_pair(rng, classes, schedule):
    """By both methods, plain and with guidance and truncation."""
    chain = truth(classes, SCHEDULES[schedule])
    for t, s in PAIRS:
        uncond, cond = (random_log_p(rng, 2, classes, 50, dtype=np.float64) for _ in range(2))
        x_t = random_classes(rng, 2, classes, 50)
        for_classes = rng.random((2, classes + (not is_last(t, s)), 50))
        for_pixels = rng.random((2, 50))
        guidance = uncond, 3.0, 0.8, -70.0
        log_p = guided(uncond, cond, *guidance[1:])
        for given, x in (None, cond), (guidance, log_p):
            np.testing.assert_array_equal(
                step(chain, "gumbel", t, s, cond, x_t, for_classes, given),
                chain.step_gumbel(x, x_t, t, for_classes, s),
            )
            np.testing.assert_array_equal(
                step(chain, "inverse_cdf", t, s, cond, x_t, for_pixels, given),
                chain.step_inverse_cdf(x, x_t, t, for_pixels, s),
            )
