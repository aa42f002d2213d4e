"""Results as large as their input, for inputs in any memory: runs and blocks of classes, and what
whole ones leave.

Elementwise results are the same bit for bit. Where columns are summed, another layout adds in
another order: 1e-6.
"""

import re

import numpy as np
import pytest
import views
from reference import random_classes, random_log_p

import vqdiffusion
from vqdiffusion import VQDiffusionScheduler, _native

# Eighteen whole blocks of classes and 12; fourteen whole groups of pixels and 7; enough for
# threads.
B, K, N = 2, 300, 231
DTYPES = [np.float16, np.float32, np.float64]


LAYOUTS = [
    pytest.param(views.turned, id="turned"),
    pytest.param(lambda x: views.padded(x, step=2), id="every second"),
    pytest.param(lambda x: views.backwards(x, axis=1), id="classes backwards"),
]


@pytest.fixture
def scheduler():
    return VQDiffusionScheduler(K + 1, 20)


@pytest.fixture(params=DTYPES)
def log_p(rng, request):
    x = random_log_p(rng, B, K, N, dtype=request.param)
    x[0, 3, 5] = x[1, 299, 36] = -np.inf
    return x


def gumbel_noised(logits, uniforms):
    out = np.empty(logits.shape, np.result_type(logits, uniforms))
    _native.gumbel_noised(logits, uniforms, out)
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_elementwise(scheduler, log_p, layout, rng):
    log_onehot = vqdiffusion.index_to_log_onehot(random_classes(rng, B, K, N), K + 1)
    x = log_onehot.argmax(axis=1)
    uniforms = rng.random(log_p.shape, np.float32)

    def transition_rows(rows, cumulative):
        return scheduler.log_Q_t_transitioning_to_known_class(
            t=7, x_t=x, log_onehot_x_t=rows, cumulative=cumulative
        )

    for function, inputs in [
        (lambda q: scheduler.apply_cumulative_transitions(q, 7), [log_p]),
        (lambda rows: transition_rows(rows, True), [log_onehot]),
        (lambda rows: transition_rows(rows, False), [log_onehot]),
        (gumbel_noised, [log_p, uniforms]),
        (gumbel_noised, [log_p, uniforms.astype(np.float64)]),
    ]:
        expected = function(*inputs)
        for number in range(len(inputs)):
            given = [layout(one) if which == number else one for which, one in enumerate(inputs)]
            np.testing.assert_array_equal(function(*given), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_columns(scheduler, log_p, layout, rng):
    x = random_classes(rng, B, K, N)
    for function in [
        lambda p: scheduler.q_posterior(p, x, 7),
        lambda p: vqdiffusion.truncate(p, 0.9),
        lambda p: vqdiffusion.guide(p, log_p, 3),
        lambda p: vqdiffusion.guide(log_p, p, 3),
    ]:
        expected = function(log_p)
        given = function(layout(log_p))
        assert given.dtype == expected.dtype and given.flags.c_contiguous
        np.testing.assert_allclose(given, expected, rtol=2.0**-23, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_bad_element_is_named(scheduler, layout, value, rng):
    q = random_log_p(rng, B, K, N)
    bad = [(0, 299, 2), (0, 270, 36), (1, 0, 0)]
    for place in bad:
        q[place] = value
    place = re.escape(str(list(bad[1])))
    for function in [
        lambda q: scheduler.apply_cumulative_transitions(q, 7),
        lambda q: gumbel_noised(q, np.zeros(q.shape, np.float32)),
        lambda q: vqdiffusion.truncate(q, 0.9),
    ]:
        with pytest.raises(ValueError, match=rf" must hold .* at {place}$"):
            function(layout(q))
