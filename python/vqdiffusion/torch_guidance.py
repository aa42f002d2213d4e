"""`vqdiffusion.guide` and `vqdiffusion.truncate` for torch tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from . import guidance
from .torch_memory import memory


def guide(log_p_uncond: Tensor, log_p_cond: Tensor, scale: float) -> Tensor:
    """See `vqdiffusion.guide`. By torch where autograd records or the memory is out of reach."""
    if not _recorded(log_p_uncond, log_p_cond):
        uncond, cond = memory(log_p_uncond, "log_p_uncond"), memory(log_p_cond, "log_p_cond")
        if uncond is not None and cond is not None:
            return torch.from_numpy(guidance.guide(uncond, cond, scale))
    log_p_uncond, log_p_cond = _at_least_float32(log_p_uncond), _at_least_float32(log_p_cond)
    return (log_p_uncond + scale * (log_p_cond - log_p_uncond)).log_softmax(1)


def truncate(log_p: Tensor, rate: float, floor: float = -torch.inf) -> Tensor:
    """See `vqdiffusion.truncate`. By torch where autograd records or the memory is out of reach."""
    if not _recorded(log_p):
        array = memory(log_p, "log_p")
        if array is not None:
            return torch.from_numpy(guidance.truncate(array, rate, floor))
    log_p = _at_least_float32(log_p)
    falling, order = log_p.sort(dim=1, descending=True, stable=True)
    before = falling.exp().cumsum(1).roll(1, 1)
    before[:, :1] = -torch.inf
    kept = falling.masked_fill(before >= rate, floor).clamp(floor)
    return torch.empty_like(log_p).scatter(1, order, kept)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _recorded(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in tensors)
