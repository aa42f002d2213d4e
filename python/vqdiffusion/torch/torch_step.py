"""A step by torch formulas: on accelerators, while torch records, and where someone has overridden
the posterior.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._chain import Chain
from ..checks import warn_of_probabilities
from . import composed, formulas, inverse_cdf
from .arguments import (
    as_generators,
    as_grid_of,
    as_log_probabilities,
    by_row,
    check_drawable,
    check_grid,
    index,
    with_known,
)
from .noise import Source, States, pixel_uniforms, remember, uniforms
from .transitions import Transitions
from .view import numpy_view, traced


def columns_and_source(
    chain: Chain, model_output: Any, t: int | list[int], generator: Any
) -> tuple[Tensor, Source]:
    """The checked model output, for the formulas at least in float32 and without its gradient, and
    what a step draws from.
    """
    x = as_log_probabilities(model_output, "model_output", chain.num_classes)
    source = as_generators(generator, len(x), t)
    by_row(t, len(x), "timestep")
    return x.detach() if x.dtype == torch.float64 else x.detach().float(), source


def torch_step(
    scheduler: Transitions,
    model_output: Any,
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    known: Any,
    generator: Any,
    states: States,
    u: Tensor | None = None,
    remask: float = 0.0,
) -> Tensor:
    """Draws x_s.

    `u` are the uniforms of a plan. `states` receives what undoes the draws.
    """
    chain, law = scheduler._chain, scheduler._law
    x, generator = columns_and_source(chain, model_output, t, generator)
    grid, step = None, law.step_to(t, s, x.device, remask)
    if scheduler._reads(sample, t, s):
        grid = as_grid_of(x, sample, "sample")
        check_grid(grid, "sample", chain.num_classes)
    if not chain.is_gumbel:
        grid = inverse_cdf.shown(law, grid, step, x[:, 0])
        impossible = inverse_cdf.unreachable(law, grid, step)
        check_drawable(x.logsumexp(1, keepdim=True), impossible, "model_output")
        if u is None:
            u = _drawn(chain, s, x, generator, states)
        tokens = inverse_cdf.inverse_cdf(law, x, grid, step, u)
        return with_known(tokens, known, chain.num_classes)
    if s == -1:
        classes, mask, total = x, None, x.logsumexp(1, keepdim=True)
    else:
        classes, mask, total = formulas.posterior(law, x, grid, step)
        if not isinstance(s, int):
            last = are_last(s, x).unsqueeze(2)
            classes, mask = torch.where(last, x, classes), mask.masked_fill(last, -torch.inf)
    check_drawable(total, mask, "model_output")
    if u is None:
        u = _drawn(chain, s, x, generator, states)
    tokens = formulas.gumbel_argmax(classes, mask, u)
    if grid is not None:
        tokens = formulas.carried_over(law, tokens, grid, step)
    return with_known(tokens, known, chain.num_classes)


def posterior_step(
    scheduler: Any,
    model_output: Any,
    timestep: Any,
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    known: Any,
    generator: Any,
    states: States,
) -> Tensor:
    """Draws x_s from what `scheduler.q_posterior` returns; the last step from the model output
    itself.

    `timestep` is what the caller passed for t. `states` receives what undoes the draws.
    """
    chain = scheduler._chain
    x = as_log_probabilities(model_output, "model_output", chain.num_classes)
    array = numpy_view(x, "model_output")
    if array is not None:
        warn_of_probabilities(array, "model_output", 5)
    generator = as_generators(generator, len(x), t)
    by_row(t, len(x), "timestep")
    check_drawable(x.logsumexp(1, keepdim=True), None, "model_output")
    log_p, grid = x, None
    if scheduler._reads(sample, t, s):
        grid = as_grid_of(x, sample, "sample")
        check_grid(grid, "sample", chain.num_classes)
        grid = grid.long()
    if s != -1:
        # Overrides for the paper's chain need not know of strides.
        single = s == (t - 1 if isinstance(t, int) else [one - 1 for one in t])
        stride = {} if single else {"previous_timestep": s}
        given = composed.as_reference_takes(timestep, t, x)
        log_p = scheduler.q_posterior(x, grid, given, **stride)
        name = f"q_posterior of {type(scheduler).__name__}"
        composed.check_posterior(log_p, x, name)
        check_drawable(log_p.logsumexp(1, keepdim=True), None, f"what {name} returns")
        if isinstance(s, list):
            log_p = composed.with_last_step(log_p, x, are_last(s, x))
    if not traced():
        remember(generator, x.device, states)
    tokens = _draw(chain, log_p.detach(), s, generator)
    if grid is not None:
        # Only the last step, which no override has a say in, carries pixels over here.
        carried = formulas.carried_over(scheduler._law, tokens, grid, index(t, x))
        tokens = torch.where(are_last(s, x), carried, tokens)
    return with_known(tokens, known, chain.num_classes)


def step_uniforms(
    chain: Chain, s: int | list[int], batch: int, pixels: int, generator: Any, device: Any
) -> Tensor:
    """What a step to s draws with."""
    if not chain.is_gumbel:
        return pixel_uniforms(batch, pixels, generator, device)
    if isinstance(s, int):
        return uniforms((batch, chain.candidates(s), pixels), generator, device)
    rows = [chain.candidates(one) for one in s]
    return uniforms((batch, chain.num_classes + 1, pixels), generator, device, rows=rows)


def are_last(s: int | list[int], like: Tensor) -> Tensor:
    """Where a step leads to clean data: of bool, (B, 1), or (1, 1) for one timestep."""
    return torch.tensor(s, device=like.device).view(-1, 1) < 0


def _drawn(chain: Chain, s: int | list[int], x: Tensor, generator: Any, states: States) -> Tensor:
    if not traced():
        remember(generator, x.device, states)
    return step_uniforms(chain, s, x.shape[0], x.shape[2], generator, x.device)


def _draw(chain: Chain, log_p: Tensor, s: int | list[int], generator: Any) -> Tensor:
    """Tokens (B, N) of log-probabilities (B, rows, N)."""
    batch, rows, pixels = log_p.shape
    if not chain.is_gumbel:
        u = pixel_uniforms(batch, pixels, generator, log_p.device)
        return inverse_cdf.invert(log_p, u)
    each = None if isinstance(s, int) else [chain.candidates(one) for one in s]
    u = uniforms((batch, rows, pixels), generator, log_p.device, rows=each)
    return formulas.gumbel_argmax(log_p, None, u)
