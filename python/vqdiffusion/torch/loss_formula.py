"""The training loss in torch functions, for where the native module cannot go: accelerators, vmap
and torch.compile.

With p = softmax z, j the class of x_0 and i the one that an unmasked pixel shows, y_k = σ_k p_k
with σ = 1 but σ_i = β̄_t/(ᾱ_t + β̄_t), and Y = Σ y, the posterior is m_k = A_k p_k + B_k Y (see
formulas.py), and given x_0 it is τ_k = A_k δ_kj + B_k σ_j. With d = τ/m - 1 and ψ(d) = (1 + d)
log(1 + d) - d

    KL = Σ m ψ(d),   ∂KL/∂z_k = p_k (σ_k Ω - A_k d_k),   Ω = -Σ B d

All classes but i and j have the same A and B, and for them 1 + d_k = q/(1 + x_k) with q = σ_j/Y and
x_k = A p_k/(B Y). What is of the size of the logits is e^z and x/(1 + x), at most two tensors at a
time; all else is computed for each pixel, in float64 where the device has that.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .schedule_tables import Step, Terms


class RowFactors(NamedTuple):
    """What the loss of a batch row follows from: tensors that broadcast with (B, 1, N)."""

    # A and B of a masked pixel, of the classes that an unmasked pixel does not show, and of the one
    # that it shows.
    masked: tuple[Tensor, Tensor]
    other: tuple[Tensor, Tensor]
    own: tuple[Tensor, Tensor]
    own_weight: Tensor  # σ_i
    is_reachable: Tensor  # whether pixels can be masked at t
    is_last: Tensor  # s = -1
    carries: Tensor  # β̄_t = 0: an unmasked pixel is carried over

    @classmethod
    def of(cls, step: Step) -> RowFactors:
        """By the coefficients of a step for each batch row."""
        masked, shown = (Terms(*kind.unbind(-1)) for kind in step.terms.unbind(-2))

        def factors(level: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
            # Where β̄_s = 0 a class has e^ratio p_k, and level is 0.
            return (level + ratio).exp(), torch.where(step.linear, 0.0, level.exp())

        return cls(
            factors(masked.level, masked.ratio),
            factors(shown.level, shown.ratio),
            factors(shown.own_level, shown.own_ratio),
            shown.own_weight.exp(),
            ~masked.mask.isnan(),
            step.last,
            step.carries,
        )


class Losses(NamedTuple):
    """The loss of each pixel, the cross-entropy that is added to it, and their gradient."""

    loss: Tensor  # (B, 1, N)
    auxiliary: Tensor  # (B, 1, N)
    gradient: Tensor | None  # (B, K, N)
    total: Tensor  # (B, 1, N): finite exactly where a column is good


def losses(
    factors: RowFactors,
    logits: Tensor,
    x_0: Tensor,
    x_t: Tensor,
    weight: tuple[float, float],
    auxiliary: Tensor,
    pixel_weights: Tensor,
    scale: Tensor | None,
) -> Losses:
    """`auxiliary` is λ a_t and `scale` what the gradient is multiplied with, each for every row;
    without a scale there is no gradient. `weight` is that of masked pixels and of others."""
    real = factors.own_weight.dtype
    j, x = x_0.long().unsqueeze(1), x_t.long().unsqueeze(1)
    masked, kept = x == logits.shape[1], x == j
    another = ~(masked | kept)
    i = torch.where(another, x, j)
    z = logits if logits.dtype == torch.float64 else logits.float()
    largest = z.amax(1, keepdim=True)
    log_clean = (z.gather(1, j) - largest).to(real)
    log_another = (z.gather(1, i) - largest).to(real)
    e, dtype = (z - largest).exp_(), z.dtype
    del z
    e = e.scatter(1, j, 0)
    e = e.scatter(1, i, 0)

    # As PixelLosses.swift has it, pixel by pixel.
    others = e.sum(1, keepdim=True).to(real)
    e_clean = log_clean.exp()
    rest = others + torch.where(another, log_another.exp(), 0.0)
    total = rest + e_clean
    entropy = total.log() - log_clean
    clean, not_clean, share = e_clean / total, rest / total, others / total
    shown = not_clean - share
    own_weight = torch.where(masked, 1.0, factors.own_weight)
    mass = torch.where(kept, not_clean + own_weight * clean, share + clean + own_weight * shown)
    excess = (1 - own_weight) * torch.where(kept, -not_clean, shown)
    a, b = (torch.where(masked, *both) for both in zip(factors.masked, factors.other))
    a_own, b_own = factors.own
    is_divergence = ~factors.is_last & (b > 0) & (masked | ~factors.carries)

    ratio = torch.where(is_divergence, a / (b * mass * total), 0.0).clamp(max=1e37).to(dtype)
    logs = (e * ratio).log1p_().sum(1, keepdim=True).to(real)
    # x/(1 + x) as 1/(1 + 1/x): no digits are lost, and 0 stays 0.
    gradient = (e * ratio).reciprocal_().add_(1).reciprocal_()
    shares = gradient.sum(1, keepdim=True).to(real)

    number = logits.shape[1] - 1 - another.to(real)
    q, excess_share = 1 + excess / mass, excess / mass
    a_clean, b_clean = torch.where(kept, a_own, a), torch.where(kept, b_own, b)
    m_clean, m_shown = a_clean * clean + b_clean * mass, a_own * shown + b_own * mass
    d_clean = (a_clean * not_clean + b_clean * excess) / m_clean
    d_shown = torch.where(another, (b_own * excess - a_own * shown) / m_shown, 0.0)
    omega = b * (q * shares - number * excess_share) - b_clean * d_clean
    omega = omega - torch.where(another, b_own * d_shown, 0.0)
    divergence = (
        number * b * mass * _psi(excess_share)
        + (a * share - b * mass * q * logs)
        + m_clean * _psi(d_clean)
        + torch.where(another, m_shown * _psi(d_shown), 0.0)
    ).clamp(min=0)

    of_pixel = torch.where(masked, *weight).to(real)
    of_pixel = torch.where(factors.is_last, 1.0, of_pixel) * pixel_weights
    of_pixel = torch.where(masked | ~factors.carries, of_pixel, 0.0)
    plain = of_pixel * torch.where(factors.is_last, 1.0, torch.where(is_divergence, 0.0, a))
    added = of_pixel * auxiliary
    # Where the model gives j no probability 0 · ∞ must be 0.
    loss = torch.where(plain > 0, plain * entropy, 0.0)
    is_weighed = is_divergence & (of_pixel > 0)
    loss = torch.where(is_weighed, of_pixel * divergence, loss)
    of_auxiliary = torch.where(added > 0, added * entropy, 0.0)
    if scale is None:
        return Losses(loss, of_auxiliary, None, total)

    def scaled(of_divergence: Tensor, of_entropy: Tensor) -> Tensor:
        both = torch.where(is_weighed, of_pixel * of_divergence, 0.0)
        return ((both + (plain + added) * of_entropy) * scale).to(dtype)

    slope = scaled(a * q / total, torch.zeros_like(total))
    constant = scaled((omega - a * excess_share) / total, 1 / total)
    of_clean = scaled(
        clean * (torch.where(kept, own_weight, 1.0) * omega - a_clean * d_clean), -not_clean
    )
    of_shown = scaled(shown * (own_weight * omega - a_own * d_shown), shown)
    gradient = gradient.mul_(slope).add_(constant).mul_(e)
    del e
    gradient = gradient.scatter(1, i, of_shown)
    gradient = gradient.scatter(1, j, of_clean)
    return Losses(loss, of_auxiliary, gradient, total)


def _psi(d: Tensor) -> Tensor:
    """(1 + d) log(1 + d) - d, which is d²/2 near 0."""
    series = torch.full_like(d, 1 / 56)
    for n in (42, 30, 20, 12, 6, 2):
        series = 1 / n - d * series
    direct = torch.where(d > -1, (1 + d) * d.log1p() - d, 1.0)
    return torch.where(d.abs() < 0.01, d * d * series, direct)
