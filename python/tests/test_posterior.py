"""q_posterior, eq. 11, against Bayes' rule on explicit matrices, for large K in logarithms."""

import numpy as np
import pytest
from reference import (
    LOG_ZERO, LogReference, Reference, gumbel, log_softmax, random_classes, random_log_p,
)  # fmt: skip
from schedule_of import schedule_of

from vqdiffusion import VQDiffusionScheduler, _native


def worst(values, expected):
    """The largest difference where finite values are expected. Infinities have to be the same."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(values[~finite], expected[~finite])
    return np.abs(values[finite] - expected[finite]).max()


@pytest.mark.parametrize("classes", [1, 2, 3, 17, 64])
def test_bayes_on_explicit_matrices(rng, classes):
    scheduler, truth = VQDiffusionScheduler(classes + 1), Reference(classes + 1)
    log_p, x_t = random_log_p(rng, 2, classes, 4), random_classes(rng, 2, classes, 4)
    x_t[0, :2] = classes, 0
    for t in range(100):
        probabilities = truth.posterior(log_p, x_t, t)
        with np.errstate(divide="ignore"):
            expected = np.log(probabilities).astype(np.float64)
        possible = np.isfinite(expected)
        out = scheduler.q_posterior(log_p, x_t, t)
        assert out.dtype == np.float32 and out.shape == (2, classes + 1, 4)
        assert np.abs(out[possible] - expected[possible]).max() < 1e-5
        # What cannot be is a mask: log 1e-30 stands for that zero, times Σ w <= 1/β̄; at t = 0 its
        # γ̄ is 0 as well.
        bound = LOG_ZERO - np.log(float(truth.beta_bar[t])) if t else -np.inf
        assert (out[~possible] <= bound).all() and np.isneginf(out[~possible]).all() == (t == 0)


@pytest.mark.parametrize("num_vec_classes", [2, 18, 100, 1025, 4097])
def test_every_timestep_in_float32(rng, num_vec_classes):
    scheduler, truth = VQDiffusionScheduler(num_vec_classes), LogReference(num_vec_classes)
    classes = num_vec_classes - 1
    for t in range(100):
        log_p = random_log_p(rng, 1, classes, 4, scale=rng.choice([0.5, 3, 12]))
        x_t = random_classes(rng, 1, classes, 4)
        x_t[0, :2] = classes, log_p[0, :, 1].argmax()
        out = scheduler.q_posterior(log_p, x_t, t)
        assert worst(out, truth.log_posterior(log_p, x_t, t)) < 1e-5


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-9)])
@pytest.mark.parametrize("num_vec_classes", [2, 18, 1025])
def test_any_stride(rng, num_vec_classes, dtype, tolerance):
    classes, truth = num_vec_classes - 1, LogReference(num_vec_classes)
    schedule = schedule_of(VQDiffusionScheduler(num_vec_classes))
    for t, s in (99, 97), (99, 49), (99, 0), (50, 25), (13, 10), (2, 0), (99, -1), (50, -1):
        log_p = random_log_p(rng, 1, classes, 8, dtype=dtype)
        x_t = random_classes(rng, 1, classes, 8)
        out = np.empty((1, num_vec_classes, 8), dtype)
        _native.q_posterior(*schedule, t, s, log_p, x_t, out)
        assert worst(out, truth.log_posterior(log_p, x_t, t, s)) < tolerance


@pytest.mark.parametrize("num_vec_classes", [2, 18, 1025])
def test_float64_is_computed_in_float64(rng, num_vec_classes):
    scheduler, truth = VQDiffusionScheduler(num_vec_classes), LogReference(num_vec_classes)
    for t in (0, 1, 13, 50, 98, 99):
        log_p = random_log_p(rng, 2, num_vec_classes - 1, 5, dtype=np.float64)
        x_t = random_classes(rng, 2, num_vec_classes - 1, 5)
        out = scheduler.q_posterior(log_p, x_t, t)
        assert out.dtype == np.float64
        # β̄ is a difference of float64 numbers that leaves ten digits.
        assert worst(out, truth.log_posterior(log_p, x_t, t)) < 1e-9


def test_float16_is_computed_in_float32(rng):
    scheduler = VQDiffusionScheduler(18)
    log_p, x_t = random_log_p(rng, 2, 17, 9, dtype=np.float16), random_classes(rng, 2, 17, 9)
    out = scheduler.q_posterior(log_p, x_t, 30)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, scheduler.q_posterior(log_p.astype(np.float32), x_t, 30))


@pytest.mark.parametrize(
    "schedule",
    [
        {
            "alpha_cum_start": 0.99,
            "alpha_cum_end": 0.05,
            "gamma_cum_start": 0.001,
            "gamma_cum_end": 0.8,
        },
        {
            "alpha_cum_start": 0.9,
            "alpha_cum_end": 0.01,
            "gamma_cum_start": 0.0,
            "gamma_cum_end": 0.0,
        },  # no mask at all
        {"num_train_timesteps": 2},
        {"num_train_timesteps": 1000},
    ],
)
def test_other_schedules(rng, schedule):
    scheduler, truth = VQDiffusionScheduler(18, **schedule), LogReference(18, **schedule)
    steps = scheduler.config.num_train_timesteps
    mask_rate = 0.5 if truth.gamma_bar[0] > 0 else 0
    for t in {0, 1, steps // 2, steps - 1}:
        log_p, x_t = random_log_p(rng, 2, 17, 5), random_classes(rng, 2, 17, 5, mask_rate)
        assert (
            worst(scheduler.q_posterior(log_p, x_t, t), truth.log_posterior(log_p, x_t, t)) < 1e-5
        )


@pytest.mark.parametrize("shift", [-40.0, -0.7, 5.0])
def test_unnormalised_columns(rng, shift):
    scheduler = VQDiffusionScheduler(18)
    log_p, x_t = random_log_p(rng, 2, 17, 6, dtype=np.float64), random_classes(rng, 2, 17, 6)
    for t in (0, 1, 60, 99):
        np.testing.assert_allclose(
            scheduler.q_posterior(log_p + shift, x_t, t),
            scheduler.q_posterior(log_p, x_t, t) + shift,
            rtol=1e-12,
            atol=1e-12,
        )


@pytest.mark.parametrize("dtype, first, last", [(np.float32, -105, -50), (np.float64, -725, -670)])
@pytest.mark.parametrize("classes, kept", [(1, 1), (17, 2), (1000, 1), (1000, 30)])
def test_columns_that_barely_vanish(rng, classes, kept, dtype, first, last):
    """Plain exponentials count an impossible class as 1e-38: small masses are summed otherwise."""
    scheduler = VQDiffusionScheduler(classes + 1)
    shifts = np.arange(first, last, 0.5)
    log_p = np.full((1, classes, shifts.size), -np.inf)
    log_p[:, :kept] = log_softmax(rng.normal(size=(1, kept, 1))) + shifts
    log_p = log_p.astype(dtype)
    whole = log_p.astype(np.float64) - shifts  # float32 rounds 1e-6 away; this is what is left
    for t in (1, 60, 99):
        for x in (classes, 0, classes - 1):
            x_t = np.full((1, shifts.size), x)
            expected = scheduler.q_posterior(whole, x_t, t) + shifts
            out = scheduler.q_posterior(log_p, x_t, t)
            np.testing.assert_allclose(out, expected, rtol=3e-7, atol=1e-5)


def test_columns_sum_to_the_mass_of_the_model_output(rng):
    scheduler = VQDiffusionScheduler(100)
    log_p = random_log_p(rng, 3, 99, 8, dtype=np.float64) + rng.normal(size=(3, 1, 8))
    x_t = random_classes(rng, 3, 99, 8)
    for t in (0, 1, 60, 99):
        sums = np.exp(scheduler.q_posterior(log_p, x_t, t)).sum(axis=1)
        np.testing.assert_allclose(sums, np.exp(log_p).sum(axis=1), rtol=1e-9)


def test_classes_of_probability_zero(rng):
    scheduler, truth = VQDiffusionScheduler(18), Reference(18)
    log_p, x_t = random_log_p(rng, 2, 17, 12), random_classes(rng, 2, 17, 12)
    log_p[rng.uniform(size=log_p.shape) < 0.6] = -np.inf
    log_p[:, 3] = -1.0  # so that no column is empty
    for t in (0, 1, 60, 99):
        with np.errstate(divide="ignore"):
            expected = np.log(truth.posterior(log_p, x_t, t)).astype(np.float64)
        out = scheduler.q_posterior(log_p, x_t, t)
        rows = np.s_[:, :17] if t else np.s_[:]
        assert worst(out[rows], expected[rows]) < 1e-5


def test_without_substitutions_an_unmasked_pixel_is_carried_over(rng):
    # Dyadic ends and steps, so that ᾱ + γ̄ = 1 holds exactly and β̄ is 0.
    scheduler = VQDiffusionScheduler(
        6,
        num_train_timesteps=5,
        alpha_cum_start=0.75,
        alpha_cum_end=0.25,
        gamma_cum_start=0.25,
        gamma_cum_end=0.75,
    )
    log_p, x_t = random_log_p(rng, 1, 5, 3), np.array([[5, 2, 0]])
    out = scheduler.q_posterior(log_p, x_t, 3)
    mass = np.logaddexp.reduce(log_p, axis=1)
    for n, x in ((1, 2), (2, 0)):
        expected = np.full(6, -np.inf)
        expected[x] = mass[0, n]
        np.testing.assert_allclose(out[0, :, n], expected, atol=1e-6)
    # Masked: γ̄ is 0.5 at t = 2 and 0.625 at t = 3.
    np.testing.assert_allclose(out[0, :5, 0], log_p[0, :, 0] + np.log(0.2), atol=1e-5)
    np.testing.assert_allclose(out[0, 5, 0], mass[0, 0] + np.log(0.8), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("t", [1, 2])
def test_where_nothing_is_left_of_the_clean_classes(rng, t, dtype):
    """ᾱ = 0 from t = 1 on: at t = 2 the model has no say."""
    classes, pixels = 7, 400
    alpha_bar, gamma_bar = np.array([0.5, 0, 0]), np.array([0.1, 0.2, 0.3])
    truth = Reference.of_tables(classes, alpha_bar, gamma_bar)
    log_p, x_t = (
        random_log_p(rng, 1, classes, pixels, dtype=dtype),
        random_classes(rng, 1, classes, pixels),
    )
    log_p[0, 0, :9] = -np.inf
    expected = truth.posterior(log_p, x_t, t).astype(np.float64)
    out = np.empty((1, classes + 1, pixels), dtype)
    _native.q_posterior(classes, alpha_bar, gamma_bar, t, t - 1, log_p, x_t, out)
    np.testing.assert_allclose(np.exp(out.astype(np.float64)), expected, rtol=1e-5, atol=1e-20)
    uniforms, drawn = rng.random(out.shape, np.float32), np.empty((1, pixels), np.int64)
    _native.step(classes, alpha_bar, gamma_bar, t, t - 1, log_p, x_t, "gumbel", uniforms, drawn)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(drawn, (np.log(expected) + gumbel(uniforms)).argmax(axis=1))
    if dtype == np.float32:
        guided = np.empty_like(drawn)
        _native.step(
            classes,
            alpha_bar,
            gamma_bar,
            t,
            t - 1,
            log_p,
            x_t,
            "gumbel",
            uniforms,
            guided,
            (None, 1.0, 2.0, -np.inf),
        )
        np.testing.assert_array_equal(guided, drawn)


def test_arguments_are_left_alone(rng):
    scheduler = VQDiffusionScheduler(18)
    log_p, x_t = random_log_p(rng, 2, 17, 6), random_classes(rng, 2, 17, 6)
    kept = log_p.copy(), x_t.copy()
    log_p.flags.writeable = x_t.flags.writeable = False
    first = scheduler.q_posterior(log_p, x_t, 9)
    second = scheduler.q_posterior(log_p_x_0=log_p, x_t=x_t, t=np.int64(9))
    assert first is not second
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(log_p, kept[0])
    np.testing.assert_array_equal(x_t, kept[1])
