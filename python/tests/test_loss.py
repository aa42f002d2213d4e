"""The training loss on NumPy arrays, against Bayes' rule in float64."""

import numpy as np
import pytest
from loss_case import PAIRS, TABLES, bound, call, case, scheduler_of, slope, turned

import vqdiffusion

DTYPES = [np.float16, np.float32, np.float64]


def assert_gradient(gradient, name, z, x_0, x_t, pairs, **options):
    """To 1e-6 of the largest entry, along directions of all entries, of few and of one."""
    gradient, exact = gradient.astype(np.float64), z.astype(np.float64)
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-6 * largest)
    classes, rng = np.arange(z.shape[1])[:, None], np.random.default_rng(1)
    directions = [
        rng.normal(size=z.shape),
        (classes == x_0[:, None]).astype(float),
        (classes == x_t[:, None]).astype(float),
        *(
            (rng.random(z.shape) < 0.5 / z[0].size).astype(float)
            for _ in range(5 if z.shape[1] < 1000 else 1)
        ),
    ]
    for direction in directions:
        truth = slope(name, exact, direction, x_0, x_t, pairs, **options)
        scale = largest * np.linalg.norm(direction) + 1e-12
        assert abs((gradient * direction).sum() - truth) <= 1e-6 * scale


@pytest.mark.parametrize("layout", ["outer", "inner"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 17, 100, 4096])
@pytest.mark.parametrize("name", TABLES)
def test_agrees_with_bayes(name, classes, dtype, layout):
    z, x_0, x_t = case(classes, name, pixels=19 if classes < 1000 else 3)
    z = z.astype(dtype) if layout == "outer" else turned(z.astype(dtype))
    options = {"auxiliary_weight": 1e-2, "mask_weight": (1.0, 0.5)}
    result = call(scheduler_of(name, classes), z, x_0, x_t, PAIRS, **options)
    loss, per_row = bound(name, z.astype(np.float64), x_0, x_t, PAIRS, **options)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(result.per_row, per_row, rtol=1e-6, atol=1e-9)
    assert result.gradient.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert result.gradient.strides == z.astype(result.gradient.dtype).strides
    assert_gradient(result.gradient, name, z, x_0, x_t, PAIRS, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_differences(dtype):
    """Of the function itself, along every axis."""
    pairs = [(60, 59), (40, 10), (0, -1)]
    scheduler = scheduler_of("heavy", 6)
    z, x_0, x_t = case(6, "heavy", pairs, pixels=5)
    z = z.astype(dtype)
    gradient = call(scheduler, z, x_0, x_t, pairs).gradient
    for at in np.ndindex(z.shape):
        up, down = z.astype(np.float64), z.astype(np.float64)
        up[at] += 1e-5
        down[at] -= 1e-5
        ends = [call(scheduler, one, x_0, x_t, pairs).loss for one in (up, down)]
        np.testing.assert_allclose(gradient[at], (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-7)


def test_options():
    z, x_0, x_t = case(9)
    rng = np.random.default_rng(3)
    options = {
        "probability": rng.uniform(0.01, 1, len(PAIRS)),
        "mask_weight": (0.3, 2),
        "auxiliary_weight": 0.7,
        "adaptive_auxiliary": False,
        "pixel_weights": rng.uniform(0, 2, x_0.shape) * (rng.random(x_0.shape) < 0.7),
    }
    result = call(scheduler_of("default", 9), z, x_0, x_t, PAIRS, **options)
    loss, per_row = bound("default", z, x_0, x_t, PAIRS, **options)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-12)
    np.testing.assert_allclose(result.per_row, per_row, rtol=1e-12)
    padding = np.broadcast_to((options["pixel_weights"] == 0)[:, None], z.shape)
    assert (result.gradient[padding] == 0).all()
    direction = rng.normal(size=z.shape)
    truth = slope("default", z, direction, x_0, x_t, PAIRS, **options)
    np.testing.assert_allclose((result.gradient * direction).sum(), truth, rtol=1e-10)


def test_defaults():
    """s = t - 1, p(t) = 1/T, one t for all rows; a mask of booleans as pixel weights."""
    scheduler, pairs = scheduler_of("default", 9), [(60, 59)] * 3
    z, x_0, x_t = case(9, pairs=pairs)
    plain = scheduler.loss(z, x_0, x_t, 60)
    same = call(scheduler, z, x_0, x_t, pairs, probability=0.01)
    assert plain.loss == same.loss and np.array_equal(plain.gradient, same.gradient)
    loss, per_row, gradient = plain
    assert isinstance(loss, float) and per_row.dtype == np.float64 and gradient.shape == z.shape
    padding = np.broadcast_to(np.arange(x_0.shape[1]) < 11, x_0.shape)
    masked = scheduler.loss(z, x_0, x_t, 60, pixel_weights=padding)
    cut = scheduler.loss(z[..., :11], x_0[:, :11], x_t[:, :11], 60)
    np.testing.assert_allclose(masked.per_row, cut.per_row, rtol=1e-12)
    scheduler.set_timesteps(10)
    assert scheduler.loss(z, x_0, x_t, 60).loss == plain.loss


def test_log_probabilities_are_logits():
    scheduler, (z, x_0, x_t) = scheduler_of("default", 30), case(30)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    a, b = (call(scheduler, one, x_0, x_t, PAIRS) for one in (z, log_p))
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-12)
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-14)


