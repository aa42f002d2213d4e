"""Steps that reveal masked pixels, on tensors: by the native module or by the torch formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._chain import Guidance
from ..unmask import Unmask
from . import reveal_formula
from .arguments import (
    as_generators,
    as_grid_of,
    by_row_to,
    check_drawable,
    check_grid,
    known_of,
)
from .native_step import checked_shape, of_rows
from .noise import States, order_uniforms, remember
from .reveal_formula import Revealed
from .schedule_tables import ScheduleTables
from .torch_step import columns_and_source
from .transitions import Transitions
from .view import numpy_view_of, traced

# The uniforms of the classes, and those of the order, where it has noise.
Uniforms = tuple[Tensor, Tensor | None]


def native_reveal(
    scheduler: Transitions,
    x: np.ndarray,
    shown: np.ndarray,
    known: np.ndarray | None,
    guidance: Guidance | None,
    model_output: Callable[[], Any],
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    known_tokens: Any,
    unmask: Unmask,
    generator: Any,
    states: States,
    drawn: Uniforms | None = None,
) -> Revealed:
    """What a step reveals.

    The arguments are those of `native_step`, and as `sample` is what `shown` is the memory of,
    `known_tokens` is what `known` is of. `drawn` are the numbers of a plan.
    """
    chain = scheduler._chain
    batch, pixels = checked_shape(chain, x, known, guidance)
    if shown.shape != (batch, pixels):
        raise ValueError(f"sample must have shape {(batch, pixels)}, not {shown.shape}")
    generator = as_generators(generator, batch, t)
    parts = by_row_to(t, s, batch)
    if not pixels:  # nothing to reveal, in however many rows
        parts = [(slice(None), *part[1:]) for part in parts[:1]]
    if drawn is None:
        remember(generator, "cpu", states)
        drawn = order_uniforms(batch, pixels, generator, "cpu", unmask._has_noise)
    u = numpy_view_of(drawn[0], "uniforms")
    order = None if drawn[1] is None else numpy_view_of(drawn[1], "uniforms")
    if u is None or (order is None and drawn[1] is not None):  # random numbers of vmap
        given = model_output(), t, s, sample, known_tokens, unmask, generator, states, drawn
        return torch_reveal(scheduler, *given)
    result = empty_result(batch, pixels)
    for rows, one, to in parts:
        how, out = native_options(unmask, (batch, pixels), rows, order, result)
        tokens = None if known is None else known[rows]
        given_by = of_rows(guidance, rows)
        chain.step(one, to, x[rows], shown[rows], u[rows], out, given_by, tokens, unmask=how)
    return result


def empty_result(batch: int, pixels: int) -> Revealed:
    """Memory for what the native module says."""
    kinds = torch.int64, torch.bool, torch.float64
    return Revealed(*(torch.empty((batch, pixels), dtype=kind, device="cpu") for kind in kinds))


def native_options(
    unmask: Unmask,
    shape: tuple[int, int],
    rows: slice,
    order: np.ndarray | None,
    result: Revealed | None = None,
) -> tuple[tuple[Any, ...], Any]:
    """What the native module takes for some rows of a grid, and where their tokens go."""
    outputs = (None, None, None) if result is None else [one.numpy()[rows] for one in result]
    of_order = None if order is None else order[rows]
    *numbers, count, positions, _, _, _ = unmask._native(shape, None)
    if count is not None:
        count = count[rows]
    if positions is not None and positions.ndim == 2:
        positions = positions[rows]
    return (*numbers, count, positions, of_order, *outputs[1:]), outputs[0]


def torch_reveal(
    scheduler: Transitions,
    model_output: Any,
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    known: Any,
    unmask: Unmask,
    generator: Any,
    states: States,
    drawn: Uniforms | None = None,
) -> Revealed:
    """What a step reveals, by the formulas; the arguments are those of `torch_step`."""
    chain, law = scheduler._chain, scheduler._law
    x, generator = columns_and_source(chain, model_output, t, generator)
    grid = as_grid_of(x, sample, "sample")
    check_grid(grid, "sample", chain.num_classes)
    grid = grid.long()
    tokens = None if known is None else known_of(grid, known, chain.num_classes)
    if drawn is None:
        if not traced():
            remember(generator, x.device, states)
        batch, _, pixels = x.shape
        drawn = order_uniforms(batch, pixels, generator, x.device, unmask._has_noise)
    uniforms, order = drawn
    needed, counts = decide(law, t, s, grid, tokens, unmask, drawn)
    total = x.logsumexp(1).masked_fill(~needed, 0).unsqueeze(1)
    check_drawable(total, None, "model_output")
    result = reveal_formula.reveal(x, uniforms, order, needed, counts, unmask)
    return put_together(result, grid, tokens)


def decide(
    law: ScheduleTables,
    t: int | list[int],
    s: int | list[int],
    grid: Tensor,
    known: Tensor | None,
    unmask: Unmask,
    drawn: Uniforms,
) -> tuple[Tensor, Tensor]:
    """The pixels whose columns are read, and how many of them are revealed in each row."""
    uniforms, order = drawn
    stay = _stay(law, t, s, uniforms)
    masked = grid == law.num_classes
    impossible = torch.where(masked & stay.isnan(), torch.nan, 0.0).unsqueeze(1)
    check_drawable(torch.zeros_like(impossible), impossible, "model_output")
    may = masked if known is None else masked & (known < 0)
    positions, count = _options(unmask, tuple(grid.shape), grid.device)
    if positions is not None:
        may = may & positions
    counts = reveal_formula.counts_of(may, stay, count)
    return reveal_formula.needed(unmask, may, counts, order), counts


def put_together(result: Revealed, grid: Tensor, known: Tensor | None) -> Revealed:
    """The same with the tokens of all pixels."""
    rest = grid if known is None else torch.where(known < 0, grid, known)
    return result._replace(tokens=torch.where(result.revealed, result.tokens, rest))


@torch.compiler.disable  # as no graph holds numbers of NumPy
def _options(
    unmask: Unmask, shape: tuple[int, int], device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """`positions` and `count` as tensors of a device."""
    unmask._check_shapes(shape)
    positions, count = (
        None
        if value is None
        else value.to(device)
        if isinstance(value, Tensor)
        else torch.tensor(value, device=device)
        for value in (unmask.positions, unmask.count)
    )
    return positions, None if count is None else count.long()


@torch.compiler.disable  # as above
def _stay(law: ScheduleTables, t: int | list[int], s: int | list[int], like: Tensor) -> Tensor:
    """γ̄_s/γ̄_t, with which masked pixels stay masked, (B, 1), or (1, 1) for one timestep: 0 at
    s = -1, else NaN where no pixel can be masked.
    """
    now, earlier = np.atleast_1d(t), np.atleast_1d(s)
    if law.schedule is None:
        logs = law.logs[:, 5]
        indices = (torch.from_numpy(one + 1).to(logs.device) for one in (now, earlier))
        of_now, of_earlier = (logs[one].exp() for one in indices)
    else:
        gamma = torch.from_numpy(np.append(law.schedule[2], 0))  # the last one for -1
        of_now, of_earlier = gamma[now], gamma[earlier]
    last = torch.from_numpy(earlier < 0).to(of_now.device)
    return torch.where(last, 0, of_earlier / of_now).to(like.device, like.dtype).unsqueeze(1)
