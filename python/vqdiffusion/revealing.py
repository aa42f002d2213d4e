"""Steps that reveal masked pixels, on NumPy arrays."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from ._chain import Array, Chain, Guidance
from .arguments import as_array
from .generators import GeneratorLike, States, as_generators, draw_uniforms
from .output import VQDiffusionSchedulerOutput
from .row_keys import KeysAt
from .unmask import Unmask

Uniforms = npt.NDArray[np.float64]


def draw_both(
    generator: GeneratorLike | KeysAt, shape: tuple[int, int], unmask: Unmask, states: States
) -> tuple[Uniforms, Uniforms | None]:
    """The uniforms of the classes, those that the plain step draws, and then those of the order,
    where it has noise.

    Of a list, each generator draws first all of one kind for its row, then of the other; keys draw
    `random((2, N))` for each row.
    """
    if isinstance(generator, KeysAt):
        both = generator.uniforms((shape[0], 2, shape[1]), np.float64)
        return both[:, 0], both[:, 1] if unmask._has_noise else None
    # Once: an integer would stand for the same generator twice.
    generators = as_generators(generator, shape)
    uniforms = draw_uniforms(generators, shape, states)
    # What undoes the first draw undoes the second.
    return uniforms, draw_uniforms(generators, shape, []) if unmask._has_noise else None


def reveal(
    chain: Chain,
    t: int,
    s: int,
    x: Array,
    sample: Any,
    generator: GeneratorLike | KeysAt,
    guidance: Guidance | None,
    known: Array | None,
    unmask: Unmask,
) -> VQDiffusionSchedulerOutput:
    """A step with `unmask`; generators are as they were after any exception."""
    states: States = []
    put_back = starmap(setattr, states)
    try:
        uniforms, order = draw_both(generator, (x.shape[0], x.shape[2]), unmask, states)
        return reveal_given(chain, t, s, x, sample, uniforms, order, guidance, known, unmask)
    except BaseException:
        list(put_back)
        raise


def reveal_given(
    chain: Chain,
    t: int,
    s: int,
    x: Array,
    sample: Any,
    uniforms: Uniforms,
    order: Uniforms | None,
    guidance: Guidance | None,
    known: Array | None,
    unmask: Unmask,
) -> VQDiffusionSchedulerOutput:
    """The same with uniforms that have been drawn."""
    shape = uniforms.shape
    prev_sample, revealed = np.empty(shape, np.int64), np.empty(shape, bool)
    scores = np.empty(shape)
    how = unmask._native(shape, order, revealed, scores)
    grid = as_array(sample, "sample")
    chain.step(t, s, x, grid, uniforms, prev_sample, guidance, known, unmask=how)
    return VQDiffusionSchedulerOutput(prev_sample, revealed, scores)
