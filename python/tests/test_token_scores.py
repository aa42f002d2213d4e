"""`token_scores` against formulas in float64, its draws against their distribution."""

import numpy as np
import pytest
import views
from chi_square import chi_square_p_value

import vqdiffusion

NAMES = "probability", "entropy", "margin", "logsumexp"
# Both ways to read: by pixels and, from 1024 neighbouring classes on, by classes; ragged ends.
SHAPES = [
    (1, 1, 1),
    (2, 5, 17),
    (1, 300, 33),
    (3, 18, 64),
    (1, 1023, 3),
    (2, 1024, 1),
    (1, 5001, 5),
]


def log_softmax(logits, temperature=1.0):
    x = logits.astype(np.float64) / temperature
    x -= x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def expected_scores(logits, token):
    """By their definitions, from the whole of softmax(logits); sums along memory, so that NumPy
    adds pairwise.
    """
    logits = views.turned(logits.astype(np.float64))
    p = np.exp(log_softmax(logits))
    largest = logits.max(1)
    falling = np.sort(p, axis=1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.where(p > 0, -p * np.log(p), 0)
    return {
        "probability": np.take_along_axis(p, token[:, None], 1)[:, 0],
        "entropy": information.sum(1),
        "margin": falling[:, 0] - (falling[:, 1] if p.shape[1] > 1 else 0),
        "logsumexp": largest + np.log(np.exp(logits - largest[:, None]).sum(1)),
    }


def inverted(logits, uniforms, temperature=1.0):
    """The first classes at which the cumulative distribution exceeds the uniforms."""
    cumulative = np.exp(log_softmax(logits, temperature)).cumsum(1)
    return (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(1)


def assert_scores(result, logits, tolerance=1e-6):
    expected = expected_scores(logits, result.token)
    for name in NAMES:
        found = getattr(result, name)
        assert found.dtype == (np.float64 if logits.dtype == np.float64 else np.float32)
        size = 1 + np.abs(expected[name]) * (name == "logsumexp")
        assert np.all(np.abs(found - expected[name]) <= tolerance * size), name


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sharpness", [0.0, 1.0, 6.0, 60.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores(rng, shape, sharpness, dtype):
    logits = (rng.normal(0, sharpness, shape) + 3).astype(dtype)
    result = vqdiffusion.token_scores(logits)
    assert result.token.dtype == np.int64
    np.testing.assert_array_equal(result.token, logits.argmax(1))
    assert_scores(result, logits, 1e-12 if dtype == np.float64 else 1e-6)
    turned = vqdiffusion.token_scores(views.turned(logits))
    np.testing.assert_array_equal(turned.token, result.token)
    assert_scores(turned, logits, 1e-12 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("shift", [-3e4, -80.0, 80.0, 3e4])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_logits_need_not_be_normalised(rng, shift, dtype):
    logits = (rng.normal(0, 3, (1, 2000, 18)) + shift).astype(dtype)
    for x in (logits, views.turned(logits)):
        assert_scores(vqdiffusion.token_scores(x), logits, 1e-12 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("kind", ["uniform", "one class", "two classes", "heavy tail", "rising"])
def test_entropy_of_long_columns(rng, kind):
    logits = np.zeros((1, 126_464, 2), np.float32)
    if kind == "one class":
        logits[:, 70_000] = 60
    elif kind == "two classes":
        logits[:, [5, 100_000]] = 40, 40.5
    elif kind == "heavy tail":
        logits[:] = -np.log(np.arange(1, 126_465))[:, None]
    elif kind == "rising":
        logits[:] = np.linspace(-20, 20, 126_464)[:, None]
    for x in (logits, views.turned(logits)):
        assert_scores(vqdiffusion.token_scores(x), logits)


def test_margin_of_near_ties(rng):
    logits = np.full((1, 1500, 3), -4.0)
    logits[0, [7, 900], 0] = 1.0, 1.0 + 1e-9
    logits[0, [7, 900], 1] = 1.0, 1.0
    logits[0, 900, 2] = 1.0
    for x in (logits, views.turned(logits)):
        result = vqdiffusion.token_scores(x)
        np.testing.assert_array_equal(result.token, [[900, 7, 900]])
        assert result.margin[0, 1] == 0
        first = result.probability[0, 0]
        assert result.margin[0, 0] == pytest.approx(first * 1e-9, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 3.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_draw_inverts_the_cumulative_distribution(rng, shape, temperature, dtype):
    logits = rng.normal(0, 3, shape).astype(dtype)
    uniforms = rng.random((shape[0], shape[2]))
    token = inverted(logits, uniforms, temperature)
    for x in (logits, views.turned(logits)):
        result = vqdiffusion.token_scores(x, uniforms, temperature)
        assert_scores(result, logits, 1e-12 if dtype == np.float64 else 1e-6)
        if dtype == np.float64:
            np.testing.assert_array_equal(result.token, token)
            continue
        # A token may be the neighbour where the uniform meets the sum to within its rounding.
        cumulative = np.exp(log_softmax(logits, temperature)).cumsum(1)
        for row, pixel in np.argwhere(result.token != token):
            between = sorted((result.token[row, pixel], token[row, pixel]))
            gap = cumulative[row, between[0] : between[1], pixel] - uniforms[row, pixel]
            assert np.abs(gap).max() < 2e-6


@pytest.mark.parametrize("classes", [3, 60, 1100])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("turned", [False, True])
def test_draws_have_their_distribution(classes, temperature, turned):
    """Fixed seeds; an exact sampler fails each case with probability 1e-4."""
    rng = np.random.default_rng(classes)
    logits = rng.normal(0, 2, (1, classes, 1)).astype(np.float32)
    logits[0, 1] = -np.inf
    many = np.repeat(logits, 20_000, 2)
    result = vqdiffusion.token_scores(
        views.turned(many) if turned else many, rng.random((1, 20_000)), temperature
    )
    counts = np.bincount(result.token[0], minlength=classes)
    p = np.exp(log_softmax(logits, temperature))[0, :, 0]
    assert chi_square_p_value(counts, p) > 1e-4


def test_even_uniforms_give_exact_shares():
    """An even grid of uniforms draws each class as often as its probability says, to one."""
    logits = np.log(np.arange(1, 41) ** 2.0)[None, :, None]
    uniforms = (np.arange(4000)[None] + 0.5) / 4000
    result = vqdiffusion.token_scores(np.repeat(logits, 4000, 2), uniforms)
    p = np.exp(log_softmax(logits))[0, :, 0]
    assert np.all(np.abs(np.bincount(result.token[0], minlength=40) - 4000 * p) <= 1)


@pytest.mark.parametrize("classes", [64, 2048])
@pytest.mark.parametrize("turned", [False, True])
def test_a_uniform_on_the_edge_of_a_class_draws_the_class_above(classes, turned):
    """Of equal classes, whose sums are exact."""
    logits = np.zeros((1, classes, classes), np.float32)
    if turned:
        logits = logits.swapaxes(1, 2).copy().swapaxes(1, 2)
    result = vqdiffusion.token_scores(logits, np.arange(classes)[None] / classes)
    np.testing.assert_array_equal(result.token, np.arange(classes)[None])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("classes", [40, 2000])
def test_impossible_classes(rng, dtype, classes):
    logits = rng.normal(0, 2, (2, classes, 20)).astype(dtype)
    logits[:, : classes // 3] = logits[:, -classes // 4 :] = -np.inf
    logits[0, :, 3] = np.finfo(dtype).min  # which people write for -inf; here all is even
    uniforms = rng.random((2, 20))
    uniforms[0], uniforms[1] = 0, 1 - 2.0**-53
    for temperature in (0, 1e-30, 1, 1e30):
        for x in (logits, views.turned(logits)):
            result = vqdiffusion.token_scores(x, uniforms, temperature)
            drawn = np.take_along_axis(logits, result.token[:, None], 1)
            assert np.all(drawn > -np.inf)
            assert_scores(result, logits)


def test_one_impossible_in_all_but_one(rng):
    logits = np.full((1, 3000, 4), -np.inf, np.float32)
    logits[0, [0, 1, 15, 2999], np.arange(4)] = 5
    for x in (logits, views.turned(logits)):
        result = vqdiffusion.token_scores(x, rng.random((1, 4)))
        np.testing.assert_array_equal(result.token, [[0, 1, 15, 2999]])
        np.testing.assert_array_equal(result.probability, 1)
        np.testing.assert_allclose(result.entropy, 0, atol=1e-30)
        np.testing.assert_array_equal(result.margin, 1)
        np.testing.assert_array_equal(result.logsumexp, 5)


def test_the_lowest_of_equals_without_uniforms(rng):
    for classes in (37, 1500):
        logits = rng.integers(0, 3, (2, classes, 19)).astype(np.float32)
        for x in (logits, views.turned(logits)):
            for uniforms, temperature in ((None, 1), (rng.random((2, 19)), 0)):
                result = vqdiffusion.token_scores(x, uniforms, temperature)
                np.testing.assert_array_equal(result.token, logits.argmax(1))


def test_any_strides_and_read_only(rng):
    logits = rng.normal(size=(2, 90, 35)).astype(np.float32)
    uniforms = rng.random((2, 35))
    expected = vqdiffusion.token_scores(logits, uniforms)
    for x in (views.padded(logits, step=2), logits[:, ::-1].copy()[:, ::-1], views.turned(logits)):
        for name, value in zip(expected._fields, vqdiffusion.token_scores(x, uniforms)):
            np.testing.assert_array_equal(value, getattr(expected, name))
    every_other = np.repeat(uniforms, 2, 1)[:, ::2]
    np.testing.assert_array_equal(
        vqdiffusion.token_scores(logits, every_other).token, expected.token
    )
    narrow = uniforms.astype(np.float32)
    np.testing.assert_array_equal(
        vqdiffusion.token_scores(logits, narrow).token,
        vqdiffusion.token_scores(logits, narrow.astype(np.float64)).token,
    )


@pytest.mark.parametrize("turned", [False, True])
def test_threads_change_nothing(rng, turned):
    logits = rng.normal(0, 4, (3, 1200, 190)).astype(np.float32)
    uniforms, found = rng.random((3, 190)), []
    for threads in (1, 2, 7):
        vqdiffusion.set_num_threads(threads)
        try:
            x = views.turned(logits) if turned else logits
            found.append(vqdiffusion.token_scores(x, uniforms, 0.8))
        finally:
            vqdiffusion.set_num_threads(None)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_empty():
    for shape in ((0, 5, 3), (2, 5, 0), (2, 0, 0)):
        for value in vqdiffusion.token_scores(np.empty(shape, np.float32)):
            assert value.shape == (shape[0], shape[2])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("classes", [40, 1300])
@pytest.mark.parametrize("turned", [False, True])
def test_refuses_logits(rng, value, classes, turned):
    logits = rng.normal(size=(2, classes, 20)).astype(np.float32)
    logits[1, classes - 2, 17] = logits[1, 30, 18] = value
    x = views.turned(logits) if turned else logits
    for uniforms in (None, rng.random((2, 20))):
        with pytest.raises(ValueError, match=r"^logits must hold .* as at \[1, 30, 18\]$"):
            vqdiffusion.token_scores(x, uniforms)
    logits[1] = -np.inf
    with pytest.raises(ValueError, match="all are -inf at row 1, pixel 0"):
        vqdiffusion.token_scores(views.turned(logits) if turned else logits)


def test_refuses_arguments(rng):
    logits, uniforms = rng.normal(size=(2, 5, 3)), rng.random((2, 3))
    refused = vqdiffusion.token_scores
    for temperature in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="^temperature must be a finite number from 0 on, not"):
            refused(logits, uniforms, temperature)
    with pytest.raises(TypeError, match="^temperature must be a real number, not str"):
        refused(logits, uniforms, "1")
    for wrong in (1.0, -1e-9, np.nan):
        uniforms[1, 2] = wrong
        for temperature in (0, 1):
            with pytest.raises(ValueError, match=r"^uniforms must be in \[0, 1\), not"):
                refused(logits, uniforms, temperature)
    with pytest.raises(ValueError, match=r"^uniforms must have shape \(2, 3\), not \(3, 2\)"):
        refused(logits, rng.random((3, 2)))
    with pytest.raises(ValueError, match="^uniforms must have 2 axes, not 3"):
        refused(logits, rng.random((2, 5, 3)))
    with pytest.raises(TypeError, match="^uniforms must be float64"):
        refused(logits, np.zeros((2, 3), int))
    with pytest.raises(TypeError, match="^logits must be float16, bfloat16, float32 or float64"):
        refused(np.zeros((2, 5, 3), int))
    with pytest.raises(ValueError, match="^logits must have the 3 axes"):
        refused(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="^logits must give every pixel a class"):
        refused(np.zeros((2, 0, 3)))
