"""The drop-in takes the sampling method of the NumPy class's file, and diffusers reads it."""

import numpy as np
import pytest
import torch
from diffusers import VQDiffusionScheduler as Reference

import vqdiffusion
from vqdiffusion.diffusers import VQDiffusionScheduler


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
def test_the_drop_in_samples_as_the_numpy_class_whose_file_it_loads(tmp_path, method):
    saved = vqdiffusion.VQDiffusionScheduler(18, sampling_method=method)
    saved.save_pretrained(tmp_path)
    loaded = [
        VQDiffusionScheduler.from_pretrained(tmp_path),
        VQDiffusionScheduler.from_config(saved.config),
    ]
    log_p, sample = torch.zeros((1, 17, 40)).log_softmax(1), torch.full((1, 40), 17)
    expected = VQDiffusionScheduler(18, sampling_method=method)
    for scheduler in loaded:
        results = [
            one.step(log_p, 60, sample, torch.Generator().manual_seed(3)).prev_sample
            for one in (scheduler, expected)
        ]
        assert torch.equal(*results)


@pytest.mark.parametrize("method", ["inverse_cdf", "gumbel"])
def test_diffusers_reads_the_file_of_the_numpy_class(tmp_path, method):
    saved = vqdiffusion.VQDiffusionScheduler(18, 50, sampling_method=method)
    saved.save_pretrained(tmp_path)
    reference = Reference.from_pretrained(tmp_path)
    assert reference.num_embed == 18 and len(reference.timesteps) == 50
    np.testing.assert_allclose(reference.log_cumprod_at, saved.log_cumprod_at, rtol=1e-6)
