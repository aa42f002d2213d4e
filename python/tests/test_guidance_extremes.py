"""Guidance at the ends of a type's range: what would overflow counts as -inf or is refused."""

import numpy as np
import pytest
import views

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler

DTYPES = [np.float16, np.float32, np.float64]
SCALES = [-2.0, 0.0, 0.5, 1.0, 1.5, 5.0, 1000.0, 2.0**60]


def log_probabilities(rng, shape, dtype):
    logits = rng.normal(0, 4, shape)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(dtype)


def limit(dtype, scale):
    """At and below which numbers count as -inf."""
    computed_in = np.promote_types(dtype, np.float32).type
    least = -np.finfo(computed_in).max / (4 * (1 + computed_in(abs(scale))))
    return max(least, computed_in(np.finfo(dtype).min))


def with_low(rng, dtype, low, where):
    """Two inputs of which the classes 3 … 8 are `low` in one, in the other or in both, here and
    there, and the same with -inf in its place.
    """
    uncond, cond = (log_probabilities(rng, (2, 40, 50), dtype) for _ in range(2))
    places = rng.random((2, 6, 50)) < 0.6
    for x in (uncond,) if where == "uncond" else (cond,) if where == "cond" else (uncond, cond):
        x[:, 3:9][places] = low
    return (uncond, cond), tuple(
        np.where(x == dtype(low), dtype(-np.inf), x) for x in (uncond, cond)
    )


@pytest.mark.parametrize("where", ["uncond", "cond", "both"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_lowest_number_counts_as_impossible(rng, dtype, scale, where):
    for low in {np.finfo(dtype).min, dtype(limit(dtype, scale))}:
        (uncond, cond), plain = with_low(rng, dtype, low, where)
        expected = vqdiffusion.guide(*plain, scale)
        assert np.all(np.isneginf(expected[:, 3:9]) == np.isneginf(plain[0] + plain[1])[:, 3:9])
        np.testing.assert_array_equal(vqdiffusion.guide(uncond, cond, scale), expected)
        inner = (views.turned(x) for x in (uncond, cond))
        np.testing.assert_allclose(vqdiffusion.guide(*inner, scale), expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("where", ["uncond", "cond", "both"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_guided_step_of_the_lowest_number(rng, dtype, where, method):
    scheduler = VQDiffusionScheduler(41, sampling_method=method)
    sample = rng.integers(0, 41, (2, 50))
    for scale in (1.0, 5.0):
        given, plain = with_low(rng, dtype, np.finfo(dtype).min, where)
        for t in (50, 0):
            expected = scheduler.guided_step(
                *plain, t, sample, 7, guidance_scale=scale, truncation_rate=0.9
            )
            drawn = scheduler.guided_step(
                *given, t, sample, 7, guidance_scale=scale, truncation_rate=0.9
            )
            np.testing.assert_array_equal(drawn.prev_sample, expected.prev_sample)


def test_a_little_above_the_limit_is_a_number(rng):
    for dtype, scale in ((np.float32, 5.0), (np.float64, 5.0), (np.float16, 5.0)):
        above = np.nextafter(dtype(limit(dtype, scale)), dtype(0))
        uncond, cond = (log_probabilities(rng, (1, 5, 4), dtype) for _ in range(2))
        uncond[0, 2], cond[0, 2] = above, above / 4
        result = vqdiffusion.guide(uncond, cond, scale)
        # u + 5 (u/4 - u) = -2.75 u: the class takes it all.
        np.testing.assert_array_equal(result[0, 2], 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_overflow_are_named(rng, dtype):
    uncond, cond = (log_probabilities(rng, (2, 40, 50), dtype) for _ in range(2))
    greatest = np.finfo(dtype).max
    one, column = (1, 7, 33), np.s_[1, :, 33]
    scheduler = VQDiffusionScheduler(41)

    def spoilt(x, place):
        x = x.copy()
        x[place] = greatest
        return x

    for args, name in (
        ((uncond, spoilt(cond, one)), "cond"),
        ((spoilt(uncond, column), cond), "uncond"),
    ):
        place = r"\[1, (7|0), 33\]"
        match = (
            rf"^log_p_{name} must hold numbers that guidance at this scale keeps finite, "
            rf"not 1?\.?[0-9e+.]* as at {place}$"
        )
        with pytest.raises(ValueError, match=match):
            vqdiffusion.guide(*args, 5.0)
        for method in ("gumbel", "inverse_cdf"):
            scheduler = VQDiffusionScheduler(41, sampling_method=method)
            generator = np.random.default_rng(3)
            state = generator.bit_generator.state
            with pytest.raises(ValueError, match=match):
                scheduler.guided_step(*args, 0, None, generator, guidance_scale=5.0)
            assert generator.bit_generator.state == state
    # Towards the other end they are what they say.
    assert np.all(vqdiffusion.guide(spoilt(uncond, one), cond, 5.0)[one] == -np.inf)


def extremes(rng, dtype, shape):
    info = np.finfo(dtype)
    ends = [
        info.min,
        info.max,
        info.min / 2,
        info.max / 30,
        info.max / 1e3,
        -info.max / 1e3,
        info.tiny,
        0,
        -70,
        -1e4,
    ]
    ordinary = rng.normal(-4, 3, shape)
    with np.errstate(over="ignore"):
        return np.where(
            rng.random(shape) < 0.2, rng.choice([*ends, -np.inf], shape), ordinary
        ).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_finite_input_gives_nan(rng, dtype):
    """Columns of any numbers are distributions, up to the rounding of logarithms of any size, or
    refused by the name of one of the inputs; a guided step is the same as its three parts.
    """
    refused = 0
    for _ in range(300):
        scale = rng.choice(SCALES)
        uncond, cond = (extremes(rng, dtype, (1, 7, 19)) for _ in range(2))
        schedulers = [
            VQDiffusionScheduler(8, sampling_method=method) for method in ("gumbel", "inverse_cdf")
        ]
        try:
            log_p = vqdiffusion.guide(uncond, cond, scale)
        except ValueError as error:
            assert str(error).startswith(("log_p_uncond must", "log_p_cond must"))
            refused += 1
            for scheduler in schedulers:
                with pytest.raises(ValueError, match="^log_p_(un)?cond must"):
                    scheduler.guided_step(uncond, cond, 0, None, 1, guidance_scale=scale)
            continue
        assert not np.isnan(log_p).any()
        assert np.all((log_p <= 0) & (np.exp(log_p).sum(axis=1, keepdims=True) > 0.5))
        for scheduler in schedulers:
            expected = scheduler.step(vqdiffusion.truncate(log_p, 0.9, -70), 0, None, 1).prev_sample
            drawn = scheduler.guided_step(
                uncond, cond, 0, None, 1, guidance_scale=scale, truncation_rate=0.9
            )
            np.testing.assert_array_equal(drawn.prev_sample, expected)
    assert refused < 290 and (refused > 10 or dtype == np.float16)  # whose numbers overflow nowhere


@pytest.mark.parametrize("scale", [-1.0, -5.0, 3.0])
@pytest.mark.parametrize("turned", [False, True])
def test_infinity_is_refused_at_any_scale(rng, scale, turned):
    """Also where it would turn into -inf: +inf with the condition, at a negative scale."""
    u, c = rng.normal(size=(2, 1, 40, 33)).astype(np.float32)
    c[0, 7, 20] = np.inf
    if turned:
        u, c = (one.swapaxes(1, 2).copy().swapaxes(1, 2) for one in (u, c))
    with pytest.raises(ValueError, match=r"\[0, 7, 20\]"):
        vqdiffusion.guide(u, c, scale)
