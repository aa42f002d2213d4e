"""Steps that are drawn in two parts: `plan`, and `step` given the columns of the needed pixels
alone.
"""

from __future__ import annotations

from itertools import starmap
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from .._chain import Chain
from ..step_plan import StepPlan
from . import inverse_cdf as formulas
from .arguments import (
    as_columns,
    as_generators,
    as_grid,
    by_row_to,
    check_columns,
    check_grid,
    known_of,
    same_values,
)
from .noise import States, pixel_uniforms, remember
from .schedule_tables import ScheduleTables
from .view import numpy_view


def make_plan(
    chain: Chain,
    law: ScheduleTables,
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    known: Any,
    generator: Any,
) -> StepPlan:
    """Computed natively where the sample's memory can be reached, else by the torch formulas."""
    grid = as_grid(sample, "sample")
    batch, pixels = grid.shape
    generator = as_generators(generator, batch, t)
    parts = by_row_to(t, s, batch)
    shown = numpy_view(grid, "sample")
    if shown is None and law.reads_sample(t, s):
        check_grid(grid, "sample", law.num_classes)
    tokens = None if known is None else known_of(grid, known, law.num_classes)
    kept = None if tokens is None else numpy_view(tokens, "known")
    states: States = []
    put_back = starmap(Generator.set_state, states)
    try:
        remember(generator, grid.device, states)
        u = pixel_uniforms(batch, pixels, generator, grid.device)
        noise = None if shown is None else numpy_view(u, "uniforms")
        if noise is None or shown is None or (kept is None and tokens is not None):
            step = law.step_to(t, s, grid.device)
            needed = formulas.decide(law, formulas.shown(law, grid, step, u), step, u)[1]
            if tokens is not None:
                needed &= tokens < 0
        else:
            needed = torch.empty((batch, pixels), dtype=torch.bool, device="cpu")
            out = needed.numpy()
            for rows, one, to in parts:
                own = shown[rows] if law.reads_sample(one, to) else None
                chain.plan(
                    one, to, own, noise[rows], out[rows], None if kept is None else kept[rows]
                )
        return StepPlan(needed, t, s, grid.clone(), u, chain, tokens)
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
        return not law.reads_sample(t, s) or same_values(as_grid(sample, "sample"), plan.sample)

    same_known = known is None or (
        plan.known is not None and same_values(as_grid(known, "known"), plan.known)
    )
    plan.check(chain, t, s, generator, same_sample, same_known)


def complete(chain: Chain, law: ScheduleTables, model_output: Any, plan: StepPlan) -> Tensor:
    """The tokens (B, N) from the columns (K, M) of the needed pixels."""
    x = as_columns(model_output, "model_output", law.num_classes)
    columns, shown, noise, needed = (
        numpy_view(one, "plan") for one in (x, plan.sample, plan.uniforms, plan.needed)
    )
    kept = None if plan.known is None else numpy_view(plan.known, "plan")
    if columns is None or shown is None or noise is None or needed is None:
        return _torch_complete(law, x, plan)
    _check_number(x, int(np.count_nonzero(needed)))
    prev_sample = torch.empty(shown.shape, dtype=torch.int64, device="cpu")
    out, first = prev_sample.numpy(), 0
    for rows, one, to in by_row_to(plan.timestep, plan.previous_timestep, len(shown)):
        last = first + int(np.count_nonzero(needed[rows]))
        own = shown[rows] if law.reads_sample(one, to) else None
        tokens = None if kept is None else kept[rows]
        chain.step(one, to, columns[:, first:last], own, noise[rows], out[rows], known=tokens)
        first = last
    return prev_sample


def _torch_complete(law: ScheduleTables, x: Tensor, plan: StepPlan) -> Tensor:
    x = x.detach() if x.dtype == torch.float64 else x.detach().float()
    step = law.step_to(plan.timestep, plan.previous_timestep, plan.sample.device)
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


def index(t: int | list[int], like: Tensor) -> int | Tensor:
    """t for the torch formulas, which take several as a tensor."""
    return t if not isinstance(t, list) else torch.tensor(t, device=like.device)
