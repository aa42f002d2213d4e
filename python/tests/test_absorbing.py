"""Chains without replacement, β̄_t = 0: a pixel that shows a class keeps it, to the last step."""

import numpy as np
import pytest
from reference import Reference

from vqdiffusion import VQDiffusionScheduler

METHODS = ["inverse_cdf", "gumbel"]
STEPS = 16


def absorbing(classes, method, steps=STEPS):
    ends = {
        "alpha_cum_start": 0.95,
        "alpha_cum_end": 0.001,
        "gamma_cum_start": 0.05,
        "gamma_cum_end": 0.999,
    }
    scheduler = VQDiffusionScheduler(classes + 1, steps, **ends, sampling_method=method)
    assert np.all(np.isneginf(scheduler.log_cumprod_bt))
    return scheduler


def log_probabilities(rng, *shape):
    logits = rng.normal(0, 2, shape)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def one_step(scheduler, way, log_p, t, sample, generator):
    if way == "step":
        return scheduler.step(log_p, t, sample, generator).prev_sample
    if way == "guided":
        return scheduler.guided_step(
            log_p, 1.5 * log_p, t, sample, generator, truncation_rate=0.95
        ).prev_sample
    plan = scheduler.plan(t, sample, generator)
    assert np.all(sample[plan.needed] == scheduler.mask_class)
    if t == 0:
        np.testing.assert_array_equal(plan.needed, sample == scheduler.mask_class)
    columns = log_p.transpose(0, 2, 1)[plan.needed].T if way == "columns" else log_p
    return scheduler.step(columns, t, sample, plan=plan).prev_sample


WAYS = [(method, way) for method in METHODS for way in ("step", "guided")]
WAYS += [("inverse_cdf", "planned"), ("inverse_cdf", "columns")]


@pytest.mark.parametrize("method, way", WAYS)
def test_no_token_changes_once_revealed(rng, method, way):
    scheduler = absorbing(5, method)
    log_p = log_probabilities(rng, 4, 5, 10_000)
    sample = np.full((4, 10_000), scheduler.mask_class)
    for t in scheduler.timesteps:
        drawn = one_step(scheduler, way, log_p, t, sample, rng)
        shown = sample != scheduler.mask_class
        assert np.all(drawn[shown] == sample[shown])
        assert np.any(drawn[~shown] != scheduler.mask_class)
        sample = drawn
    assert np.all(sample < 5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [1, 5, 1100])
def test_masked_pixels_are_drawn_from_the_model_output(rng, method, classes):
    """With the uniforms of a step over masked pixels alone, as many as ever."""
    scheduler = absorbing(classes, method)
    log_p = log_probabilities(rng, 2, classes, 37)
    sample = np.where(rng.random((2, 37)) < 0.5, classes, rng.integers(0, classes, (2, 37)))
    one, other, plain = (np.random.default_rng(5) for _ in range(3))
    drawn = scheduler.step(log_p, 0, sample, one).prev_sample
    expected = scheduler.step(log_p, 0, np.full((2, 37), classes), other).prev_sample
    np.testing.assert_array_equal(drawn, np.where(sample == classes, expected, sample))
    plain.random((2, classes, 37), np.float32) if method == "gumbel" else plain.random((2, 37))
    assert one.bit_generator.state == other.bit_generator.state == plain.bit_generator.state
    # The posterior says the same.
    posterior = scheduler.q_posterior(log_p, sample, 0)
    rows, pixels = np.nonzero(sample < classes)
    assert np.all(posterior[rows, :, pixels].argmax(axis=1) == sample[rows, pixels])


@pytest.mark.parametrize("method", METHODS)
def test_the_sample_is_read(rng, method):
    scheduler = absorbing(5, method)
    log_p = log_probabilities(rng, 2, 5, 7)
    good = np.full((2, 7), 5)
    state = rng.bit_generator.state
    for bad in (None, good + 1, good[:1], -good):
        for call in (
            lambda: scheduler.step(log_p, 0, bad, rng),  # noqa: B023
            lambda: scheduler.guided_step(log_p, log_p, 0, bad, rng),  # noqa: B023
            lambda: scheduler.guided_step(None, log_p, 0, bad, rng),  # noqa: B023
        ):
            with pytest.raises(ValueError, match="^sample must "):
                call()
    assert rng.bit_generator.state == state
    if method == "inverse_cdf":
        plan = scheduler.plan(0, good, 3)
        with pytest.raises(ValueError, match="plan must be for the sample"):
            scheduler.step(log_p, 0, good - 1, plan=plan)


@pytest.mark.parametrize("method", METHODS)
def test_a_schedule_that_begins_clean(rng, method):
    """ᾱ_0 = 1: what pixels show at t = 0 is clean already. One that is masked all the same is
    drawn.
    """
    scheduler = VQDiffusionScheduler(6, 10, 1.0, 1e-5, 0.0, 0.99, sampling_method=method)
    assert np.isneginf(scheduler.log_cumprod_bt[0]) and np.isfinite(scheduler.log_cumprod_bt[1])
    log_p = log_probabilities(rng, 2, 5, 7)
    sample = rng.integers(0, 6, (2, 7))
    drawn = scheduler.step(log_p, 0, sample, 1).prev_sample
    assert np.all(drawn[sample < 5] == sample[sample < 5]) and np.all(drawn < 5)


@pytest.mark.parametrize("method", METHODS)
def test_with_replacement_the_last_step_draws_every_pixel_anew(rng, method):
    scheduler = VQDiffusionScheduler(6, 10, sampling_method=method)
    log_p = log_probabilities(rng, 2, 5, 700)
    expected = scheduler.step(log_p, 0, None, 1).prev_sample
    sample = rng.integers(0, 6, (2, 700))
    np.testing.assert_array_equal(scheduler.step(log_p, 0, sample, 1).prev_sample, expected)
    assert np.any(expected != sample)


@pytest.mark.parametrize("t", [0, 7])
def test_tokens_are_those_of_the_float64_twin(rng, t):
    classes, shape = 6, (2, 40)
    scheduler = absorbing(classes, "inverse_cdf")
    log_p = log_probabilities(rng, shape[0], classes, shape[1])
    sample, uniforms = rng.integers(0, classes + 1, shape), np.random.default_rng(1).random(shape)
    twin = Reference(classes + 1, STEPS, 0.95, 0.001, 0.05, 0.999)
    twin.beta_bar = np.zeros_like(twin.beta_bar)  # a rounding error there
    expected = twin.step_inverse_cdf(log_p, sample, t, uniforms)
    result = scheduler.step(log_p, t, sample, np.random.default_rng(1)).prev_sample
    np.testing.assert_array_equal(result, expected)
    if t == 0:
        kept = np.take_along_axis(twin.step_probabilities(log_p, sample, t), sample[:, None], 1)
        assert np.all(kept[:, 0][sample < classes] == 1)


def test_transitions_of_classes_without_probability():
    """log(ᾱ e^q + 0) at q = log 0, which no NaN may come of."""
    scheduler = absorbing(3, "inverse_cdf")
    q = np.array([[[0.0, -np.inf], [-np.inf, -1.0], [-2.0, -np.inf]]])
    out = scheduler.apply_cumulative_transitions(q, 5)
    np.testing.assert_allclose(out[:, :3], q + scheduler.log_cumprod_at[5], rtol=1e-6)
    np.testing.assert_allclose(out[:, 3], scheduler.log_cumprod_ct[5], rtol=1e-6)
