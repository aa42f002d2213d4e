"""Both samplers draw from the posterior, the forward process from eq. 8.

Chi-square tests here have fixed seeds. Each fails for a correct sampler with probability 1e-6 at
most, and there are fewer than 200: a false-alarm rate below 2e-4 for the whole file, for each new
choice of seeds.
"""

import numpy as np
import pytest
from chi_square import chi_square_p_value
from reference import DEFAULTS, Reference, gumbel, random_classes, random_log_p
from schedule_of import schedule_of

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

METHODS = ["inverse_cdf", "gumbel"]
FALSE_ALARM = 1e-6
# With the usual schedule a pixel is hardly ever substituted (K β̄ = 1e-6); with the other one
# often.
SCHEDULES = {
    "usual": DEFAULTS,
    "substituting": {
        "alpha_cum_start": 0.9,
        "alpha_cum_end": 0.1,
        "gamma_cum_start": 0.02,
        "gamma_cum_end": 0.6,
    },
}
PIXELS = 200_000


def one_column(log_p, x, pixels):
    """A row of pixels all alike: the model output, without the memory for it, and the sample."""
    return np.broadcast_to(log_p[None, :, None], (1, len(log_p), pixels)), np.full((1, pixels), x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_vec_classes", [2, 4, 18])
@pytest.mark.parametrize("t", [0, 1, 7, 50, 99])
def test_step_draws_from_the_posterior(method, schedule, num_vec_classes, t):
    classes = num_vec_classes - 1
    seed = [t, classes, METHODS.index(method), len(schedule)]
    rng = np.random.default_rng(seed)
    scheduler = VQDiffusionScheduler(num_vec_classes, **SCHEDULES[schedule], sampling_method=method)
    truth = Reference(num_vec_classes, **SCHEDULES[schedule])
    log_p = random_log_p(rng, 1, classes, 1)[0, :, 0]
    for x in {classes, int(log_p.argmax()), int(log_p.argmin())}:
        model_output, sample = one_column(log_p, x, PIXELS)
        drawn = scheduler.step(model_output, t, sample, rng).prev_sample
        probabilities = truth.step_probabilities(model_output[..., :1], sample, t)[0, :, 0]
        counts = np.bincount(drawn[0], minlength=num_vec_classes)
        assert chi_square_p_value(counts, probabilities) > FALSE_ALARM / 3


@pytest.mark.parametrize(
    "method, rare, pixels", [("inverse_cdf", 1e-5, 4_000_000), ("gumbel", 1e-4, 500_000)]
)
@pytest.mark.parametrize("t, x", [(0, 9), (1, 9), (60, 9), (60, 3)])
def test_rare_classes(method, rare, pixels, t, x):
    rng = np.random.default_rng([t, x])
    scheduler = VQDiffusionScheduler(10, **SCHEDULES["substituting"], sampling_method=method)
    truth = Reference(10, **SCHEDULES["substituting"])
    p = np.array([rare, 0.5, rare, rare, 0.3, 3 * rare, 0, 0.2 - 7 * rare, rare])
    with np.errstate(divide="ignore"):
        model_output, sample = one_column(np.log(p), x, pixels)
    drawn = scheduler.step(model_output, t, sample, rng).prev_sample
    probabilities = truth.step_probabilities(model_output[..., :1], sample, t)[0, :, 0]
    assert chi_square_p_value(np.bincount(drawn[0], minlength=10), probabilities) > FALSE_ALARM


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_vec_classes", [2, 3, 18])
@pytest.mark.parametrize("t", [0, 1, 40, 99])
def test_inverse_cdf_on_an_even_grid_of_uniforms(rng, schedule, num_vec_classes, t):
    # No chance here: the uniforms that lead to a class make up a few intervals, which an even grid
    # measures to within a point for each of their ends.
    classes, points = num_vec_classes - 1, 1_000_000
    scheduler = VQDiffusionScheduler(num_vec_classes, **SCHEDULES[schedule])
    truth = Reference(num_vec_classes, **SCHEDULES[schedule])
    log_p = random_log_p(rng, 1, classes, 1, dtype=np.float64)[0, :, 0] - 0.4  # not normalised
    uniforms = (np.arange(points)[None] + 0.5) / points
    for x in {classes, int(log_p.argmax()), int(log_p.argmin())}:
        model_output, sample = one_column(log_p, x, points)
        drawn = np.empty((1, points), np.int64)
        noise = "inverse_cdf", uniforms
        _native.step(*schedule_of(scheduler), t, t - 1, model_output, sample, *noise, drawn)
        expected = truth.step_probabilities(model_output[..., :1], sample, t)[0, :, 0] * points
        assert np.abs(np.bincount(drawn[0], minlength=num_vec_classes) - expected).max() < 5


@pytest.mark.parametrize("t", [0, 1, 50, 99])
def test_gumbel_takes_the_argmax_of_the_noised_posterior(rng, t):
    scheduler, truth = VQDiffusionScheduler(18, sampling_method="gumbel"), Reference(18)
    log_p, x_t = random_log_p(rng, 3, 17, 200), random_classes(rng, 3, 17, 200)
    drawn = scheduler.step(log_p, t, x_t, generator=5).prev_sample
    uniforms = np.random.default_rng(5).random((3, 18 if t else 17, 200), dtype=np.float32)
    with np.errstate(divide="ignore"):
        logits = np.log(truth.posterior(log_p, x_t, t)).astype(np.float64) if t else log_p
    noised = logits + gumbel(uniforms.astype(np.float64))
    chosen = np.take_along_axis(noised, drawn[:, None], axis=1)[:, 0]
    assert (chosen >= noised.max(axis=1) - 1e-4).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 5, 40])
