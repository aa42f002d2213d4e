"""`top_k` and `temperature` of `truncate` and `guided_step` against formulas in float64."""

import numpy as np
import pytest
import reference
import views

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def expected_truncation(log_p, rate, top_k=None, temperature=1.0):
    """In float64: the log-probabilities, and which are kept; by sorting, in the stated order."""
    x = log_p.astype(np.float64)
    if temperature != 1:
        x = log_softmax(x / temperature)
    order = np.argsort(-x, axis=1, kind="stable")
    mass = np.exp(np.take_along_axis(x, order, 1))
    before = np.cumsum(mass, axis=1) - mass
    keep = np.ones(x.shape, bool)
    if top_k is not None:
        keep[:, top_k:] = False
        rate = rate * mass[:, :top_k].sum(1, keepdims=True) if rate < 1 else np.inf
    keep &= before < rate
    keep[:, 0] = True
    kept = np.empty(x.shape, bool)
    np.put_along_axis(kept, order, keep, 1)
    return x, kept


def assert_truncated(result, log_p, rate, top_k=None, temperature=1.0, tolerance=3e-7):
    x, kept = expected_truncation(log_p, rate, top_k, temperature)
    found = result > -np.inf
    # Relative to what is normalised.
    size = 1 + np.abs(log_p.astype(np.float64)).max() / temperature + np.abs(x[found])
    assert np.all(np.abs(result[found] - x[found]) <= tolerance * size)
    if temperature == 1:
        np.testing.assert_array_equal(result[found], log_p.astype(result.dtype)[found])
    # A class before which the rate lies to within rounding may be kept or not; there are few.
    assert np.count_nonzero(found != kept) <= 2


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 17), (1, 300, 33), (2, 4096, 16), (3, 18, 64)])
@pytest.mark.parametrize("top_k", [1, 2, 17, 250, 10_000])
@pytest.mark.parametrize("rate", [0.0, 0.4, 0.9, 1.0, np.inf])
def test_top_k(rng, shape, top_k, rate):
    log_p = log_softmax(rng.normal(0, 3, shape)).astype(np.float32)
    for x in (log_p, views.turned(log_p)):
        result = vqdiffusion.truncate(x, rate, top_k=top_k)
        assert_truncated(result, log_p, rate, top_k)
        count = (result > -np.inf).sum(1)
        assert np.all(count <= top_k)
        if rate >= 1:
            assert np.all(count == min(top_k, shape[1]))


@pytest.mark.parametrize("sharpness", [0.0, 1e-6, 0.1, 2.0, 25.0, 300.0])
@pytest.mark.parametrize("shift", [-20.0, 0.0, 20.0])
def test_top_k_of_any_distribution(rng, sharpness, shift):
    """Also with equal classes, classes far apart, and unnormalised: the rate is of the k kept."""
    logits = rng.normal(0, sharpness, (1, 700, 33))
    if sharpness == 2:
        logits = np.round(logits * 2) / 2
    logits[:, ::5] = -np.inf
    log_p = (log_softmax(logits) + shift).astype(np.float32)
    for top_k in (1, 3, 50, 600):
        for rate in (np.inf, 0.7123):
            result = vqdiffusion.truncate(log_p, rate, top_k=top_k)
            kept = expected_truncation(log_p, rate, top_k)[1] & (log_p > -np.inf)
            # By the rate a class may be kept or not to within rounding; there are few.
            differing = np.count_nonzero((result > -np.inf) != kept)
            assert differing <= (0 if rate == np.inf else 2)


