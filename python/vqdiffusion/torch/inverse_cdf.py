"""Drawing by one uniform per pixel on torch tensors, as the native module does: what the uniform
alone decides, and how a column completes the rest. x_t is (B, N), classes 0 … K; at s = -1 it is
mostly the mask throughout (`shown`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .schedule_tables import Draws, ScheduleTables, Step


def shown(law: ScheduleTables, x_t: Any, t: int | Tensor | Step, like: Tensor) -> Tensor:
    """x_t (B, N), with the mask where s = -1: such a step draws from the model output, whatever the
    pixels show, unless β̄_t = 0.
    """
    step = law.step(t)
    if not isinstance(step.last, Tensor) and not isinstance(step.carries, Tensor):
        if step.last and not step.carries:
            return torch.full_like(like, law.num_classes, dtype=torch.int64)
        return x_t.long()
    last, carries = (
        flag.view(-1, 1) if isinstance(flag, Tensor) else torch.tensor(flag, device=like.device)
        for flag in (step.last, step.carries)
    )
    if x_t is None:
        return torch.full_like(like, law.num_classes, dtype=torch.int64)
    return torch.where(last & ~carries, law.num_classes, x_t.long())


def unreachable(law: ScheduleTables, x_t: Tensor, t: int | Tensor | Step) -> Tensor:
    """(B, 1, N): NaN where a pixel is masked and the schedule masks nothing, else a number."""
    masked = (x_t == law.num_classes).unsqueeze(1)
    return torch.where(masked, _draws(law, t).masked_mask, 0)


def decide(
    law: ScheduleTables, x_t: Tensor, t: int | Tensor | Step, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """The tokens (B, N) that the uniforms decide alone, and where the column is needed."""
    draws = _draws(law, t, uniforms.dtype)
    x_t, u = x_t.unsqueeze(1), uniforms.unsqueeze(1)
    masked, leaves = x_t == law.num_classes, u >= draws.masked_mask
    v, share = _unmasking(draws, u), draws.uniform_share
    unmasked = (v * law.num_classes / share).long().clamp(0, law.num_classes - 1)
    tokens = torch.where(masked & leaves, unmasked, x_t)
    remask = _remask(t)
    if remask:
        u = u - remask
        tokens = torch.where(~masked & (u < 0), law.num_classes, tokens)
    needed = torch.where(masked, leaves & (v >= share), u >= draws.settled)
    return tokens.squeeze(1), needed.squeeze(1)


def complete(
    law: ScheduleTables, x: Tensor, x_t: Tensor, t: int | Tensor | Step, uniforms: Tensor
) -> Tensor:
    """The tokens (B, N) of pixels whose column is needed, from log-probabilities `x` (B, K, N)."""
    draws = _draws(law, t, uniforms.dtype)
    x_t, u = x_t.unsqueeze(1), uniforms.unsqueeze(1)
    masked, classes = x_t == law.num_classes, law.num_classes
    remask = _remask(t)
    if remask:
        u = torch.where(masked, u, u - remask)
    weights = (x.to(u.dtype) - x.amax(1, keepdim=True)).exp()
    index = x_t.clamp(max=classes - 1)
    own = torch.where(masked, 0, weights.gather(1, index))
    cumulative = weights.scatter(1, index, weights.gather(1, index) - own).cumsum(1)
    others = cumulative[:, -1:]

    # A masked pixel: the part of v that the model decides, rescaled.
    v, share = _unmasking(draws, u), draws.uniform_share
    of_masked = (v - share) / (1 - share) * others

    # Any other, in this order: its own class, the uniform part of the other classes, their part by
    # the model. The mass S is that of probabilities.
    total = others + own
    mass = (others / total) * draws.other_weight + (own / total) * draws.own_weight
    keep = draws.own_signal * (own / total) + draws.own_level * mass
    each = draws.level * mass
    w = u - keep
    other = (w / each).long().clamp(0, classes - 2 if classes > 1 else 0)
    other = torch.where(other < x_t, other, other + 1)
    of_unmasked = (w - (classes - 1) * each) / draws.signal * total

    target = torch.where(masked, of_masked, of_unmasked)
    # The first class that exceeds the target; the last one with any mass where rounding leaves
    # none.
    inverted = (
        (cumulative <= target)
        .sum(1, keepdim=True)
        .minimum((cumulative < others).sum(1, keepdim=True))
    )
    changed = torch.where(
        w < (classes - 1) * each,
        other,
        torch.where((draws.signal > 0) & (others > 0), inverted, x_t),
    )
    return torch.where(masked, inverted, torch.where(u < keep, x_t, changed)).squeeze(1)


def inverse_cdf(
    law: ScheduleTables, x: Tensor, x_t: Tensor, t: int | Tensor | Step, uniforms: Tensor
) -> Tensor:
    """The tokens (B, N) of all pixels."""
    tokens, needed = decide(law, x_t, t, uniforms)
    return torch.where(needed, complete(law, x, x_t, t, uniforms), tokens)


def invert(log_p: Tensor, uniforms: Tensor) -> Tensor:
    """The tokens (B, N) of log-probabilities (B, classes, N), which need not be normalised."""
    weights = (log_p.to(uniforms.dtype) - log_p.amax(1, keepdim=True)).exp()
    cumulative = weights.cumsum(1)
    total = cumulative[:, -1:]
    exceeded = (cumulative <= uniforms.unsqueeze(1) * total).sum(1)
    # The last class with any mass, where rounding leaves none.
    return exceeded.minimum((cumulative < total).sum(1))


def _unmasking(draws: Draws, u: Tensor) -> Tensor:
    """For a masked pixel that u unmasks: u rescaled to [0, 1)."""
    return (u - draws.masked_mask) / (1 - draws.masked_mask)


def _remask(t: int | Tensor | Step) -> float:
    return t.remask if isinstance(t, Step) else 0.0


def _draws(law: ScheduleTables, t: int | Tensor | Step, dtype: torch.dtype | None = None) -> Draws:
    draws = law.step_draws(t)
    assert draws is not None  # a law of assigned tables draws by `invert`
    return Draws(*(draws if dtype is None else draws.to(dtype)).unbind(-1))
