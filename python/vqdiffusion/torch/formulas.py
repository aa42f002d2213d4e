"""The scheduler's formulas on torch tensors, for where the native module cannot go: accelerators,
autograd to any order, forward mode, vmap and torch.compile.

Eq. 11 of Gu et al. 2021 (arXiv 2111.14822) in closed form, by the coefficients of a step (`Terms`).
With p the probabilities of x_0, i the class that a pixel shows and Y = Σ_{k≠i} p_k + e^own_weight
p_i, or Σ p for a masked pixel, log p(x_s | x_t) is

    of a class:  level + log Y + softplus(log p_k + ratio - log Y)
    of class i:  own_level + log Y + softplus(log p_i + own_ratio - log Y)
    of the mask: mask + log Y

where β̄_s = 0 it is log p_k + ratio and log p_i + own_ratio, and where β̄_t = 0 that of class i is
log Y. Where pixels that show a class are masked again with probability σ, `Step.remask`, that of
their mask is log σ + log Σ p, and the rest has the factor 1 - σ.

Derivatives of every order are finite at log 0. Tensors have the axes (batch, classes, pixels); t is
an int, an integer tensor without axes or with one entry for each batch row, or a `Step`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .schedule_tables import ScheduleTables, Step, Terms, entries


class Posterior(NamedTuple):
    """log p(x_s | x_t), not normalised: it sums to Σ p."""

    classes: Tensor  # (B, K, N)
    mask: Tensor  # (B, 1, N)
    total: Tensor  # log Y, (B, 1, N): finite exactly where a column can be drawn from


def posterior(
    law: ScheduleTables, log_p_x_0: Tensor, x_t: Tensor, t: int | Tensor | Step
) -> Posterior:
    """Eq. 11. Classes outside 0 … K give wrong results but read no memory that is not theirs."""
    x = _at_least_float32(log_p_x_0)
    step = law.step(t)
    observed = x_t.long().unsqueeze(1)
    masked = observed == law.num_classes
    own = observed.clamp(0, law.num_classes - 1)  # of a masked pixel a class like any other
    terms = _of_pixels(step, masked, x)
    x_own = x.gather(1, own)
    y = x.scatter(1, own, x_own + terms.own_weight)
    total = y.logsumexp(1, keepdim=True)

    def of_class(x: Tensor, level: Tensor, ratio: Tensor) -> Tensor:
        return _either(
            step.linear,
            lambda: x + ratio,
            lambda: softplus(x + (ratio - total), 1, 50) + (level + total),
        )

    of_own = of_class(x_own, terms.own_level, terms.own_ratio)
    carried, mask = total, total + terms.mask
    if step.remask:
        carried = total + (math.log1p(-step.remask) if step.remask < 1 else -math.inf)
        again = x.logsumexp(1, keepdim=True) + math.log(step.remask)
        mask = torch.where(masked, mask, again)
    of_own = _either(step.carries, lambda: torch.where(masked, of_own, carried), lambda: of_own)
    classes = of_class(y, terms.level, terms.ratio).scatter(1, own, of_own)
    return Posterior(classes, mask, total)


def _of_pixels(step: Step, masked: Tensor, like: Tensor) -> Terms:
    """The terms of each pixel, (B, 1, N), by whether it is masked."""
    kinds = step.terms.to(like.device, like.dtype).movedim(-1, 0)
    return Terms(*torch.where(masked, kinds[..., 0], kinds[..., 1]).unbind(0))


def gumbel_argmax(classes: Tensor, mask: Tensor | None, uniforms: Tensor) -> Tensor:
    """The class, or the mask, with the largest log-probability - log(-log(u + 1e-30) + 1e-30); the
    first of equals.

    `uniforms` has as many rows as there are candidates, and is overwritten.
    """
    noise = uniforms.add_(1e-30).log_().neg_().add_(1e-30).log_()
    if mask is None:
        return (classes - noise).argmax(1)
    best, token = (classes - noise[:, :-1]).max(1)
    of_mask = (mask - noise[:, -1:]).squeeze(1)
    return torch.where(of_mask > best, classes.shape[1], token)


def carried_over(
    law: ScheduleTables, tokens: Tensor, x_t: Tensor, t: int | Tensor | Step
) -> Tensor:
    """The tokens (B, N), but where β̄_t = 0 and none are masked again the classes that pixels
    show.
    """
    if isinstance(t, Step) and t.remask:
        return tokens
    carries = any(law.carries) and law.step_carries(t)
    if carries is False:
        return tokens
    if isinstance(carries, Tensor) and carries.ndim > 0:
        carries = carries.squeeze(2)
    return torch.where((x_t != law.num_classes) & carries, x_t.long(), tokens)


def log_transition_rows(
    law: ScheduleTables, x_t: Tensor, log_onehot_x_t: Tensor, t: int | Tensor, cumulative: bool
) -> Tensor:
    """log q(x_t | x_0 = j), or log q(x_t | x_{t-1} = j) with the row of the mask, for every class
    j.
    """
    onehot = _at_least_float32(log_onehot_x_t)
    logs = entries(law.logs, t + 1).to(onehot.device, onehot.dtype).unbind(-1)
    a, b, c = logs[3:] if cumulative else logs[:3]
    masked = (x_t.long() == law.num_classes).unsqueeze(1)
    rows = torch.where(masked, c, (onehot[:, :-1] + a).logaddexp(b))
    return rows if cumulative else torch.cat((rows, onehot[:, -1:]), 1)


def apply_cumulative_transitions(law: ScheduleTables, q: Tensor, t: int | Tensor) -> Tensor:
    """log(ᾱ_t e^q + β̄_t), and log γ̄_t for the mask; t = -1 stands for clean data."""
    q = _at_least_float32(q)
    a, b, c = entries(law.logs, t + 1).to(q.device, q.dtype).unbind(-1)[3:]
    return torch.cat(((q + a).logaddexp(b), c.expand_as(q[:, :1])), 1)


def add_noise(classes: int, x_s: Tensor, beta: Tensor, gamma: Tensor, uniforms: Tensor) -> Tensor:
    """x_t (B, N) from q(x_t | x_s) by uniforms: the mask below γ, then β for each class."""
    x_s, v = x_s.long(), uniforms - gamma
    replaced = (v / beta).long().clamp(0, classes - 1)
    unmasked = torch.where(v < classes * beta, replaced, x_s)
    return torch.where((x_s == classes) | (uniforms < gamma), classes, unmasked)


def _either(flag: bool | Tensor, yes: Callable[[], Tensor], no: Callable[[], Tensor]) -> Tensor:
    if isinstance(flag, bool):
        return yes() if flag else no()
    return torch.where(flag, yes(), no())


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
