"""The scheduler's formulas on torch tensors, for where the native module cannot go: accelerators,
autograd to any order, forward mode, vmap and torch.compile.

Eq. 11 of Gu et al. 2021 (arXiv 2111.14822) in closed form. With s = t - 1, D_t = ᾱ_t + β̄_t, y_k =
p_k but for the class i that an unmasked pixel shows, y_i = p_i β̄_t/D_t, and Y = Σ y, the posterior
is

    of a class:  f (ᾱ_s y_k + β̄_s Y), f = γ_t/γ̄_t for a masked pixel, else β_t/β̄_t,
                 for class i itself (α_t + β_t)/β̄_t
    of the mask: γ̄_s/γ̄_t Y for a masked pixel, else 1e-30 γ̄_s/β̄_t Y, which stands for 0 as in
                 one-hot logarithms of this family

and log(ᾱ_s y_k + β̄_s Y) = log Y + log β̄_s + softplus(log y_k - log Y + log ᾱ_s/β̄_s), whose
derivatives of every order are finite at log 0. Tensors have the axes (batch, classes, pixels); t is
an int, or an integer tensor without axes or with one entry for each batch row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from .. import _native

_LOG_IMPOSSIBLE = math.log(1e-30)


class Terms(NamedTuple):
    """Logarithms of what eq. 11 is made of at t: each a tensor without axes, or (B, 1, 1)."""

    signal: Tensor  # ᾱ_s
    level: Tensor  # β̄_s, 1 where that is 0
    masked: Tensor  # γ_t/γ̄_t
    other: Tensor  # β_t/β̄_t, 0 where the pixel is carried over
    own: Tensor  # (α_t + β_t)/β̄_t
    own_shift: Tensor  # β̄_t/D_t, 1 where the pixel is carried over
    mask_of_masked: Tensor
    mask_of_unmasked: Tensor


class Odds(NamedTuple):
    """What drawing by one uniform is made of at t: each a tensor without axes, or (B, 1, 1)."""

    stay: Tensor  # γ̄_s/γ̄_t: that a masked pixel stays masked; NaN where none can be masked
    uniform: Tensor  # K β̄_s/(1 - γ̄_s): that an unmasked class is one of the uniform part
    settled: Tensor  # (α_t + β_t) β̄_s/β̄_t: that an unmasked pixel keeps its class, at the least
    signal: Tensor  # ᾱ_s
    level: Tensor  # β̄_s
    keep: Tensor  # α_t + β_t
    change: Tensor  # β_t
    other: Tensor  # β̄_t
    own: Tensor  # D_t


@dataclass(frozen=True)
class ScheduleTables:
    """A noise schedule as tensors, in float64 where the device has that."""

    num_classes: int
    terms: Tensor  # (T, 8): Terms
    logs: Tensor  # (T + 1, 6): log α, log β, log γ, then cumulative; the first row is for t = -1
    odds: Tensor | None  # (T, 9): Odds; None where `terms` are of tables that somebody has set
    linear: tuple[
        bool, ...
    ]  # for each t: β̄_s = 0, so that the posterior of a class is proportional to its probability
    carries: tuple[bool, ...]  # for each t: β̄_t = 0, so that an unmasked pixel cannot have changed

    @classmethod
    def of(
        cls,
        num_classes: int,
        alpha_cumulative: np.ndarray,
        gamma_cumulative: np.ndarray,
        logs: list[np.ndarray],
    ) -> ScheduleTables:
        """`logs` are what `_native.schedule_logs` gives."""
        steps = np.arange(len(alpha_cumulative))
        rows = np.empty((len(steps), len(_native.step_coefficient_names)))
        _native.step_coefficients(
            num_classes, alpha_cumulative, gamma_cumulative, steps, steps - 1, rows
        )
        log_a, log_b, log_c = (table[:-1] for table in logs[3:])
        log_a_s, log_b_s, log_c_s = (
            np.roll(table, 1)[:-1] for table in logs[3:]
        )  # theirs is the last
        linear, carries = np.isneginf(log_b_s), np.isneginf(log_b)
        with np.errstate(divide="ignore", invalid="ignore"):  # log 0, and what is then replaced
            alpha, beta, gamma = rows[:, :3].T
            columns = [
                log_a_s,
                np.where(linear, 0, log_b_s),
                np.log(gamma) - log_c,
                np.where(carries, -np.inf, np.log(beta) - log_b),
                np.where(carries, 0, np.log(alpha + beta) - log_b),
                np.where(carries, 0, log_b - np.logaddexp(log_a, log_b)),
                log_c_s - log_c,
                np.where(carries, -np.inf, _LOG_IMPOSSIBLE + log_c_s - log_b),
            ]
            odds = _odds(num_classes, alpha_cumulative, gamma_cumulative, alpha, beta)
        from_clean = [np.append(0, table) for table in logs[:3]] + [
            np.roll(table, 1) for table in logs[3:]
        ]
        return cls(
            num_classes,
            torch.from_numpy(np.stack(columns, axis=1)),
            torch.from_numpy(np.stack(from_clean, axis=1)),
            torch.from_numpy(np.stack(odds, axis=1)),
            tuple(linear.tolist()),
            tuple(carries.tolist()),
        )

    @classmethod
    def of_tables(cls, num_classes: int, tables: Sequence[Tensor]) -> ScheduleTables:
        """The law of six tables taken as they are; they need not fit each other.

        log α, log β and log γ are (T,), the cumulative ones (T + 1,), the last entry for t = -1.
        As in one-hot logarithms log 0 is log 1e-30 in q(x_t | x_0) and q(x_t | x_s), but where
        β̄_t = 0 an unmasked pixel is carried over.
        """
        device = next((table.device for table in tables if table.is_meta), tables[0].device)
        dtype = _law_dtype(device)
        a, b, c, *cumulative = (table.to(device, dtype) for table in tables)
        log_a, log_b, log_c = (table[:-1] for table in cumulative)
        log_a_s, log_b_s, log_c_s = (table.roll(1)[:-1] for table in cumulative)
        linear, carries = log_b_s.isneginf(), log_b.isneginf()
        other = (a + _LOG_IMPOSSIBLE).logaddexp(b)
        of_other = (log_a + _LOG_IMPOSSIBLE).logaddexp(log_b)
        columns = [
            log_a_s,
            torch.where(linear, 0, log_b_s),
            c - log_c,
            torch.where(carries, -torch.inf, other - of_other),
            torch.where(carries, 0, a.logaddexp(b) - of_other),
            torch.where(carries, 0, of_other - log_a.logaddexp(log_b)),
            log_c_s - log_c,
            torch.where(carries, -torch.inf, _LOG_IMPOSSIBLE + log_c_s - of_other),
        ]
        from_clean = [torch.cat((one.new_zeros(1), one)) for one in (a, b, c)]
        from_clean += [one.roll(1) for one in cumulative]
        nowhere = (False,) * len(a)
        flags = [nowhere if one.is_meta else tuple(one.tolist()) for one in (linear, carries)]
        return cls(num_classes, torch.stack(columns, 1), torch.stack(from_clean, 1), None, *flags)

    def reads_sample(self, t: Any) -> bool:
        """Whether a step from t, an int or several, reads the sample: at t = 0 only to carry
        pixels over."""
        return t != 0 or self.carries[0]

    def to(self, device: torch.device | str) -> ScheduleTables:
        """The same with its logarithms on a device."""
        terms, logs, odds = (
            None if one is None else one.to(device, _law_dtype(device))
            for one in (self.terms, self.logs, self.odds)
        )
        return replace(self, terms=terms, logs=logs, odds=odds)

    def flag(self, flags: tuple[bool, ...], t: int | Tensor) -> bool | Tensor:
        """A bool to branch on where t is known, else a tensor."""
        if isinstance(t, Tensor) or torch.compiler.is_compiling():
            device = t.device if isinstance(t, Tensor) else "cpu"
            return entries(torch.tensor(flags, device=device), t)
        return flags[t]


def _law_dtype(device: torch.device | str) -> torch.dtype:
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def _odds(
    num_classes: int,
    alpha_cumulative: np.ndarray,
    gamma_cumulative: np.ndarray,
    alpha: np.ndarray,
    beta: np.ndarray,
) -> Odds:
    """The tables of `Odds`, from the marginals and the single steps α_t and β_t."""
    rest = 1 - alpha_cumulative - gamma_cumulative
    beta_cumulative = np.where(rest > 2**-50, rest / num_classes, 0)  # less is a rounding error
    alpha_s, beta_s, gamma_s = (
        np.append(clean, table[:-1])
        for clean, table in ((1, alpha_cumulative), (0, beta_cumulative), (0, gamma_cumulative))
    )
    stay = gamma_s / gamma_cumulative
    stay[0] = 0  # the last step draws from the model output, whatever is masked
    return Odds(
        stay,
        num_classes * beta_s / (1 - gamma_s),
        np.where(beta_cumulative > 0, (alpha + beta) * beta_s / beta_cumulative, 1),
        alpha_s,
        beta_s,
        alpha + beta,
        beta,
        beta_cumulative,
        alpha_cumulative + beta_cumulative,
    )


class Posterior(NamedTuple):
    """log p(x_s | x_t), not normalised: it sums to Σ p."""

    classes: Tensor  # (B, K, N)
    mask: Tensor  # (B, 1, N)
    total: Tensor  # log Y, (B, 1, N): finite exactly where a column can be drawn from


def posterior(law: ScheduleTables, log_p_x_0: Tensor, x_t: Tensor, t: int | Tensor) -> Posterior:
    """Eq. 11. Classes outside 0 … K give wrong results but read no memory that is not theirs."""
    x = _at_least_float32(log_p_x_0)
    terms = Terms(*entries(law.terms, t).to(x.device, x.dtype).unbind(-1))
    linear, carries = law.flag(law.linear, t), law.flag(law.carries, t)

    shown = x_t.long().unsqueeze(1)
    masked = shown == law.num_classes
    own = shown.clamp(0, law.num_classes - 1)
    log_y_own = x.gather(1, own) + torch.where(masked, 0, terms.own_shift)
    log_y = x.scatter(1, own, log_y_own)
    total = log_y.logsumexp(1, keepdim=True)

    def of_class(log_y: Tensor, factor: Tensor) -> Tensor:
        return _either(
            linear,
            lambda: log_y + (factor + terms.signal),
            lambda: softplus(log_y + (terms.signal - terms.level - total), 1, 50)
            + (factor + terms.level + total),
        )

    of_own = of_class(log_y_own, torch.where(masked, terms.masked, terms.own))
    of_own = _either(carries, lambda: torch.where(masked, of_own, total), lambda: of_own)
    classes = of_class(log_y, torch.where(masked, terms.masked, terms.other)).scatter(
        1, own, of_own
    )
    mask = total + torch.where(masked, terms.mask_of_masked, terms.mask_of_unmasked)
    return Posterior(classes, mask, total)


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


def carried_over(law: ScheduleTables, tokens: Tensor, x_t: Tensor, t: int | Tensor) -> Tensor:
    """The tokens (B, N), but where β̄_t = 0 the classes that pixels show."""
    carries = any(law.carries) and law.flag(law.carries, t)
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


def q_sample(law: ScheduleTables, x_0: Tensor, t: int | Tensor, uniforms: Tensor) -> Tensor:
    """x_t (B, N) from q(x_t | x_0) by uniforms: the mask below γ̄_t, then β̄_t for each class."""
    logs = entries(law.logs, t + 1).to(uniforms.device, uniforms.dtype)
    beta, gamma = logs[..., 4:].exp().unbind(-1)
    if isinstance(t, Tensor):
        beta, gamma = beta.view(-1, 1), gamma.view(-1, 1)
    x_0, v = x_0.long(), uniforms - gamma
    replaced = (v / beta).long().clamp(0, law.num_classes - 1)
    unmasked = torch.where(v < law.num_classes * beta, replaced, x_0)
    return torch.where((x_0 == law.num_classes) | (uniforms < gamma), law.num_classes, unmasked)


def entries(table: Tensor, t: int | Tensor) -> Tensor:
    """The row of a table at t; for a tensor of them (B, 1, 1) entries, or (B, 1, 1, columns)."""
    if not isinstance(t, Tensor):
        return table[t]
    return table.to(t.device).index_select(0, t.reshape(-1).long()).view(-1, 1, 1, *table.shape[1:])


def _either(flag: bool | Tensor, yes: Callable[[], Tensor], no: Callable[[], Tensor]) -> Tensor:
    if isinstance(flag, bool):
        return yes() if flag else no()
    return torch.where(flag, yes(), no())


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
