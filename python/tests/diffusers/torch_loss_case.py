"""Cases of the training loss on tensors, and the two ways it is computed."""

import loss_case
import pytest
import torch
from loss_case import PAIRS

from vqdiffusion.torch import VQDiffusionScheduler

WAYS = ["native", "formula"]


def scheduler_of(name, classes, way="native"):
    scheduler = loss_case.scheduler_of(name, classes, VQDiffusionScheduler)
    if way == "formula":
        vars(scheduler)["_native_loss"] = lambda batch: None
    return scheduler


def case(classes, name="default", dtype=torch.float64, **options):
    """Logits that require a gradient, x_0 and x_t."""
    z, x_0, x_t = map(torch.from_numpy, loss_case.case(classes, name, **options))
    return z.to(dtype).requires_grad_(), x_0, x_t


def call(scheduler, z, x_0, x_t, pairs=PAIRS, **options):
    t, s = torch.tensor(pairs).T
    return scheduler.loss(z, x_0, x_t, t, previous_timesteps=s, **options)


def gradient_of(loss, z):
    (gradient,) = torch.autograd.grad(loss, z)
    return gradient


both_ways = pytest.mark.parametrize("way", WAYS)
