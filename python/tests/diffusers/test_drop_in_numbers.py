"""Numbers at the edge of what can be held, and numbers as arrays and tensors."""

import numpy as np
import pytest
import torch

import vqdiffusion.torch
from vqdiffusion.diffusers import VQDiffusionScheduler

LOG_P = torch.full((1, 5, 7), 0.2).log()
X = torch.zeros((1, 7), dtype=torch.int64)


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("num_vec_classes", 2**40, "from 2 to 2147483647, not 1099511627776"),
        ("num_train_timesteps", 10**13, "from 2 to 10000000, not 10000000000000"),
        ("alpha_cum_start", 10**400, "a number that float64 can hold, not one of 1329 bits"),
        ("gamma_cum_end", -(10**400), "a number that float64 can hold, not one of 1329 bits"),
    ],
)
def test_arguments_beyond_what_can_be_held(name, value, expected):
    with pytest.raises(ValueError, match=f"^{name} must be {expected}$"):
        VQDiffusionScheduler(**{"num_vec_classes": 6, name: value})


@pytest.mark.parametrize(
    "wrap",
    [
        torch.tensor,
        lambda number: torch.tensor([number], dtype=torch.float64),
        lambda number: torch.tensor(number, dtype=torch.bfloat16, requires_grad=True),
        np.array,
        np.float32,
    ],
)
def test_numbers_as_tensors_and_arrays(wrap):
    scheduler = VQDiffusionScheduler(6)

    def call(scale, rate, floor):
        generator = torch.Generator().manual_seed(3)
        guided = scheduler.guided_step(
            LOG_P, LOG_P, 30, X, generator, guidance_scale=scale, truncation_rate=rate, floor=floor
        )
        return guided.prev_sample, vqdiffusion.torch.truncate(
            vqdiffusion.torch.guide(LOG_P, LOG_P, scale), rate, floor
        )

    for one, other in zip(
        call(5.0, 0.5, -64.0), call(wrap(5.0), wrap(0.5), wrap(-64.0)), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "bad, error",
    [
        (torch.tensor(True), TypeError),
        (torch.tensor([0.5, 0.5]), ValueError),
        (torch.tensor(1j), TypeError),
        (torch.zeros(0), ValueError),
    ],
)
def test_tensors_that_are_no_number(bad, error):
    for name in ("guidance_scale", "truncation_rate", "floor"):
        with pytest.raises(error, match=f"^{name} must be a (single )?real number, not "):
            VQDiffusionScheduler(6).guided_step(LOG_P, LOG_P, 30, X, **{name: bad})
