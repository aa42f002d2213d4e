"""The arguments that only the native `step` takes, and the coefficients of a step."""

import re
from pathlib import Path

import numpy as np
import pytest
from native_calls import STEP_PARAMETERS, B, K, N, T, arguments, positional
from native_checks import assert_refused

from vqdiffusion import _native


@pytest.mark.parametrize(
    "method, error, match",
    [
        ("Gumbel", ValueError, "^method must be 'gumbel' or 'inverse_cdf', not 'Gumbel'$"),
        ("", ValueError, "^method must be 'gumbel' or 'inverse_cdf', not ''$"),
        ("\ud800", ValueError, "^method must be 'gumbel' or 'inverse_cdf', not "),
        (b"gumbel", TypeError, "^method must be a str, not bytes$"),
        (None, TypeError, "^method must be a str, not NoneType$"),
    ],
)
def test_methods(method, error, match):
    values = positional("step_gumbel", arguments("step_gumbel"))
    values[STEP_PARAMETERS.index("method")] = method
    with pytest.raises(error, match=match):
        _native.step(*values)


@pytest.mark.parametrize(
    "guidance", [(), (None, 1.0, 1.0), (None, 1.0, 1.0, -70.0, 0), [None, 1.0, 1.0, -70.0], 3]
)
def test_guidance_is_a_tuple_of_four(guidance):
    values = positional("step_gumbel", arguments("step_gumbel"))
    values[STEP_PARAMETERS.index("guidance")] = guidance
    match = r"^guidance must be None or a tuple \(log_p_uncond, guidance_scale, truncation_rate, "
    with pytest.raises(TypeError, match=match):
        _native.step(*values)


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_under_guidance_the_model_output_is_named_log_p_cond(method):
    """Whether the native module finds out what is wrong, or the library."""
    function = f"guided_step_{method}"
    named = arguments(function)
    short = np.zeros((B, K - 1, N), np.float32)
    for wrong, error in ((None, TypeError), (np.zeros(3), ValueError), (short, ValueError)):
        assert_refused(function, named | {"log_p_cond": wrong}, error, "^log_p_cond must ")
        function_alone = f"step_{method}"
        alone = arguments(function_alone) | {"model_output": wrong}
        assert_refused(function_alone, alone, error, "^model_output must ")


def test_step_coefficients_are_the_fields_of_the_header():
    header = Path(__file__).parents[2] / "Sources/CVQDiffusion/include/vqdiffusion.h"
    struct = re.search(
        r"typedef struct vqd_coefficients \{(.*?)\} vqd_coefficients;", header.read_text(), re.S
    )[1]
    struct = re.sub(r"/\*.*?\*/", "", struct, flags=re.S)
    fields = [name for line in re.findall(r"double (.*?);", struct) for name in line.split(", ")]
    assert _native.step_coefficient_names == tuple(fields)


def test_step_coefficients_of_one_bad_step_leave_the_others_unwritten():
    named = arguments("step_coefficients")
    for name, bad in (("timesteps", T), ("timesteps", -1), ("previous_timesteps", 1)):
        steps = named[name].copy()
        steps[-1] = bad
        assert_refused(
            "step_coefficients", named | {name: steps}, ValueError, "timestep must be in "
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float64_uniforms_draw_the_argmax_of_the_plain_formula(dtype):
    """At the last step, with uniforms close to 1 too, whose noise is the greatest."""
    rng, shape = np.random.default_rng(3), (2, 40, 300)
    log_p = rng.normal(0, 2, shape).astype(dtype)
    u = rng.random(shape)
    u[rng.random(shape) < 0.02] = 1 - 2.0**-53
    tokens = np.empty((2, 300), np.int64)
    alpha, gamma = np.array([0.9, 0.5]), np.array([0.05, 0.3])
    _native.step(40, alpha, gamma, 0, -1, log_p, None, "gumbel", u, tokens)
    scores = log_p.astype(np.float64) - np.log(-np.log(u + 1e-30) + 1e-30)
    np.testing.assert_array_equal(tokens, scores.argmax(1))
