"""`guided_step` against the float64 twin, and against the three calls that it stands for."""

import numpy as np
import pytest
import views
from engines import engine_of
from reference import Reference, guided, random_classes, random_log_p
from schedule_of import schedule_of

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

METHODS = ["gumbel", "inverse_cdf"]


@pytest.mark.parametrize("t", [99, 50, 5, 1, 0])
@pytest.mark.parametrize("has_uncond", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.86, np.inf])
@pytest.mark.parametrize("ties", [True, False])
def test_gumbel_by_brute_force(rng, t, has_uncond, rate, ties):
    uncond, cond = (random_log_p(rng, 2, 23, 37, dtype=np.float64) for _ in range(2))
    if ties:
        uncond, cond = np.round(uncond), np.round(cond)
    if not has_uncond:
        uncond = None
    sample = random_classes(rng, 2, 23, 37, mask_rate=0.5)
    scheduler = VQDiffusionScheduler(24, sampling_method="gumbel")
    result = scheduler.guided_step(
        uncond,
        cond,
        t,
        sample,
        np.random.default_rng(t),
        guidance_scale=3,
        truncation_rate=rate,
        floor=-60,
    )
    u = np.random.default_rng(t).random((2, 23 + (t > 0), 37), np.float32)
    expected = Reference(24).step_gumbel(guided(uncond, cond, 3, rate, -60), sample, t, u)
    np.testing.assert_array_equal(result.prev_sample, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 17, 33), (3, 300, 70), (1, 90, 700)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("turned", [False, True])
def test_the_three_calls_in_one(rng, method, shape, dtype, turned):
    """Token for token, whatever the memory, and the generator ends in the same state."""
    batch, classes, pixels = shape
    scheduler = VQDiffusionScheduler(classes + 1, sampling_method=method)
    for t in (99, 60, 10, 1, 0):
        uncond, cond = (random_log_p(rng, *shape, dtype=dtype) for _ in range(2))
        if turned:
            uncond, cond = (views.turned(x) for x in (uncond, cond))
        sample = random_classes(rng, batch, classes, pixels)
        # The last is not normalised: what is above any class that a normalised column could do
        # without falls short.
        less = cond - cond.dtype.type(0.3)
        cases = (
            (uncond, cond, 0.86),
            (uncond, cond, 1.0),
            (None, cond, 0.5),
            (None, cond, 0.0),
            (None, less, 0.73),
        )
        for given, cond, rate in cases:
            one, other = np.random.default_rng(t), np.random.default_rng(t)
            log_p = cond if given is None else vqdiffusion.guide(given, cond, 5.0)
            log_p = vqdiffusion.truncate(log_p, rate, -70)
            expected = scheduler.step(log_p, t, sample, one).prev_sample
            (result,) = scheduler.guided_step(
                given,
                cond,
                t,
                sample,
                other,
                guidance_scale=5.0,
                truncation_rate=rate,
                return_dict=False,
            )
            np.testing.assert_array_equal(result, expected)
            assert one.random() == other.random()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("t", [60, 5, 1, 0])
def test_classes_at_a_high_floor_win_as_well(rng, t, dtype):
    shape = batch, classes, pixels = 1, 300, 6000
    uncond, cond = (random_log_p(rng, *shape, dtype=dtype) for _ in range(2))
    sample = random_classes(rng, batch, classes, pixels)
    log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 3), 0.1, -6)
    scheduler = VQDiffusionScheduler(classes + 1, sampling_method="gumbel")
    expected = scheduler.step(log_p, t, sample, 4).prev_sample
    result = scheduler.guided_step(
        uncond, cond, t, sample, 4, guidance_scale=3, truncation_rate=0.1, floor=-6
    ).prev_sample
    np.testing.assert_array_equal(result, expected)
    held = np.take_along_axis(np.pad(log_p, ((0, 0), (0, 1), (0, 0))), expected[:, None], axis=1)[
        :, 0
    ]
    assert ((held == -6) & (expected != sample)).sum() > 15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("scale", [3, -1])
