"""A step on tensors whose memory the native module can reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._chain import Chain, Guidance
from ..checks import check_classes
from ..row_keys import KeysAt
from .arguments import as_generators, by_row_to
from .engines import Engines, can_continue, turn
from .noise import States, remember
from .torch_step import step_uniforms, torch_step
from .transitions import Transitions
from .view import numpy_view_of

# Up to so many draws torch.rand is faster than copying the generator's state out and back.
_FEW_DRAWS = 4096


def native_step(
    scheduler: Transitions,
    x: np.ndarray,
    shown: np.ndarray | None,
    known: np.ndarray | None,
    guidance: Guidance | None,
    model_output: Callable[[], Any],
    t: int | list[int],
    s: int | list[int],
    sample: Any,
    generator: Any,
    states: States,
    u: Tensor | None = None,
    remask: float = 0.0,
) -> Tensor:
    """Draws x_s.

    `x`, `shown` and `known` are the memory of the model output, of `sample` and of the known
    tokens, `u` the uniforms of a plan.
    With `guidance` `x` is the conditional output, and `model_output` gives the guided one. `states`
    receives what undoes the draws.
    """
    chain = scheduler._chain
    batch, pixels = checked_shape(chain, x, known, guidance)
    generator = as_generators(generator, batch, t)
    parts = by_row_to(t, s, batch)
    if not pixels:  # nothing to draw, in however many rows
        parts, generator = [(slice(None), *part[1:]) for part in parts[:1]], None
    prev_sample = torch.empty((batch, pixels), dtype=torch.int64, device="cpu")
    out = prev_sample.numpy()

    def draw(rows: slice, one: int, to: int, source: np.ndarray) -> None:
        grid = None
        if shown is not None and chain.reads_sample(one, to):
            if shown.shape[:1] != (batch,):  # the native module sees only some rows
                raise ValueError(f"sample must have shape {(batch, pixels)}, not {shown.shape}")
            grid = shown[rows]
        tokens = None if known is None else known[rows]
        given = of_rows(guidance, rows)
        chain.step(one, to, x[rows], grid, source, out[rows], given, tokens, remask)

    each = generator if isinstance(generator, list) else [generator]
    has_engines = chain.is_gumbel and not isinstance(generator, KeysAt)
    if has_engines and x.size + batch * pixels > _FEW_DRAWS and can_continue(each):
        with turn(each):
            engines = Engines(each)
            if isinstance(generator, list):
                for row, source in enumerate(engines.sources):
                    _, one, to = parts[row if len(parts) > 1 else 0]
                    draw(slice(row, row + 1), one, to, source)
            else:
                for rows, one, to in parts:
                    draw(rows, one, to, engines.sources[0])
            if engines.write_back(states):
                return prev_sample
    if u is None:
        remember(generator, "cpu", states)
        u = step_uniforms(chain, s, batch, pixels, generator, "cpu")
    noise = numpy_view_of(u, "uniforms")
    if noise is None:  # random numbers of vmap
        x_0 = model_output()
        return torch_step(scheduler, x_0, t, s, sample, known, generator, states, u, remask)
    for rows, one, to in parts:
        draw(rows, one, to, noise[rows, : chain.candidates(to)] if chain.is_gumbel else noise[rows])
    return prev_sample


def checked_shape(
    chain: Chain, x: np.ndarray, known: np.ndarray | None, guidance: Guidance | None
) -> tuple[int, int]:
    """The batch rows and pixels of a step from this model output."""
    name = "model_output" if guidance is None else "log_p_cond"
    if x.ndim != 3:
        raise ValueError(
            f"{name} must have the 3 axes (batch, classes, pixels), not shape {x.shape}"
        )
    check_classes(x, chain.num_classes, name)
    batch, _, pixels = x.shape
    if known is not None and known.shape != (batch, pixels):
        raise ValueError(f"known must have shape {(batch, pixels)}, not {known.shape}")
    return batch, pixels


def of_rows(guidance: Guidance | None, rows: slice) -> Guidance | None:
    """The same guidance of some batch rows."""
    if guidance is None or guidance[0] is None:
        return guidance
    return guidance[0][rows], *guidance[1:]
