"""Whole chains: with a denoiser that knows the data, what comes out is distributed as the data.

Seeds are fixed. False-alarm rates for a correct sampler are given with each test.
"""

import numpy as np
import pytest
from chi_square import chi_square_p_value
from reference import Reference, random_log_p

from vqdiffusion import VQDiffusionScheduler

METHODS = ["inverse_cdf", "gumbel"]


@pytest.mark.parametrize("method", METHODS)
def test_independent_pixels(method):
    # The model output is the distribution of the data itself, another one in each row. False
    # alarms: each of the 8 chi-square tests 1e-6; of the 2 x 100 comparisons of the masked
    # fraction, at 6 standard deviations, 4e-7 in all.
    classes, rows, pixels = 5, 4, 50_000
    rng = np.random.default_rng(1)
    scheduler = VQDiffusionScheduler(classes + 1, sampling_method=method)
    gamma_bar = Reference(classes + 1).gamma_bar.astype(float)
    log_p = random_log_p(rng, rows, classes, 1)
    model_output = np.broadcast_to(log_p, (rows, classes, pixels))
    x = np.full((rows, pixels), classes)
    for t in scheduler.timesteps:
        x = scheduler.step(model_output, t, x, rng).prev_sample
        masked = gamma_bar[t - 1]  # at t = 0 that of clean data, which has no masks
        deviation = np.sqrt(masked * (1 - masked) / x.size)
        # 1e-5: the chain starts masked throughout, not with γ̄ = 0.99999.
        assert abs((x == classes).mean() - masked) <= 6 * deviation + 1e-5
    for row in range(rows):
        counts = np.bincount(x[row], minlength=classes)
        assert len(counts) == classes
        assert chi_square_p_value(counts, np.exp(log_p[row, :, 0].astype(float))) > 1e-6


def clean_given_noisy(joint, truth, t):
    """log p(x_0 of each pixel | x_t of both pixels), for two pixels with the joint distribution of
    clean data given.

    Indices: x_t of the first pixel, x_t of the second, class, pixel.
    """
    noise = truth.cumulative(t)[:, : truth.classes].astype(np.float64)
    weights = np.einsum("ai,bj,ij->abij", noise, noise, joint)
    weights /= weights.sum(axis=(2, 3), keepdims=True)
    with np.errstate(divide="ignore"):
        return np.log(np.stack([weights.sum(axis=3), weights.sum(axis=2)], axis=-1))


@pytest.mark.parametrize("method", METHODS)
def test_two_dependent_pixels(method):
    # Pixels are drawn separately within a step, which costs 0.01 in total variation over 100 steps;
    # 20 000 chains add a statistical error of 0.008 on average. The bound of 0.03 is more than five
    # standard deviations beyond both.
    classes, chains = 3, 20_000
    joint = np.array([[0.30, 0.01, 0.04], [0.00, 0.25, 0.05], [0.10, 0.05, 0.20]])
    rng = np.random.default_rng(2)
    scheduler, truth = (
        VQDiffusionScheduler(classes + 1, sampling_method=method),
        Reference(classes + 1),
    )
    x = np.full((2, chains), classes)
    for t in scheduler.timesteps:
        table = clean_given_noisy(joint, truth, t)
        model_output = table[
            x[0], x[1]
        ].T  # (pixel, class, chain): one row of the batch for each of the two pixels
        x = scheduler.step(model_output, t, x, rng).prev_sample
    counts = np.bincount(x[0] * classes + x[1], minlength=classes * classes)
    assert np.abs(counts / chains - joint.ravel()).sum() / 2 < 0.03


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [1, 5, 50, 99])
def test_a_step_back_from_the_forward_process_lands_on_the_forward_process(method, t):
    # With the exact p(x_0 | x_t), q(x_t) and one reverse step give q(x_{t-1}). False alarms: 1e-6
    # each.
    classes, pixels = 4, 200_000
    schedule = {
        "alpha_cum_start": 0.9,
        "alpha_cum_end": 0.1,
        "gamma_cum_start": 0.02,
        "gamma_cum_end": 0.6,
    }
    rng = np.random.default_rng(t)
    scheduler, truth = (
        VQDiffusionScheduler(classes + 1, **schedule, sampling_method=method),
        Reference(classes + 1, **schedule),
    )
    data = np.array([0.6, 0.3, 0.09, 0.01])
    x_t = scheduler.add_noise(rng.choice(classes, (1, pixels), p=data), t, rng)
    clean = truth.cumulative(t)[:, :classes].astype(float) * data
    table = np.log(clean / clean.sum(axis=1, keepdims=True))
    x = scheduler.step(table[x_t].transpose(0, 2, 1), t, x_t, rng).prev_sample
    expected = truth.cumulative(t - 1)[:, :classes].astype(float) @ data
    assert chi_square_p_value(np.bincount(x[0], minlength=classes + 1), expected) > 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_seeded_chain_repeats_itself(method):
    scheduler = VQDiffusionScheduler(18, sampling_method=method)
    scheduler.set_timesteps(30)
    log_p = random_log_p(np.random.default_rng(0), 2, 17, 64)

    def chain(seed):
        generator = np.random.default_rng(seed)
        x = np.full((2, 64), scheduler.mask_class)
        for t in scheduler.timesteps:
            x = scheduler.step(log_p, t, x, generator).prev_sample
        return x

    np.testing.assert_array_equal(chain(5), chain(5))
    assert (chain(5) != chain(6)).any()
    assert chain(5).max() < scheduler.mask_class
