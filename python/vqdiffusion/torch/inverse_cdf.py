"""Drawing by one uniform per pixel on torch tensors, as the native module does: what the uniform
alone decides, and how a column completes the rest. x_t is (B, N), classes 0 … K; at t = 0 it is
mostly the mask throughout (`shown`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .formulas import Odds, ScheduleTables, entries


def shown(law: ScheduleTables, x_t: Tensor | None, t: int | Tensor, like: Tensor) -> Tensor:
    """x_t (B, N), with the mask where t = 0: the last step draws from the model output, whatever
    the pixels show, unless β̄_0 = 0.
    """
    if law.carries[0]:
        return x_t.long()
    if not isinstance(t, Tensor):
        return x_t.long() if t != 0 else torch.full_like(like, law.num_classes, dtype=torch.int64)
    return torch.where((t == 0).view(-1, 1), law.num_classes, x_t.long())


def unreachable(law: ScheduleTables, x_t: Tensor, t: int | Tensor) -> Tensor:
    """(B, 1, N): NaN where a pixel is masked and the schedule masks nothing, else a number."""
    masked = (x_t == law.num_classes).unsqueeze(1)
    return torch.where(masked, _odds(law, t, law.odds.dtype).stay, 0)


def decide(
    law: ScheduleTables, x_t: Tensor, t: int | Tensor, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """The tokens (B, N) that the uniforms decide alone, and where the column is needed."""
    odds = _odds(law, t, uniforms.dtype)
    x_t, u = x_t.unsqueeze(1), uniforms.unsqueeze(1)
    masked = x_t == law.num_classes
    v = (u - odds.stay) / (1 - odds.stay)
    unmasked = (v * law.num_classes / odds.uniform).long().clamp(0, law.num_classes - 1)
    tokens = torch.where(masked & (u >= odds.stay), unmasked, x_t)
    needed = torch.where(masked, (u >= odds.stay) & (v >= odds.uniform), u >= odds.settled)
    return tokens.squeeze(1), needed.squeeze(1)


def complete(
    law: ScheduleTables, x: Tensor, x_t: Tensor, t: int | Tensor, uniforms: Tensor
) -> Tensor:
    """The tokens (B, N) of pixels whose column is needed, from log-probabilities `x` (B, K, N)."""
    odds = _odds(law, t, uniforms.dtype)
    x_t, u = x_t.unsqueeze(1), uniforms.unsqueeze(1)
    masked, classes = x_t == law.num_classes, law.num_classes
    weights = (x.to(u.dtype) - x.amax(1, keepdim=True)).exp()
    index = x_t.clamp(max=classes - 1)
    own = torch.where(masked, 0, weights.gather(1, index))
    cumulative = weights.scatter(1, index, weights.gather(1, index) - own).cumsum(1)
    others = cumulative[:, -1:]

    # A masked pixel: u rescaled to the part that the model decides.
    v = (u - odds.stay) / (1 - odds.stay)
    of_masked = (v - odds.uniform) / (1 - odds.uniform) * others

    # Any other, in this order: its own class, the uniform part of the other classes, their part by
    # the model.
    total = others + own
    mass = others / total / odds.other + own / total / odds.own
    keep = odds.keep * (odds.signal * (own / total) / odds.own + odds.level * mass)
    each = odds.change * odds.level * mass
    w = u - keep
    other = (w / each).long().clamp(0, classes - 2 if classes > 1 else 0)
    other = torch.where(other < x_t, other, other + 1)
    signal = odds.change * odds.signal
    of_unmasked = (w - (classes - 1) * each) * odds.other / signal * total

    target = torch.where(masked, of_masked, of_unmasked)
    # The first class that exceeds the target; the last one with any mass where rounding leaves
    # none.
    inverted = (
        (cumulative <= target)
        .sum(1, keepdim=True)
        .minimum((cumulative < others).sum(1, keepdim=True))
    )
    changed = torch.where(
        w < (classes - 1) * each, other, torch.where((signal > 0) & (others > 0), inverted, x_t)
    )
    return torch.where(masked, inverted, torch.where(u < keep, x_t, changed)).squeeze(1)


def inverse_cdf(
    law: ScheduleTables, x: Tensor, x_t: Tensor, t: int | Tensor, uniforms: Tensor
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


def _odds(law: ScheduleTables, t: int | Tensor, dtype: torch.dtype) -> Odds:
    return Odds(*entries(law.odds, t).to(dtype).unbind(-1))
