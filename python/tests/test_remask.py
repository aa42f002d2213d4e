"""Steps that mask pixels again: marginals, both samplers, ReMDM's own formula, bad input."""

import numpy as np
import pytest
from chain_case import CLASSES, TABLES, T, scheduler_of
from chi_square import chi_square_p_value

from vqdiffusion import VQDiffusionScheduler, _native

STEPS = [(t, s) for t in range(T) for s in range(-1, t)]
MASKING = ["linear", "absorbing", "mixed"]


def largest(name, t, s):
    gamma = TABLES[name][1]
    shown = 1 - gamma[t]
    return 0.0 if s < 0 else min(1.0, gamma[s] / shown) if shown > 0 else 1.0


def coefficients(name, classes, t, s, remask):
    names = _native.step_coefficient_names
    alpha, gamma = (np.ascontiguousarray(table) for table in TABLES[name])
    out = np.empty((1, len(names)))
    _native.step_coefficients(classes, alpha, gamma, np.array([t]), np.array([s]), out, remask)
    return dict(zip(names, out[0], strict=True))


def posterior(c, classes, p, x):
    """(K + 1,) of a pixel that shows x, from vqd_coefficients as the header defines them."""
    if x == classes:
        of_class = c["masked_signal"] * p + c["masked_level"] * p.sum()
        return np.append(of_class, c["masked_mask"] * p.sum())
    mass = c["other_weight"] * (p.sum() - p[x]) + c["own_weight"] * p[x]
    of_class = c["signal"] * p + c["level"] * mass
    of_class[x] = c["own_signal"] * p[x] + c["own_level"] * mass
    return np.append(of_class, c["own_mask"] * p[x] + c["mask"] * mass)


def marginal(name, classes, t):
    """q(x_t | x_0 = 0), (K + 1,)."""
    if t < 0:
        return np.eye(classes + 1)[0]
    alpha, gamma = TABLES[name][0][t], TABLES[name][1][t]
    beta = max(0.0, (1 - alpha - gamma) / classes)
    return np.append(alpha * np.eye(classes)[0] + beta, gamma)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", MASKING)
def test_marginals_stay_those_of_the_forward_process(name, share):
    classes = 5
    truth = np.eye(classes)[0]
    for t, s in STEPS:
        if s < 0:
            continue
        c = coefficients(name, classes, t, s, share * largest(name, t, s))
        now = marginal(name, classes, t)
        kernel = np.array([posterior(c, classes, truth, x) for x in range(classes + 1)])
        reached = now @ kernel
        assert np.abs(kernel.sum(1)[now > 0] - 1).max() < 1e-12
        assert np.abs(reached - marginal(name, classes, s)).max() < 1e-14, (t, s)


@pytest.mark.parametrize("kappa", [0.0, 0.4, 1.0])
def test_the_psi_posterior_of_duo(kappa):
    """κ q(x_s | x_t, x_0) + (1 - κ) q(x_s | x_0) of an absorbing chain has σ = (1 - κ) γ̄_s."""
    classes, name = 4, "absorbing"
    truth = np.eye(classes)[0]
    for t, s in STEPS:
        if s < 0:
            continue
        sigma = (1 - kappa) * TABLES[name][1][s]
        ours, plain = (coefficients(name, classes, t, s, one) for one in (sigma, 0.0))
        for x in (0, classes):
            expected = kappa * posterior(plain, classes, truth, x)
            expected += (1 - kappa) * marginal(name, classes, s)
            np.testing.assert_allclose(posterior(ours, classes, truth, x), expected, atol=1e-14)


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("name", MASKING)
def test_steps_draw_from_the_coefficients(rng, name, method):
    pixels, t, s = 40_000, 8, 5
    sigma = 0.6 * largest(name, t, s)
    scheduler = scheduler_of(name, CLASSES, sampling_method=method)
    p = rng.dirichlet(np.ones(CLASSES))
    log_p = np.broadcast_to(np.log(p)[None, :, None], (1, CLASSES, pixels))
    c = coefficients(name, CLASSES, t, s, sigma)
    for x in (0, 3, CLASSES):
        sample = np.full((1, pixels), x)
        drawn = scheduler.step(log_p, t, sample, rng, previous_timestep=s, remask=sigma)
        counts = np.bincount(drawn.prev_sample[0], minlength=CLASSES + 1)
        expected = posterior(c, CLASSES, p, x)
        assert chi_square_p_value(counts, np.maximum(expected, 0)) > 1e-4, x  # 18 in all


def test_an_even_grid_of_uniforms_has_the_law(rng):
    pixels, t, s = 1 << 14, 8, 5
    for name in MASKING:
        chain = scheduler_of(name, CLASSES)._chain
        sigma = 0.6 * largest(name, t, s)
        c = coefficients(name, CLASSES, t, s, sigma)
        p = rng.dirichlet(np.ones(CLASSES))
        log_p = np.broadcast_to(np.log(p)[None, :, None], (1, CLASSES, pixels))
        u = (np.arange(pixels)[None] + 0.5) / pixels
        for x in range(CLASSES + 1):
            drawn = np.empty((1, pixels), np.int64)
            chain.step(t, s, log_p, np.full((1, pixels), x), u, drawn, remask=sigma)
            counts = np.bincount(drawn[0], minlength=CLASSES + 1)
            # A class lies in one or two runs of uniforms.
            assert np.abs(counts - pixels * posterior(c, CLASSES, p, x)).max() < 3, (name, x)


