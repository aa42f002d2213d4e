"""The VQ-Diffusion scheduler on NumPy arrays. Equation numbers are those of Gu et al. 2021, arXiv
2111.14822.
"""

from __future__ import annotations

from itertools import starmap
from typing import Any, Literal, SupportsFloat, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from . import _native, overrides, threads
from .arguments import (
    MOST_CLASSES,
    MOST_TIMESTEPS,
    as_array,
    as_float,
    as_grid,
    as_int,
    as_tensor,
    as_timesteps,
    check_given,
)
from .checks import check_classes, check_rate, warn_of_probabilities
from .config import Configurable, FrozenConfig
from .generators import GeneratorLike, States, draw_noise, draw_uniforms
from .output import VQDiffusionSchedulerOutput
from .read_only import ATTRIBUTES, check_assignable
from .schedules import alpha_schedules, gamma_schedules
from .step_plan import StepPlan

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_SAMPLING_METHODS = ("inverse_cdf", "gumbel")


class VQDiffusionScheduler(Configurable):
    """Turns a denoiser's prediction of the clean grid into a sample of the grid one timestep
    earlier.

    The forward process of eq. 7 replaces a pixel's class by any one other class with probability
    β_t, or by the mask with probability γ_t, and keeps it otherwise. K is the number of classes
    without the mask, whose index is K; T is the number of training timesteps; B is the number of
    batch rows and N that of pixels in each.

    Attributes are read-only, arrays included, and assigning one raises AttributeError. Only public
    methods can be overridden, in a subclass or on an instance; a subclass may also have attributes
    of its own. `step` and `guided_step` draw from an overridden posterior, see `step`.

    Parameters
    ----------
    num_vec_classes : int
        K + 1: the classes of a pixel, the mask included. At least 2, less than 2**31.
    num_train_timesteps : int
        T, from 2 to 10**7.
    alpha_cum_start, alpha_cum_end : float
        ᾱ, the probability that a pixel has kept its class, at t = 0 and at t = T - 1.
    gamma_cum_start, gamma_cum_end : float
        γ̄, the probability that a pixel is masked, at t = 0 and at t = T - 1.
    sampling_method : {"inverse_cdf", "gumbel"}
        How `step` draws. "inverse_cdf" inverts the cumulative distribution at one 53-bit uniform
        per pixel: exact for the rarest classes, and it reads only the columns of the model output
        that the uniform makes necessary. "gumbel" takes the argmax after adding Gumbel noise from
        one 24-bit uniform per class and pixel, which is what diffusers does. Configuration files
        name it always; diffusers' own, which do not, load with the default.

    Attributes
    ----------
    config : mapping
        The arguments, by item and by attribute; read-only.
    num_embed, mask_class : int
        `num_vec_classes`, and the index of the mask, K.
    log_at, log_bt, log_ct : numpy.ndarray of float32, shape (T,)
        log α_t, log β_t and log γ_t of the single step t-1 → t.
    log_cumprod_at, log_cumprod_bt, log_cumprod_ct : numpy.ndarray of float32, shape (T + 1,)
        log ᾱ_t, log β̄_t and log γ̄_t; the last entries are those of clean data, t = -1: 0, -inf
        and -inf.
    timesteps : numpy.ndarray of int64
        The timesteps of the chain, falling to 0.
    num_inference_steps : int or None
        What `set_timesteps` was given.

    Raises
    ------
    TypeError
        If an argument is not of the stated type.
    ValueError
        If an argument is out of its range, or the schedule is no Markov chain: γ̄ must never fall,
        ᾱ / (1 - γ̄) never rise and ᾱ + γ̄ never exceed 1.
    """

    order = 1

    num_embed: int
    mask_class: int
    log_at: npt.NDArray[np.float32]
    log_bt: npt.NDArray[np.float32]
    log_ct: npt.NDArray[np.float32]
    log_cumprod_at: npt.NDArray[np.float32]
    log_cumprod_bt: npt.NDArray[np.float32]
    log_cumprod_ct: npt.NDArray[np.float32]
    num_inference_steps: int | None
    timesteps: npt.NDArray[np.int64]
    _schedule: tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]
    _num_classes: int
    _num_timesteps: int
    _gumbel: bool

    def __init__(
        self,
        num_vec_classes: int,
        num_train_timesteps: int = 100,
        alpha_cum_start: float = 0.99999,
        alpha_cum_end: float = 0.000009,
        gamma_cum_start: float = 0.000009,
        gamma_cum_end: float = 0.99999,
        *,
        sampling_method: str = "inverse_cdf",
    ) -> None:
        if sampling_method not in _SAMPLING_METHODS:
            raise ValueError(
                f"sampling_method must be one of {', '.join(_SAMPLING_METHODS)}, not "
                f"{sampling_method!r}"
            )
        config = FrozenConfig(
            num_vec_classes=as_int(num_vec_classes, "num_vec_classes", 2, MOST_CLASSES + 1),
            num_train_timesteps=as_int(
                num_train_timesteps, "num_train_timesteps", 2, MOST_TIMESTEPS
            ),
            alpha_cum_start=as_float(alpha_cum_start, "alpha_cum_start"),
            alpha_cum_end=as_float(alpha_cum_end, "alpha_cum_end"),
            gamma_cum_start=as_float(gamma_cum_start, "gamma_cum_start"),
            gamma_cum_end=as_float(gamma_cum_end, "gamma_cum_end"),
            sampling_method=sampling_method,
        )
        steps, classes = config.num_train_timesteps, config.num_vec_classes - 1
        # In float64, as the noise is defined: the tables below are for readers, and too coarse to
        # compute with.
        alpha_cumulative = alpha_schedules(steps, config.alpha_cum_start, config.alpha_cum_end)[1][
            :steps
        ]
        gamma_cumulative = gamma_schedules(steps, config.gamma_cum_start, config.gamma_cum_end)[1][
            :steps
        ]
        schedule = classes, alpha_cumulative, gamma_cumulative
        _native.schedule_check(*schedule)

        logs = [np.empty(steps + cumulative) for cumulative in (0, 0, 0, 1, 1, 1)]
        _native.schedule_logs(*schedule, *logs)
        names = "log_at", "log_bt", "log_ct", "log_cumprod_at", "log_cumprod_bt", "log_cumprod_ct"
        # Attributes cannot be assigned.
        self.__dict__.update(
            {name: table.astype(np.float32) for name, table in zip(names, logs, strict=True)},
            num_embed=classes + 1,
            mask_class=classes,
            num_inference_steps=None,
            timesteps=_falling(steps),
            _config=config,
            _schedule=schedule,
            _num_classes=classes,
            _num_timesteps=steps,
            _gumbel=sampling_method == "gumbel",
            _carries_over=bool(np.isneginf(logs[4][0])),  # β̄_0 = 0
        )
        self._protect_arrays()

    def __setattr__(self, name: str, value: Any) -> None:
        check_assignable(self, VQDiffusionScheduler, name)
        if hasattr(VQDiffusionScheduler, name) and not callable(value):
            raise TypeError(f"{name} must be a function, not {type(value).__name__}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        check_assignable(self, VQDiffusionScheduler, name)
        super().__delattr__(name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._protect_arrays()

    def _protect_arrays(self) -> None:
        for array in (*map(self.__dict__.get, ATTRIBUTES), *self._schedule):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def set_timesteps(self, num_inference_steps: int, device: str | None = None) -> None:
        """Set `timesteps` to num_inference_steps - 1 … 0.

        With fewer steps than in training this is the end of the chain, which expects samples at
        that noise level; it is not a chain of longer strides. Nor is every fourth timestep,
        `timesteps[::4]`: `step` goes from t to t - 1, so that too few masks are removed, and some
        are left at the end.

        Parameters
        ----------
        num_inference_steps : int
            1 … T.
        device : None or "cpu"
            For callers that also drive schedulers on other devices.

        Raises
        ------
        TypeError
            If `num_inference_steps` is not an integer.
        ValueError
            If it is out of range, or `device` is another.
        """
        steps = as_int(num_inference_steps, "num_inference_steps", 1, self._num_timesteps)
        if device not in (None, "cpu"):
            raise ValueError(f"device must be None or 'cpu', not {device!r}")
        self.__dict__.update(num_inference_steps=steps, timesteps=_falling(steps))
        self._protect_arrays()

    @overload
    def step(
        self,
        model_output: npt.ArrayLike,
        timestep: SupportsIndex,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike = None,
        return_dict: Literal[True] = True,
        *,
        plan: StepPlan | None = None,
        check_finite: bool = False,
    ) -> VQDiffusionSchedulerOutput: ...
    @overload
    def step(
        self,
        model_output: npt.ArrayLike,
        timestep: SupportsIndex,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike = None,
        *,
        return_dict: Literal[False],
        plan: StepPlan | None = None,
        check_finite: bool = False,
    ) -> tuple[npt.NDArray[np.int64]]: ...
    def step(
        self,
        model_output: npt.ArrayLike,
        timestep: SupportsIndex,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike = None,
        return_dict: bool = True,
        *,
        plan: StepPlan | None = None,
        check_finite: bool = False,
    ) -> VQDiffusionSchedulerOutput | tuple[npt.NDArray[np.int64]]:
        """Draw x_{t-1} from p(x_{t-1} | x_t), eq. 11.

        Where `q_posterior`, `log_Q_t_transitioning_to_known_class` or
        `apply_cumulative_transitions` is overridden, in a subclass or on the instance, the step
        draws from what `q_posterior` then returns (at t = 0 from the model output all the same),
        with the same random numbers.

        Parameters
        ----------
        model_output : array of float16, float32 or float64, shape (B, K, N)
            Log-probabilities of each class of the clean grid. They may be -inf, and a column need
            not sum to one. Any strides. With a plan also of shape (K, M): the columns of the M
            needed pixels, in the order of `plan.needed`.
        timestep : int, NumPy integer or integer array of one element
            t, 0 … T - 1.
        sample : array of any integer dtype, shape (B, N)
            x_t: classes 0 … K. A chain begins with `mask_class` everywhere; zeros are tokens of
            class 0, nearly all of which the first step replaces at once. Not read at t = 0, where
            it may be None: the model output itself is drawn from, so that the mask is never
            returned. Where β̄_0 = 0 it is read there too, and the pixels that show a class keep it.
            A chain that ends at another timestep may return masks.
        generator : None, int, SeedSequence, BitGenerator, Generator, RandomState, or list of these
            None draws unpredictably. An int or a SeedSequence stands for
            `numpy.random.default_rng(seed)`, made anew at every call: the same seed at every step
            of a chain would draw the same noise at every step and spoil the samples, so make one
            Generator and pass that. A list holds one for each batch row; row i then gets what a
            batch of that row alone with generator i would. "inverse_cdf" draws B * N float64
            uniforms, "gumbel" B * (K + 1) * N float32 ones (at t = 0 B * K * N), in memory order.
        return_dict : bool
            Whether to return an object rather than a tuple of one array.
        plan : StepPlan, optional
            What `plan` has returned for this timestep and sample. The step then draws no random
            numbers and gives what it would have given with the generator that the plan was made
            with.
        check_finite : bool
            Whether to read all of `model_output` and to refuse NaN, +inf and columns of nothing but
            -inf anywhere. "inverse_cdf" reads only the columns that it needs, and what is in the
            others goes unseen; "gumbel" always reads everything.

        Returns
        -------
        VQDiffusionSchedulerOutput, or a tuple of its one field
            `prev_sample`, int64, shape (B, N): a new array.

        Raises
        ------
        TypeError
            If `timestep` is a bool or a float, `model_output` not floating, `sample` not of an
            integer dtype, an array not in the machine's byte order, or `generator` none of its
            kinds.
        ValueError
            If shapes disagree, `timestep` is outside the schedule, a class is out of range, what is
            read of `model_output` holds NaN or +inf or a column of nothing but -inf, a list of
            generators has the wrong length, or `plan` is given with a generator or was made for
            another step; if `sample` is None at t = 0 where it is read. After any error the
            generators are in the state in which they came.
        RuntimeError
            If a signal handler or a finalizer draws from a generator that the interrupted call is
            drawing from.

        Warns
        -----
        UserWarning
            Once per process, where the first column of `model_output` looks like probabilities: it
            lies in [0, 1] and sums to 1 over several classes.

        Notes
        -----
        Ctrl-C is noticed when the native code has ended, which does not look for signals: on one
        core it takes at most some 10 ns for each log-probability, 0.05 s for 4096 classes and 1024
        pixels, and half a second for ten of those. Then, as after any exception, the generators are
        as they were, or the sample has been returned.
        """
        t = as_int(timestep, "timestep", 0, self._num_timesteps - 1)
        if plan is not None:
            prev_sample = self._planned_step(model_output, t, sample, generator, plan, check_finite)
            return VQDiffusionSchedulerOutput(prev_sample) if return_dict else (prev_sample,)
        model_output = as_tensor(model_output, "model_output")
        batch, _, pixels = model_output.shape
        check_classes(model_output, self._num_classes, "model_output")
        warn_of_probabilities(model_output, "model_output")
        schedule = self._schedule
        if t and _posterior_is_overridden(self):
            # Drawn from as the last step draws from the model output, with the mask as one more
            # class.
            model_output = overrides.posterior(self, model_output, t, sample)
            schedule, t = (self.num_embed, *overrides.ANY_NOISE), 0
        if check_finite and not self._gumbel:
            _native.check_model_output(model_output, threads._num_threads)
        grid = self._read(sample, t)
        prev_sample = np.empty((batch, pixels), np.int64)
        states: States = []
        put_back = starmap(setattr, states)
        try:
            if self._gumbel:

                def draw(rows: slice, source: Any) -> None:
                    x, x_t = model_output[rows], None if grid is None else grid[rows]
                    out = prev_sample[rows]
                    _native.step(
                        *schedule,
                        t,
                        t - 1,
                        x,
                        x_t,
                        "gumbel",
                        source,
                        out,
                        None,
                        threads._num_threads,
                    )

                draw_noise(generator, (batch,), draw, states)
            else:
                u = draw_uniforms(generator, (batch, pixels), states)
                _native.step(
                    *schedule,
                    t,
                    t - 1,
                    model_output,
                    grid,
                    "inverse_cdf",
                    u,
                    prev_sample,
                    None,
                    threads._num_threads,
                )
            return VQDiffusionSchedulerOutput(prev_sample) if return_dict else (prev_sample,)
        except BaseException:
            list(put_back)
            raise

    @overload
    def guided_step(
        self,
        log_p_uncond: npt.ArrayLike | None,
        log_p_cond: npt.ArrayLike,
        timestep: SupportsIndex,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike = None,
        *,
        guidance_scale: SupportsFloat = 5.0,
        truncation_rate: SupportsFloat = 1.0,
        floor: SupportsFloat = -70.0,
        return_dict: Literal[True] = True,
    ) -> VQDiffusionSchedulerOutput: ...
    @overload
    def guided_step(
        self,
        log_p_uncond: npt.ArrayLike | None,
        log_p_cond: npt.ArrayLike,
        timestep: SupportsIndex,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike = None,
        *,
        guidance_scale: SupportsFloat = 5.0,
        truncation_rate: SupportsFloat = 1.0,
        floor: SupportsFloat = -70.0,
        return_dict: Literal[False],
    ) -> tuple[npt.NDArray[np.int64]]: ...
    def guided_step(
        self,
        log_p_uncond: npt.ArrayLike | None,
        log_p_cond: npt.ArrayLike,
        timestep: SupportsIndex,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike = None,
        *,
        guidance_scale: SupportsFloat = 5.0,
        truncation_rate: SupportsFloat = 1.0,
        floor: SupportsFloat = -70.0,
        return_dict: bool = True,
    ) -> VQDiffusionSchedulerOutput | tuple[npt.NDArray[np.int64]]:
        """Draw x_{t-1} from a model's output with and without its condition: guidance, truncation
        and `step` in one.

        The sample is, class for class, that of::

            log_p = vqdiffusion.guide(log_p_uncond, log_p_cond, guidance_scale)
            log_p = vqdiffusion.truncate(log_p, truncation_rate, floor)
            scheduler.step(log_p, timestep, sample, generator)

        but where the kept mass meets the rate to within the rounding of its float32 sum, and one
        class more or less is kept. It takes less time and memory; with "inverse_cdf" only the
        columns that the uniforms make necessary are guided and truncated.

        Parameters
        ----------
        log_p_uncond : array of float16, float32 or float64, shape (B, K, N), or None
            The model's log-probabilities without the condition. None for no guidance, which is what
            pipelines do at scales of 1 and below; `log_p_cond` is then truncated as it is, not
            normalised before.
        log_p_cond : array of the same dtype and shape
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

        Warns
        -----
        UserWarning
            As in `step`, of `log_p_cond`.
        """
        t = as_int(timestep, "timestep", 0, self._num_timesteps - 1)
        uncond = None if log_p_uncond is None else as_tensor(log_p_uncond, "log_p_uncond")
        cond = as_tensor(log_p_cond, "log_p_cond")
        batch, _, pixels = cond.shape
        check_classes(cond, self._num_classes, "log_p_cond")
        if uncond is not None and uncond.shape != cond.shape:
            raise ValueError(
                f"log_p_cond must have the shape of log_p_uncond, {uncond.shape}, not {cond.shape}"
            )
        numbers = (
            as_float(guidance_scale, "guidance_scale"),
            as_float(truncation_rate, "truncation_rate"),
            as_float(floor, "floor"),
        )
        check_rate(numbers[1], "truncation_rate")
        warn_of_probabilities(cond, "log_p_cond")
        if t and _posterior_is_overridden(self):
            log_p = overrides.guided(uncond, cond, *numbers)
            return self.step(log_p, t, sample, generator, return_dict)  # type: ignore
        grid = self._read(sample, t)
        prev_sample = np.empty((batch, pixels), np.int64)

        def draw(rows: slice, source: Any) -> None:
            u, x_t = None if uncond is None else uncond[rows], None if grid is None else grid[rows]
            _native.step(
                *self._schedule,
                t,
                t - 1,
                cond[rows],
                x_t,
                "gumbel" if self._gumbel else "inverse_cdf",
                source,
                prev_sample[rows],
                (u, *numbers),
                threads._num_threads,
            )

        states: States = []
        put_back = starmap(setattr, states)
        try:
            if self._gumbel:
                draw_noise(generator, (batch,), draw, states)
            else:
                draw(slice(None), draw_uniforms(generator, (batch, pixels), states))
            return VQDiffusionSchedulerOutput(prev_sample) if return_dict else (prev_sample,)
        except BaseException:
            list(put_back)
            raise

    def plan(
        self, timestep: SupportsIndex, sample: npt.ArrayLike, generator: GeneratorLike = None
    ) -> StepPlan:
        """Draw the random numbers of the coming step and tell which pixels it needs the model
        output of.

        Most pixels "inverse_cdf" decides by their uniform alone, whatever the model says. A model
        whose output layer costs much may run it on the others only, 2 to 3 in a hundred in the
        middle of a default chain::

            plan = scheduler.plan(t, sample, generator)
            log_p = log_softmax(output_layer(hidden[plan.needed])).T  # (M, D) to (K, M)
            sample = scheduler.step(log_p, t, sample, plan=plan).prev_sample

        Parameters
        ----------
        timestep : int, NumPy integer or integer array of one element
            t, 0 … T - 1. At t = 0 every pixel is needed; where β̄_0 = 0, every masked one.
        sample : array of any integer dtype, shape (B, N)
            x_t: classes 0 … K. At t = 0 only its shape plays a part, unless β̄_0 = 0.
        generator : GeneratorLike
            As in `step`, which would draw the same B * N float64 uniforms from it.

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
        if self._gumbel:
            raise ValueError(
                "plan needs sampling_method 'inverse_cdf': 'gumbel' reads the model output of "
                "every pixel"
            )
        if _posterior_is_overridden(self):
            raise ValueError("plan needs the scheduler's own posterior: overrides see all pixels")
        t = as_int(timestep, "timestep", 0, self._num_timesteps - 1)
        grid = as_grid(sample, "sample")
        needed = np.empty(grid.shape, bool)
        states: States = []
        put_back = starmap(setattr, states)
        try:
            u = draw_uniforms(generator, grid.shape, states)
            read = self._read(grid, t)
            _native.plan(*self._schedule, t, t - 1, read, u, needed, threads._num_threads)
            kept = grid.copy()
            for array in (needed, kept, u):
                array.flags.writeable = False
            return StepPlan(needed, t, kept, u, self._schedule)
        except BaseException:
            list(put_back)
            raise

    def _planned_step(
        self,
        model_output: npt.ArrayLike,
        t: int,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike,
        plan: StepPlan,
        check_finite: bool,
    ) -> npt.NDArray[np.int64]:
        if self._gumbel:
            raise ValueError(
                "plan must be None with sampling_method 'gumbel', which draws other random numbers"
            )
        if _posterior_is_overridden(self):
            raise ValueError("plan must be None where the scheduler's posterior is overridden")
        grid = self._read(plan.sample, t)
        plan.check(
            self._schedule,
            t,
            generator,
            lambda: grid is None or np.array_equal(as_array(sample, "sample"), grid),
        )
        x = as_array(model_output, "model_output")
        batch, pixels = plan.sample.shape
        if x.ndim == 3 and (x.shape[0], x.shape[2]) == plan.sample.shape:
            check_classes(x, self._num_classes, "model_output")
            if check_finite:
                _native.check_model_output(x, threads._num_threads)
        elif x.ndim == 2:
            check_classes(x, self._num_classes, "model_output")
        else:
            raise ValueError(
                f"model_output must have shape ({batch}, {self._num_classes}, {pixels}), or "
                f"({self._num_classes}, "
                f"{np.count_nonzero(plan.needed)}) for the needed pixels alone, not {x.shape}"
            )
        prev_sample = np.empty((batch, pixels), np.int64)
        drawn = x, grid, "inverse_cdf", plan.uniforms, prev_sample
        _native.step(*self._schedule, t, t - 1, *drawn, None, threads._num_threads)
        return prev_sample

    def _read(self, sample: Any, t: int) -> npt.NDArray[Any] | None:
        """The sample for a step from t, or None where the step does not read it."""
        if t == 0:
            if not self._carries_over:
                return None
            check_given(sample)
        return as_array(sample, "sample")

    def q_posterior(
        self, log_p_x_0: npt.ArrayLike, x_t: npt.ArrayLike, t: SupportsIndex
    ) -> FloatArray:
        """log p(x_{t-1} | x_t) = log Σ_{x_0} q(x_{t-1} | x_t, x_0) p(x_0 | x_t), eq. 11.

        Eq. 5 turns it into q(x_t | x_{t-1}) Σ_{x_0} q(x_{t-1} | x_0) p(x_0) / q(x_t | x_0). It is
        not normalised: a column sums to Σ p(x_0). Where one of the two methods below is overridden,
        it is composed from both.

        Parameters
        ----------
        log_p_x_0 : array of float16, float32 or float64, shape (B, K, N)
            As `model_output` of `step`.
        x_t : array of any integer dtype, shape (B, N)
            Classes 0 … K.
        t : int, NumPy integer or integer array of one element
            0 … T - 1.

        Returns
        -------
        numpy.ndarray, shape (B, K + 1, N)
            float64 when `log_p_x_0` is float64, else float32. What is impossible because x_t is not
            masked (x_{t-1} masked) has log 1e-30 for the logarithm of that zero, and a finite
            value; what is impossible at t = 0 is -inf.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        t = as_int(t, "t", 0, self._num_timesteps - 1)
        if _parts_are_overridden(self):
            return overrides.posterior_from_parts(self, log_p_x_0, x_t, t)
        log_p_x_0 = as_tensor(log_p_x_0, "log_p_x_0")
        check_classes(log_p_x_0, self._num_classes, "log_p_x_0")
        x_t = as_array(x_t, "x_t")
        out = _empty(log_p_x_0, self._num_classes + 1)
        _native.q_posterior(*self._schedule, t, t - 1, log_p_x_0, x_t, out, threads._num_threads)
        return out

    def log_Q_t_transitioning_to_known_class(
        self,
        *,
        t: SupportsIndex,
        x_t: npt.ArrayLike,
        log_onehot_x_t: npt.ArrayLike,
        cumulative: bool,
    ) -> FloatArray:
        """The row of the transition matrix of eq. 7 that leads to each pixel's observed class, in
        logarithms.

        Parameters
        ----------
        t : int, NumPy integer or integer array of one element
            0 … T - 1.
        x_t : array of any integer dtype, shape (B, N)
            Classes 0 … K.
        log_onehot_x_t : array of float16, float32 or float64, shape (B, K + 1, N)
            Logarithms of one-hot vectors of `x_t`, as `index_to_log_onehot` makes them.
        cumulative : bool
            Whether from clean data to t, or the single step from t - 1 to t.

        Returns
        -------
        numpy.ndarray
            When `cumulative`, log q(x_t | x_0 = j) for the K classes j that clean data can have,
            shape (B, K, N); else log q(x_t | x_{t-1} = j) for the K + 1 classes, shape (B, K + 1,
            N), its last row that of `log_onehot_x_t`. float64 when `log_onehot_x_t` is float64,
            else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        t = as_int(t, "t", 0, self._num_timesteps - 1)
        log_onehot_x_t = as_tensor(log_onehot_x_t, "log_onehot_x_t")
        check_classes(log_onehot_x_t, self.num_embed, "log_onehot_x_t", with_mask=True)
        x_t = as_array(x_t, "x_t")
        cumulative = bool(cumulative)
        out = _empty(log_onehot_x_t, self._num_classes + (not cumulative))
        _native.log_transition_rows(
            *self._schedule, t, cumulative, x_t, log_onehot_x_t, out, threads._num_threads
        )
        return out

    def apply_cumulative_transitions(self, q: npt.ArrayLike, t: SupportsIndex) -> FloatArray:
        """Carry a distribution over classes from clean data to t: log(ᾱ_t e^q + β̄_t), and log γ̄_t
        for the mask.

        That is exact for a normalised `q`.

        Parameters
        ----------
        q : array of float16, float32 or float64, shape (B, K, N)
            Log-probabilities.
        t : int, NumPy integer or integer array of one element
            -1 … T - 1; -1 stands for clean data.

        Returns
        -------
        numpy.ndarray, shape (B, K + 1, N)
            float64 when `q` is float64, else float32.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        t = as_int(t, "t", -1, self._num_timesteps - 1)
        q = as_tensor(q, "q")
        check_classes(q, self._num_classes, "q")
        out = _empty(q, self._num_classes + 1)
        _native.apply_cumulative_transitions(*self._schedule, t, q, out, threads._num_threads)
        return out

    def q_sample(
        self, x_0: npt.ArrayLike, t: SupportsIndex | npt.ArrayLike, generator: GeneratorLike = None
    ) -> npt.NDArray[np.int64]:
        """Draw x_t from the forward process q(x_t | x_0), eq. 8.

        A class stays with probability ᾱ_t + β̄_t, becomes any one other class with β̄_t and the
        mask with γ̄_t.

        Parameters
        ----------
        x_0 : array of any integer dtype, shape (B, N)
            Classes 0 … K; a masked pixel stays masked.
        t : int, or array of any integer dtype, shape (B,)
            One timestep, 0 … T - 1, for all rows or one for each.
        generator : GeneratorLike
            As in `step`; B * N float64 uniforms are drawn.

        Returns
        -------
        numpy.ndarray of int64, shape (B, N)
            A new array.

        Raises
        ------
        TypeError, ValueError
            As in `step`.
        """
        x_0 = as_grid(x_0, "x_0")
        out = np.empty(x_0.shape, np.int64)
        timesteps = as_timesteps(t, "t", len(x_0), self._num_timesteps - 1)
        states: States = []
        put_back = starmap(setattr, states)
        try:
            u = draw_uniforms(generator, x_0.shape, states)
            _native.q_sample(*self._schedule, x_0, timesteps, u, out, threads._num_threads)
            return out
        except BaseException:
            list(put_back)
            raise


# The methods as they are here, whatever subclasses and instances make of them.
_POSTERIOR = VQDiffusionScheduler.q_posterior
_ROWS = VQDiffusionScheduler.log_Q_t_transitioning_to_known_class
_TRANSITIONS = VQDiffusionScheduler.apply_cumulative_transitions


def _posterior_is_overridden(scheduler: VQDiffusionScheduler) -> bool:
    return (
        type(scheduler).q_posterior is not _POSTERIOR
        or "q_posterior" in scheduler.__dict__
        or _parts_are_overridden(scheduler)
    )


def _parts_are_overridden(scheduler: VQDiffusionScheduler) -> bool:
    """Whether one of the two methods is overridden that the posterior is made of."""
    kind, own = type(scheduler), scheduler.__dict__
    return (
        kind.log_Q_t_transitioning_to_known_class is not _ROWS
        or kind.apply_cumulative_transitions is not _TRANSITIONS
        or "log_Q_t_transitioning_to_known_class" in own
        or "apply_cumulative_transitions" in own
    )


def _empty(like: npt.NDArray[Any], classes: int) -> FloatArray:
    shape = like.shape[0], classes, like.shape[2]
    return np.empty(shape, np.float64) if like.dtype == np.float64 else np.empty(shape, np.float32)


def _falling(steps: int) -> npt.NDArray[np.int64]:
    return np.arange(steps, dtype=np.int64)[::-1].copy()
