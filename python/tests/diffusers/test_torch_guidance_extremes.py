"""As test_guidance_extremes.py, on tensors: the native functions, the torch formulas and the guided
step.
"""

import pytest
import torch
from diffusers_case import Ours, generator
from test_torch_guidance import DTYPES, log_probabilities

import vqdiffusion.torch

SCALES = [-2.0, 0.5, 1.0, 5.0, 2.0**60]


def with_low(dtype, where):
    """Two inputs with classes of the lowest number in one, in the other or in both, and the same
    with -inf there.
    """
    inputs = [log_probabilities(seed, dtype) for seed in (0, 1)]
    places = torch.rand(2, 6, 35) < 0.6
    chosen = {"uncond": inputs[:1], "cond": inputs[1:], "both": inputs}[where]
    for x in chosen:
        x[:, 3:9][places] = torch.finfo(dtype).min
    return inputs, [x.masked_fill(x == torch.finfo(dtype).min, -torch.inf) for x in inputs]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("where", ["uncond", "cond", "both"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_lowest_number_counts_as_impossible(dtype, scale, where, recorded):
    given, plain = with_low(dtype, where)
    expected = vqdiffusion.torch.guide(*plain, scale)
    leaves = [x.requires_grad_(recorded) for x in given]
    guided = vqdiffusion.torch.guide(*leaves, scale)
    torch.testing.assert_close(guided.detach(), expected, rtol=1e-5, atol=1e-5 * max(1, abs(scale)))
    assert torch.equal(guided.isneginf(), expected.isneginf()) and expected.isneginf().any()
    if recorded:
        guided.clamp(-70).sum().backward()
        assert all(leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("default", [torch.float32, torch.float16])
@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_guided_step_of_the_lowest_number(dtype, method, default):
    given, plain = with_low(dtype, "uncond")
    torch.set_default_dtype(default)  # with float16 torch computes
    scheduler = Ours(41, sampling_method=method)
    sample = torch.randint(0, 41, (2, 35))
    for t in (50, 0):
        expected = scheduler.guided_step(
            *plain, t, sample, generator(3), truncation_rate=0.9
        ).prev_sample
        drawn = scheduler.guided_step(
            *given, t, sample, generator(3), truncation_rate=0.9
        ).prev_sample
        assert torch.equal(drawn, expected)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_numbers_that_overflow_are_named(dtype, recorded):
    uncond, cond = log_probabilities(0, dtype), log_probabilities(1, dtype)
    great = torch.finfo(dtype).max
    spoilt_cond, spoilt_uncond = cond.clone(), uncond.clone()
    spoilt_cond[1, 7, 33] = great
    spoilt_uncond[1, :, 33] = great
    for args, name in (((uncond, spoilt_cond), "cond"), ((spoilt_uncond, cond), "uncond")):
        args[0].requires_grad_(recorded)
        with pytest.raises(
            ValueError,
            match=f"^log_p_{name} must hold numbers that guidance at this scale keeps finite",
        ):
            vqdiffusion.torch.guide(*args, 5.0)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_scale_beyond_all_numbers(recorded):
    x = log_probabilities(0).requires_grad_(recorded)
    with pytest.raises(ValueError, match="^scale must be a number of moderate size"):
        vqdiffusion.torch.guide(x, x, 1e30)


@pytest.mark.parametrize("recorded", [False, True])
def test_no_classes(recorded):
    x = torch.zeros(2, 0, 3, requires_grad=recorded)
    for call in (
        lambda: vqdiffusion.torch.guide(x, x, 2.0),
        lambda: vqdiffusion.torch.truncate(x, 0.5),
    ):
        with pytest.raises(ValueError, match="^log_p"):
            call()