def test_a_class_that_wins_by_little_wins(rng, classes, dtype):
    """The model's part of every class is about as large as the uniform part, log 2 below their sum,
    and complements of uniforms are just above a power of two: the bound by which a class is passed
    over has nothing to spare."""
    pixels = 2000
    alpha, gamma = np.array([0.45, 0.3]), np.array([0.1, 0.5])  # ᾱ = K β̄ at the earlier one
    log_p = (rng.uniform(-0.05, 0.05, (1, classes, pixels)) - np.log(classes)).astype(dtype)
    x_t = np.full((1, pixels), classes)
    complements = 2.0**-9 * rng.uniform(1, 1.04, (1, classes + 1, pixels))
    complements[:, classes] = 0.9  # not the mask
    uniforms = (1 - complements).astype(np.float32)
    drawn = np.empty((1, pixels), np.int64)
    posterior = np.empty((1, classes + 1, pixels), np.promote_types(dtype, np.float32))
    _native.step(classes, alpha, gamma, 1, 0, log_p, x_t, "gumbel", uniforms, drawn)
    _native.q_posterior(classes, alpha, gamma, 1, 0, log_p, x_t, posterior)
    scores = posterior + gumbel(uniforms.astype(np.float64))
    chosen = np.take_along_axis(scores, drawn[:, None], axis=1)[:, 0]
    assert (chosen >= scores.max(axis=1) - 1e-4).all()  # float32 noise near u = 1


@pytest.mark.parametrize("method", METHODS)
def test_at_timestep_0_the_mask_is_never_drawn_and_the_sample_not_read(rng, method):
    scheduler = VQDiffusionScheduler(4, sampling_method=method)
    log_p = random_log_p(rng, 2, 3, 5000)
    drawn = [
        scheduler.step(log_p, 0, sample, generator=8).prev_sample
        for sample in (
            None,
            np.full((2, 5000), 3),
            np.zeros((2, 5000), int),
            np.array([[-7.5]]),
            "nothing at all",
        )
    ]
    assert drawn[0].min() >= 0 and drawn[0].max() < 3
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])