def test_equal_classes_at_the_kth_place_by_index():
    log_p = np.log(np.array([0.1, 0.3, 0.1, 0.3, 0.1, 0.1]))[None, :, None].astype(np.float32)
    kept = vqdiffusion.truncate(log_p, 1, top_k=3)[0, :, 0] > -np.inf
    np.testing.assert_array_equal(kept, [True, True, False, True, False, False])
    # 0.3 / 0.7 lies before the second: it crosses 0.6, and is kept.
    kept = vqdiffusion.truncate(log_p, 0.6, top_k=3)[0, :, 0] > -np.inf
    np.testing.assert_array_equal(kept, [False, True, False, True, False, False])
    # Of the whole, 0.6 lies before the third, of the three kept 0.857.
    for top_k, number in ((None, 3), (3, 2)):
        kept = vqdiffusion.truncate(log_p, 0.65, top_k=top_k)[0, :, 0] > -np.inf
        assert kept.sum() == number


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 17), (1, 300, 33), (2, 4096, 16)])
@pytest.mark.parametrize("temperature", [1e-3, 0.3, 0.7, 2.0, 50.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_temperature(rng, shape, temperature, dtype):
    log_p = rng.normal(0, 3, shape).astype(dtype)  # need not be normalised
    for rate, top_k in ((np.inf, None), (0.8, None), (0.8, 7), (1, 7)):
        for x in (log_p, views.turned(log_p)):
            result = vqdiffusion.truncate(x, rate, -np.inf, top_k, temperature)
            tolerance = 1e-15 if dtype == np.float64 else 3e-7
            assert_truncated(result, log_p, rate, top_k, temperature, tolerance)


def test_floor_after_temperature(rng):
    log_p = rng.normal(0, 3, (2, 40, 20)).astype(np.float32)
    for options in ({"top_k": 4}, {"temperature": 0.5}, {"top_k": 4, "temperature": 2}):
        plain = vqdiffusion.truncate(log_p, 0.9, **options)
        floored = vqdiffusion.truncate(log_p, 0.9, -3, **options)
        np.testing.assert_array_equal(floored, np.maximum(plain, -3))


def test_defaults_change_nothing(rng):
    log_p = log_softmax(rng.normal(0, 3, (2, 90, 35))).astype(np.float32)
    expected = reference.truncate(log_p, 0.8)
    np.testing.assert_array_equal(vqdiffusion.truncate(log_p, 0.8), expected)
    np.testing.assert_array_equal(
        vqdiffusion.truncate(log_p, 0.8, top_k=None, temperature=1), expected
    )


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "options", [{"top_k": 5}, {"temperature": 0.6}, {"top_k": 9, "temperature": 3.0}]
)
def test_guided_step(rng, method, guided, dtype, options):
    """The tokens of the functions in turn."""
    scheduler = VQDiffusionScheduler(61, sampling_method=method)
    uncond, cond = (log_softmax(rng.normal(0, 3, (2, 60, 350))).astype(dtype) for _ in range(2))
    for t in (0, 50):
        sample = scheduler.add_noise(rng.integers(0, 60, (2, 350)), t, 1)
        log_p = vqdiffusion.guide(uncond, cond, 2.5) if guided else cond
        log_p = vqdiffusion.truncate(log_p, 0.86, -70, **options)
        expected = scheduler.step(log_p, t, sample, 5).prev_sample
        found = scheduler.guided_step(
            uncond if guided else None, cond, t, sample, 5, guidance_scale=2.5,
            truncation_rate=0.86, **options,
        ).prev_sample  # fmt: skip
        assert np.count_nonzero(found != expected) <= 1


def test_guided_step_draws_only_what_is_kept(rng):
    scheduler = VQDiffusionScheduler(61)
    cond = rng.normal(0, 1, (1, 60, 2000)).astype(np.float32)
    sample = np.full((1, 2000), 60)
    drawn = scheduler.guided_step(None, cond, 0, sample, 3, top_k=4).prev_sample
    fourth = np.sort(cond, axis=1)[:, -4]
    assert np.all(np.take_along_axis(cond, drawn[:, None], 1)[:, 0] >= fourth)
    assert np.unique(drawn).size > 30


def test_refusals(rng):
    log_p = rng.normal(size=(1, 5, 3)).astype(np.float32)
    scheduler = VQDiffusionScheduler(6)
    sample = np.full((1, 3), 5)

    def step(**options):
        return scheduler.guided_step(None, log_p, 5, sample, 1, **options)

    for call in (lambda **options: vqdiffusion.truncate(log_p, 0.5, **options), step):
        for top_k in (0, -1):
            with pytest.raises(ValueError, match=f"^top_k must be at least 1, not {top_k}"):
                call(top_k=top_k)
        with pytest.raises(TypeError, match="^top_k must be an integer, not float"):
            call(top_k=1.5)
        for wrong in (0, -1, np.nan, np.inf, 1e-7):
            with pytest.raises(ValueError, match="^temperature must be in 1e-06 ... 1000000, not"):
                call(temperature=wrong)
    out = np.full_like(log_p, 7)
    with pytest.raises(ValueError, match="^top_k must be at least 1, not -1$"):
        _native.truncate(log_p, 0.5, -70.0, out, -1)
    with pytest.raises(ValueError, match=r"^temperature must be in 1e-06 \.\.\. 1000000, not 0$"):
        _native.truncate(log_p, 0.5, -70.0, out, 0, 0.0)
    for options in ((0, 0.5), (2, 1.0), (2, 0.5)):
        for wrong in (np.nan, np.inf):
            bad = log_p.copy()
            bad[0, 3, 1] = wrong
            with pytest.raises(ValueError, match=r"^log_p must hold .* as at \[0, 3, 1\]$"):
                _native.truncate(bad, 0.5, -70.0, out, *options)
        bad[:, :, 2] = -np.inf
        bad[0, 3, 1] = 0
        with pytest.raises(ValueError, match="^log_p must give every pixel a class"):
            _native.truncate(bad, 0.5, -70.0, out, *options)
    assert np.all(out == 7)


@pytest.mark.parametrize("largest", [1.0, 89.0, 700.0, 1e300])
@pytest.mark.parametrize("least", [-1e300, -1e308])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_numbers_far_apart(largest, least, count):
    """The places of these in the order of all float64 are more than 2^63 apart."""
    log_p = np.array([largest, least, -3.0, 0.0])[None, :, None].repeat(17, 2)
    kept = np.sort(np.argsort(-log_p[0, :, 0])[:count])
    expected = np.full(log_p.shape, -np.inf)
    expected[:, kept] = log_p[:, kept]
    np.testing.assert_array_equal(vqdiffusion.truncate(log_p, 1, top_k=count), expected)
