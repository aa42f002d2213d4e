"""Steps that are drawn in two parts: `plan`, and `step` given the columns of the needed pixels
alone.
"""

from __future__ import annotations

from itertools import starmap
from typing import Any, SupportsFloat

import numpy as np
import torch
from torch import Generator, Tensor

from .._chain import Chain
from ..row_keys import RowKeys
from ..step_plan import StepPlan
from ..unmask import Unmask, as_unmask
from . import inverse_cdf as formulas
from .arguments import (
    as_columns,
    as_generators,
    as_grid,
    as_timesteps,
    by_row_to,
    check_columns,
    check_grid,
    known_of,
    leads_to,
    rows_of,
    same_values,
)
from .noise import States, order_uniforms, remember
from .reveal_formula import Revealed, reveal
from .revealing import decide, empty_result, native_options, put_together
from .schedule_tables import ScheduleTables
from .transitions import Transitions
from .view import numpy_view


NO_PLAN = (
    "plan needs the class's own q_posterior and the constructor's tables: with another posterior "
    "the model output of every pixel is needed"
)


class PlannedSteps(Transitions):
    """The method of a scheduler that draws before there is a model output."""

    def plan(
        self,
        timestep: int | Tensor,
        sample: Tensor,
        generator: Generator | list[Generator] | RowKeys | None = None,
        *,
        previous_timestep: int | Tensor | None = None,
        known: Tensor | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
    ) -> StepPlan:
        """Draw the random numbers of the coming step and tell which pixels it needs the model
        output of, as `vqdiffusion.VQDiffusionScheduler.plan`:

            plan = scheduler.plan(t, sample, generator)
            log_p = output_layer(hidden[plan.needed]).log_softmax(-1).T  # (M, D) to (K, M)
            sample = scheduler.step(log_p, t, sample, plan=plan).prev_sample

        Parameters
        ----------
        timestep : int, integer tensor of one element, or integer tensor of shape (B,)
            t, 0 … T - 1, for all rows or one for each. At s = -1 every pixel is needed; where
            β̄_t = 0, every masked one.
        sample : torch.Tensor of any integer dtype, shape (B, N)
            x_t: classes 0 … K. At s = -1 only its shape plays a part, unless β̄_t = 0.
        generator : torch.Generator, list of them, RowKeys, or None
            As in `step`, which would draw the same B * N uniforms from it.
        previous_timestep : int, or integer tensor as `timestep`, optional
            As in `step`.
        known : torch.Tensor of any integer dtype, shape (B, N), optional
            As in `step`, which then takes it from the plan. Known pixels are not needed.
        unmask, remask
            As in `step`, which then takes them from the plan. By "random", without `threshold`,
            `entropy_bound` and `prior_weight`, only the pixels that will be revealed are needed;
            otherwise all that may be.

        Returns
        -------
        StepPlan
            With it, `step` returns what it would have returned with `generator`, up to the rounding
            of sums where the columns are given in another memory layout than there.

        Raises
        ------
        TypeError, ValueError
            As in `step`; ValueError also with "gumbel", which needs every pixel.
        """
        chain = self._chain
        how, sigma = as_unmask(unmask, remask)
        if chain.is_gumbel and how is None:
            raise ValueError(
                "plan needs sampling_method 'inverse_cdf': 'gumbel' reads the model output of "
                "every pixel"
            )
        if how is None and not self._is_plain():
            raise ValueError(NO_PLAN)
        rows = rows_of(sample, timestep)
        t = as_timesteps(timestep, "timestep", 0, chain.num_timesteps - 1, rows)
        s = leads_to(chain, t, previous_timestep)
        return _make_plan(self, t, s, sample, known, generator, how, sigma)


def _make_plan(
    scheduler: Transitions,
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    known: Any,
    generator: Any,
    unmask: Unmask | None,
    remask: float,
) -> StepPlan:
    """Computed natively where the sample's memory can be reached, else by the torch formulas."""
    chain, law = scheduler._chain, scheduler._law
    grid = as_grid(sample, "sample")
    batch, pixels = shape = grid.shape[0], grid.shape[1]
    generator = as_generators(generator, batch, t)
    parts = by_row_to(t, s, batch)
    is_native = unmask is None or (scheduler._follow_tables() and not unmask._has_tensors)
    shown = numpy_view(grid, "sample") if is_native else None
    if shown is None and (unmask is not None or law.reads_sample(t, s)):
        check_grid(grid, "sample", law.num_classes)
    tokens = None if known is None else known_of(grid, known, law.num_classes)
    kept = None if tokens is None else numpy_view(tokens, "known")
    states: States = []
    put_back = starmap(Generator.set_state, states)
    try:
        remember(generator, grid.device, states)
        has_order = unmask is not None and unmask._has_noise
        u, order = order_uniforms(batch, pixels, generator, grid.device, has_order)
        noise = None if shown is None else numpy_view(u, "uniforms")
        of_order = None if order is None or noise is None else numpy_view(order, "uniforms")
        if noise is None or shown is None or (kept is None and tokens is not None):
            if unmask is not None:
                needed = decide(law, t, s, grid.long(), tokens, unmask, (u, order))[0]
            else:
                step = law.step_to(t, s, grid.device, remask)
                needed = formulas.decide(law, formulas.shown(law, grid, step, u), step, u)[1]
                if tokens is not None:
                    needed &= tokens < 0
        else:
            needed = torch.empty((batch, pixels), dtype=torch.bool, device="cpu")
            out = needed.numpy()
            for rows, one, to in parts:
                reads = unmask is not None or law.reads_sample(one, to)
                own = shown[rows] if reads else None
                given = None if kept is None else kept[rows]
                how = None if unmask is None else native_options(unmask, shape, rows, of_order)[0]
                chain.plan(one, to, own, noise[rows], out[rows], given, remask, how)
        return StepPlan(needed, t, s, grid.clone(), u, chain, tokens, unmask, remask, order)
    except BaseException:
        list(put_back)
        raise


