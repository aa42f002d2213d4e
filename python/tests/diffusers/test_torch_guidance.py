"""`guide` and `truncate` on torch tensors: the native functions where memory is at hand, else the same rules in torch."""

import numpy as np
import pytest
import torch

import vqdiffusion

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def log_probabilities(seed, dtype=torch.float32):
    random = torch.Generator().manual_seed(seed)
    return torch.log_softmax(4 * torch.randn(2, 40, 35, generator=random, dtype=torch.float64), dim=1).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", [False, True])
def test_native(dtype, turned):
    uncond, cond = log_probabilities(0, dtype), log_probabilities(1, dtype)
    if turned:
        uncond = uncond.transpose(1, 2).contiguous().transpose(1, 2)
    wide = torch.promote_types(dtype, torch.float32)
    expected = (uncond.to(wide) + 2.5 * (cond.to(wide) - uncond.to(wide))).log_softmax(1)
    guided = vqdiffusion.guide(uncond, cond, 2.5)
    assert guided.dtype == wide
    torch.testing.assert_close(guided, expected, rtol=1e-6, atol=1e-5)
    kept = vqdiffusion.truncate(uncond, 0.8, -70)
    np.testing.assert_array_equal(kept.numpy(), vqdiffusion.truncate(uncond.to(wide).numpy(), 0.8, -70))


def test_by_torch_where_autograd_records():
    uncond, cond = log_probabilities(0, torch.float64), log_probabilities(1, torch.float64)
    plain = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 2.5), 0.8, -70)
    cond.requires_grad_()
    recorded = vqdiffusion.truncate(vqdiffusion.guide(uncond, cond, 2.5), 0.8, -70)
    torch.testing.assert_close(recorded.detach(), plain, rtol=1e-12, atol=1e-12)
    recorded.sum().backward()
    assert cond.grad.isfinite().all() and cond.grad.abs().sum() > 0


def test_on_another_device():
    uncond = log_probabilities(0).to("meta")
    assert vqdiffusion.guide(uncond, uncond, 2.0).shape == uncond.shape
    assert vqdiffusion.truncate(uncond, 0.8).shape == uncond.shape
