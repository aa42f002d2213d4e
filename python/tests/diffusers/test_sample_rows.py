"""Batch rows of a sample and of a list of generators, where the native module gets one row after
another.
"""

import pytest
import torch
from torch import Generator

from vqdiffusion.torch import VQDiffusionScheduler

CLASSES, PIXELS = 50, 100
LOG_P = torch.randn(2, CLASSES, PIXELS, generator=Generator().manual_seed(1)).log_softmax(1)


@pytest.fixture(params=["inverse_cdf", "gumbel"])
def scheduler(request):
    made = VQDiffusionScheduler(CLASSES + 1, 10, sampling_method=request.param)
    made.set_timesteps(10)
    return made


class Lying(list):
    def __len__(self):
        return 2


@pytest.mark.parametrize("shape", [(), (1, PIXELS), (3, PIXELS)])
@pytest.mark.parametrize("t", [5, [5, 6]], ids=["one t", "t of rows"])
@pytest.mark.parametrize("is_list", [False, True])
def test_rows_of_a_sample(scheduler, shape, t, is_list):
    generator = [Generator(), Generator()] if is_list else Generator()
    sample = torch.zeros(shape, dtype=torch.int64)
    timestep = torch.tensor(t)
    for call in (
        lambda: scheduler.step(LOG_P, timestep, sample, generator),
        lambda: scheduler.guided_step(LOG_P, LOG_P, timestep, sample, generator),
    ):
        with pytest.raises(ValueError, match=r"^sample must have shape \(2, 100\), not \("):
            call()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_list_of_generators_that_lies_about_its_length(scheduler, number):
    generators = Lying(Generator() for _ in range(number))
    with pytest.raises(ValueError, match=f"each of 2 batch rows, not {number}$"):
        scheduler.step(LOG_P, 5, torch.zeros((2, PIXELS), dtype=torch.int64), generators)