@pytest.mark.parametrize("method", METHODS)
def test_the_output(rng, method):
    scheduler = VQDiffusionScheduler(6, sampling_method=method)
    log_p, x_t = random_log_p(rng, 2, 5, 9), random_classes(rng, 2, 5, 9)
    out = scheduler.step(log_p, 30, x_t, generator=1)
    again = scheduler.step(log_p, timestep=30, sample=x_t, generator=1, return_dict=False)
    assert (
        type(out) is vqdiffusion.VQDiffusionSchedulerOutput
        and type(again) is tuple
        and len(again) == 1
    )
    assert out.prev_sample.dtype == np.int64 and out.prev_sample.shape == (2, 9)
    assert (
        out.prev_sample.flags.owndata
        and out.prev_sample.flags.c_contiguous
        and out.prev_sample.flags.writeable
    )
    np.testing.assert_array_equal(out.prev_sample, again[0])
    assert not np.shares_memory(out.prev_sample, again[0]) and not np.shares_memory(
        out.prev_sample, x_t
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_threads_changes_nothing(rng, method, num_threads_restored):
    scheduler = VQDiffusionScheduler(100, sampling_method=method)
    log_p, x_t = random_log_p(rng, 3, 99, 1500), random_classes(rng, 3, 99, 1500)
    results = []
    for threads in (1, 2, 7, 0):
        vqdiffusion.set_num_threads(threads)
        assert vqdiffusion.get_num_threads() == threads
        results.append(
            (scheduler.step(log_p, 20, x_t, 3).prev_sample, scheduler.q_posterior(log_p, x_t, 20))
        )
    for tokens, posterior in results[1:]:
        np.testing.assert_array_equal(tokens, results[0][0])
        np.testing.assert_array_equal(posterior, results[0][1])


def test_the_number_of_threads_reaches_every_call(rng, monkeypatch, num_threads_restored):
    log_p, x = random_log_p(rng, 2, 5, 9), random_classes(rng, 2, 5, 9)
    onehot = vqdiffusion.index_to_log_onehot(x, 6)
    seen = []
    names = ["step", "plan", "check_model_output", "q_posterior", "add_noise"]
    names += ["apply_cumulative_transitions", "log_transition_rows", "index_to_log_onehot"]
    for name in [*names, "gumbel_noised"]:
        monkeypatch.setattr(
            _native, name, lambda *arguments, name=name: seen.append((name, arguments[-1]))
        )
    vqdiffusion.set_num_threads(3)
    VQDiffusionScheduler(6, sampling_method="gumbel").step(log_p, 20, x)
    scheduler = VQDiffusionScheduler(6)
    scheduler.step(log_p, 20, x, check_finite=True)
    scheduler.step(log_p[0], 20, x, plan=scheduler.plan(20, x))
    scheduler.q_posterior(log_p, x, 20)
    scheduler.add_noise(x, 20)
    scheduler.apply_cumulative_transitions(log_p, 20)
    scheduler.log_Q_t_transitioning_to_known_class(
        t=20, x_t=x, log_onehot_x_t=onehot, cumulative=True
    )
    vqdiffusion.index_to_log_onehot(x, 6)
    vqdiffusion.gumbel_noised(log_p, None)
    called = [name for name, _ in seen]
    assert called.count("step") == 3 and set(called) == {*names, "gumbel_noised"}
    assert {threads for _, threads in seen} == {3}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("classes", [1, 3, 17])
@pytest.mark.parametrize("t", [0, 50, 99])
def test_add_noise_draws_from_the_forward_process(schedule, classes, t):
    scheduler = VQDiffusionScheduler(classes + 1, **SCHEDULES[schedule])
    column = Reference(classes + 1, **SCHEDULES[schedule]).cumulative(t).astype(np.float64)
    rng = np.random.default_rng([classes, t])
    for x in {0, classes - 1, classes}:
        drawn = scheduler.add_noise(np.full((2, PIXELS // 2), x, np.uint8), t, rng)
        assert drawn.dtype == np.int64
        counts = np.bincount(drawn.ravel(), minlength=classes + 1)
        assert chi_square_p_value(counts, column[:, x]) > FALSE_ALARM / 3


def test_add_noise_with_a_timestep_for_each_row(rng):
    scheduler = VQDiffusionScheduler(18)
    x_0 = random_classes(rng, 4, 17, 50, mask_rate=0.2)
    t = np.array([0, 99, 50, 3], np.uint8)
    together = scheduler.add_noise(x_0, t, generator=[1, 2, 3, 4])
    for row in range(4):
        alone = scheduler.add_noise(x_0[row : row + 1], int(t[row]), generator=row + 1)
        np.testing.assert_array_equal(together[row], alone[0])
    np.testing.assert_array_equal(
        together, scheduler.add_noise(x_0, t.tolist(), generator=[1, 2, 3, 4])
    )
    assert (together[x_0 == 17] == 17).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4), (2, 3, 4, 5), (0, 4)])
def test_gumbel_noised(rng, shape, dtype):
    logits = np.asarray(rng.normal(size=shape), dtype)
    noised = vqdiffusion.gumbel_noised(logits, generator=9)
    uniforms = np.random.default_rng(9).random(shape, dtype=np.float32)
    assert noised.shape == shape and noised.dtype == (
        np.float64 if dtype == np.float64 else np.float32
    )
    # Near u = 1 float32 cannot hold log u to more digits than u itself has.
    np.testing.assert_allclose(
        noised, logits + gumbel(uniforms.astype(np.float64)), rtol=1e-5, atol=1e-5
    )


def test_gumbel_noised_of_a_transposed_array(rng):
    logits = rng.normal(size=(4, 7, 3)).transpose(2, 0, 1)
    np.testing.assert_array_equal(
        vqdiffusion.gumbel_noised(logits, 1),
        vqdiffusion.gumbel_noised(np.ascontiguousarray(logits), 1),
    )