def test_absorbing_is_remdm():
    """Eq. 7 of Wang et al. 2025, arXiv 2503.00307, with α = 1 - γ̄."""
    alphas = 1 - TABLES["absorbing"][1]
    p = np.array([0.5, 0.3, 0.2])
    for t, s in STEPS:
        if s < 0:
            continue
        sigma, (alpha_t, alpha_s) = 0.4 * largest("absorbing", t, s), alphas[[t, s]]
        c = coefficients("absorbing", 3, t, s, sigma)
        expected = np.append((1 - sigma) * np.eye(3)[1], sigma)
        np.testing.assert_allclose(posterior(c, 3, p, 1), expected, atol=1e-14)
        if alpha_t < 1:
            reveal = (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)
            stay = (1 - alpha_s - sigma * alpha_t) / (1 - alpha_t)
            expected = np.append(reveal * p, stay)
            np.testing.assert_allclose(posterior(c, 3, p, 3), expected, atol=1e-14)


def test_a_larger_one_is_refused_with_the_largest(rng):
    scheduler = scheduler_of("mixed", CLASSES)
    sample = rng.integers(0, CLASSES + 1, (2, 6))
    log_p = np.log(rng.dirichlet(np.ones(CLASSES), (2, 6))).transpose(0, 2, 1)
    top = largest("mixed", 6, 3)
    assert 0 < top < 1
    before = rng.bit_generator.state
    scheduler.step(log_p, 6, sample, 1, previous_timestep=3, remask=top)
    message = f"^remask must be a probability from 0 to {top:.9f}.*, .* at timestep 3, not "
    for bad in (np.nextafter(top, 2), -0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=message):
            scheduler.step(log_p, 6, sample, rng, previous_timestep=3, remask=bad)
        with pytest.raises(ValueError, match=message):
            scheduler.plan(6, sample, rng, previous_timestep=3, remask=bad)
    with pytest.raises(ValueError, match="^remask must be .* from 0 to 0, .*timestep -1"):
        scheduler.step(log_p, 6, sample, rng, previous_timestep=-1, remask=0.1)
    with pytest.raises(TypeError, match="^remask must be a real number"):
        scheduler.step(log_p, 6, sample, rng, remask="much")
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("s", [-1, 0])
def test_none_where_nothing_is_masked_and_all_was(method, s):
    """γ̄_s = 0 and γ̄_t = 1: no bound from the pixels that show a class, as none does."""
    scheduler = VQDiffusionScheduler(
        6, 2, alphas_cumprod=[0.5, 0], gammas_cumprod=[0, 1], sampling_method=method
    )
    log_p, sample = np.full((1, 5, 64), np.log(0.2)), np.arange(64)[None] % 6
    with pytest.raises(ValueError, match="^remask must be .* from 0 to 0,"):
        scheduler.step(log_p, 1, sample, 1, previous_timestep=s, remask=0.5)
    tokens = scheduler.step(log_p, 1, sample, 1, previous_timestep=s).prev_sample
    assert s == 0 or tokens.max() < 5


def test_planned_and_guided_steps_give_the_same(rng):
    scheduler = scheduler_of("mixed", CLASSES)
    sample = rng.integers(0, CLASSES + 1, (3, 50))
    log_p = np.log(rng.dirichlet(np.ones(CLASSES), (3, 50))).transpose(0, 2, 1)
    given = {"previous_timestep": 3, "remask": 0.2}
    expected = scheduler.step(log_p, 6, sample, 5, **given).prev_sample
    plan = scheduler.plan(6, sample, 5, **given)
    columns = log_p.transpose(0, 2, 1)[plan.needed].T
    planned = scheduler.step(columns, 6, sample, plan=plan, previous_timestep=3).prev_sample
    np.testing.assert_array_equal(planned, expected)
    guided = scheduler.guided_step(None, log_p, 6, sample, 5, truncation_rate=np.inf, **given)
    np.testing.assert_array_equal(guided.prev_sample, expected)
    assert (expected[sample < CLASSES] == CLASSES).mean() > 0.1


def test_an_overridden_posterior_takes_none(rng):
    class Own(VQDiffusionScheduler):
        def q_posterior(self, *arguments, **named):
            return super().q_posterior(*arguments, **named)

    scheduler = Own(CLASSES + 1)
    sample = np.full((1, 3), CLASSES)
    log_p = np.full((1, CLASSES, 3), -np.log(CLASSES))
    with pytest.raises(ValueError, match="^remask must be 0 where the scheduler's posterior is"):
        scheduler.step(log_p, 50, sample, rng, remask=0.1)
