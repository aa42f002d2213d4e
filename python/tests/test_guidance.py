"""Guidance and truncation against the twin in reference.py, in float64 and by sorting."""

import numpy as np
import pytest
import reference
import views

import vqdiffusion
from vqdiffusion import _native


def log_probabilities(rng, shape, sharpness=4.0, dtype=np.float32):
    logits = rng.normal(0, sharpness, shape)
    logits -= logits.max(axis=1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(dtype)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 17), (1, 300, 33), (3, 18, 64)])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5, 5.0, 20.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_guide(rng, shape, scale, dtype):
    uncond, cond = (log_probabilities(rng, shape, dtype=dtype) for _ in range(2))
    result = vqdiffusion.guide(uncond, cond, scale)
    expected = reference.guide(uncond.astype(np.float64), cond.astype(np.float64), scale)
    assert result.dtype == (np.float64 if dtype == np.float64 else np.float32)
    tolerance = 1e-13 if dtype == np.float64 else 4e-7
    # Relative to the size of what is added up: scale * (c - u) in the precision of the result.
    size = (
        np.abs(uncond.astype(np.float64))
        + scale * np.abs(cond.astype(np.float64) - uncond)
        + np.abs(expected)
        + 1
    )
    assert np.all(np.abs(result - expected) <= tolerance * (size + size.max(axis=1, keepdims=True)))


def test_guide_normalises_long_columns(rng):
    log_p = np.full((1, 200_000, 3), -np.log(200_000), np.float32)
    total = np.exp(vqdiffusion.guide(log_p, log_p, 2.0).astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(total, 1, rtol=2e-6)


def test_guide_keeps_impossible_classes_impossible(rng):
    uncond, cond = (log_probabilities(rng, (1, 6, 20)) for _ in range(2))
    uncond[0, 1], cond[0, 2], uncond[0, 3], cond[0, 3] = 4 * [-np.inf]
    for scale in (-1.0, 0.0, 1e-7, 0.5, 1.0, 3.0, 1e6):
        result = vqdiffusion.guide(uncond, cond, scale)
        assert np.all(result[0, 1:4] == -np.inf)
        np.testing.assert_allclose(np.exp(result).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 17), (1, 300, 33), (2, 4096, 16), (3, 18, 64)])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.86, 0.99])
@pytest.mark.parametrize("sharpness", [0.1, 2.0, 15.0])
def test_truncate(rng, shape, rate, sharpness):
    log_p = log_probabilities(rng, shape, sharpness)
    result, expected = vqdiffusion.truncate(log_p, rate), reference.truncate(log_p, rate)
    # A class before which the rate lies to within the rounding of float32 may be kept or not;
    # there are few.
    differing = np.argwhere(result != expected)
    assert len(differing) <= 2
    for row, index, pixel in differing:
        column = np.exp(log_p[row, :, pixel].astype(np.float64))
        assert abs(column[column > column[index]].sum() - rate) < 2e-7


def test_truncate_in_any_layout_and_precision(rng):
    log_p = log_probabilities(rng, (2, 90, 35))
    expected = reference.truncate(log_p, 0.8)
    transposed = views.turned(log_p)
    np.testing.assert_array_equal(vqdiffusion.truncate(transposed, 0.8), expected)
    np.testing.assert_array_equal(
        vqdiffusion.truncate(log_p[:, :, ::-1], 0.8), expected[:, :, ::-1]
    )
    half, double = log_p.astype(np.float16), log_p.astype(np.float64)
    np.testing.assert_array_equal(
        vqdiffusion.truncate(half, 0.8), reference.truncate(half.astype(np.float32), 0.8)
    )
    np.testing.assert_array_equal(
        vqdiffusion.truncate(double, 0.8), reference.truncate(double, 0.8)
    )


