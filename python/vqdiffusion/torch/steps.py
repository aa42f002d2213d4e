"""Steps of the reverse chain on torch tensors, eq. 11 of arXiv 2111.14822."""

from __future__ import annotations

from itertools import starmap
from typing import Any, SupportsFloat

import numpy as np
import torch
from torch import Generator, Tensor
from torch.compiler import is_compiling

from .. import _native, threads
from ..checks import warn_of_probabilities
from ..row_keys import RowKeys
from ..step_plan import StepPlan
from ..unmask import Unmask, as_unmask, check_no_remask
from .arguments import as_timesteps, leads_to, rows_of
from .native_step import native_step
from .noise import States
from .planned import NO_PLAN, check_plan, complete
from .reveal_formula import Revealed
from .revealing import native_reveal, torch_reveal
from .torch_step import posterior_step, torch_step
from .transitions import Transitions
from .view import numpy_view, numpy_view_of


class ReverseSteps(Transitions):
    """The method of a scheduler that draws x_s."""

    _output: Any  # what `step` returns, made of `prev_sample`
    _reveal_output: Any  # and with `unmask`, made of `revealed` and `scores` too

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
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
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
        unmask : Unmask, optional
            Reveal some masked pixels by their order, and leave all others as they are, in place of
            a step of the chain. The classes are drawn by inversion at one float64 uniform for each
            pixel, B * N of them, whatever the sampling method. Where the order has noise, B * N
            further ones follow (of a list, N and N of each generator). Only columns of masked
            pixels are read, and an overridden posterior plays no part. How many are due follows
            from `log_cumprod_ct` where the tables were replaced.
        remask : float
            σ, with which a pixel that shows a class is masked again whatever the model says; from 0
            to min(1, γ̄_s/(1 - γ̄_t)), which is 0 at s = -1. At 0 the step is what it is without, bit
            for bit.
        plan : StepPlan, optional
            What `plan` has returned for this timestep and sample; the step draws no more numbers.
        check_finite : bool
            Whether to refuse NaN, +inf and columns of nothing but -inf also in columns that
            "inverse_cdf" does not need and natively does not read.

        Returns
        -------
        VQDiffusionSchedulerOutput, or a tuple of its first field
            `prev_sample`, int64, shape (B, N): a new contiguous tensor. With `unmask` also
            `revealed` and `scores`.

        Raises
        ------
        TypeError
            If `timestep` is no integer, `model_output` not floating, `sample` not of an integer
            dtype, or `generator` none of its kinds.
        ValueError
            If shapes or devices disagree, `timestep` is outside the schedule, a class is out of
            range, what is read of `model_output` holds NaN or +inf or a column of nothing but -inf,
            a list of generators has the wrong length, or `plan` is given with a generator or was
            made for another step; if `remask` is above its largest, which the message names, or not
            0 with `unmask`, an overridden posterior or replaced tables. After any error the
            generators are in the state in which they came. Values cannot be checked under vmap,
            torch.compile and on the meta device.

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
        inputs = model_output, timestep, sample, generator, return_dict, previous_timestep, known
        options = unmask, remask, plan, check_finite
        if is_compiling():  # torch 2.3 compiles no iterators
            return self._step(*inputs, *options, states)
        put_back = starmap(Generator.set_state, states)
        try:
            return self._step(*inputs, *options, states)
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
        unmask: Unmask | None,
        remask: SupportsFloat,
        plan: StepPlan | None,
        check_finite: bool,
        states: States,
    ) -> Any:
        """`step`; `states` receives what undoes its draws."""
        chain, rows = self._chain, rows_of(model_output, timestep)
        t = as_timesteps(timestep, "timestep", 0, chain.num_timesteps - 1, rows)
        s = leads_to(chain, t, previous_timestep)
        how, sigma = as_unmask(unmask, remask)
        if plan is not None:
            how, sigma = plan.options(how, sigma)
        if how is None and not self._is_plain():
            if plan is not None:
                raise ValueError(NO_PLAN)
            if sigma != 0 and not self._has_own_tables:
                raise ValueError(
                    f"remask must be 0 where the scheduler's tables are replaced, not {sigma:g}"
                )
            check_no_remask(sigma)
            tokens = posterior_step(
                self, model_output, timestep, t, s, sample, known, generator, states
            )
            return self._wrapped(tokens, return_dict)
        u = drawn = None
        if plan is not None:
            if chain.is_gumbel and how is None:
                raise ValueError(
                    "plan must be None with sampling_method 'gumbel', which draws other random "
                    "numbers"
                )
            check_plan(plan, chain, self._law, t, s, sample, known, generator)
            shape = tuple(np.shape(model_output))
            if len(shape) == 2:
                return self._wrapped(complete(chain, self._law, model_output, plan), return_dict)
            if (*shape[:1], *shape[2:]) != tuple(plan.sample.shape):
                raise ValueError(
                    "model_output must have shape (batch, classes, pixels) as planned, or "
                    f"(classes, M) for the M needed pixels alone, not {shape}"
                )
            sample, u, known = plan.sample, plan.uniforms, plan.known
            drawn = u, plan._order_uniforms
        is_native = how is None or self._reveals_natively(how)
        x = numpy_view(model_output, "model_output") if is_native else None
        if x is not None and plan is None:
            first = x.item(0) if x.size else -1.0
            # Log-probabilities are negative: mostly there is no call.
            if type(first) is not float or first >= 0:
                warn_of_probabilities(x, "model_output", 4)
        reads = how is not None or self._reads(sample, t, s)
        shown = numpy_view_of(sample, "sample") if reads and x is not None else None
        kept = None if known is None or x is None else numpy_view_of(known, "known")
        # Where the default dtype has 16 bits torch.rand gives uniforms that the native module
        # rejects.
        is_native = not (
            x is None
            or (shown is None and reads)
            or (kept is None and known is not None)
            or torch.get_default_dtype().itemsize < 4
        )
        if x is not None and is_native and check_finite and (how or not chain.is_gumbel):
            _native.check_model_output(x, threads._num_threads)
        if how is not None:
            asked = t, s, sample, known, how, generator, states, drawn
            if x is None or shown is None or not is_native:
                result = torch_reveal(self, model_output, *asked)
            else:
                result = native_reveal(self, x, shown, kept, None, lambda: model_output, *asked)
            return self._wrapped(result, return_dict)
        given = generator, states, u, sigma
        if x is None or not is_native:
            prev_sample = torch_step(self, model_output, t, s, sample, known, *given)
        else:
            prev_sample = native_step(
                self, x, shown, kept, None, lambda: model_output, t, s, sample, *given
            )
        return self._wrapped(prev_sample, return_dict)

    def _reveals_natively(self, unmask: Unmask) -> bool:
        """Whether the native module can reveal: it has the schedule and can read the options."""
        return self._follow_tables() and not unmask._has_tensors

    def _wrapped(self, result: Tensor | Revealed, return_dict: bool) -> Any:
        """What the step returns."""
        if isinstance(result, Revealed):
            named = dict(zip(("prev_sample", "revealed", "scores"), result))
            return self._reveal_output(**named) if return_dict else result[:1]
        return self._output(prev_sample=result) if return_dict else (result,)
