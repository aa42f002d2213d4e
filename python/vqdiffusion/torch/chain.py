"""What the schedulers on torch tensors share. Equation numbers are those of Gu et al. 2021, arXiv
2111.14822.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.compiler import is_compiling

from .. import _native, threads
from ..arguments import MOST_CLASSES, MOST_TIMESTEPS, as_float, as_int, check_given
from ..checks import check_classes, check_rate, warn_of_probabilities
from ..schedules import alpha_schedules, gamma_schedules
from ..step_plan import StepPlan
from . import composed, formulas, inverse_cdf
from .arguments import (
    as_generators,
    as_grid,
    as_grid_of,
    as_log_probabilities,
    as_timesteps,
    by_row,
    check_drawable,
    check_grid,
    rows_of,
)
from .engines import Engines, can_continue, turn
from .guidance import guide, truncate
from .noise import States, pixel_uniforms, remember, uniforms
from .planned import check_plan, complete, index, make_plan
from .tables import HasTables
from .view import numpy_view, numpy_view_of, traced

_SAMPLING_METHODS = ("gumbel", "inverse_cdf")
# torch.rand takes less time for so many than the state of its generator takes to copy, both ways
_FEW_DRAWS = 4096


class ReverseChain(HasTables):
    """A noise schedule, its six tables and the steps along it: all of a scheduler but its
    configuration.

    A subclass checks its arguments with `checked`, keeps them as its configuration and hands them
    to `_make_chain`.
    """

    config_name = "scheduler_config.json"
    order = 1
    # Whether an object has a function of its own in the place of a method.
    _has_own_posterior = False
    _has_own_transitions = False

    _output: Any  # what `step` returns, made of `prev_sample`
    _entries: str  # the name of the attribute that keeps the configuration

    def _make_chain(self, entries: dict[str, Any]) -> None:
        """Sets the attributes that follow from the arguments, as `checked` returns them."""
        classes, steps = entries["num_vec_classes"], entries["num_train_timesteps"]
        vars(self).update(num_embed=classes, mask_class=classes - 1)

        self._gumbel = entries["sampling_method"] == "gumbel"
        # In float64, as the noise is defined: the tables below are for readers, and too coarse to
        # compute with.
        alpha = alpha_schedules(steps, entries["alpha_cum_start"], entries["alpha_cum_end"])[1][
            :steps
        ]
        gamma = gamma_schedules(steps, entries["gamma_cum_start"], entries["gamma_cum_end"])[1][
            :steps
        ]
        self._schedule = classes - 1, alpha, gamma
        _native.schedule_check(*self._schedule)
        self._make_tables()
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(steps - 1, -1, -1, device="cpu")

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises AttributeError for another value of an argument of the constructor."""
        if name in _FIXED:
            entries = vars(self).get(self._entries, {})
            current = vars(self).get(name, entries.get(name, value))
            if not (value is current or isinstance(value, (int, float, str)) and value == current):
                raise AttributeError(
                    f"{name} is fixed by {_FIXED[name]} of the constructor, not to be assigned: "
                    f"make another scheduler with from_config(scheduler.config, {_FIXED[name]}=...)"
                )
        super().__setattr__(name, value)
        if name in _NAMES:
            self._note_own_parts()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in _NAMES:
            self._note_own_parts()

    def _note_own_parts(self) -> None:
        own = vars(self)
        has_transitions = any(part.__name__ in own for part in _PARTS[1:])
        own.update(_has_own_posterior="q_posterior" in own, _has_own_transitions=has_transitions)

    def _is_plain(self) -> bool:
        """Whether a step is the native module's: nothing is overridden and no table replaced."""
        cls, counter = type(self), self._counter
        return (
            cls.q_posterior is _PARTS[0]
            and cls.log_Q_t_transitioning_to_known_class is _PARTS[1]
            and cls.apply_cumulative_transitions is _PARTS[2]
            and not self._has_own_posterior
            and not self._has_own_transitions
            # The usual answer of `_follow_tables` without a call, which costs 1 % with cold caches.
            and (
                self._has_own_tables
                if counter is not None and (is_compiling() or counter._version == self._seen[1])
                else self._follow_tables()
            )
        )

    def _overrides_transitions(self) -> bool:
        cls = type(self)
        return (
            cls.log_Q_t_transitioning_to_known_class is not _PARTS[1]
            or cls.apply_cumulative_transitions is not _PARTS[2]
            or self._has_own_transitions
        )

    def set_timesteps(
        self, num_inference_steps: int, device: str | torch.device | None = None
    ) -> None:
        """Set `timesteps` to num_inference_steps - 1 … 0.

        With fewer steps than in training this is the end of the chain, which expects samples at
        that noise level; it is not a chain of longer strides. Nor is every fourth timestep,
        `timesteps[::4]`: `step` goes from t to t - 1, so that too few masks are removed, and some
        are left at the end.

        Parameters
        ----------
        num_inference_steps : int
            1 … T.
        device : str or torch.device, optional
            Where `timesteps` and the six tables are to be; None leaves the tables where they are.

        Raises
        ------
        TypeError
            If `num_inference_steps` is not an integer.
        ValueError
            If it is out of range.
        """
        steps = as_int(num_inference_steps, "num_inference_steps", 1, len(self._schedule[1]))
        self.num_inference_steps = steps
        self.timesteps = torch.arange(steps - 1, -1, -1, device="cpu").to(device)
        self._look_again()
        if device is not None:
            self._move_tables(device)

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor | None,
        generator: Generator | list[Generator] | None = None,
        return_dict: bool = True,
        *,
        plan: StepPlan | None = None,
        check_finite: bool = False,
    ) -> Any:
        """Draw x_{t-1} from p(x_{t-1} | x_t), eq. 11.

        Parameters
        ----------
        model_output : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            Log-probabilities of each class of the clean grid. They may be -inf, and a column need
            not sum to one. Any strides; NumPy arrays are taken too. With a plan also of shape (K,
            M): the columns of the M needed pixels, in the order of `plan.needed`.
        timestep : int, integer tensor of one element, or integer tensor of shape (B,)
            t, 0 … T - 1, for all rows or one for each.
        sample : torch.Tensor of any integer dtype, shape (B, N)
            x_t: classes 0 … K. A chain begins with `mask_class` everywhere; zeros are tokens of
            class 0, nearly all of which the first step replaces at once. Not read at t = 0, where
            it may be None: the model output itself is drawn from, so that the mask is never
            returned. Where β̄_0 = 0 it is read there too, and the pixels that show a class keep it.
            A chain that ends at another timestep may return masks.
        generator : torch.Generator, list of them, or None
            None is torch's global one. With a list, row i gets what a batch of that row alone with
            generator i would. "gumbel" draws B * (K + 1) * N uniforms of torch's default dtype (at
            t = 0 B * K * N), "inverse_cdf" B * N of float64. Neither another thread nor a signal
            handler may draw from a generator with torch's own functions during the step.
        return_dict : bool
            Whether to return an object rather than a tuple of one tensor.
        plan : StepPlan, optional
            What `plan` has returned for this timestep and sample. The step then draws no random
            numbers and gives what it would have given with the generator that the plan was made
            with.
        check_finite : bool
            Whether to read all of `model_output` and to refuse NaN, +inf and columns of nothing but
            -inf anywhere. "inverse_cdf" reads only the columns that it needs, and what is in the
            others goes unseen; "gumbel", and torch formulas, always read everything.

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
        Ctrl-C is noticed when the native code has ended, which does not look for signals: on one
        core it takes at most some 10 ns for each log-probability, 0.05 s for 4096 classes and 1024
        pixels, and half a second for ten of those. Then, as after any exception, the generators are
        as they were, or the sample has been returned.
        """
        states: States = []
        if is_compiling():  # older torch compiles no iterators
            return self._step(
                model_output, timestep, sample, generator, return_dict, plan, check_finite, states
            )
        put_back = starmap(Generator.set_state, states)
        try:
            return self._step(
                model_output, timestep, sample, generator, return_dict, plan, check_finite, states
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
        plan: StepPlan | None,
        check_finite: bool,
        states: States,
    ) -> Any:
        """`step`; `states` receives what undoes its draws."""
        t = as_timesteps(
            timestep, "timestep", 0, len(self._schedule[1]) - 1, rows_of(model_output, timestep)
        )
        if not self._is_plain():
            tokens = self._posterior_step(
                model_output, timestep, t, sample, generator, plan, states
            )
            return self._output(prev_sample=tokens) if return_dict else (tokens,)
        u = None
        if plan is not None:
            if self._gumbel:
                raise ValueError(
                    "plan must be None with sampling_method 'gumbel', which draws other random "
                    "numbers"
                )
            check_plan(plan, self._schedule, self._law, t, sample, generator)
            shape = tuple(np.shape(model_output))
            if len(shape) == 2:
                prev_sample = complete(self._schedule, self._law, model_output, plan)
                return self._output(prev_sample=prev_sample) if return_dict else (prev_sample,)
            if (*shape[:1], *shape[2:]) != tuple(plan.sample.shape):
                raise ValueError(
                    "model_output must have shape (batch, classes, pixels) as planned, or "
                    "(classes, M) for the M "
                    f"needed pixels alone, not {shape}"
                )
            sample, u = plan.sample, plan.uniforms
        x = numpy_view(model_output, "model_output")
        if x is not None and plan is None:
            first = x.item(0) if x.size else -1.0
            if type(first) is not float or first >= 0:  # hardly ever: without a call, as above
                warn_of_probabilities(x, "model_output", 4)
        reads = self._reads(sample, t)
        shown = numpy_view_of(sample, "sample") if reads and x is not None else None
        # The native module takes no 16-bit uniforms, which is what torch.rand gives where that is
        # the default.
        if x is None or (shown is None and reads) or torch.get_default_dtype().itemsize < 4:
            prev_sample = self._torch_step(model_output, t, sample, generator, states, u)
        else:
            if check_finite and not self._gumbel:
                _native.check_model_output(x, threads._num_threads)
            prev_sample = self._native_step(
                x, t, shown, generator, lambda: model_output, sample, states, u
            )
        return self._output(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def guided_step(
        self,
        log_p_uncond: Tensor | None,
        log_p_cond: Tensor,
        timestep: int | Tensor,
        sample: Tensor | None,
        generator: Generator | list[Generator] | None = None,
        *,
        guidance_scale: float = 5.0,
        truncation_rate: float = 1.0,
        floor: float = -70.0,
        return_dict: bool = True,
    ) -> Any:
        """Draw x_{t-1} from a model's output with and without its condition: guidance, truncation
        and `step` in one.

        The sample is, class for class, that of::

            log_p = vqdiffusion.torch.guide(log_p_uncond, log_p_cond, guidance_scale)
            log_p = vqdiffusion.torch.truncate(log_p, truncation_rate, floor)
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
        timestep, sample, generator, return_dict
            As in `step`.
        guidance_scale : float
            As `scale` in `guide`; not looked at without `log_p_uncond`.
        truncation_rate, floor : float
            As `rate` and `floor` in `truncate`.

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
        guidance = guidance_scale, truncation_rate, floor
        try:
            return self._guided_step(
                log_p_uncond,
                log_p_cond,
                timestep,
                sample,
                generator,
                *guidance,
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
        timestep: Any,
        sample: Any,
        generator: Any,
        guidance_scale: Any,
        truncation_rate: Any,
        floor: Any,
        return_dict: bool,
        states: States,
    ) -> Any:
        """`guided_step`; `states` receives what undoes its draws."""
        t = as_timesteps(
            timestep, "timestep", 0, len(self._schedule[1]) - 1, rows_of(log_p_cond, timestep)
        )
        numbers = (
            as_float(guidance_scale, "guidance_scale"),
            as_float(truncation_rate, "truncation_rate"),
            as_float(floor, "floor"),
        )
        check_rate(numbers[1], "truncation_rate")

        def by_torch() -> Tensor:
            log_p = (
                log_p_cond if log_p_uncond is None else guide(log_p_uncond, log_p_cond, numbers[0])
            )
            return truncate(log_p, *numbers[1:])

        if not self._is_plain():
            return self.step(by_torch(), timestep, sample, generator, return_dict)
        cond = numpy_view(log_p_cond, "log_p_cond")
        if cond is not None:
            warn_of_probabilities(cond, "log_p_cond", 4)
        uncond = None if log_p_uncond is None else numpy_view(log_p_uncond, "log_p_uncond")
        reads = self._reads(sample, t)
        shown = numpy_view_of(sample, "sample") if reads and cond is not None else None
        if (
            cond is None
            or (uncond is None and log_p_uncond is not None)
            or (shown is None and reads)
            or torch.get_default_dtype().itemsize < 4
        ):
            return self.step(by_torch(), timestep, sample, generator, return_dict)
        if uncond is not None and uncond.shape != cond.shape:
            raise ValueError(
                f"log_p_cond must have the shape of log_p_uncond, {uncond.shape}, not {cond.shape}"
            )
        guidance = uncond, *numbers
        prev_sample = self._native_step(
            cond, t, shown, generator, by_torch, sample, states, guidance=guidance
        )
        return self._output(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def plan(
        self,
        timestep: int | Tensor,
        sample: Tensor,
        generator: Generator | list[Generator] | None = None,
    ) -> StepPlan:
        """Draw the random numbers of the coming step and tell which pixels it needs the model
        output of.

        Most pixels "inverse_cdf" decides by their uniform alone, whatever the model says. A model
        whose output layer costs much may run it on the others only, 2 to 3 in a hundred in the
        middle of a default chain::

            plan = scheduler.plan(t, sample, generator)
            log_p = output_layer(hidden[plan.needed]).log_softmax(-1).T  # (M, D) to (K, M)
            sample = scheduler.step(log_p, t, sample, plan=plan).prev_sample

        Parameters
        ----------
        timestep : int, integer tensor of one element, or integer tensor of shape (B,)
            t, 0 … T - 1, for all rows or one for each. At t = 0 every pixel is needed; where β̄_0 =
            0, every masked one.
        sample : torch.Tensor of any integer dtype, shape (B, N)
            x_t: classes 0 … K. At t = 0 only its shape plays a part, unless β̄_0 = 0.
        generator : torch.Generator, list of them, or None
            As in `step`, which would draw the same B * N uniforms from it.

        Returns
        -------
        StepPlan
            With it, `step` returns what it would have returned with `generator`. Where the columns
            are given in another memory layout than there, sums over classes may round in another
            way, to the same effect as for any layout.

        Raises
        ------
        TypeError, ValueError
            As in `step`; ValueError also with "gumbel", which needs every pixel.
        """
        if self._gumbel:
            raise ValueError(
                "plan needs sampling_method 'inverse_cdf': 'gumbel' reads the model output of "
                "every pixel"
            )
        if not self._is_plain():
            raise ValueError(_NO_PLAN)
        t = as_timesteps(
            timestep, "timestep", 0, len(self._schedule[1]) - 1, rows_of(sample, timestep)
        )
        return make_plan(self._schedule, self._law, t, sample, generator)

    def _posterior_step(
        self,
        model_output: Any,
        timestep: Any,
        t: int | list[int],
        sample: Any,
        generator: Any,
        plan: StepPlan | None,
        states: States,
    ) -> Tensor:
        """A step from what `q_posterior` returns; at t = 0 from the model output itself."""
        if plan is not None:
            raise ValueError(_NO_PLAN)
        x = as_log_probabilities(model_output, "model_output", self.mask_class)
        array = numpy_view(x, "model_output")
        if array is not None:
            warn_of_probabilities(array, "model_output", 5)
        generator = as_generators(generator, len(x))
        by_row(t, len(x), "timestep")
        check_drawable(x.logsumexp(1, keepdim=True), None, "model_output")
        log_p, grid = x, None
        if self._reads(sample, t):
            grid = as_grid_of(x, sample, "sample")
            check_grid(grid, "sample", self.mask_class)
            grid = grid.long()
        if t != 0:
            log_p = self.q_posterior(x, grid, composed.as_reference_takes(timestep, t, x))
            name = f"q_posterior of {type(self).__name__}"
            composed.check_posterior(log_p, x, name)
            check_drawable(log_p.logsumexp(1, keepdim=True), None, f"what {name} returns")
            if isinstance(t, list):
                log_p = composed.with_last_step(log_p, x, t)
        if not traced():
            remember(generator, x.device, states)
        tokens = composed.draw(log_p.detach(), t, generator, self._gumbel)
        # Only the last step, which no override has a say in, carries pixels over here.
        if grid is None or not self._law.carries[0]:
            return tokens
        last = torch.tensor(t, device=grid.device).view(-1, 1) == 0
        return torch.where(last & (grid != self.mask_class), grid, tokens)

    def _native_step(
        self,
        x: np.ndarray,
        t: int | list[int],
        shown: np.ndarray | None,
        generator: Any,
        model_output: Callable[[], Any],
        sample: Any,
        states: States,
        u: Tensor | None = None,
        guidance: tuple[Any, ...] | None = None,
    ) -> Tensor:
        """`x` and `shown` are the memory of `model_output` and `sample`; `states` is as in `_step`.
        With `guidance` (the unconditional output or None, the scale, the rate and the floor) `x` is
        the conditional output."""
        if x.ndim != 3:
            name = "model_output" if guidance is None else "log_p_cond"
            raise ValueError(
                f"{name} must have the 3 axes (batch, classes, pixels), not shape {x.shape}"
            )
        check_classes(x, self.mask_class, "model_output" if guidance is None else "log_p_cond")
        batch, _, pixels = x.shape
        generator = as_generators(generator, batch)
        parts = by_row(t, batch, "timestep")
        if not pixels:  # nothing to draw, in however many rows
            parts, generator = [(slice(None), one) for _, one in parts[:1]], None
        prev_sample = torch.empty((batch, pixels), dtype=torch.int64, device="cpu")
        out = prev_sample.numpy()

        def guided(rows: slice) -> tuple[Any, ...] | None:
            if guidance is None:
                return None
            uncond, *numbers = guidance
            return None if uncond is None else uncond[rows], *numbers

        def draw(rows: slice, one: int, source: np.ndarray) -> None:
            grid = shown[rows] if self._law.reads_sample(one) else None
            _native.step(
                *self._schedule,
                one,
                one - 1,
                x[rows],
                grid,
                "gumbel" if self._gumbel else "inverse_cdf",
                source,
                out[rows],
                guided(rows),
                threads._num_threads,
            )

        each = generator if isinstance(generator, list) else [generator]
        draws = x.size + batch * pixels
        if self._gumbel and draws > _FEW_DRAWS and can_continue(each):
            with turn(each):
                engines = Engines(each)
                if isinstance(generator, list):
                    for row, source in enumerate(engines.sources):
                        draw(slice(row, row + 1), t if isinstance(t, int) else t[row], source)
                else:
                    for rows, one in parts:
                        draw(rows, one, engines.sources[0])
                if engines.write_back(states):
                    return prev_sample
        if u is None:
            remember(generator, "cpu", states)
            u = self._uniforms(t, batch, pixels, generator, "cpu")
        noise = numpy_view_of(u, "uniforms")
        if noise is None:  # random numbers of vmap
            return self._torch_step(model_output(), t, sample, generator, states, u)
        for rows, one in parts:
            if self._gumbel:
                draw(rows, one, noise[rows, : self.num_embed - (one == 0)])
            else:
                draw(rows, one, noise[rows])
        return prev_sample

    def _reads(self, sample: Any, t: int | list[int]) -> bool:
        """Whether a step from t reads the sample, which must then be given."""
        reads = self._law.reads_sample(t)
        if reads and t == 0:
            check_given(sample)
        return reads

    def _uniforms(
        self, t: int | list[int], batch: int, pixels: int, generator: Any, device: Any
    ) -> Tensor:
        if not self._gumbel:
            return pixel_uniforms(batch, pixels, generator, device)
        if isinstance(t, int):
            return uniforms((batch, self.num_embed - (t == 0), pixels), generator, device)
        rows = [self.num_embed - (one == 0) for one in t]
        return uniforms((batch, self.num_embed, pixels), generator, device, rows=rows)

    def _torch_uniforms(
        self, t: int | list[int], x: Tensor, generator: Any, states: States
    ) -> Tensor:
        if not traced():
            remember(generator, x.device, states)
        return self._uniforms(t, x.shape[0], x.shape[2], generator, x.device)

    def _torch_step(
        self,
        model_output: Any,
        t: int | list[int],
        sample: Any,
        generator: Any,
        states: States,
        u: Tensor | None = None,
    ) -> Tensor:
        x = as_log_probabilities(model_output, "model_output", self.mask_class)
        generator = as_generators(generator, len(x))
        by_row(t, len(x), "timestep")
        x = x.detach() if x.dtype == torch.float64 else x.detach().float()
        grid, at = None, index(t, x)
        if self._reads(sample, t):
            grid = as_grid_of(x, sample, "sample")
            check_grid(grid, "sample", self.mask_class)
        if not self._gumbel:
            grid = inverse_cdf.shown(self._law, grid, at, x[:, 0])
            impossible = inverse_cdf.unreachable(self._law, grid, at)
            check_drawable(x.logsumexp(1, keepdim=True), impossible, "model_output")
            if u is None:
                u = self._torch_uniforms(t, x, generator, states)
            return inverse_cdf.inverse_cdf(self._law, x, grid, at, u)
        if t == 0:
            classes, mask, total = x, None, x.logsumexp(1, keepdim=True)
        else:
            classes, mask, total = formulas.posterior(self._law, x, grid, at)
            if not isinstance(t, int):
                first = (at == 0).view(-1, 1, 1)
                classes, mask = torch.where(first, x, classes), mask.masked_fill(first, -torch.inf)
        check_drawable(total, mask, "model_output")
        if u is None:
            u = self._torch_uniforms(t, x, generator, states)
        tokens = formulas.gumbel_argmax(classes, mask, u)
        return tokens if grid is None else formulas.carried_over(self._law, tokens, grid, at)

    def q_posterior(self, log_p_x_0: Tensor, x_t: Tensor, t: int | Tensor) -> Tensor:
        """log p(x_{t-1} | x_t) = log Σ_{x_0} q(x_{t-1} | x_t, x_0) p(x_0 | x_t), eq. 11.

        It is not normalised: a column sums to Σ p(x_0). Differentiable to any order.

        Parameters
        ----------
        log_p_x_0 : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            As `model_output` of `step`.
        x_t : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K.
        t : int, integer tensor of one element, or integer tensor of shape (B,)
            0 … T - 1.

        Returns
        -------
        torch.Tensor, shape (B, K + 1, N)
            float64 when `log_p_x_0` is float64, else float32. What is impossible because x_t is not
            masked (x_{t-1} masked) has log 1e-30 for the logarithm of that zero, and a finite
            value; what is impossible at t = 0 is -inf.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        if self._overrides_transitions():
            at = t if traced() else as_timesteps(t, "t", 0, len(self._schedule[1]) - 1)
            log_p_x_0 = as_log_probabilities(log_p_x_0, "log_p_x_0", self.mask_class)
            x_t = as_grid_of(log_p_x_0, x_t, "x_t")
            check_grid(x_t, "x_t", self.mask_class)
            check_drawable(log_p_x_0.logsumexp(1, keepdim=True), None, "log_p_x_0")
            given = composed.as_reference_takes(t, at, x_t)
            return composed.posterior(self, log_p_x_0, x_t.long(), given)
        at, x, grid = self._arguments(t, 0, log_p_x_0, "log_p_x_0", x_t, "x_t")
        if x is not None and grid is not None:
            out, result = _empty(x, self.num_embed)
            for rows, one in by_row(at, len(x), "t"):
                _native.q_posterior(
                    *self._schedule,
                    one,
                    one - 1,
                    x[rows],
                    grid[rows],
                    out[rows],
                    threads._num_threads,
                )
            return result
        log_p_x_0 = as_log_probabilities(log_p_x_0, "log_p_x_0", self.mask_class)
        x_t = as_grid_of(log_p_x_0, x_t, "x_t")
        check_grid(x_t, "x_t", self.mask_class)
        classes, mask, total = formulas.posterior(self._law, log_p_x_0, x_t, _index(at, log_p_x_0))
        check_drawable(total, mask, "log_p_x_0")
        return torch.cat((classes, mask), 1)

    def log_Q_t_transitioning_to_known_class(
        self, *, t: int | Tensor, x_t: Tensor, log_onehot_x_t: Tensor, cumulative: bool
    ) -> Tensor:
        """The row of the transition matrix of eq. 7 that leads to each pixel's observed class, in
        logarithms.

        Parameters
        ----------
        t : int, integer tensor of one element, or integer tensor of shape (B,)
            0 … T - 1, and -1 when `cumulative`, for clean data.
        x_t : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K.
        log_onehot_x_t : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K + 1, N)
            Logarithms of one-hot vectors of `x_t`: 0 and log 1e-30.
        cumulative : bool
            Whether from clean data to t, or the single step from t - 1 to t.

        Returns
        -------
        torch.Tensor
            When `cumulative`, log q(x_t | x_0 = j) for the K classes j that clean data can have,
            shape (B, K, N); else log q(x_t | x_{t-1} = j) for the K + 1 classes, shape (B, K + 1,
            N), its last row that of `log_onehot_x_t`. float64 when `log_onehot_x_t` is float64,
            else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        cumulative = bool(cumulative)
        at, onehot, grid = self._arguments(
            t, -cumulative, log_onehot_x_t, "log_onehot_x_t", x_t, "x_t"
        )
        # The native module knows no rows for clean data.
        is_clean = -1 in at if isinstance(at, list) else isinstance(at, int) and at == -1
        if onehot is not None and grid is not None and not is_clean:
            out, result = _empty(onehot, self.num_embed - cumulative)
            for rows, one in by_row(at, len(onehot), "t"):
                _native.log_transition_rows(
                    *self._schedule,
                    one,
                    cumulative,
                    grid[rows],
                    onehot[rows],
                    out[rows],
                    threads._num_threads,
                )
            return result
        log_onehot_x_t = as_log_probabilities(log_onehot_x_t, "log_onehot_x_t", self.num_embed)
        x_t = as_grid_of(log_onehot_x_t, x_t, "x_t")
        check_grid(x_t, "x_t", self.mask_class)
        at = _index(at, log_onehot_x_t)
        return formulas.log_transition_rows(self._law, x_t, log_onehot_x_t, at, cumulative)

    def apply_cumulative_transitions(self, q: Tensor, t: int | Tensor) -> Tensor:
        """Carry a distribution over classes from clean data to t: log(ᾱ_t e^q + β̄_t), and log γ̄_t
        for the mask.

        That is exact for a normalised `q`.

        Parameters
        ----------
        q : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            Log-probabilities.
        t : int, integer tensor of one element, or integer tensor of shape (B,)
            -1 … T - 1; -1 stands for clean data.

        Returns
        -------
        torch.Tensor, shape (B, K + 1, N)
            float64 when `q` is float64, else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        at, array, _ = self._arguments(t, -1, q, "q")
        if array is not None:
            out, result = _empty(array, self.num_embed)
            for rows, one in by_row(at, len(array), "t"):
                _native.apply_cumulative_transitions(
                    *self._schedule, one, array[rows], out[rows], threads._num_threads
                )
            return result
        q = as_log_probabilities(q, "q", self.mask_class)
        return formulas.apply_cumulative_transitions(self._law, q, _index(at, q))

    def q_sample(
        self, x_0: Tensor, t: int | Tensor, generator: Generator | list[Generator] | None = None
    ) -> Tensor:
        """Draw x_t from the forward process q(x_t | x_0), eq. 8.

        A class stays with probability ᾱ_t + β̄_t, becomes any one other class with β̄_t and the
        mask with γ̄_t.

        Parameters
        ----------
        x_0 : torch.Tensor of any integer dtype, shape (B, N)
            Classes 0 … K; a masked pixel stays masked.
        t : int, integer tensor of one element, or integer tensor of shape (B,)
            0 … T - 1, for all rows or one for each.
        generator : torch.Generator, list of them, or None
            As in `step`; B * N uniforms of float64 are drawn.

        Returns
        -------
        torch.Tensor of int64, shape (B, N)
            A new contiguous tensor on the device of `x_0`.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        x_0 = as_grid(x_0, "x_0")
        batch, pixels = x_0.shape
        generator = as_generators(generator, batch)
        at = as_timesteps(t, "t", 0, len(self._schedule[1]) - 1, batch)
        by_row(at, batch, "t")
        timesteps = np.broadcast_to(np.array(at, np.int64), batch)
        clean = numpy_view(x_0, "x_0") if self._follow_tables() else None
        if clean is None:
            check_grid(x_0, "x_0", self.mask_class)
        states: States = []
        put_back = starmap(Generator.set_state, states)
        try:
            remember(generator, x_0.device, states)
            u = pixel_uniforms(batch, pixels, generator, x_0.device)
            noise = None if clean is None else numpy_view(u, "uniforms")
            if noise is None:
                return formulas.q_sample(self._law, x_0, index(at, x_0), u)
            x_t = torch.empty((batch, pixels), dtype=torch.int64, device="cpu")
            _native.q_sample(
                *self._schedule, clean, timesteps, noise, x_t.numpy(), threads._num_threads
            )
            return x_t
        except BaseException:
            list(put_back)
            raise

    def _arguments(
        self, t: Any, first: int, x: Any, x_name: str, grid: Any = None, grid_name: str = ""
    ) -> tuple[Any, np.ndarray | None, np.ndarray | None]:
        """t, and x and the grid in their memory: None where torch has to compute."""
        if traced():
            return t, None, None
        t = as_timesteps(t, "t", first, len(self._schedule[1]) - 1, rows_of(x, t))
        if not self._follow_tables():
            return t, None, None
        if isinstance(x, Tensor) and (
            (x.requires_grad and torch.is_grad_enabled()) or unpack_dual(x).tangent is not None
        ):
            return t, None, None
        array = numpy_view(x, x_name)
        if array is not None and array.ndim != 3:
            raise ValueError(
                f"{x_name} must have the 3 axes (batch, classes, pixels), not shape {array.shape}"
            )
        if array is not None:
            with_mask = x_name == "log_onehot_x_t"
            check_classes(array, self.mask_class + with_mask, x_name, with_mask)
        return t, array, numpy_view(grid, grid_name) if grid_name else None


# As they are here, to know when somebody has put another in the place of one, on the class too.
_PARTS = (
    ReverseChain.q_posterior,
    ReverseChain.log_Q_t_transitioning_to_known_class,
    ReverseChain.apply_cumulative_transitions,
)
_NAMES = frozenset(part.__name__ for part in _PARTS)
# Attributes that look like inputs, and the arguments that they follow from.
_FIXED = {
    name: name
    for name in ("num_vec_classes", "num_train_timesteps", "alpha_cum_start", "alpha_cum_end")
    + ("gamma_cum_start", "gamma_cum_end", "sampling_method")
}
_FIXED |= {"num_embed": "num_vec_classes", "mask_class": "num_vec_classes"}
_NO_PLAN = (
    "plan needs the class's own q_posterior and the constructor's tables: with another posterior "
    "the model output of every pixel is needed"
)


def checked(
    num_vec_classes: Any, num_train_timesteps: Any, sampling_method: Any, **ends: Any
) -> dict[str, Any]:
    """The arguments of a scheduler's constructor by name, with the types of a configuration.

    Raises TypeError or ValueError where one is not of its type or out of its range.
    """
    classes = as_int(num_vec_classes, "num_vec_classes", 2, MOST_CLASSES + 1)
    steps = as_int(num_train_timesteps, "num_train_timesteps", 2, MOST_TIMESTEPS)
    numbers = {name: as_float(value, name) for name, value in ends.items()}
    if sampling_method not in _SAMPLING_METHODS:
        raise ValueError(
            f"sampling_method must be one of {', '.join(_SAMPLING_METHODS)}, not "
            f"{sampling_method!r}"
        )
    return {
        "num_vec_classes": classes,
        "num_train_timesteps": steps,
        **numbers,
        "sampling_method": sampling_method,
    }


def _index(t: Any, like: Tensor) -> int | Tensor:
    """t for the torch formulas, once its number is checked."""
    if isinstance(t, list):
        by_row(t, len(like), "t")
    return index(t, like)


def _empty(like: np.ndarray, classes: int) -> tuple[np.ndarray, Tensor]:
    dtype = torch.float64 if like.dtype == np.float64 else torch.float32
    result = torch.empty((like.shape[0], classes, like.shape[2]), dtype=dtype, device="cpu")
    return result.numpy(), result
