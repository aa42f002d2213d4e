"""A noise schedule as tensors: for each timestep the coefficients of the step from it, which the
core computes, as the torch formulas take them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import _native

Table = npt.NDArray[np.float64]
Schedule = tuple[int, Table, Table]  # what native functions take: K, ᾱ and γ̄
_BLOCK = 1 << 14  # steps whose coefficients are in memory at once: 2.6 MiB


class Terms(NamedTuple):
    """Eq. 11 for pixels of one kind, those that are masked at t or those that show a class, in
    logarithms.

    With p the probabilities of x_0 and Y their sum, in which the class that the pixel shows counts
    e^own_weight times, p(x_s | x_t) is

        of a class            e^level (e^ratio p_k + Y)
        of the class it shows e^own_level (e^own_ratio p_i + Y)
        of the mask           e^mask Y

    up to a factor of the pixel, and where β̄_s = 0 it is e^ratio p_k and e^own_ratio p_i; level is
    then 0.
    """

    level: Any
    ratio: Any
    own_level: Any
    own_ratio: Any
    own_weight: Any
    mask: Any


class Draws(NamedTuple):
    """What drawing by one uniform takes, by the names of vqd_coefficients in vqdiffusion.h."""

    masked_mask: Tensor
    uniform_share: Tensor
    settled: Tensor
    other_weight: Tensor
    own_weight: Tensor
    signal: Tensor
    level: Tensor
    own_signal: Tensor
    own_level: Tensor


class Step(NamedTuple):
    """The coefficients of a step, or of one for each batch row: then B is not 1, and flags are
    tensors (B, 1, 1)."""

    terms: Tensor  # (B, 1, 1, 2, 6): Terms of masked pixels, and of those that show a class
    draws: Tensor | None  # (9,) or (B, 1, 1, 9): Draws
    linear: bool | Tensor  # β̄_s = 0: the posterior of a class is proportional to its probability
    carries: bool | Tensor  # β̄_t = 0: a pixel that shows a class keeps it
    last: bool | Tensor  # s = -1: the model output itself is drawn from
    remask: float = 0.0  # σ, with which a pixel that shows a class is masked again


@dataclass(frozen=True)
class ScheduleTables:
    """Row t of `terms` and `draws` belongs to the step from t to t - 1, row t + 1 of `logs` to
    timestep t. Tensors are of float64 where the device has that.
    """

    num_classes: int
    terms: Tensor  # (T, 2, 6): Terms of masked pixels, and of those that show a class
    logs: Tensor  # (T + 1, 6): log α, log β, log γ, then cumulative; the first row is for t = -1
    draws: Tensor | None  # (T, 9): Draws; None for assigned tables
    linear: tuple[bool, ...]  # for each t, as in Step
    carries: tuple[bool, ...]
    schedule: Schedule | None = None  # None for assigned tables
    strides: dict[tuple[int, int], Step] = field(default_factory=dict)  # of other steps, (t, s)

    @classmethod
    def of(
        cls,
        num_classes: int,
        alpha_cumulative: Table,
        gamma_cumulative: Table,
        logs: list[Table],
    ) -> ScheduleTables:
        """`logs` are what `_native.schedule_logs` gives."""
        schedule = num_classes, alpha_cumulative, gamma_cumulative
        t = np.arange(len(alpha_cumulative), dtype=np.int64)
        terms, draws, linear, carries = _steps(schedule, t, t - 1)
        from_clean = [np.append(0, table) for table in logs[:3]]
        from_clean += [np.roll(table, 1) for table in logs[3:]]  # whose last is that of t = -1
        return cls(
            num_classes,
            torch.from_numpy(terms),
            torch.from_numpy(np.stack(from_clean, axis=1)),
            torch.from_numpy(draws),
            tuple(linear.tolist()),
            tuple(carries.tolist()),
            schedule,
        )

    def step(self, t: int | Tensor | Step) -> Step:
        """The step from t to t - 1, t being an int, or an integer tensor without axes or with one
        entry for each batch row. A step is itself.
        """
        if isinstance(t, Step):
            return t
        terms = entries(self.terms, t)
        return Step(
            terms if isinstance(t, Tensor) else terms.view(1, 1, 1, *terms.shape),
            self.step_draws(t),
            _flag(self.linear, t),
            self.step_carries(t),
            t == 0 if not isinstance(t, Tensor) else (t == 0).view(-1, 1, 1),
        )

    def step_draws(self, t: int | Tensor | Step) -> Tensor | None:
        """`step(t).draws` alone."""
        if isinstance(t, Step):
            return t.draws
        return None if self.draws is None else entries(self.draws, t)

    def step_carries(self, t: int | Tensor | Step) -> bool | Tensor:
        """`step(t).carries` alone."""
        return t.carries if isinstance(t, Step) else _flag(self.carries, t)

    def step_to(
        self,
        t: int | list[int],
        s: int | list[int],
        device: torch.device | str,
        remask: float = 0.0,
    ) -> Step:
        """The step from t to s, or one for each batch row.

        Raises ValueError for assigned tables where s is not t - 1: they define single steps only;
        and for `remask` above its largest.
        """
        if isinstance(t, int) and isinstance(s, int):
            if remask:
                return self._strides([t], [s], remask)[0]
            if s == t - 1:
                return self.step(t)
            return self.strides.get((t, s)) or self._strides([t], [s])[0]
        if not remask and isinstance(t, list) and s == [one - 1 for one in t]:
            return self.step(torch.tensor(t, device=device))
        steps = self._strides(t, s, remask)
        flags = (torch.tensor(flag).view(-1, 1, 1) for flag in list(zip(*steps))[2:5])
        linear, carries, last = (flag.to(device) for flag in flags)
        terms, draws = torch.cat([one.terms for one in steps]), [one.draws for one in steps]
        return Step(
            terms.to(device),
            torch.stack(draws).to(device).view(len(steps), 1, 1, -1),
            linear,
            carries,
            last,
            remask,
        )

    def noise(self, t: int | list[int], s: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """β and γ of the transition from s to t, or to one t for each batch row, (B, 1).

        Raises ValueError for assigned tables where s is neither -1 nor t - 1.
        """
        to = torch.tensor(t, device=like.device)
        if s == -1:
            logs = entries(self.logs, to + 1)[..., 4:]
        elif self.schedule is None:
            if (to != s + 1).any():
                raise ValueError(
                    "from_timestep must be -1 or t - 1 where the tables of single steps were "
                    f"replaced, not {s}"
                )
            logs = entries(self.logs, to + 1)[..., 1:3]
        else:
            return _noise_from(self.schedule, t, s, like)
        beta, gamma = logs.to(like.device, like.dtype).exp().unbind(-1)
        return beta.view(-1, 1), gamma.view(-1, 1)

    def with_strides(self, t: list[int], s: list[int]) -> ScheduleTables:
        """The same that has the steps from t to s at hand."""
        if self.schedule is None:
            return self
        steps = zip(zip(t, s), self._strides(t, s))
        return replace(self, strides=dict(steps))

    @torch.compiler.disable  # the core computes what no table holds
    def _strides(self, t: Any, s: Any, remask: float = 0.0) -> list[Step]:
        if self.schedule is None:
            raise ValueError(
                f"previous_timestep must be t - 1 where the tables of single steps were replaced, "
                f"not {s[0]} at t = {t[0]}"
            )
        terms, draws, linear, carries = _steps(self.schedule, np.array(t), np.array(s), remask)
        return [
            Step(
                torch.from_numpy(terms[i]).to(self.terms).view(1, 1, 1, *terms.shape[1:]),
                torch.from_numpy(draws[i]).to(self.terms),
                bool(linear[i]),
                bool(carries[i]),
                s[i] < 0,
                remask,
            )
            for i in range(len(t))
        ]

    def reads_sample(self, t: int | list[int], s: int | list[int]) -> bool:
        """Whether a step reads the sample. One to clean data does so to carry pixels over; several
        steps count as reading it.
        """
        return not (isinstance(t, int) and s == -1) or self.carries[t]

    def to(self, device: torch.device | str) -> ScheduleTables:
        """The same with its tables on a device."""
        kind = table_dtype(device)

        def moved(table: Any) -> Any:
            return None if table is None else table.to(device, kind)

        strides = {
            pair: step._replace(terms=moved(step.terms), draws=moved(step.draws))
            for pair, step in self.strides.items()
        }
        return replace(
            self,
            terms=moved(self.terms),
            logs=moved(self.logs),
            draws=moved(self.draws),
            strides=strides,
        )


def table_dtype(device: torch.device | str) -> torch.dtype:
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def entries(table: Tensor, t: int | Tensor) -> Tensor:
    """The row of a table at t; for a tensor of them (B, 1, 1) entries, or (B, 1, 1, columns)."""
    if not isinstance(t, Tensor):
        return table[t]
    return table.to(t.device).index_select(0, t.reshape(-1).long()).view(-1, 1, 1, *table.shape[1:])


def _flag(flags: tuple[bool, ...], t: int | Tensor) -> bool | Tensor:
    """A bool to branch on where t is known, else a tensor."""
    if isinstance(t, Tensor) or torch.compiler.is_compiling():
        device = t.device if isinstance(t, Tensor) else "cpu"
        return entries(torch.tensor(flags, device=device), t)
    return flags[t]


@torch.compiler.disable  # as above
def _noise_from(
    schedule: Schedule, t: int | list[int], s: int, like: Tensor
) -> tuple[Tensor, Tensor]:
    """β and γ as `ScheduleTables.noise` has them, from s ≥ 0."""
    each = np.atleast_1d(np.array(t, np.int64))
    later = each[each > s]  # at s itself nothing changes
    names = _native.step_coefficient_names
    rows = np.empty((len(later), len(names)))
    _native.step_coefficients(*schedule, later, np.full_like(later, s), rows)
    noise = np.zeros((2, len(each), 1))
    for values, name in zip(noise, ("beta", "gamma")):
        values[each > s, 0] = rows[:, names.index(name)]
    beta, gamma = torch.from_numpy(noise).to(like)
    return beta, gamma


def _steps(
    schedule: Schedule,
    timesteps: npt.NDArray[np.int64],
    previous: npt.NDArray[np.int64],
    remask: float = 0.0,
) -> tuple[Table, Table, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The tables `terms`, `draws`, `linear` and `carries` of the steps between these timesteps."""
    count, names = len(timesteps), _native.step_coefficient_names
    terms, draws = np.empty((count, 2, len(Terms._fields))), np.empty((count, len(Draws._fields)))
    linear, carries = np.empty((2, count), bool)
    for first in range(0, count, _BLOCK):
        block = slice(first, first + _BLOCK)
        rows = np.empty((len(timesteps[block]), len(names)))
        _native.step_coefficients(*schedule, timesteps[block], previous[block], rows, remask)
        columns = dict(zip(names, rows.T))
        linear[block] = columns["previous_beta_cumulative"] == 0
        carries[block] = columns["beta_cumulative"] == 0
        for number, kind in enumerate(_terms(columns, linear[block])):
            for at, values in enumerate(kind):
                terms[block, number, at] = values
        for at, name in enumerate(Draws._fields):
            draws[block, at] = columns[name]
    return terms, draws, linear, carries


def _terms(columns: dict[str, Table], linear: npt.NDArray[np.bool_]) -> tuple[Terms, Terms]:
    """Of masked pixels, and of those that show a class, by columns of coefficients.

    The core's mass S is other_weight Y.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0, and what is then replaced

        def log(name: str) -> Table:
            return np.log(columns[name])

        def level_and_ratio(signal: Table, level: Table) -> tuple[Table, Table]:
            level = np.where(linear, 0, level)
            return level, np.where(np.isneginf(signal), -np.inf, signal - level)

        masked = level_and_ratio(log("masked_signal"), log("masked_level"))
        # NaN tells that no pixel can be masked at t.
        mask = np.where(columns["gamma_cumulative"] == 0, np.nan, log("masked_mask"))
        unit = log("other_weight")
        return Terms(*masked, *masked, np.zeros_like(mask), mask), Terms(
            *level_and_ratio(log("signal"), log("level") + unit),
            *level_and_ratio(log("own_signal"), log("own_level") + unit),
            log("own_weight") - unit,
            log("mask") + unit,
        )
