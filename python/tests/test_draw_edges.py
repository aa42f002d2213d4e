"""Inverse-CDF draws where one rounding decides: no class without mass, and no mask, is drawn."""

import numpy as np
import pytest

from vqdiffusion import _native

CLEAN = np.array([0.9, 0.5]), np.array([0.05, 0.3])
LAST = 1 - 2.0**-53  # the largest uniform


def draw(log_p, uniforms, x=None, t=0, alpha=CLEAN[0], gamma=CLEAN[1]):
    """The tokens of one column at each of some uniforms; x is the class that the pixel shows."""
    classes, points = len(log_p), len(uniforms)
    model_output = np.broadcast_to(log_p[None, :, None], (1, classes, points))
    sample = None if x is None else np.full((1, points), x)
    drawn = np.full((1, points), -7)
    grid = np.array(uniforms, np.float64)[None]
    _native.step(classes, alpha, gamma, t, t - 1, model_output, sample, "inverse_cdf", grid, drawn)
    return drawn[0]


def around(u, ulps):
    """The doubles in [0, 1) next to u."""
    bits = np.float64(u).view(np.int64) + np.arange(-ulps, ulps + 1)
    near = bits.view(np.float64)
    return near[(near >= 0) & (near < 1)]


def schedules(rng, count):
    """Two timesteps with much uniform noise at the first."""
    for _ in range(count):
        gamma = np.sort(rng.uniform(0, 0.9, 2)) * rng.integers(0, 2, 2).max()
        share = np.sort(rng.uniform(0, 1, 2))[::-1]  # ᾱ/(1 - γ̄), which falls
        yield share * (1 - gamma), gamma


@pytest.mark.parametrize("classes", [1, 3, 7, 49, 1000])
def test_the_uniform_part_of_a_masked_pixel_ends_at_the_last_class(rng, classes):
    """A pixel that a uniform unmasks is unmasked, also where v K / h rounds to K."""
    log_p = np.full(classes, -np.log(classes))
    for alpha, gamma in schedules(rng, 400):
        if gamma[1] == 0:
            continue
        stay = gamma[0] / gamma[1]
        share = (1 - alpha[0] - gamma[0]) / (1 - gamma[0])
        uniforms = around(stay + share * (1 - stay), 12)
        drawn = draw(log_p, uniforms[uniforms >= stay], classes, 1, alpha, gamma)
        assert drawn.min() >= 0 and drawn.max() < classes


@pytest.mark.parametrize("classes", [2, 3, 7, 49, 1000])
def test_the_uniform_part_of_a_pixel_that_shows_a_class_ends_at_the_last_class(rng, classes):
    """The same where ⌊v / q⌋ rounds to K - 1: no mask, and not the class that is shown."""
    log_p = np.full(classes, -np.log(classes))
    for alpha, gamma in schedules(rng, 400):
        now, earlier = (1 - alpha - gamma)[::-1] / classes
        ratio = alpha[1] / alpha[0]
        beta = (now - ratio * earlier) / (1 - gamma[0])
        own, others = 1 / classes, 1 - 1 / classes
        s = others / now + own / (alpha[1] + now)
        keep = (ratio + beta) * (alpha[0] * own / (alpha[1] + now) + earlier * s)
        uniforms = around(keep + (classes - 1) * beta * earlier * s, 24)
        for x in (0, classes - 1):
            drawn = draw(log_p, uniforms, x, 1, alpha, gamma)
            assert drawn.min() >= 0 and drawn.max() < classes


@pytest.mark.parametrize("classes", [1, 3, 7, 49, 1000])
def test_the_uniform_part_of_the_forward_process_ends_at_the_last_class(rng, classes):
    """The same where ⌊v / β̄⌋ rounds to K: from γ̄ on, no uniform masks a pixel."""
    for alpha, gamma in schedules(rng, 400):
        uniforms = around(gamma[1] + (1 - alpha[1] - gamma[1]), 12)
        uniforms = uniforms[uniforms >= gamma[1]][None]
        x_0, drawn = np.zeros(uniforms.shape, np.int64), np.full(uniforms.shape, -7)
        _native.add_noise(classes, alpha, gamma, -1, x_0, np.array([1]), uniforms, drawn)
        assert drawn.min() >= 0 and drawn.max() < classes


# No uniform part at the earlier timestep, so that classes come from the column alone.
SHARP = np.array([0.75, 0.375]), np.array([0.25, 0.5])
# What makes plain exponentials of float16, float32 and float64 vanish: such columns are rescaled.
FAR = {np.float16: -300, np.float32: -300, np.float64: -800}


def sparse_column(rng, classes, dtype, shift):
    log_p = np.full(classes, -np.inf)
    kept = rng.choice(classes, rng.integers(1, min(classes, 40) + 1), replace=False)
    log_p[kept] = rng.normal(0, 3, len(kept))
    log_p[kept] -= np.logaddexp.reduce(log_p[kept])
    return (log_p + shift).astype(dtype)


@pytest.mark.parametrize("pixel", ["the last step", "masked", "showing a class"])
@pytest.mark.parametrize("is_far", [False, True])
@pytest.mark.parametrize("dtype", FAR)
def test_a_class_without_mass_is_never_drawn(rng, dtype, is_far, pixel):
    """At the first and the last uniform the running mass meets blocks and classes without any."""
    for classes in 40 * [2, 17, 64, 65, 130, 300]:
        log_p = sparse_column(rng, classes, dtype, FAR[dtype] if is_far else 0)
        without = np.flatnonzero(np.isneginf(log_p))
        if not without.size:
            continue
        least = 0.5 if pixel == "masked" else 0  # γ̄ falls by half: below, the pixel stays masked
        uniforms = [*around(least, 2), *rng.uniform(least, 1, 20), *around(LAST, 2)]
        uniforms = [u for u in uniforms if u >= least]
        if pixel == "the last step":
            drawn = draw(log_p, uniforms, None)
        elif pixel == "masked":
            drawn = draw(log_p, uniforms, classes, 1, *SHARP)
        else:
            drawn = draw(log_p, uniforms, rng.choice(without), 1, *SHARP)
        assert not np.isin(drawn, without).any() and drawn.max() < classes


@pytest.mark.parametrize("dtype", FAR)
@pytest.mark.parametrize("classes, mass", [(65, 64), (130, 64), (130, 129), (300, 255)])
def test_a_uniform_of_zero_draws_the_first_class_with_mass(classes, mass, dtype):
    for shift in (0, FAR[dtype]):
        log_p = np.full(classes, -np.inf, dtype)
        log_p[mass] = shift
        np.testing.assert_array_equal(draw(log_p, [0, 0.5, LAST]), mass)


def test_rounding_past_the_last_mass_of_a_rescaled_column():
    """Each small class has 1.1 · 2⁻⁵³ and raises the sum by 2⁻⁵²: the last uniform is past all."""
    log_p = np.array([0, *np.full(20, np.log(1.1 * 2.0**-53)), -np.inf, -np.inf]) - 800
    np.testing.assert_array_equal(draw(log_p, [0, LAST]), [0, 20])


@pytest.mark.parametrize("dtype", FAR)
def test_a_uniform_on_the_edge_of_a_class_draws_the_class_above(dtype):
    """Of equal classes, whose sums are exact: within a block of 64 and between two."""
    uniforms = np.arange(256) / 256
    for shift in (0, FAR[dtype]):
        drawn = draw(np.full(256, shift, dtype), uniforms)
        np.testing.assert_array_equal(drawn, np.arange(256))
