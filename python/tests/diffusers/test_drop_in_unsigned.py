"""A class id beyond all others is reported as the number it is, whatever its type."""

import numpy as np
import pytest
import torch
from diffusers_case import Ours, random_log_p

import vqdiffusion

CALLS = {
    "step": lambda s, x, grid: s.step(x, 5, grid),
    "guided_step": lambda s, x, grid: s.guided_step(x, x, 5, grid),
    "q_posterior": lambda s, x, grid: s.q_posterior(x, grid, 5),
}


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray], ids=["tensor", "array"])
@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
@pytest.mark.parametrize("method", ["gumbel", "inverse_cdf"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_native_calls_name_the_number(call, method, value, kind):
    scheduler = Ours(6, sampling_method=method)
    grid = np.zeros((2, 7), np.uint64)
    grid[1, 3] = value
    with pytest.raises(ValueError, match=rf"not {value} as at \[1, 3\]"):
        call(scheduler, random_log_p(2, 5, 7), kind(grid))


@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_of_the_numpy_class_too(value):
    grid = np.zeros((2, 7), np.uint64)
    grid[1, 3] = value
    scheduler = vqdiffusion.VQDiffusionScheduler(6)
    log_p = random_log_p(2, 5, 7).numpy()
    calls = [lambda: call(scheduler, log_p, grid) for call in CALLS.values()]
    calls += [lambda: scheduler.add_noise(grid, 3), lambda: scheduler.plan(3, grid)]
    calls += [lambda: vqdiffusion.index_to_log_onehot(grid, 6)]
    for one in calls:
        with pytest.raises(ValueError, match=rf"not {value} as at \[1, 3\]"):
            one()
