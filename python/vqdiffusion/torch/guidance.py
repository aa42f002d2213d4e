"""Classifier-free guidance and truncation of torch tensors of log-probabilities."""

from __future__ import annotations

import math
from typing import Any, SupportsFloat, SupportsIndex

import torch
from torch import Tensor

from .. import guidance
from ..arguments import as_array, as_float
from ..truncation import as_truncation
from .view import numpy_view, traced


def guide(log_p_uncond: Any, log_p_cond: Any, scale: SupportsFloat) -> Tensor:
    """Classifier-free guidance of tensors, as `vqdiffusion.guide` of arrays, whose errors it
    raises.

    Computed by torch where autograd or torch.compile records, or the memory is out of reach.

    Parameters
    ----------
    log_p_uncond, log_p_cond : torch.Tensor of float16, bfloat16, float32 or float64, (B, K, N)
        The model's log-probabilities without and with the condition; both of one dtype. Any device
        and strides.
    scale : float
        1 gives the conditional distribution, more exaggerates what sets it apart.

    Returns
    -------
    torch.Tensor, shape (B, K, N)
        float64 when the inputs are, else float32; differentiable where they are.
    """
    scale = as_float(scale, "scale")
    if not recorded(log_p_uncond, log_p_cond):
        uncond, cond = (
            numpy_view(log_p_uncond, "log_p_uncond"),
            numpy_view(log_p_cond, "log_p_cond"),
        )
        if uncond is not None and cond is not None:
            return torch.from_numpy(guidance.guide(uncond, cond, scale))
    u, c = (
        as_float_tensor(log_p_uncond, "log_p_uncond"),
        as_float_tensor(log_p_cond, "log_p_cond"),
    )
    if u.dtype != c.dtype:
        raise TypeError(f"log_p_cond must be {u.dtype} as log_p_uncond is, not {c.dtype}")
    if u.shape != c.shape:
        raise ValueError(f"log_p_cond must have shape {tuple(u.shape)}, not {tuple(c.shape)}")
    if not abs(scale) <= 2**64:
        raise ValueError(f"scale must be a number of moderate size, not {scale}")
    lowest = torch.finfo(u.dtype).min
    u, c = at_least_float32(u), at_least_float32(c)
    check_columns(u, "log_p_uncond")
    check_columns(c, "log_p_cond")
    largest = torch.finfo(u.dtype).max / (4 * (1 + abs(scale)))
    limit = max(-largest, lowest)  # what is lower counts as -inf: it could overflow
    impossible = (u <= limit) | (c <= limit)
    u, c = (
        u.masked_fill(impossible, 0),
        c.masked_fill(impossible, 0),
    )  # ∞ - ∞ would be NaN, and so would its gradient
    mixed = (u + scale * (c - u)).masked_fill(impossible, -torch.inf)
    _check_mixture(mixed, largest, log_p_uncond=u, log_p_cond=c)
    return mixed.log_softmax(1)


def truncate(
    log_p: Any,
    rate: SupportsFloat,
    floor: SupportsFloat = -torch.inf,
    top_k: SupportsIndex | None = None,
    temperature: SupportsFloat = 1.0,
) -> Tensor:
    """Truncation of a tensor, as `vqdiffusion.truncate` of an array, whose errors it raises.

    Computed by torch where autograd or torch.compile records, or the memory is out of reach.

    Parameters
    ----------
    log_p : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
        Log-probabilities. Any device and strides.
    rate : float
        The share of the probability to keep, from 0 to 1, or math.inf for all.
    floor : float
        Lower values of the result are raised to this.
    top_k : int, optional
        The most classes to keep; `rate` is then a share of the probability of these.
    temperature : float
        Divides the logarithms, which are then normalised, before classes are dropped.

    Returns
    -------
    torch.Tensor, shape (B, K, N)
        float64 when `log_p` is, else float32; differentiable where it is.
    """
    how = as_truncation(rate, floor, top_k, temperature)
    if not recorded(log_p):
        array = numpy_view(log_p, "log_p")
        if array is not None:
            kept = guidance.truncate(array, how.rate, how.floor, how.top_k or None, how.temperature)
            return torch.from_numpy(kept)
    log_p = at_least_float32(as_float_tensor(log_p, "log_p"))
    if math.isnan(how.floor):
        raise ValueError(f"floor must not be NaN, but is {how.floor}")
    check_columns(log_p, "log_p")
    if how.temperature != 1:
        log_p = (log_p / how.temperature).log_softmax(1)
    falling, order = log_p.sort(dim=1, descending=True, stable=True)
    mass = falling.exp().cumsum(1)
    before = mass.roll(1, 1)
    before[:, :1] = -torch.inf
    most = min(how.top_k, log_p.shape[1])
    if not most:
        dropped = before >= how.rate
    else:
        share = how.rate * mass[:, most - 1 : most] if how.rate < 1 else torch.inf
        dropped = before >= share
        dropped[:, most:] = True
    kept = falling.masked_fill(dropped, how.floor).clamp(how.floor)
    return torch.empty_like(log_p).scatter(1, order, kept)


def as_float_tensor(value: Any, name: str) -> Tensor:
    x = value if isinstance(value, Tensor) else torch.tensor(as_array(value, name), device="cpu")
    if x.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, not {x.dtype}")
    if x.ndim != 3:
        raise ValueError(
            f"{name} must have the 3 axes (batch, classes, pixels), not shape {tuple(x.shape)}"
        )
    return x


def check_columns(x: Tensor, name: str) -> None:
    """Refuses NaN, +inf and columns of nothing but -inf, where values can be looked at."""
    for row, pixel in _first_bad(x):
        raise ValueError(
            f"{name} must not hold NaN, +inf or a column of only -inf, but does at row {row}, "
            f"pixel {pixel}"
        )


def _check_mixture(mixed: Tensor, largest: float, **inputs: Tensor) -> None:
    """Refuses a mixture of good inputs that cannot be normalised: it has no class, or numbers over
    `largest` in it.
    """
    for row, pixel in _first_bad(mixed):
        for name, x in inputs.items():
            if bool((x[row, :, pixel] > largest).any()):
                raise ValueError(
                    f"{name} must hold numbers that guidance at this scale keeps finite, but does "
                    f"not at row {row}, "
                    f"pixel {pixel}"
                )
        raise ValueError(
            f"{' and '.join(inputs)} must leave every pixel a class that is -inf in neither, but "
            f"do not at row {row}, "
            f"pixel {pixel}"
        )


def _first_bad(x: Tensor) -> list[list[int]]:
    """Row and pixel of the first column without a finite largest element, in a list that is empty
    where none is.
    """
    if traced():
        return []
    if x.shape[1] == 0:
        return [[0, 0]] if x.shape[0] and x.shape[2] else []
    possible = x.detach().amax(1).isfinite()
    try:
        return [] if bool(possible.all()) else (~possible).nonzero()[:1].tolist()
    except RuntimeError:  # no values: under vmap, or on the meta device
        return []


def at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def recorded(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in tensors
    )