def check_plan(
    plan: StepPlan,
    chain: Chain,
    law: ScheduleTables,
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    known: Any,
    generator: Any,
) -> None:
    """Refuses a step that is not the one planned."""

    def same_sample() -> bool:
        reads = plan.unmask is not None or law.reads_sample(t, s)
        return not reads or same_values(as_grid(sample, "sample"), plan.sample)

    same_known = known is None or (
        plan.known is not None and same_values(as_grid(known, "known"), plan.known)
    )
    plan.check(chain, t, s, generator, same_sample, same_known)


def complete(
    chain: Chain, law: ScheduleTables, model_output: Any, plan: StepPlan
) -> Tensor | Revealed:
    """The tokens (B, N) from the columns (K, M) of the needed pixels, or what is revealed."""
    unmask = plan.unmask
    x = as_columns(model_output, "model_output", law.num_classes)
    columns, shown, noise, needed = (
        numpy_view(one, "plan") for one in (x, plan.sample, plan.uniforms, plan.needed)
    )
    kept = None if plan.known is None else numpy_view(plan.known, "plan")
    if columns is None or shown is None or noise is None or needed is None:
        return _torch_complete(law, x, plan) if unmask is None else _torch_reveal(law, x, plan)
    if unmask is not None and (unmask._has_tensors or law.schedule is None):
        return _torch_reveal(law, x, plan)
    _check_number(x, int(np.count_nonzero(needed)))
    batch, pixels = shown.shape
    result, first = empty_result(batch, pixels), 0
    order = None if plan._order_uniforms is None else plan._order_uniforms.numpy()
    for rows, one, to in by_row_to(plan.timestep, plan.previous_timestep, batch):
        last = first + int(np.count_nonzero(needed[rows]))
        own = shown[rows] if unmask is not None or law.reads_sample(one, to) else None
        tokens = None if kept is None else kept[rows]
        given = one, to, columns[:, first:last], own, noise[rows]
        if unmask is None:
            out = result.tokens.numpy()[rows]
            chain.step(*given, out, known=tokens, remask=plan.remask)
        else:
            how, out = native_options(unmask, (batch, pixels), rows, order, result)
            chain.step(*given, out, known=tokens, unmask=how)
        first = last
    return result.tokens if unmask is None else result


def _torch_reveal(law: ScheduleTables, x: Tensor, plan: StepPlan) -> Revealed:
    x = x.detach() if x.dtype == torch.float64 else x.detach().float()
    t, s, unmask, needed = plan.timestep, plan.previous_timestep, plan.unmask, plan.needed
    assert unmask is not None
    grid, drawn = plan.sample.long(), (plan.uniforms, plan._order_uniforms)
    _check_number(x, int(needed.sum()))
    check_columns(x, "model_output")
    counts = decide(law, t, s, grid, plan.known, unmask, drawn)[1]
    result = reveal(x.unsqueeze(0), *drawn, needed, counts, unmask, gathered=True)
    return put_together(result, grid, plan.known)


def _torch_complete(law: ScheduleTables, x: Tensor, plan: StepPlan) -> Tensor:
    x = x.detach() if x.dtype == torch.float64 else x.detach().float()
    step = law.step_to(plan.timestep, plan.previous_timestep, plan.sample.device, plan.remask)
    grid = formulas.shown(law, plan.sample, step, plan.uniforms)
    tokens, needed = formulas.decide(law, grid, step, plan.uniforms)
    if plan.known is not None:
        needed &= plan.known < 0
    _check_number(x, int(needed.sum()))
    check_columns(x, "model_output")
    if isinstance(plan.timestep, list) and step.draws is not None:
        step = step._replace(draws=step.draws[needed.nonzero()[:, 0]])
    # Each column as a grid of one pixel.
    drawn = formulas.complete(
        law, x.T.unsqueeze(2), grid[needed].unsqueeze(1), step, plan.uniforms[needed].unsqueeze(1)
    )
    tokens[needed] = drawn.squeeze(1)
    return tokens if plan.known is None else torch.where(plan.known < 0, tokens, plan.known)


def _check_number(x: Tensor, needed: int) -> None:
    if x.shape[1] != needed:
        raise ValueError(
            f"model_output for the needed pixels alone must have shape ({x.shape[0]}, {needed}), "
            f"not {tuple(x.shape)}"
        )
