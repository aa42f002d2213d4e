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
)
from .noise import States, pixel_uniforms, remember, uniforms
from .planned import index
from .transitions import Transitions
from .view import numpy_view, traced


def torch_step(
    scheduler: Transitions,
    model_output: Any,
    t: int | list[int],
    sample: Any,
    generator: Any,
    states: States,
    u: Tensor | None = None,
) -> Tensor:
    """Draws x_{t-1}.

    `u` are the uniforms of a plan. `states` receives what undoes the draws.
    """
    chain, law = scheduler._chain, scheduler._law
    x = as_log_probabilities(model_output, "model_output", chain.num_classes)
    generator = as_generators(generator, len(x))
    by_row(t, len(x), "timestep")
    x = x.detach() if x.dtype == torch.float64 else x.detach().float()
    grid, at = None, index(t, x)
    if scheduler._reads(sample, t):
        grid = as_grid_of(x, sample, "sample")
        check_grid(grid, "sample", chain.num_classes)
    if not chain.is_gumbel:
        grid = inverse_cdf.shown(law, grid, at, x[:, 0])
        impossible = inverse_cdf.unreachable(law, grid, at)
        check_drawable(x.logsumexp(1, keepdim=True), impossible, "model_output")
        if u is None:
            u = _drawn(chain, t, x, generator, states)
        return inverse_cdf.inverse_cdf(law, x, grid, at, u)
    if isinstance(t, int) and chain.previous(t) < 0:
        classes, mask, total = x, None, x.logsumexp(1, keepdim=True)
    else:
        classes, mask, total = formulas.posterior(law, x, grid, at)
        if not isinstance(t, int):
            last = are_last(chain, t, x).unsqueeze(2)
            classes, mask = torch.where(last, x, classes), mask.masked_fill(last, -torch.inf)
    check_drawable(total, mask, "model_output")
    if u is None:
        u = _drawn(chain, t, x, generator, states)
    tokens = formulas.gumbel_argmax(classes, mask, u)
    return tokens if grid is None else formulas.carried_over(law, tokens, grid, at)


def posterior_step(
    scheduler: Any,
    model_output: Any,
    timestep: Any,
    t: int | list[int],
    sample: Any,
    generator: Any,
    states: States,
) -> Tensor:
    """Draws x_{t-1} from what `scheduler.q_posterior` returns; the last step from the model output
    itself.

    `timestep` is what the caller passed for t. `states` receives what undoes the draws.
    """
    chain = scheduler._chain
    x = as_log_probabilities(model_output, "model_output", chain.num_classes)
    array = numpy_view(x, "model_output")
    if array is not None:
        warn_of_probabilities(array, "model_output", 5)
    generator = as_generators(generator, len(x))
    by_row(t, len(x), "timestep")
    check_drawable(x.logsumexp(1, keepdim=True), None, "model_output")
    log_p, grid = x, None
    if scheduler._reads(sample, t):
        grid = as_grid_of(x, sample, "sample")
        check_grid(grid, "sample", chain.num_classes)
        grid = grid.long()
    if not (isinstance(t, int) and chain.previous(t) < 0):
        log_p = scheduler.q_posterior(x, grid, composed.as_reference_takes(timestep, t, x))
        name = f"q_posterior of {type(scheduler).__name__}"
        composed.check_posterior(log_p, x, name)
        check_drawable(log_p.logsumexp(1, keepdim=True), None, f"what {name} returns")
        if isinstance(t, list):
            log_p = composed.with_last_step(log_p, x, are_last(chain, t, x))
    if not traced():
        remember(generator, x.device, states)
    tokens = _draw(chain, log_p.detach(), t, generator)
    # Only the last step, which no override has a say in, carries pixels over here.
    if grid is None:
        return tokens
    carried = formulas.carried_over(scheduler._law, tokens, grid, index(t, x))
    return torch.where(are_last(chain, t, x), carried, tokens)


def step_uniforms(
    chain: Chain, t: int | list[int], batch: int, pixels: int, generator: Any, device: Any
) -> Tensor:
    """What a step draws with."""
    if not chain.is_gumbel:
        return pixel_uniforms(batch, pixels, generator, device)
    if isinstance(t, int):
        return uniforms((batch, chain.candidates(chain.previous(t)), pixels), generator, device)
    rows = [chain.candidates(chain.previous(one)) for one in t]
    return uniforms((batch, chain.num_classes + 1, pixels), generator, device, rows=rows)


def are_last(chain: Chain, t: int | list[int], like: Tensor) -> Tensor:
    """Where a step leads to clean data: of bool, (B, 1), or (1, 1) for one timestep."""
    last = [chain.previous(one) < 0 for one in ([t] if isinstance(t, int) else t)]
    return torch.tensor(last, device=like.device).view(-1, 1)


def _drawn(chain: Chain, t: int | list[int], x: Tensor, generator: Any, states: States) -> Tensor:
    if not traced():
        remember(generator, x.device, states)
    return step_uniforms(chain, t, x.shape[0], x.shape[2], generator, x.device)


def _draw(chain: Chain, log_p: Tensor, t: int | list[int], generator: Any) -> Tensor:
    """Tokens (B, N) of log-probabilities (B, rows, N)."""
    batch, rows, pixels = log_p.shape
    if not chain.is_gumbel:
        u = pixel_uniforms(batch, pixels, generator, log_p.device)
        return inverse_cdf.invert(log_p, u)
    each = None if isinstance(t, int) else [chain.candidates(chain.previous(one)) for one in t]
    u = uniforms((batch, rows, pixels), generator, log_p.device, rows=each)
    return formulas.gumbel_argmax(log_p, None, u)