@pytest.mark.parametrize("shape", [(1, 2500, 33), (2, 200, 17), (1, 37, 16)])
@pytest.mark.parametrize(
    "kind", ["equal", "rounded", "peaked", "flat", "far apart", "with impossible classes"]
)
@pytest.mark.parametrize("shift", [-60.0, -1.0, 0.0, 0.5, 60.0])
def test_truncate_of_any_distribution(rng, shape, kind, shift):
    """Also unnormalised, with many equal classes or with classes of almost equal probability."""
    sharpness = {"equal": 0.0, "peaked": 25.0, "flat": 1e-6, "far apart": 300.0}.get(kind, 3.0)
    log_p = log_probabilities(rng, shape, sharpness, np.float64)
    if kind == "rounded":
        log_p = np.round(2 * log_p) / 2
    if kind == "with impossible classes":
        log_p[:, ::3] = -np.inf
    log_p = (log_p + shift).astype(np.float32)
    turned = views.turned(log_p)
    total = np.exp(log_p.astype(np.float64)).sum(axis=1).max()
    for rate in (-1.0, 1e-30, 0.3 * total, 0.86 * total, (1 - 1e-5) * total, 0.86, 1.0, 2 * total):
        result, again = np.empty_like(log_p), np.empty_like(log_p)
        expected = reference.truncate(log_p, rate)
        _native.truncate(log_p, rate, -np.inf, result)  # which takes any rate
        _native.truncate(turned, rate, -np.inf, again)
        np.testing.assert_array_equal(again, result)
        if 0 <= rate <= 1:
            np.testing.assert_array_equal(vqdiffusion.truncate(log_p, rate), result)
        for row, index, pixel in np.argwhere(result != expected):
            column = log_p[row, :, pixel].astype(np.float64)
            earlier = (column > column[index]) | (
                (column == column[index]) & (np.arange(len(column)) < index)
            )
            assert abs(np.exp(column[earlier]).sum() - rate) < 3e-7 * max(rate, total)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_layouts_agree_bit_for_bit(rng, dtype):
    uncond, cond = (log_probabilities(rng, (2, 83, 37), dtype=dtype) for _ in range(2))
    turned = [views.turned(x) for x in (uncond, cond)]
    strided = [views.padded(x, step=2) for x in (uncond, cond)]
    guided, kept = vqdiffusion.guide(uncond, cond, 3.0), vqdiffusion.truncate(cond, 0.7)
    # Neighbouring pixels, class rows further apart, as a slice of a larger output has them.
    sliced = [views.padded(x, offset=23) for x in (uncond, cond)]
    mixed = [uncond, turned[1]], [turned[0], strided[1]], [uncond, sliced[1]], [sliced[0], cond]
    for other in (turned, strided, sliced, *mixed):
        np.testing.assert_array_equal(vqdiffusion.guide(*other, 3.0), guided)
        np.testing.assert_array_equal(vqdiffusion.truncate(other[1], 0.7), kept)