def test_columns_with_a_peak_above_a_wide_plain(rng, method, dtype, turned, scale):
    """Half the mass is in one class and the other in two thousand: more of them are kept than could
    be guessed from the first. Between them are columns of another kind.
    """
    shape = batch, classes, pixels = 1, 2000, 83
    plain = rng.normal(0, 0.1, shape)
    plain[:, rng.integers(0, classes, pixels), np.arange(pixels)] = np.log(2000)
    cond = np.where(np.arange(pixels) // 3 % 4 < 2, plain, 3 * rng.normal(size=shape))
    cond = (cond - np.log(np.exp(cond).sum(axis=1, keepdims=True))).astype(dtype)
    uncond = cond + rng.normal(0, 0.01, shape).astype(dtype)
    if scale < 0:
        cond, uncond = uncond, cond
    if turned:
        uncond, cond = (views.turned(x) for x in (uncond, cond))
    sample = random_classes(rng, batch, classes, pixels)
    scheduler = VQDiffusionScheduler(classes + 1, sampling_method=method)
    for t in (60, 5, 0):
        log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, scale), 0.86, -70)
        expected = scheduler.step(log_p, t, sample, t).prev_sample
        result = scheduler.guided_step(
            uncond, cond, t, sample, t, guidance_scale=scale, truncation_rate=0.86
        ).prev_sample
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("t", [60, 1, 0])
def test_an_engine_that_the_race_has_to_go_back_to(rng, t):
    """Some pixels get the least possible noise for every class: none of their scores is likely."""
    classes, pixels = 11, 50
    uncond, cond = (random_log_p(rng, 1, classes, pixels) for _ in range(2))
    sample = random_classes(rng, 1, classes, pixels, mask_rate=0.5)
    schedule = schedule_of(VQDiffusionScheduler(classes + 1))
    words = rng.integers(0, 2**32, 624, np.uint32)
    rows = words[: 12 * pixels].reshape(12, pixels)
    rows[:, [0, 17, 49]] &= 0xFF000000
    engines = np.stack([engine_of(words), engine_of(words)])
    expected, result = np.empty((2, 1, pixels), np.int64)
    log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 5.0), 0.86, -70)
    _native.step(*schedule, t, t - 1, log_p, sample, "gumbel", engines[0], expected)
    _native.step(
        *schedule,
        t,
        t - 1,
        cond,
        sample,
        "gumbel",
        engines[1],
        result,
        (uncond, 5.0, 0.86, -70.0),
    )
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(*engines)
    # The uniforms were those meant.
    u = (rows[None, : classes + (t > 0)] & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)
    _native.step(*schedule, t, t - 1, log_p, sample, "gumbel", u, result)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", [np.float32, np.float64])
@pytest.mark.parametrize("t", [60, 1, 0])
def test_uniforms_of_one(rng, dtype, noise, t):
    """What float32 makes of the greatest doubles: the noise is -log 1e-30, far above any other."""
    shape = batch, classes, pixels = 1, 40, 300
    uncond, cond = (random_log_p(rng, *shape, dtype=dtype) for _ in range(2))
    sample = random_classes(rng, batch, classes, pixels, mask_rate=0.5)
    schedule = schedule_of(VQDiffusionScheduler(classes + 1))
    u = rng.random((batch, classes + (t > 0), pixels)).astype(noise)
    u[rng.random(u.shape) < 0.01] = 1
    log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 5.0), 0.86, -70)
    expected = Reference(classes + 1).step_gumbel(log_p.astype(np.float64), sample, t, u)
    result = np.empty((2, batch, pixels), np.int64)
    _native.step(*schedule, t, t - 1, log_p, sample, "gumbel", u, result[0])
    _native.step(
        *schedule, t, t - 1, cond, sample, "gumbel", u, result[1], (uncond, 5.0, 0.86, -70.0)
    )
    np.testing.assert_array_equal(result[0], expected)
    np.testing.assert_array_equal(result[1], expected)


@pytest.mark.parametrize("t", [60, 1, 0])
@pytest.mark.parametrize("given", [True, False])
def test_scores_that_hardly_ever_are_the_best(rng, t, given):
    """An engine whose words are all 0 draws nothing but 0: the least noise that there is, for every
    class. The race begins at scores that are all but certain to be reached, and starts over where
    they are not.
    """
    shape = batch, classes, pixels = 2, 90, 70
    uncond, cond = (random_log_p(rng, *shape) for _ in range(2))
    sample = random_classes(rng, batch, classes, pixels, mask_rate=0.5)
    schedule = schedule_of(VQDiffusionScheduler(classes + 1))
    source = (
        np.zeros((batch, classes + (t > 0), pixels), np.float32)
        if given
        else np.zeros(625, np.uint32)
    )
    expected, result = np.empty((2, batch, pixels), np.int64)
    log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 5.0), 0.86, -70)
    _native.step(*schedule, t, t - 1, log_p, sample, "gumbel", source, expected)
    _native.step(
        *schedule, t, t - 1, cond, sample, "gumbel", source, result, (uncond, 5.0, 0.86, -70.0)
    )
    np.testing.assert_array_equal(result, expected)


