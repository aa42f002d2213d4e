"""The training loss where numbers are extreme, pixels carried over, arrays empty."""

import numpy as np
import pytest
from loss_case import PAIRS, TABLES, bound, call, case, scheduler_of, slope

from vqdiffusion import VQDiffusionScheduler


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_logits(dtype, name):
    """-inf and ±1e4, also for x_0 and x_t: the gradient is right and finite."""
    scheduler, (z, x_0, x_t) = scheduler_of(name, 40), case(40, name, sharpness=1.0)
    rng = np.random.default_rng(5)
    z[rng.random(z.shape) < 0.2] = -1e4
    z[rng.random(z.shape) < 0.02] = 1e4
    z = z.astype(dtype)
    exact = z.astype(np.float64)
    result = call(scheduler, z, x_0, x_t, PAIRS)
    assert np.isfinite(result.loss) and np.isfinite(result.gradient).all()
    _, per_row = bound(name, exact, x_0, x_t, PAIRS)
    np.testing.assert_allclose(result.per_row, per_row, rtol=1e-6, atol=1e-9)
    largest = np.abs(result.gradient).max()
    for _ in range(5):
        direction = rng.normal(size=z.shape)
        truth = slope(name, exact, direction, x_0, x_t, PAIRS)
        scale = largest * np.linalg.norm(direction)
        assert abs((result.gradient * direction).sum() - truth) <= 1e-6 * scale

    # -inf is what -1e4 is, but where nothing else is left.
    lowest = np.where(exact == -1e4, -np.inf, exact).astype(dtype)
    same = call(scheduler, lowest, x_0, x_t, PAIRS)
    assert np.isfinite(same.gradient).all()
    np.testing.assert_allclose(same.gradient, result.gradient, atol=1e-6 * largest)


def test_no_probability_for_x_0():
    """Infinite where the cross-entropy is, finite where replacement may explain the pixel; the
    gradient is finite.
    """
    scheduler = VQDiffusionScheduler(5)
    z = np.array([[[0.0], [-np.inf], [1.0], [2.0]]])
    for t, x_t, is_finite in ((0, 4, False), (0, 1, False), (50, 4, True), (50, 1, True)):
        result = scheduler.loss(z, [[1]], [[x_t]], t)
        assert np.isfinite(result.loss) == is_finite
        assert np.isfinite(result.gradient).all()
        np.testing.assert_allclose(result.gradient.sum(), 0, atol=1e-12)
    ignored = scheduler.loss(z, [[1]], [[4]], 0, pixel_weights=[[0.0]])
    assert ignored.loss == 0 and not ignored.gradient.any()


def test_a_perfect_model_loses_nothing():
    for name in TABLES:
        scheduler, (_, x_0, x_t) = scheduler_of(name, 17), case(17, name)
        z = np.where(np.arange(17)[:, None] == x_0[:, None], 0, -np.inf)
        for dtype in np.float16, np.float32, np.float64:
            result = call(scheduler, z.astype(dtype), x_0, x_t, PAIRS)
            np.testing.assert_allclose(result.per_row, 0, atol=1e-12)
            np.testing.assert_allclose(result.gradient, 0, atol=1e-9)


def test_small_divergences_keep_their_digits():
    """Where replaced pixels outnumber those that still show their class, q and p nearly agree."""
    z, x_0, x_t = case(1000, "uniform", [(99, 98)], pixels=40, sharpness=0.1)
    z = z.astype(np.float32)
    result = scheduler_of("uniform", 1000).loss(z, x_0, x_t, 99)
    _, per_row = bound("uniform", z.astype(np.float64), x_0, x_t, [(99, 98)])
    np.testing.assert_allclose(result.per_row, per_row, rtol=1e-6)


def test_absorbing_pixels_are_carried_over():
    scheduler, (z, x_0, x_t) = scheduler_of("absorbing", 12), case(12, "absorbing")
    result = call(scheduler, z, x_0, x_t, PAIRS, auxiliary_weight=1.0)
    carried = np.broadcast_to((x_t != 12)[:, None], z.shape)
    assert (result.gradient[carried] == 0).all()
    result = call(scheduler, z, x_0, x_0, PAIRS, auxiliary_weight=1.0)
    assert result.loss == 0 and not result.per_row.any()


def test_empty():
    scheduler = VQDiffusionScheduler(5)
    for shape in (0, 4, 3), (2, 4, 0), (0, 4, 0):
        grid = np.zeros((shape[0], shape[2]), int)
        result = scheduler.loss(np.zeros(shape), grid, grid, 3)
        assert result.loss == 0 and result.gradient.shape == shape
        assert result.per_row.tolist() == [0] * shape[0]


def test_bfloat16():
    scheduler, (z, x_0, x_t) = scheduler_of("default", 33), case(33)
    bits = (z.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    rounded = (bits.astype(np.uint32) << 16).view(np.float32)
    result = call(scheduler, bits.view([("bfloat16", "u2")]), x_0, x_t, PAIRS)
    expected = call(scheduler, rounded, x_0, x_t, PAIRS)
    assert result.loss == expected.loss and result.gradient.dtype == np.float32
    np.testing.assert_array_equal(result.gradient, expected.gradient)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_any_integer_type(dtype):
    scheduler, (z, x_0, x_t) = scheduler_of("default", 33), case(33)
    expected = call(scheduler, z, x_0, x_t, PAIRS)
    result = call(scheduler, z, x_0.astype(dtype), x_t.astype(dtype)[:, ::-1][:, ::-1], PAIRS)
    assert result.loss == expected.loss


@pytest.mark.parametrize("layout", ["outer", "inner"])
@pytest.mark.parametrize("pixels", [8192, 8197])  # rows of whole vectors, and others
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_larger_than_the_caches(dtype, pixels, layout):
    """They are stored in another way, and are those of the pixels by themselves."""
    classes = 131  # over 2**20 elements
    scheduler = VQDiffusionScheduler(classes + 1)
    rng = np.random.default_rng(3)
    z = rng.normal(size=(1, classes, pixels)).astype(dtype)
    if layout == "inner":
        z = np.ascontiguousarray(z.swapaxes(1, 2)).swapaxes(1, 2)
    x_0 = rng.integers(classes, size=(1, pixels))
    x_t = scheduler.add_noise(x_0, 60, rng)
    whole = scheduler.loss(z, x_0, x_t, 60).gradient
    assert whole.strides[1:] == z.strides[1:]
    for start in range(0, pixels, 2048):
        part = np.s_[..., start : start + 2048]
        alone = scheduler.loss(z[part], x_0[part], x_t[part], 60).gradient
        np.testing.assert_allclose(
            whole[part] * (pixels / alone.shape[2]), alone, rtol=1e-6, atol=0
        )