@pytest.mark.parametrize("scale", [-2.0, 0.0, 3.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("input", [0, 1])
def test_an_error_leaves_the_output_alone(rng, scale, bad, input):
    """The lowest (row, class, pixel) is named, wherever the others are."""
    pair = [log_probabilities(rng, (2, 70, 130)) for _ in range(2)]
    pair[1 - input][:, 5] = -np.inf  # does not hide it
    for place in [(1, 1, 2), (0, 69, 0), (0, 40, 129), (0, 5, 70)]:
        pair[input][place] = bad
        out = np.full((2, 70, 130), 7, np.float32)
        where = r"\[{}, {}, {}\]".format(*place)
        with pytest.raises(ValueError, match=where):
            _native.guide(*pair, scale, out)
        with pytest.raises(ValueError, match=where):
            _native.truncate(pair[input], 0.5, -70.0, out)
        assert np.all(out == 7)


def test_truncate_counts_equal_classes_in_order():
    log_p = np.log(np.float32([[[0.125], [0.25], [0.125], [0.25], [0.125], [0.125]]]))
    for rate, kept in [
        (0.0, [1]),
        (0.25, [1]),
        (0.26, [1, 3]),
        (0.5, [1, 3]),
        (0.51, [0, 1, 3]),
        (0.7, [0, 1, 2, 3]),
    ]:
        assert (
            np.flatnonzero(np.isfinite(vqdiffusion.truncate(log_p, rate)[0, :, 0])).tolist() == kept
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("power", [1, 2, 4, 8])
def test_equal_classes_that_reach_the_rate_exactly(power, dtype):
    """Masses are powers of two, whose sums are exact. Hundreds are counted through at once."""
    classes = 2**power
    log_p = np.full((1, 2 * classes, 33), -np.inf, dtype)
    log_p[:, ::2] = dtype(-np.log(2)) * power
    for kept in {1, classes // 2, classes - 1, classes} - {0}:
        result = vqdiffusion.truncate(log_p, kept / classes)
        np.testing.assert_array_equal(np.isfinite(result).sum(axis=1), kept)
        assert np.isfinite(result[:, : 2 * kept : 2]).all()


def test_truncate_of_less_than_the_rate_keeps_all(rng):
    log_p = log_probabilities(rng, (1, 40, 20)) - 1
    log_p[0, 3] = -np.inf
    np.testing.assert_array_equal(vqdiffusion.truncate(log_p, 0.9), log_p)


def test_truncate_at_one_drops_what_comes_after_one():
    # Three classes make up one exactly; the rest is far below the rounding of that.
    log_p = np.float32([[[np.log(0.5)], [np.log(0.25)], [np.log(0.25)], [-40.0], [-70.0]]])
    assert np.isfinite(vqdiffusion.truncate(log_p, 1.0)[0, :, 0]).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_truncate_raises_to_the_floor(rng):
    log_p = log_probabilities(rng, (1, 30, 20))
    np.testing.assert_array_equal(
        vqdiffusion.truncate(log_p, 0.5, -70), np.maximum(reference.truncate(log_p, 0.5), -70)
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_any_number_of_threads_gives_the_same(rng, threads, num_threads_restored):
    uncond, cond = (log_probabilities(rng, (1, 400, 500)) for _ in range(2))
    vqdiffusion.set_num_threads(1)
    expected = vqdiffusion.guide(uncond, cond, 3.0)
    expected_truncated = vqdiffusion.truncate(expected, 0.8)
    vqdiffusion.set_num_threads(threads)
    np.testing.assert_array_equal(vqdiffusion.guide(uncond, cond, 3.0), expected)
    np.testing.assert_array_equal(vqdiffusion.truncate(expected, 0.8), expected_truncated)


@pytest.mark.parametrize("shape", [(0, 5, 7), (2, 5, 0)])
def test_empty(shape):
    empty = np.zeros(shape, np.float32)
    assert vqdiffusion.guide(empty, empty, 2.0).shape == shape
    assert vqdiffusion.truncate(empty, 0.5).shape == shape


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 4, 18)])
def test_bad_numbers_are_found(rng, bad, place):
    good = log_probabilities(rng, (2, 5, 19))
    spoilt = good.copy()
    spoilt[place] = bad
    where = r"\[{}, {}, {}\]".format(*place)
    with pytest.raises(ValueError, match=f"log_p must .*{where}"):
        vqdiffusion.truncate(spoilt, 0.5)
    with pytest.raises(ValueError, match=f"log_p_uncond must .*{where}"):
        vqdiffusion.guide(spoilt, good, 2.0)
    with pytest.raises(ValueError, match=f"log_p_cond must .*{where}"):
        vqdiffusion.guide(good, spoilt, 2.0)


def test_columns_without_mass_are_refused(rng):
    log_p = log_probabilities(rng, (1, 4, 20))
    log_p[0, :, 7] = -np.inf
    with pytest.raises(ValueError, match="pixel 7"):
        vqdiffusion.truncate(log_p, 0.5)
    with pytest.raises(ValueError, match="pixel 7"):
        vqdiffusion.guide(log_p, np.zeros_like(log_p), 2.0)
    # Each alone has mass, but in no class together.
    uncond, cond = np.float32([[[0], [-np.inf]]]), np.float32([[[-np.inf], [0]]])
    with pytest.raises(ValueError, match="log_p_cond"):
        vqdiffusion.guide(uncond, cond, 2.0)


def test_bad_arguments_are_refused(rng):
    log_p = log_probabilities(rng, (1, 4, 20))
    with pytest.raises(ValueError, match="log_p_cond must have shape"):
        vqdiffusion.guide(log_p, log_p[:, :3], 2.0)
    with pytest.raises(TypeError, match="log_p_cond"):
        vqdiffusion.guide(log_p, log_p.astype(np.float64), 2.0)
    for scale in (
        np.nan,
        np.inf,
        1e39,
        np.nextafter(2.0**64, np.inf),
        np.nextafter(-(2.0**64), -np.inf),
    ):
        with pytest.raises(ValueError, match="scale"):
            vqdiffusion.guide(log_p, log_p, scale)
    for scale in (2.0**64, -(2.0**64)):
        vqdiffusion.guide(log_p, log_p, scale)
    for floor in (np.nan, np.inf):
        with pytest.raises(ValueError, match="floor"):
            vqdiffusion.truncate(log_p, 0.5, floor)
    with pytest.raises(ValueError, match="rate"):
        vqdiffusion.truncate(log_p, np.nan)
    with pytest.raises(TypeError, match="log_p"):
        vqdiffusion.truncate(log_p.astype(np.int64), 0.5)
    with pytest.raises(ValueError, match="log_p"):
        vqdiffusion.truncate(log_p[0], 0.5)