def test_the_three_calls_in_one_where_it_is_not_worth_one_pass(rng):
    """Exponentials beyond float32's, and uniforms in float64: such columns are stored."""
    cond = random_log_p(rng, 2, 60, 50)
    cond[:, :, ::3] -= 150
    cond[:, :, 1::3] += 80
    sample = random_classes(rng, 2, 60, 50)
    scheduler = VQDiffusionScheduler(61, sampling_method="gumbel")
    for t in (50, 1, 0):
        expected = scheduler.step(vqdiffusion.truncate(cond, 1e-66), t, sample, t).prev_sample
        result = scheduler.guided_step(
            None, cond, t, sample, t, truncation_rate=1e-66, floor=-np.inf
        ).prev_sample
        np.testing.assert_array_equal(result, expected)

    cond, schedule = random_log_p(rng, 2, 60, 50), schedule_of(scheduler)
    u = rng.random((2, 61, 50))
    expected, result = np.empty((2, 2, 50), np.int64)
    _native.step(
        *schedule,
        9,
        8,
        vqdiffusion.truncate(cond, 0.9, -70),
        sample,
        "gumbel",
        u,
        expected,
    )
    _native.step(*schedule, 9, 8, cond, sample, "gumbel", u, result, (None, 1.0, 0.9, -70.0))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_those_of_pipelines(rng, method):
    uncond, cond = (random_log_p(rng, 1, 200, 300) for _ in range(2))
    sample = random_classes(rng, 1, 200, 300)
    scheduler = VQDiffusionScheduler(201, sampling_method=method)
    result = scheduler.guided_step(uncond, cond, 2, sample, 7).prev_sample
    log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 5), 1, -70)
    np.testing.assert_array_equal(result, scheduler.step(log_p, 2, sample, 7).prev_sample)


@pytest.mark.parametrize("method", METHODS)
def test_threads_rows_and_lists_of_generators(rng, method):
    uncond, cond = (random_log_p(rng, 3, 500, 400) for _ in range(2))
    sample = random_classes(rng, 3, 500, 400)
    scheduler = VQDiffusionScheduler(501, sampling_method=method)
    timestep = (
        3 if method == "gumbel" else 0
    )  # which needs every column: enough for threads with one uniform, too

    def step(seed, rows=slice(None)):
        return scheduler.guided_step(
            uncond[rows], cond[rows], timestep, sample[rows], seed, truncation_rate=0.9
        ).prev_sample

    expected = step(1)
    try:
        for threads in (1, 2, 3, 8):
            vqdiffusion.set_num_threads(threads)
            np.testing.assert_array_equal(step(1), expected)
    finally:
        vqdiffusion.set_num_threads(0)
    np.testing.assert_array_equal(step([1, 2, 3])[1], step(2, slice(1, 2))[0])


def test_inverse_cdf_reads_only_what_it_needs(rng):
    scheduler = VQDiffusionScheduler(65)
    uncond, cond = (random_log_p(rng, 2, 64, 500) for _ in range(2))
    sample = random_classes(rng, 2, 64, 500)
    needed = scheduler.plan(50, sample, 4).needed
    assert 0 < needed.sum() < 100
    expected = scheduler.guided_step(uncond, cond, 50, sample, 4).prev_sample
    for x in (uncond, cond):
        x.transpose(0, 2, 1)[~needed] = np.nan
    np.testing.assert_array_equal(
        scheduler.guided_step(uncond, cond, 50, sample, 4).prev_sample, expected
    )
    row, pixel = np.argwhere(needed)[-1]
    cond[row, 9, pixel] = np.inf
    with pytest.raises(ValueError, match=rf"log_p_cond must .*\[{row}, 9, {pixel}\]"):
        scheduler.guided_step(uncond, cond, 50, sample, 4)


def spoilt(x, place, value):
    x = x.copy()
    x[place] = value
    return x


