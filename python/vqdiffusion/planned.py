"""Steps that are drawn in two parts on NumPy arrays: `plan`, and `step` given that plan."""

from __future__ import annotations

from itertools import starmap
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from . import _native, threads
from .arguments import as_array, as_grid, as_int, as_known, sample_of_step
from .checks import check_classes
from .generators import GeneratorLike, States, draw_uniforms
from .output import VQDiffusionSchedulerOutput
from .revealing import draw_both, reveal_given
from .row_keys import at_timesteps
from .step_plan import StepPlan
from .transitions import Transitions, posterior_is_overridden
from .unmask import Unmask, as_unmask


class PlannedSteps(Transitions):
    """The method of a scheduler that draws before there is a model output."""

    def plan(
        self,
        timestep: SupportsIndex,
        sample: npt.ArrayLike,
        generator: GeneratorLike = None,
        *,
        previous_timestep: SupportsIndex | None = None,
        known: npt.ArrayLike | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
    ) -> StepPlan:
        """Draw the random numbers of the coming step and tell which pixels it needs the model
        output of.

        Most pixels "inverse_cdf" decides by their uniform alone, whatever the model says. A model
        whose output layer costs much may run it on the others only, 2 to 3 in a hundred in the
        middle of a default chain:

            plan = scheduler.plan(t, sample, generator)
            log_p = log_softmax(output_layer(hidden[plan.needed])).T  # (M, D) to (K, M)
            sample = scheduler.step(log_p, t, sample, plan=plan).prev_sample

        Parameters
        ----------
        timestep : int, NumPy integer or integer array of one element
            t, 0 … T - 1. At s = -1 every pixel is needed; where β̄_t = 0, every masked one.
        sample : array of any integer dtype, shape (B, N)
            x_t: classes 0 … K. At s = -1 only its shape plays a part, unless β̄_t = 0.
        generator : GeneratorLike
            As in `step`, which would draw the same B * N float64 uniforms from it.
        previous_timestep : int, optional
            As in `step`.
        known : array of any integer dtype, shape (B, N), optional
            As in `step`, which then takes it from the plan. Known pixels are not needed.
        unmask, remask
            As in `step`, which then takes them from the plan. By "random", without `threshold`,
            `entropy_bound` and `prior_weight`, only the pixels that will be revealed are needed;
            otherwise all that may be.

        Returns
        -------
        StepPlan
            With it, `step` returns what it would have returned with `generator`. Where the columns
            are given in another memory layout than there, sums over classes may round in another
            way, to the same effect as for any layout.

        Raises
        ------
        TypeError, ValueError
            As in `step`; ValueError also with "gumbel" and with overrides, which need every pixel.
        """
        chain = self._chain
        how, sigma = as_unmask(unmask, remask)
        if chain.is_gumbel and how is None:
            raise ValueError(
                "plan needs sampling_method 'inverse_cdf': 'gumbel' reads the model output of "
                "every pixel"
            )
        if posterior_is_overridden(self) and how is None:
            raise ValueError("plan needs the scheduler's own posterior: overrides see all pixels")
        t = as_int(timestep, "timestep", 0, chain.num_timesteps - 1)
        s = chain.previous(t, previous_timestep)
        grid = as_grid(sample, "sample")
        needed = np.empty(grid.shape, bool)
        tokens = as_known(known, grid.shape)
        if tokens is not None:
            tokens = tokens.copy()
            tokens.flags.writeable = False
        states: States = []
        put_back = starmap(setattr, states)
        try:
            source, order = at_timesteps(generator, t), None
            if how is None:
                u = draw_uniforms(source, grid.shape, states)
                chain.plan(t, s, sample_of_step(chain, grid, t, s), u, needed, tokens, sigma)
            else:
                u, order = draw_both(source, grid.shape, how, states)
                given = how._native(grid.shape, order)
                chain.plan(t, s, grid, u, needed, tokens, unmask=given)
            kept = grid.copy()
            for array in (needed, kept, u):
                array.flags.writeable = False
            return StepPlan(needed, t, s, kept, u, chain, tokens, how, sigma, order)
        except BaseException:
            list(put_back)
            raise


def planned_step(
    scheduler: Transitions,
    model_output: npt.ArrayLike,
    t: int,
    s: int,
    sample: npt.ArrayLike | None,
    generator: GeneratorLike,
    known: npt.ArrayLike | None,
    plan: StepPlan,
    check_finite: bool,
    unmask: Unmask | None,
    remask: float,
) -> VQDiffusionSchedulerOutput:
    """`step` where a plan is given."""
    chain = scheduler._chain
    if chain.is_gumbel and plan.unmask is None:
        raise ValueError(
            "plan must be None with sampling_method 'gumbel', which draws other random numbers"
        )
    if posterior_is_overridden(scheduler) and plan.unmask is None:
        raise ValueError("plan must be None where the scheduler's posterior is overridden")
    plan.options(unmask, remask)
    grid = plan.sample if plan.unmask else sample_of_step(chain, plan.sample, t, s)
    plan.check(
        chain,
        t,
        s,
        generator,
        lambda: grid is None or np.array_equal(as_array(sample, "sample"), grid),
        known is None or np.array_equal(as_array(known, "known"), plan.known),
    )
    x = as_array(model_output, "model_output")
    batch, pixels = plan.sample.shape
    if x.ndim != 2 and (x.shape[:1], x.shape[2:]) != ((batch,), (pixels,)):
        raise ValueError(
            f"model_output must have shape ({batch}, {chain.num_classes}, {pixels}), or "
            f"({chain.num_classes}, {np.count_nonzero(plan.needed)}) for the needed pixels "
            f"alone, not {x.shape}"
        )
    check_classes(x, chain.num_classes, "model_output")
    if check_finite and x.ndim == 3:
        _native.check_model_output(x, threads._num_threads)
    if plan.unmask is not None:
        uniforms = plan.uniforms, plan._order_uniforms
        return reveal_given(chain, t, s, x, grid, *uniforms, None, plan.known, plan.unmask)
    prev_sample = np.empty((batch, pixels), np.int64)
    chain.step(t, s, x, grid, plan.uniforms, prev_sample, known=plan.known, remask=plan.remask)
    return VQDiffusionSchedulerOutput(prev_sample)
