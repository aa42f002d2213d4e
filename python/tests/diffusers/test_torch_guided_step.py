"""`guided_step` on torch tensors: what guide, truncate and step give in turn, by the native module
and by torch.
"""

import pytest
import torch
from diffusers_case import Ours, generator, random_classes, random_log_p

import vqdiffusion.torch

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def in_turn(scheduler, uncond, cond, t, sample, source, rate=0.86):
    log_p = cond if uncond is None else vqdiffusion.torch.guide(uncond, cond, 3.0)
    return scheduler.step(
        vqdiffusion.torch.truncate(log_p, rate, -70), t, sample, source
    ).prev_sample


def at_once(scheduler, uncond, cond, t, sample, source, rate=0.86):
    return scheduler.guided_step(
        uncond, cond, t, sample, source, guidance_scale=3.0, truncation_rate=rate, return_dict=False
    )[0]


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("guided", [True, False])
def test_the_same_as_in_turn(method, dtype, guided):
    torch.manual_seed(0)
    scheduler = Ours(81, sampling_method=method)
    for t in (99, 50, 1, 0, torch.tensor(7), torch.tensor([40, 0])):
        both = random_log_p(4, 80, 70, dtype=dtype)
        uncond, cond = both.chunk(2)  # views, as in a pipeline
        sample = random_classes(2, 80, 70)
        sources = generator(5), generator(5)
        uncond = uncond if guided else None
        expected = in_turn(scheduler, uncond, cond, t, sample, sources[0])
        result = at_once(scheduler, uncond, cond, t, sample, sources[1])
        assert torch.equal(result, expected) and result.is_contiguous()
        assert torch.equal(sources[0].get_state(), sources[1].get_state())


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
def test_generators_of_each_row_and_the_global_one(method):
    torch.manual_seed(0)
    scheduler = Ours(81, sampling_method=method)
    uncond, cond, sample = (
        random_log_p(2, 80, 300),
        random_log_p(2, 80, 300),
        random_classes(2, 80, 300),
    )
    result = at_once(scheduler, uncond, cond, 3, sample, [generator(1), generator(2)])
    for row in range(2):
        one = slice(row, row + 1)
        alone = at_once(scheduler, uncond[one], cond[one], 3, sample[one], generator(1 + row))
        assert torch.equal(result[one], alone)
    torch.manual_seed(4)
    expected = in_turn(scheduler, uncond, cond, 3, sample, None)
    torch.manual_seed(4)
    assert torch.equal(at_once(scheduler, uncond, cond, 3, sample, None), expected)


def test_by_torch():
    """With 16-bit uniforms, which the native module does not take, and where there is no memory."""
    torch.manual_seed(0)
    scheduler = Ours(81)
    uncond, cond, sample = (
        random_log_p(2, 80, 30),
        random_log_p(2, 80, 30),
        random_classes(2, 80, 30),
    )
    torch.set_default_dtype(torch.bfloat16)
    try:
        expected = in_turn(scheduler, uncond, cond, 3, sample, generator(1))
        assert torch.equal(at_once(scheduler, uncond, cond, 3, sample, generator(1)), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    meta = [x.to("meta") for x in (uncond, cond, sample)]
    scheduler.set_timesteps(100, device="meta")
    assert at_once(scheduler, *meta[:2], 3, meta[2], None).shape == sample.shape


def test_errors_leave_generators_alone():
    torch.manual_seed(0)
    scheduler = Ours(81)
    uncond, cond, sample = (
        random_log_p(2, 80, 30),
        random_log_p(2, 80, 30),
        random_classes(2, 80, 30),
    )
    spoilt = cond.clone()
    spoilt[1, 5, 7] = torch.nan
    source = generator(1)
    state = source.get_state()
    for arguments, error, match in [
        ((uncond, spoilt, 3, sample), ValueError, r"log_p_cond must .*\[1, 5, 7\]"),
        ((spoilt, cond, 3, sample), ValueError, r"log_p_uncond must .*\[1, 5, 7\]"),
        ((None, spoilt, 3, sample), ValueError, r"log_p_cond must .*\[1, 5, 7\]"),
        ((uncond[:1], cond, 3, sample), ValueError, "log_p_cond must have the shape"),
        ((uncond, cond.double(), 3, sample), TypeError, "log_p_cond must be"),
        ((None, cond[0], 3, sample), ValueError, "log_p_cond must have the 3 axes"),
        ((uncond, cond, 100, sample), ValueError, "timestep"),
        ((uncond, cond, 3, sample + 80), ValueError, "sample must"),
    ]:
        with pytest.raises(error, match=match):
            at_once(scheduler, *arguments, source)
        assert torch.equal(source.get_state(), state)
    with pytest.raises(ValueError, match="truncation_rate"):
        at_once(scheduler, uncond, cond, 3, sample, source, rate=float("nan"))
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("options", [{"top_k": 4}, {"top_k": 9, "temperature": 0.6}], ids=str)
def test_by_count_and_temperature(method, guided, options):
    """The tokens of the functions in turn."""
    torch.manual_seed(0)
    scheduler = Ours(81, sampling_method=method)
    cond, sample = random_log_p(2, 80, 300), random_classes(2, 80, 300)
    uncond = random_log_p(2, 80, 300) if guided else None
    log_p = vqdiffusion.torch.guide(uncond, cond, 3.0) if guided else cond
    log_p = vqdiffusion.torch.truncate(log_p, 0.86, -70, **options)
    expected = scheduler.step(log_p, 40, sample, generator(5)).prev_sample
    for given in (cond, cond.clone().requires_grad_()):
        found = scheduler.guided_step(
            uncond, given, 40, sample, generator(5), guidance_scale=3.0, truncation_rate=0.86,
            **options,
        ).prev_sample  # fmt: skip
        assert (found != expected).sum() <= 1
