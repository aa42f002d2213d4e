"""Mistakes that gave wrong samples without a word, or an error that did not help."""

import math
import warnings

import numpy as np
import pytest
import views
from reference import random_classes, random_log_p

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, checks

METHODS = ["inverse_cdf", "gumbel"]
CLASSES, BATCH, PIXELS = 40, 2, 7
X = np.full((BATCH, PIXELS), CLASSES)


@pytest.fixture(autouse=True)
def not_yet_warned(monkeypatch):
    monkeypatch.setattr(checks, "_warned", False)


@pytest.fixture
def p(rng):
    return np.exp(random_log_p(rng, BATCH, CLASSES, PIXELS, dtype=np.float64))


def calls(method, x):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    return {
        "model_output": lambda: scheduler.step(x, 50, X, 1),
        "log_p_cond": lambda: scheduler.guided_step(None, x, 50, X, 1, floor=-np.inf),
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["model_output", "log_p_cond"])
def test_probabilities_warn_once(p, method, dtype, name):
    for x in (
        p.astype(dtype),
        views.turned(p.astype(dtype)),
    ):
        checks._warned = False
        call = calls(method, x)[name]
        with pytest.warns(
            UserWarning, match=f"^{name} must hold log-probabilities, but its first column"
        ) as seen:
            call()
        assert len(seen) == 1 and seen[0].filename == __file__
        call()  # where a warning is an error


def test_a_warning_that_is_an_error_leaves_the_generator_alone(p):
    scheduler, generator = VQDiffusionScheduler(CLASSES + 1), np.random.default_rng(1)
    state = generator.bit_generator.state
    with warnings.catch_warnings(), pytest.raises(UserWarning):
        warnings.simplefilter("error")
        scheduler.step(p, 50, X, generator)
    assert generator.bit_generator.state == state


def first_column(*values):
    x = np.zeros((BATCH, CLASSES, PIXELS))
    x[0, :, 0] = values[0] if len(values) == 1 else [*values, *[0] * (CLASSES - len(values))]
    return x


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((BATCH, CLASSES, PIXELS)),  # all classes alike
        first_column(1),  # one class
        first_column(0.5, 0.51),
        first_column(0.5, 0.6, -0.1),
        first_column(1.5, -0.5),
        first_column(*[0.025] * 39, -0.1),
        np.full((BATCH, CLASSES, PIXELS), np.log(1 / CLASSES)),
        np.where(np.arange(CLASSES) == 0, 0.0, -np.inf)[None, :, None]
        + np.zeros((BATCH, 1, PIXELS)),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_all_else_may_be_meant(x, method):
    for call in calls(method, x).values():
        call()
    assert not checks._warned


def test_a_plan_is_not_looked_at(p):
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    plan = scheduler.plan(50, X, 1)
    scheduler.step(p, 50, X, plan=plan)


@pytest.mark.parametrize("shape", [(0, CLASSES, 5), (2, CLASSES, 0)])
def test_nothing_to_look_at(shape):
    VQDiffusionScheduler(CLASSES + 1).step(np.zeros(shape), 50, np.zeros(shape[::2], int))


WITH_MASK = r"must have K = 40 classes, not 41: num_vec_classes counts the mask \("
TRANSPOSED = r"must have K = 40 classes, not 7: transposed\? \("


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "shape, message",
    [
        ((BATCH, CLASSES + 1, PIXELS), WITH_MASK),
        ((BATCH, PIXELS, CLASSES), TRANSPOSED),
        ((BATCH, PIXELS, CLASSES + 1), TRANSPOSED),
        (
            (BATCH, 12, PIXELS),
            r"must have K = 40 classes, not 12 \(of the axes .*; its shape is \(2, 12, 7\)\)",
        ),
    ],
)
def test_the_number_of_classes_is_explained(method, shape, message):
    scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
    x, grid = np.full(shape, -1.0), np.zeros(shape[::2], int)
    for name, call in {
        "model_output": lambda: scheduler.step(x, 50, grid),
        "log_p_cond": lambda: scheduler.guided_step(x, x, 50, grid),
        "log_p_x_0": lambda: scheduler.q_posterior(x, grid, 50),
        "q": lambda: scheduler.apply_cumulative_transitions(x, 50),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} {message}"):
            call()