def test_sums_to_the_likelihood_bound():
    """The expectation over t of the loss is the bound without its first term, in nats per pixel."""
    scheduler = scheduler_of("heavy", 5)
    rng = np.random.default_rng(2)
    x_0, z = rng.integers(0, 5, (3, 7)), rng.normal(size=(3, 5, 7))
    scheduler.set_timesteps(timesteps=[3, 2, 1, 0])
    seen = {}

    def model(x_t, t):
        seen[t] = x_t
        return z

    nats = scheduler.likelihood_bound(model, x_0, 0)
    prior = 7 * vqdiffusion.bound.prior_term(scheduler._chain)
    per_row = [scheduler.loss(z, x_0, x_t, t).per_row for t, x_t in seen.items()]
    np.testing.assert_allclose(sum(per_row), nats - prior, rtol=1e-9)


@pytest.mark.parametrize("pixels", [1, 15, 16, 17, 33, 130])
@pytest.mark.parametrize("layout", ["inner", "gaps", "reversed", "pixels first"])
def test_layouts(layout, pixels):
    """Results do not depend on memory but for the order of sums."""
    scheduler, (z, x_0, x_t) = scheduler_of("default", 70), case(70, pixels=pixels)
    z = z.astype(np.float32)
    expected = call(scheduler, z, x_0, x_t, PAIRS)
    other = {
        "inner": lambda: turned(z),
        "gaps": lambda: np.repeat(np.repeat(z, 2, axis=1), 2, axis=2)[:, ::2, ::2],
        "reversed": lambda: np.ascontiguousarray(z[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
        "pixels first": lambda: np.ascontiguousarray(z.transpose(2, 0, 1)).transpose(1, 2, 0),
    }[layout]()
    result = call(scheduler, other, x_0, x_t, PAIRS)
    np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-6)
    scale = np.abs(expected.gradient).max()
    np.testing.assert_allclose(result.gradient, expected.gradient, atol=1e-6 * scale)


@pytest.mark.usefixtures("num_threads_restored")
@pytest.mark.parametrize("layout", ["outer", "inner"])
@pytest.mark.parametrize("name", ["default", "heavy"])
def test_threads(name, layout):
    scheduler, (z, x_0, x_t) = scheduler_of(name, 600), case(600, name, pixels=150)
    z = z.astype(np.float32) if layout == "outer" else turned(z.astype(np.float32))
    vqdiffusion.set_num_threads(1)
    expected = call(scheduler, z, x_0, x_t, PAIRS)
    for number in 2, 3, 8:
        vqdiffusion.set_num_threads(number)
        result = call(scheduler, z, x_0, x_t, PAIRS)
        assert result.loss == expected.loss
        np.testing.assert_array_equal(result.gradient, expected.gradient)