@pytest.mark.parametrize("method", METHODS)
def test_errors_leave_generators_alone(rng, method):
    uncond, cond = (random_log_p(rng, 2, 30, 40) for _ in range(2))
    sample = random_classes(rng, 2, 30, 40)
    scheduler = VQDiffusionScheduler(31, sampling_method=method)
    # At t = 0 every column is read.
    good = {"log_p_uncond": uncond, "log_p_cond": cond, "timestep": 0, "sample": None}
    place = (1, 7, 39)
    cases = [
        (
            {"log_p_uncond": spoilt(uncond, place, np.nan)},
            ValueError,
            r"log_p_uncond must .*\[1, 7, 39\]",
        ),
        (
            {"log_p_cond": spoilt(cond, place, np.inf)},
            ValueError,
            r"log_p_cond must .*\[1, 7, 39\]",
        ),
        (
            {"log_p_cond": spoilt(cond, place, np.nan), "log_p_uncond": None},
            ValueError,
            r"log_p_cond .*\[1, 7, 39\]",
        ),
        (
            {"log_p_cond": spoilt(cond, np.s_[1, :, 3], -np.inf)},
            ValueError,
            "log_p_cond must .*row 1, pixel 3",
        ),
        (
            {"log_p_uncond": spoilt(uncond, np.s_[1, :, 3], -np.inf)},
            ValueError,
            "log_p_cond must .*row 1, pixel 3",
        ),
        (
            {"log_p_cond": spoilt(cond, place, 3e38)},
            ValueError,
            r"log_p_cond must .* finite, not 3.*\[1, 7, 39\]",
        ),
        ({"log_p_uncond": uncond[:1]}, ValueError, "log_p_cond must have"),
        ({"log_p_uncond": uncond[:, :29]}, ValueError, "log_p_cond must have"),
        ({"log_p_uncond": uncond.astype(np.float64)}, TypeError, "log_p_cond must be"),
        ({"log_p_uncond": None, "log_p_cond": cond[:, :29]}, ValueError, "log_p_cond must have"),
        ({"log_p_cond": None}, TypeError, "log_p_cond"),
        ({"guidance_scale": np.nan}, ValueError, "guidance_scale"),
        ({"guidance_scale": "5"}, TypeError, "guidance_scale"),
        ({"truncation_rate": np.nan}, ValueError, "truncation_rate"),
        ({"floor": np.inf}, ValueError, "floor"),
        ({"timestep": 100}, ValueError, "timestep"),
        ({"timestep": 5, "sample": sample + 30}, ValueError, "sample must"),
        ({"timestep": 5, "sample": sample[:, :7]}, ValueError, "sample must"),
    ]
    generator = np.random.default_rng(3)
    state = generator.bit_generator.state
    for change, error, match in cases:
        with pytest.raises(error, match=match):
            scheduler.guided_step(**{**good, **change}, generator=generator)
        assert generator.bit_generator.state == state
    assert scheduler.guided_step(**good, generator=generator).prev_sample.max() < 30
    assert generator.bit_generator.state != state


def test_scale_and_unconditional_output_are_independent(rng):
    """Without the unconditional output no scale guides; with it every scale does."""
    uncond, cond = (random_log_p(rng, 1, 40, 600) for _ in range(2))
    scheduler = VQDiffusionScheduler(41)
    plain = scheduler.guided_step(None, cond, 0, None, 1, guidance_scale=5).prev_sample
    other = scheduler.guided_step(None, cond, 0, None, 1, guidance_scale=2).prev_sample
    np.testing.assert_array_equal(plain, other)
    half = scheduler.guided_step(uncond, cond, 0, None, 1, guidance_scale=0.5).prev_sample
    assert np.any(half != plain)
    log_p = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 0.5), 1, -70)
    np.testing.assert_array_equal(half, scheduler.step(log_p, 0, None, 1).prev_sample)


@pytest.mark.parametrize("method", METHODS)
def test_the_two_outputs_may_lie_in_memory_in_two_ways(rng, method):
    scheduler = VQDiffusionScheduler(6, sampling_method=method)
    both = rng.normal(size=(2, 3, 5, 40)).astype(np.float32)
    sample = np.full((3, 40), 5)
    apart = np.repeat(both[0], 2, axis=0)[::2]  # rows twice as far from each other
    drawn = [
        scheduler.guided_step(*pair, 0, sample, 1).prev_sample
        for pair in (both, (apart, both[1]), (both[0], np.asfortranarray(both[1])))
    ]
    np.testing.assert_array_equal(drawn[1], drawn[0])
    np.testing.assert_array_equal(drawn[2], drawn[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(0, 5, 7), (2, 5, 0)])
def test_empty(method, shape):
    empty, sample = np.zeros(shape, np.float32), np.zeros((shape[0], shape[2]), np.int64)
    scheduler = VQDiffusionScheduler(6, sampling_method=method)
    assert scheduler.guided_step(empty, empty, 3, sample).prev_sample.shape == sample.shape
