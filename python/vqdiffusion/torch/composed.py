"""The posterior composed of a scheduler's public parts, and draws from any posterior."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


_LOG_IMPOSSIBLE = math.log(1e-30)


_FUNCTIONS = (
    "set_timesteps",
    "step",
    "q_posterior",
    "log_Q_t_transitioning_to_known_class",
    "apply_cumulative_transitions",
)


def is_as_defined(scheduler: Any) -> bool:
    """Whether every function of diffusers' scheduler is the one that diffusers defines."""
    functions = [getattr(scheduler, name, None) for name in _FUNCTIONS]
    return all(getattr(one, "__module__", "").partition(".")[0] == "diffusers" for one in functions)


def as_reference_takes(given: Any, t: int | list[int], like: Tensor) -> int | Tensor:
    """A timestep for code that indexes tables with it: several of them as a (B, 1, 1) tensor."""
    if isinstance(t, list):
        return torch.tensor(t, device=like.device).view(-1, 1, 1)
    return given if isinstance(given, Tensor) else t


def posterior(scheduler: Any, log_p_x_0: Tensor, x_t: Tensor, t: int | Tensor) -> Tensor:
    """log q(x_t | x_{t-1}) Σ_{x_0} q(x_{t-1} | x_0) p(x_0) / q(x_t | x_0): eq. 11 by eq. 5.

    The transitions are those of `scheduler`, by its two methods. `x_t` is of int64.
    """
    shape = x_t.shape[0], scheduler.num_embed, x_t.shape[1]
    onehot = torch.full(shape, _LOG_IMPOSSIBLE, dtype=torch.float32, device=x_t.device)
    onehot = onehot.scatter(1, x_t.unsqueeze(1), 0.0)
    from_clean, from_previous = (
        scheduler.log_Q_t_transitioning_to_known_class(
            t=t, x_t=x_t, log_onehot_x_t=onehot, cumulative=cumulative
        )
        for cumulative in (True, False)
    )
    q = log_p_x_0 - from_clean
    total = q.logsumexp(1, keepdim=True)
    return scheduler.apply_cumulative_transitions(q - total, t - 1) + from_previous + total


def check_posterior(log_p: Any, x: Tensor, name: str) -> None:
    """Refuses what no posterior of a model output `x` (B, K, N) can be; it may lack the mask."""
    batch, classes, pixels = x.shape
    shapes = [(batch, rows, pixels) for rows in (classes + 1, classes)]
    if not isinstance(log_p, Tensor):
        raise TypeError(
            f"{name} must return a tensor, not {type(log_p).__module__}.{type(log_p).__qualname__}"
        )
    if not log_p.dtype.is_floating_point:
        raise TypeError(f"{name} must return a tensor of a floating dtype, not {log_p.dtype}")
    if tuple(log_p.shape) not in shapes:
        raise ValueError(
            f"{name} must return a tensor of shape {shapes[0]}, not {tuple(log_p.shape)}"
        )


def with_last_step(log_p: Tensor, x: Tensor, last: Tensor) -> Tensor:
    """`log_p`, with the model output `x` itself in the batch rows that `last` (B, 1) tells."""
    batch, classes, pixels = x.shape
    no_mask = x.new_full((batch, 1, pixels), -torch.inf)
    if log_p.shape[1] == classes:
        log_p = torch.cat((log_p, no_mask), 1)
    return torch.where(last.unsqueeze(2), torch.cat((x, no_mask), 1), log_p)
