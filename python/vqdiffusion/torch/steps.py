"""Steps of the reverse chain on torch tensors, eq. 11 of arXiv 2111.14822."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.compiler import is_compiling

from .. import _native, threads
from ..arguments import as_float
from ..checks import warn_of_probabilities
from ..row_keys import RowKeys
from ..step_plan import StepPlan
from ..truncation import as_truncation
from .arguments import as_timesteps, leads_to, rows_of
from .guidance import guide, truncate
from .native_step import native_step
from .noise import States
from .planned import check_plan, complete, make_plan
from .torch_step import posterior_step, torch_step
from .transitions import Transitions
from .view import numpy_view, numpy_view_of

_NO_PLAN = (
    "plan needs the class's own q_posterior and the constructor's tables: with another posterior "
    "the model output of every pixel is needed"
)


class ReverseSteps(Transitions):
    """The methods of a scheduler that draw x_s."""

    _output: Any  # what `step` returns, made of `prev_sample`

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor | None,
        generator: Generator | list[Generator] | RowKeys | None = None,
        return_dict: bool = True,
        *,
        previous_timestep: int | Tensor | None = None,
        known: Tensor | None = None,
        plan: StepPlan | None = None,
        check_finite: bool = False,
    ) -> Any:
        """Draw x_s from p(x_s | x_t), eq. 11, as `vqdiffusion.VQDiffusionScheduler.step`.

        Parameters
        ----------
        model_output : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            Log-probabilities of each class of the clean grid. They may be -inf, and a column need
            not sum to one. Any strides; NumPy arrays are taken too. With a plan also of shape
            (K, M): the columns of the M needed pixels, in the order of `plan.needed`.
        timestep : int, integer tensor of one element, or integer tensor of shape (B,)
            t, 0 … T - 1, for all rows or one for each.
        sample : torch.Tensor of any integer dtype, shape (B, N)
            x_t: classes 0 … K. A chain begins with `sample_prior(shape)`. Not read at s = -1,
            where it may be None, unless β̄_t = 0: the pixels that show a class then keep it.
        generator : torch.Generator, list of them, RowKeys, or None
            None is torch's global one. With a list, row i gets what a batch of that row alone with
            generator i would. "gumbel" draws B * (K + 1) * N uniforms of torch's default dtype (at
            s = -1 B * K * N), "inverse_cdf" B * N of float64. Neither another thread nor a signal
            handler may draw from a generator with torch's own functions during the step. RowKeys,
            one for each batch row, give a row numbers that depend on nothing but its id and the
            timestep, the same as in the class for arrays; for "gumbel" of float32.
        return_dict : bool
            Whether to return an object rather than a tuple of one tensor.
        previous_timestep : int, or integer tensor as `timestep`, optional
            s, from -1 to t - 1, in place of where `timestep_spacing` leads; -1 is clean data.
        known : torch.Tensor of any integer dtype, shape (B, N), optional
            For inpainting: the classes of the pixels that are to stay, and -1 where a pixel is to
            be drawn.
        plan : StepPlan, optional
            What `plan` has returned for this timestep and sample; the step draws no more numbers.
        check_finite : bool
            Whether to refuse NaN, +inf and columns of nothing but -inf also in columns that
            "inverse_cdf" does not need and natively does not read.

        Returns
        -------
        VQDiffusionSchedulerOutput, or a tuple of its one field
            `prev_sample`, int64, shape (B, N): a new contiguous tensor.

        Raises
        ------
        TypeError
            If `timestep` is no integer, `model_output` not floating, `sample` not of an integer
            dtype, or `generator` none of its kinds.
        ValueError
            If shapes or devices disagree, `timestep` is outside the schedule, a class is out of
            range, what is read of `model_output` holds NaN or +inf or a column of nothing but -inf,
            a list of generators has the wrong length, or `plan` is given with a generator or was
            made for another step. After any error the generators are in the state in which they
            came. Values cannot be checked under vmap, torch.compile and on the meta device.

        Warns
        -----
        UserWarning
            Once per process, where the first column of `model_output` on the CPU looks like
            probabilities: it lies in [0, 1] and sums to 1 over several classes.

        Notes
        -----
        Ctrl-C is noticed when the native code has ended, which takes at most some 10 ns for each
        log-probability. Then, as after any exception, the generators are as they were, or the
        sample has been returned.
        """
        states: States = []
        to = previous_timestep
        if is_compiling():  # torch 2.3 compiles no iterators
            return self._step(
                model_output,
                timestep,
                sample,
                generator,
                return_dict,
                to,
                known,
                plan,
                check_finite,
                states,
            )
        put_back = starmap(Generator.set_state, states)
        try:
            return self._step(
                model_output,
                timestep,
                sample,
                generator,
                return_dict,
                to,
                known,
                plan,
                check_finite,
                states,
            )
        except BaseException:
            list(put_back)
            raise

    def _step(
        self,
        model_output: Any,
        timestep: Any,
        sample: Any,
        generator: Any,
        return_dict: bool,
        previous_timestep: Any,
        known: Any,
        plan: StepPlan | None,
        check_finite: bool,
        states: States,
    ) -> Any:
        """`step`; `states` receives what undoes its draws."""
        chain, rows = self._chain, rows_of(model_output, timestep)
        t = as_timesteps(timestep, "timestep", 0, chain.num_timesteps - 1, rows)
        s = leads_to(chain, t, previous_timestep)
        if not self._is_plain():
            if plan is not None:
                raise ValueError(_NO_PLAN)
            tokens = posterior_step(
                self, model_output, timestep, t, s, sample, known, generator, states
            )
            return self._output(prev_sample=tokens) if return_dict else (tokens,)
        u = None
        if plan is not None:
            if chain.is_gumbel:
                raise ValueError(
                    "plan must be None with sampling_method 'gumbel', which draws other random "
                    "numbers"
                )
            check_plan(plan, chain, self._law, t, s, sample, known, generator)
            shape = tuple(np.shape(model_output))
            if len(shape) == 2:
                prev_sample = complete(chain, self._law, model_output, plan)
                return self._output(prev_sample=prev_sample) if return_dict else (prev_sample,)
            if (*shape[:1], *shape[2:]) != tuple(plan.sample.shape):
                raise ValueError(
                    "model_output must have shape (batch, classes, pixels) as planned, or "
                    f"(classes, M) for the M needed pixels alone, not {shape}"
                )
            sample, u, known = plan.sample, plan.uniforms, plan.known
        x = numpy_view(model_output, "model_output")
        if x is not None and plan is None:
            first = x.item(0) if x.size else -1.0
            # Log-probabilities are negative: mostly there is no call.
            if type(first) is not float or first >= 0:
                warn_of_probabilities(x, "model_output", 4)
        reads = self._reads(sample, t, s)
        shown = numpy_view_of(sample, "sample") if reads and x is not None else None
        kept = None if known is None or x is None else numpy_view_of(known, "known")
        given = generator, states, u
        # Where the default dtype has 16 bits torch.rand gives uniforms that the native module
        # rejects.
        if (
            x is None
            or (shown is None and reads)
            or (kept is None and known is not None)
            or torch.get_default_dtype().itemsize < 4
        ):
            prev_sample = torch_step(self, model_output, t, s, sample, known, *given)
        else:
            if check_finite and not chain.is_gumbel:
                _native.check_model_output(x, threads._num_threads)
            prev_sample = native_step(
                self, x, shown, kept, None, lambda: model_output, t, s, sample, *given
            )
        return self._output(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def guided_step(
        self,
        log_p_uncond: Tensor | None,
        log_p_cond: Tensor,
        timestep: int | Tensor,
        sample: Tensor | None,
        generator: Generator | list[Generator] | RowKeys | None = None,
        *,
        guidance_scale: float = 5.0,
        truncation_rate: float = 1.0,
        floor: float = -70.0,
        top_k: int | None = None,
        temperature: float = 1.0,
        previous_timestep: int | Tensor | None = None,
        known: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Draw x_s from a model's output with and without its condition, as
        `vqdiffusion.VQDiffusionScheduler.guided_step`: guidance, truncation and `step` in one.

        The sample is, class for class, that of::

            log_p = vqdiffusion.torch.guide(log_p_uncond, log_p_cond, guidance_scale)
            log_p = vqdiffusion.torch.truncate(log_p, truncation_rate, floor, top_k, temperature)
            scheduler.step(log_p, timestep, sample, generator)

        On the CPU it takes less time and memory; with "inverse_cdf" only the columns that the
        uniforms make necessary are guided and truncated there.

        Parameters
        ----------
        log_p_uncond : None, or torch.Tensor of any floating dtype of `step`, shape (B, K, N)
            The model's log-probabilities without the condition. None for no guidance, which is what
            pipelines do at scales of 1 and below; `log_p_cond` is then truncated as it is, not
            normalised before.
        log_p_cond : torch.Tensor of the same dtype and shape
            Those with the condition.
        timestep, sample, generator, previous_timestep, known, return_dict
            As in `step`.
        guidance_scale, truncation_rate, floor, top_k, temperature
            As `scale` in `guide`, and `rate`, `floor`, `top_k` and `temperature` in `truncate`.

        Returns
        -------
        VQDiffusionSchedulerOutput, or a tuple of its one field
            As `step`.

        Raises
        ------
        TypeError, ValueError
            As in `guide`, `truncate` and `step`, for what is read.
        """
        states: States = []
        put_back = starmap(Generator.set_state, states)
        truncation = truncation_rate, floor, top_k, temperature
        try:
            return self._guided_step(
                log_p_uncond,
                log_p_cond,
                guidance_scale,
                truncation,
                timestep,
                sample,
                generator,
                previous_timestep,
                known,
                return_dict,
                states,
            )
        except BaseException:
            list(put_back)
            raise

    def _guided_step(
        self,
        log_p_uncond: Any,
        log_p_cond: Any,
        guidance_scale: Any,
        truncation: tuple[Any, Any, Any, Any],
        timestep: Any,
        sample: Any,
        generator: Any,
        previous_timestep: Any,
        known: Any,
        return_dict: bool,
        states: States,
    ) -> Any:
        """`guided_step`; `states` receives what undoes its draws."""
        rows = rows_of(log_p_cond, timestep)
        t = as_timesteps(timestep, "timestep", 0, self._chain.num_timesteps - 1, rows)
        s = leads_to(self._chain, t, previous_timestep)
        # Overrides of `step` need not know what is not used.
        given = {}
        if previous_timestep is not None:
            given["previous_timestep"] = previous_timestep
        if known is not None:
            given["known"] = known
        scale = as_float(guidance_scale, "guidance_scale")
        how = as_truncation(*truncation, "truncation_rate")

        def by_torch() -> Tensor:
            log_p = log_p_cond if log_p_uncond is None else guide(log_p_uncond, log_p_cond, scale)
            return truncate(log_p, how.rate, how.floor, how.top_k or None, how.temperature)

        if not self._is_plain():
            return self.step(by_torch(), timestep, sample, generator, return_dict, **given)
        cond = numpy_view(log_p_cond, "log_p_cond")
        if cond is not None:
            warn_of_probabilities(cond, "log_p_cond", 4)
        uncond = None if log_p_uncond is None else numpy_view(log_p_uncond, "log_p_uncond")
        reads = self._reads(sample, t, s)
        shown = numpy_view_of(sample, "sample") if reads and cond is not None else None
        kept = None if known is None or cond is None else numpy_view_of(known, "known")
        if (
            cond is None
            or (uncond is None and log_p_uncond is not None)
            or (shown is None and reads)
            or (kept is None and known is not None)
            or torch.get_default_dtype().itemsize < 4
        ):
            return self.step(by_torch(), timestep, sample, generator, return_dict, **given)
        if uncond is not None and uncond.shape != cond.shape:
            raise ValueError(
                f"log_p_cond must have the shape of log_p_uncond, {uncond.shape}, not {cond.shape}"
            )
        numbers = uncond, scale, *how
        prev_sample = native_step(
            self, cond, shown, kept, numbers, by_torch, t, s, sample, generator, states
        )
        return self._output(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def plan(
        self,
        timestep: int | Tensor,
        sample: Tensor,
        generator: Generator | list[Generator] | RowKeys | None = None,
        *,
        previous_timestep: int | Tensor | None = None,
        known: Tensor | None = None,
    ) -> StepPlan:
        """Draw the random numbers of the coming step and tell which pixels it needs the model
        output of, as `vqdiffusion.VQDiffusionScheduler.plan`::

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
        if chain.is_gumbel:
            raise ValueError(
                "plan needs sampling_method 'inverse_cdf': 'gumbel' reads the model output of "
                "every pixel"
            )
        if not self._is_plain():
            raise ValueError(_NO_PLAN)
        rows = rows_of(sample, timestep)
        t = as_timesteps(timestep, "timestep", 0, chain.num_timesteps - 1, rows)
        s = leads_to(chain, t, previous_timestep)
        return make_plan(chain, self._law, t, s, sample, known, generator)
