"""Both classes, random input for them, and what of the package computes."""

import numpy as np
import pytest
import torch
from diffusers import VQDiffusionScheduler as Reference
from schedule_of import schedule_of

from vqdiffusion import _native
from vqdiffusion.diffusers import VQDiffusionScheduler as Ours
from vqdiffusion.torch.schedule_tables import ScheduleTables

TABLES = ("log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct")

__all__ = [
    "TABLES",
    "Ours",
    "Reference",
    "both",
    "generator",
    "is_native",
    "law_of",
    "log_onehot",
    "random_classes",
    "random_log_p",
    "same_cells",
]


def both(classes, *args, **kwargs):
    """The reference's scheduler and ours, for this many classes without the mask."""
    return Reference(classes + 1, *args, **kwargs), Ours(classes + 1, *args, **kwargs)


def law_of(scheduler):
    """The schedule of ours as the torch formulas take it."""
    schedule = schedule_of(scheduler)
    logs = [np.empty(len(schedule[1]) + ("cumprod" in name)) for name in TABLES]
    _native.schedule_logs(*schedule, *logs)
    return ScheduleTables.of(*schedule, logs)


def is_native(scheduler):
    """Whether the native module computes the posterior of ours, rather than the torch formulas."""
    calls, native = [], _native.q_posterior
    log_p, x = torch.zeros(1, scheduler.mask_class, 3), torch.zeros(1, 3, dtype=torch.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "q_posterior", lambda *given: calls.append(given) or native(*given))
        scheduler.q_posterior(log_p, x, 1)
    return bool(calls)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def random_log_p(batch, classes, pixels, scale=3.0, dtype=torch.float32):
    """Log-probabilities from nearly flat to peaked, floored at -70 as pipelines send them."""
    logits = torch.randn(batch, classes, pixels) * scale * torch.rand(batch, 1, pixels)
    return logits.log_softmax(1).clamp(min=-70).to(dtype)


def random_classes(batch, classes, pixels, mask_rate=0.5, dtype=torch.int64):
    """Classes 0 … K, masked at the given rate."""
    x = torch.randint(0, classes, (batch, pixels))
    return torch.where(torch.rand(batch, pixels) < mask_rate, classes, x).to(dtype)


def log_onehot(x, classes):
    """log_onehot_x_t (B, classes, N) as the reference makes it."""
    return torch.nn.functional.one_hot(x, classes).transpose(1, 2).float().clamp(min=1e-30).log()


def same_cells(ours, reference, absolute=2e-5, relative=1e-5):
    """Infinite in the same cells, and elsewhere within the agreement that is promised."""
    assert ours.shape == reference.shape and ours.dtype == reference.dtype
    finite = reference.isfinite()
    assert torch.equal(ours.isfinite(), finite)
    assert torch.equal(ours[~finite], reference[~finite])
    torch.testing.assert_close(ours[finite], reference[finite], atol=absolute, rtol=relative)