def test_the_number_of_classes_of_one_hot_vectors_is_explained():
    scheduler = VQDiffusionScheduler(CLASSES + 1)

    def rows(shape):
        scheduler.log_Q_t_transitioning_to_known_class(
            t=50, x_t=X, log_onehot_x_t=np.zeros(shape, np.float32), cumulative=True
        )

    for shape, message in {
        (
            BATCH,
            CLASSES,
            PIXELS,
        ): r"must have K \+ 1 = 41 classes, not 40: the mask has a row of its own",
        (BATCH, PIXELS, CLASSES + 1): r"must have K \+ 1 = 41 classes, not 7: transposed\?",
    }.items():
        with pytest.raises(ValueError, match=f"^log_onehot_x_t {message}"):
            rows(shape)


def test_the_number_of_classes_of_needed_pixels_is_explained():
    scheduler = VQDiffusionScheduler(CLASSES + 1)
    plan = scheduler.plan(0, X, 1)  # all pixels
    for shape, message in {
        (
            BATCH * PIXELS,
            CLASSES,
        ): r"must have K = 40 classes, not 14: transposed\? \(of the axes \(classes, needed",
        (
            CLASSES + 1,
            BATCH * PIXELS,
        ): "must have K = 40 classes, not 41: num_vec_classes counts the mask",
        (
            BATCH,
            CLASSES + 1,
            PIXELS,
        ): "must have K = 40 classes, not 41: num_vec_classes counts the mask",
    }.items():
        with pytest.raises(ValueError, match=f"^model_output {message}"):
            scheduler.step(np.full(shape, -1.0), 0, X, plan=plan)


RATES = {
    86: r"not 86: 0.86\?$",
    1.5: r"not 1.5$",
    -0.1: "not -0.1$",
    -math.inf: "not -inf$",
    math.nan: "not nan$",
    1000: "not 1000$",
}


@pytest.mark.parametrize("rate", RATES)
def test_a_rate_that_is_no_share(rng, rate):
    log_p = random_log_p(rng, BATCH, CLASSES, PIXELS)
    expected = "must be a share of the probability, from 0 to 1, or math.inf for no truncation, "
    expected += RATES[rate]
    with pytest.raises(ValueError, match=f"^rate {expected}"):
        vqdiffusion.truncate(log_p, rate)
    for t in (0, 50):
        with pytest.raises(ValueError, match=f"^truncation_rate {expected}"):
            VQDiffusionScheduler(CLASSES + 1).guided_step(None, log_p, t, X, truncation_rate=rate)


@pytest.mark.parametrize("shift", [0, 5])
def test_an_infinite_rate_truncates_nothing(rng, shift):
    log_p = random_log_p(rng, BATCH, CLASSES, PIXELS) + np.float32(shift)
    np.testing.assert_array_equal(vqdiffusion.truncate(log_p, math.inf), log_p)
    sample = random_classes(rng, BATCH, CLASSES, PIXELS)
    for method in METHODS:
        scheduler = VQDiffusionScheduler(CLASSES + 1, sampling_method=method)
        guided = scheduler.guided_step(
            None, log_p, 50, sample, 1, truncation_rate=math.inf
        ).prev_sample
        np.testing.assert_array_equal(guided, scheduler.step(log_p, 50, sample, 1).prev_sample)


def chain(timesteps, first):
    scheduler, generator = VQDiffusionScheduler(CLASSES + 1), np.random.default_rng(5)
    sample, log_p = np.full((1, 500), first), np.full((1, CLASSES, 500), -math.log(CLASSES))
    for t in scheduler.timesteps[timesteps]:
        sample = scheduler.step(log_p, t, sample, generator).prev_sample
    return sample


def test_what_the_documentation_says_of_chains():
    whole = chain(slice(None), CLASSES)
    assert CLASSES not in whole
    assert (
        0.2 < (chain(slice(None, None, 4), CLASSES) == CLASSES).mean() < 0.4
    )  # which ends at t = 3
    assert (chain(slice(1), 0) == 0).mean() < 0.1  # one class of 40
    assert (chain(slice(1), CLASSES) == CLASSES).mean() > 0.9
