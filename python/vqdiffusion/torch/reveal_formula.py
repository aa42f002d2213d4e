"""Steps that reveal masked pixels as torch formulas: how many, which, and the classes drawn there.

Grids are (B, N); columns are (B, K, N), or (1, K, M) of the M needed pixels of a plan. `Unmask`
tells the formulas of the keys. As in the native module keys are those of numbers rounded to
float32, unless the model output is of float64, so that equal columns have equal keys.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..unmask import Unmask
from .inverse_cdf import invert


class Revealed(NamedTuple):
    """What a step reveals, of the axes (B, N)."""

    tokens: Tensor  # int64; of no meaning at other pixels
    revealed: Tensor  # bool
    scores: Tensor  # keys without noise, NaN where no column is read


class _Columns(NamedTuple):
    """What a step reads of each column, in the shape of its uniforms."""

    shifted: Tensor  # log p, less its largest, of every class
    mass: Tensor  # Σ e^shifted
    top: Tensor  # p₁
    margin: Tensor  # p₁ - p₂
    entropy: Tensor


def counts_of(may: Tensor, stay: Tensor, count: Tensor | None) -> Tensor:
    """How many of the pixels that may be each row reveals, (B,): `count`, else what is due.

    `stay` is γ̄_s/γ̄_t, (B, 1) or (1, 1).
    """
    masked = may.sum(1)
    if count is not None:
        return masked.minimum(count)
    # Without a masked pixel the schedule may mask nothing, 0/0.
    left = (masked.unsqueeze(1) * stay.nan_to_num(0) + 0.5).long().squeeze(1)
    return masked - masked.minimum(left)


def needed(unmask: Unmask, may: Tensor, counts: Tensor, order: Tensor | None) -> Tensor:
    """The pixels whose columns are read: those that may be revealed, or that will be."""
    if not unmask._chooses_first or order is None:
        return may
    return _first(_noisy(torch.zeros_like(order), order, 1.0), counts, may)


def reveal(
    x: Tensor,
    uniforms: Tensor,
    order: Tensor | None,
    needed: Tensor,
    counts: Tensor,
    unmask: Unmask,
    gathered: bool = False,
) -> Revealed:
    """What a step reveals, from the columns of the needed pixels.

    Of `x` (B, K, N) the other columns play no part; `gathered` is of (1, K, M).
    """

    def of_columns(grid: Tensor) -> Tensor:
        return grid[needed].unsqueeze(0) if gathered else grid

    def of_grid(values: Tensor) -> Tensor:
        if not gathered:
            return values
        grid = values.new_zeros(needed.shape)
        grid[needed] = values[0]
        return grid

    u = of_columns(uniforms)
    columns = _read(x, u.dtype)
    if unmask._chooses_first:
        tokens = of_grid(invert(columns.shifted, u))
        scores = torch.zeros_like(uniforms).masked_fill(~needed, torch.nan)
        return Revealed(tokens, needed, scores)
    top = of_grid(columns.top)
    purity = top
    if needed.shape[1]:  # of a row without such pixels of no meaning
        purity = top / top.masked_fill(~needed, 0).amax(1, keepdim=True)
    sharpened = columns.shifted
    if unmask.prior_weight:
        power = _rounded(1 + unmask.prior_weight * of_columns(purity), x)
        power = power.clamp(max=torch.finfo(x.dtype).max)  # ∞ times the 0 of the largest is NaN
        sharpened = sharpened * power.unsqueeze(1)
    drawn = invert(sharpened, u)
    tokens, entropy, probability = of_grid(drawn), of_grid(columns.entropy), top
    if unmask.by == "confidence":
        of_token = columns.shifted.gather(1, drawn.unsqueeze(1)).squeeze(1).exp() / columns.mass
        probability = of_grid(_rounded(of_token, x))
        keys = probability.log()
    elif unmask.by == "purity":
        keys = purity.log()
    elif unmask.by == "margin":
        keys = of_grid(columns.margin).log()
    elif unmask.by == "entropy":
        keys = -entropy
    else:
        keys = torch.zeros_like(uniforms)
    revealed = _chosen(unmask, keys, probability, entropy, order, needed, counts)
    return Revealed(tokens, revealed, keys.masked_fill(~needed, torch.nan))


def _chosen(
    unmask: Unmask,
    keys: Tensor,
    probability: Tensor,
    entropy: Tensor,
    order: Tensor | None,
    may: Tensor,
    counts: Tensor,
) -> Tensor:
    """The pixels that are revealed, by the rule of `unmask`."""
    if unmask.entropy_bound is not None:
        rising, at = entropy.masked_fill(~may, torch.inf).sort(dim=1, stable=True)
        sums = torch.cat((torch.zeros_like(rising[:, :1]), rising.cumsum(1)[:, :-1]), 1)
        return may & (sums <= unmask.entropy_bound).gather(1, at.argsort(1))
    noisy = keys
    if order is not None:
        temperature = 1.0 if unmask.by == "random" else float(unmask.temperature)
        noisy = _noisy(keys, order, temperature)
    if unmask.threshold is None:
        return _first(noisy, counts, may)
    above = may & (probability > unmask.threshold)
    return torch.where(
        above.any(1, keepdim=True), above, _first(noisy, torch.ones_like(counts), may)
    )


def _first(keys: Tensor, counts: Tensor, may: Tensor) -> Tensor:
    """So many pixels with the largest keys; of equal ones the lower index."""
    lowest = torch.finfo(keys.dtype).min  # for keys of -inf, before all that may not be
    ranked = keys.clamp(min=lowest).masked_fill(~may, -torch.inf)
    at = ranked.sort(dim=1, descending=True, stable=True).indices
    return may & (at.argsort(1) < counts.unsqueeze(1))


def _noisy(keys: Tensor, order: Tensor, temperature: float) -> Tensor:
    noise = -(-(-order).log1p()).log()
    return torch.where(keys.isneginf(), keys, keys + temperature * noise)


def _read(x: Tensor, dtype: torch.dtype) -> _Columns:
    wide = x.to(dtype)
    top = wide.topk(min(2, x.shape[1]), 1).values
    shifted = wide - top[:, :1]
    weights = shifted.exp()
    mass = weights.sum(1)
    second = shifted.new_full(mass.shape, -torch.inf) if x.shape[1] < 2 else top[:, 1] - top[:, 0]
    moment = (weights * shifted.masked_fill(weights == 0, 0)).sum(1)  # 0 log 0 = 0
    entropy = (mass.log() - moment / mass).clamp(min=0)
    numbers = (1 / mass, -second.expm1() / mass, entropy)
    return _Columns(shifted, mass, *(_rounded(one, x) for one in numbers))


def _rounded(number: Tensor, x: Tensor) -> Tensor:
    """To the precision of the model output, but at least that of float32."""
    return number.to(x.dtype).to(number.dtype)
