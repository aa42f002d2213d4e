"""Numbers as diffusers' pipelines take them, and a truncation rate for each pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import as_float


def as_number(value: Any, name: str) -> float:
    if isinstance(value, (Tensor, np.ndarray)):
        if math.prod(value.shape) != 1:
            raise ValueError(
                f"{name} must be one number, not a tensor of shape {tuple(value.shape)}"
            )
        value = value.item()
    return as_float(float(value) if isinstance(value, (bool, np.bool_)) else value, name)


def as_rate(value: Any) -> float | Tensor:
    """A truncation rate as diffusers understands it: a number, or a tensor with one for each pixel.

    Above 1 nothing is dropped, which infinity stands for; below 0 is as 0.
    """
    if isinstance(value, Tensor) and value.numel() > 1:
        return value
    rate = as_number(value, "truncation_rate")
    if math.isnan(rate):
        raise ValueError("truncation_rate must not be NaN")
    return math.inf if rate > 1 else max(rate, 0.0)


def truncate_each(log_p: Tensor, rate: Tensor) -> Tensor:
    """`truncate` with a rate for each pixel."""
    falling, order = log_p.sort(dim=1, descending=True, stable=True)
    try:
        kept = (falling.exp().cumsum(1) < rate.to(log_p.device)).expand_as(log_p).roll(1, 1)
    except RuntimeError:
        shapes = f"{tuple(log_p.shape)}, not have shape {tuple(rate.shape)}"
        raise ValueError(f"truncation_rate as a tensor must broadcast to {shapes}") from None
    kept[:, 0] = True  # the most probable class; the others by the sum of those before them
    return log_p.masked_fill(~torch.empty_like(kept).scatter(1, order, kept), -torch.inf)
