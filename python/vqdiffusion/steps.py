"""Steps of the reverse chain on NumPy arrays, eq. 11 of arXiv 2111.14822."""

from __future__ import annotations

from itertools import starmap
from typing import Any, Literal, SupportsFloat, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from . import _native, overrides, threads
from ._chain import Array, Chain, Guidance
from .arguments import as_float, as_int, as_known, as_tensor, sample_of_step
from .checks import check_classes, warn_of_probabilities
from .generators import GeneratorLike, States, draw_noise, draw_uniforms
from .output import VQDiffusionSchedulerOutput
from .planned import planned_step
from .revealing import reveal
from .row_keys import at_timesteps
from .step_plan import StepPlan
from .transitions import Transitions, posterior_is_overridden
from .truncation import as_truncation
from .unmask import Unmask, as_unmask, check_no_remask


class ReverseSteps(Transitions):
    """The methods of a scheduler that draw x_s, given the model output."""

    @overload
    def step(
        self,
        model_output: npt.ArrayLike,
        timestep: SupportsIndex,
        sample: npt.ArrayLike | None,
        generator: GeneratorLike = None,
        return_dict: Literal[True] = True,
        *,
        previous_timestep: SupportsIndex | None = None,
        known: npt.ArrayLike | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
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
        previous_timestep: SupportsIndex | None = None,
        known: npt.ArrayLike | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
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
        previous_timestep: SupportsIndex | None = None,
        known: npt.ArrayLike | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
        plan: StepPlan | None = None,
        check_finite: bool = False,
    ) -> VQDiffusionSchedulerOutput | tuple[npt.NDArray[np.int64]]:
        """Draw x_s from p(x_s | x_t), eq. 11, for the timestep s that t leads to.

        Where `q_posterior`, `log_Q_t_transitioning_to_known_class` or
        `apply_cumulative_transitions` is overridden, in a subclass or on the instance, the step
        draws from what `q_posterior` then returns (at s = -1 from the model output all the same),
        with the same random numbers.

        Parameters
        ----------
        model_output : array of float16, float32 or float64, shape (B, K, N)
            Log-probabilities of each class of the clean grid. They may be -inf, and a column need
            not sum to one. Any strides. With a plan also of shape (K, M): the columns of the M
            needed pixels, in the order of `plan.needed`.
        timestep : int, NumPy integer or integer array of one element
            t, 0 … T - 1: one of `timesteps`, or any with the spacing "reference" or with
            `previous_timestep`.
        sample : array of any integer dtype, shape (B, N)
            x_t: classes 0 … K. A chain begins with `sample_prior(shape)`, which is `mask_class`
            nearly everywhere by default; zeros are tokens of class 0, nearly all of which the
            first step replaces at once. Not read by the last step, s = -1, where it may be None:
            the model output itself is drawn from, so that the mask is never returned. Where
            β̄_t = 0 it is read there too, and the pixels that show a class keep it. A chain that
            does not end at -1 may return masks.
        generator : None, int, SeedSequence, BitGenerator, Generator, RandomState, list of these
            or RowKeys
            None draws unpredictably. An int or a SeedSequence stands for
            `numpy.random.default_rng(seed)`, made anew at every call: the same seed at every step
            of a chain would draw the same noise at every step and spoil the samples, so make one
            Generator and pass that. A list holds one for each batch row; row i then gets what a
            batch of that row alone with generator i would. "inverse_cdf" draws B * N float64
            uniforms, "gumbel" B * (K + 1) * N float32 ones (at s = -1 B * K * N), in memory order.
            RowKeys, one for each batch row, give a row numbers that depend on nothing but its id
            and the timestep; "gumbel" then stores its uniforms, as large as the model output.
        return_dict : bool
            Whether to return an object rather than a tuple of one array.
        previous_timestep : int, optional
            s, from -1 to t - 1, in place of where `timestep_spacing` leads; -1 is clean data.
        known : array of any integer dtype, shape (B, N), optional
            For inpainting: the classes of the pixels that are to stay, and -1 where a pixel is to
            be drawn. Known pixels show their class in the result, whatever would be drawn, and
            "inverse_cdf" does not read their columns; the random numbers are those of a step
            without. Pass it at every step, and set the known pixels in the sample that the chain
            begins with: the model then sees them clean all the way. To noise them to the level of
            the step, as is done with images, spoils the samples.
        unmask : Unmask, optional
            Reveal some masked pixels by their order, and leave all others as they are, in place of
            a step of the chain; see there. The classes are drawn by inversion at one float64
            uniform for each pixel, B * N of them, whatever the sampling method: those that an
            "inverse_cdf" step draws. Where the order has noise, B * N further uniforms follow (of a
            list, N and N of each generator); RowKeys draw `random((2, N))` for each row. Only
            columns of masked pixels are read, and an overridden posterior plays no part.
        remask : float
            σ, with which a pixel that shows a class is masked again whatever the model says (ReMDM,
            for any schedule); else it follows the posterior. So many more of the masked ones are
            revealed that the marginals at s stay those of the forward process. From 0 to
            min(1, γ̄_s/(1 - γ̄_t)), which is 0 at s = -1. At 0 the step is what it is without, bit
            for bit.
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
        VQDiffusionSchedulerOutput, or a tuple of its first field
            `prev_sample`, int64, shape (B, N): a new array. With `unmask` also `revealed` and
            `scores`.

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
            another step; if `sample` is None at s = -1 where it is read; if `known` holds the mask,
            or another one than the plan; if `remask` is above its largest, which the message names,
            or not 0 with `unmask` or an overridden posterior. After any error the generators are
            in the state in which they came.
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
        chain = self._chain
        t = as_int(timestep, "timestep", 0, chain.num_timesteps - 1)
        s = chain.previous(t, previous_timestep)
        how, sigma = as_unmask(unmask, remask)
        if plan is not None:
            out = planned_step(
                self, model_output, t, s, sample, generator, known, plan, check_finite, how, sigma
            )
            return out if return_dict else (out.prev_sample,)
        generator = at_timesteps(generator, t)
        x = as_tensor(model_output, "model_output")
        check_classes(x, chain.num_classes, "model_output")
        warn_of_probabilities(x, "model_output")
        tokens = as_known(known, (x.shape[0], x.shape[2]))
        if how is not None:
            if check_finite:
                _native.check_model_output(x, threads._num_threads)
            out = reveal(chain, t, s, x, sample, generator, None, tokens, how)
            return out if return_dict else (out.prev_sample,)
        if s >= 0 and posterior_is_overridden(self):
            check_no_remask(sigma)
            overrides.check_known(tokens, chain.num_classes)
            x = overrides.posterior(self, x, t, s, sample)
            chain, t, s = chain.drawing_as_given(x.shape[1]), 0, -1
        if check_finite and not chain.is_gumbel:
            _native.check_model_output(x, threads._num_threads)
        grid = sample_of_step(chain, sample, t, s)
        return _draw(chain, t, s, x, grid, generator, None, tokens, sigma, return_dict)

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
        top_k: SupportsIndex | None = None,
        temperature: SupportsFloat = 1.0,
        previous_timestep: SupportsIndex | None = None,
        known: npt.ArrayLike | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
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
        top_k: SupportsIndex | None = None,
        temperature: SupportsFloat = 1.0,
        previous_timestep: SupportsIndex | None = None,
        known: npt.ArrayLike | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
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
        top_k: SupportsIndex | None = None,
        temperature: SupportsFloat = 1.0,
        previous_timestep: SupportsIndex | None = None,
        known: npt.ArrayLike | None = None,
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
        return_dict: bool = True,
    ) -> VQDiffusionSchedulerOutput | tuple[npt.NDArray[np.int64]]:
        """Draw x_s from a model's output with and without its condition: guidance, truncation
        and `step` in one.

        The sample is, class for class, that of:

            log_p = vqdiffusion.guide(log_p_uncond, log_p_cond, guidance_scale)
            log_p = vqdiffusion.truncate(log_p, truncation_rate, floor, top_k, temperature)
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
        timestep, sample, generator, previous_timestep, known, unmask, remask, return_dict
            As in `step`.
        guidance_scale : float
            As `scale` in `guide`; not looked at without `log_p_uncond`.
        truncation_rate, floor, top_k, temperature
            As `rate`, `floor`, `top_k` and `temperature` in `truncate`.

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
        chain = self._chain
        t = as_int(timestep, "timestep", 0, chain.num_timesteps - 1)
        s = chain.previous(t, previous_timestep)
        uncond = None if log_p_uncond is None else as_tensor(log_p_uncond, "log_p_uncond")
        cond = as_tensor(log_p_cond, "log_p_cond")
        check_classes(cond, chain.num_classes, "log_p_cond")
        if uncond is not None and uncond.shape != cond.shape:
            raise ValueError(
                f"log_p_cond must have the shape of log_p_uncond, {uncond.shape}, not {cond.shape}"
            )
        scale = as_float(guidance_scale, "guidance_scale")
        truncation = as_truncation(truncation_rate, floor, top_k, temperature, "truncation_rate")
        guidance = uncond, scale, *truncation
        warn_of_probabilities(cond, "log_p_cond")
        how, sigma = as_unmask(unmask, remask)
        tokens = as_known(known, (cond.shape[0], cond.shape[2]))
        if how is not None:
            generator = at_timesteps(generator, t)
            out = reveal(chain, t, s, cond, sample, generator, guidance, tokens, how)
            return out if return_dict else (out.prev_sample,)
        if s >= 0 and posterior_is_overridden(self):
            check_no_remask(sigma)
            log_p = overrides.guided(cond, *guidance)
            # Overrides of `step` need not know what is not used.
            given: dict[str, Any] = {"return_dict": return_dict}
            if previous_timestep is not None:
                given["previous_timestep"] = s
            if known is not None:
                given["known"] = known
            return self.step(log_p, t, sample, generator, **given)  # type: ignore[no-any-return]
        grid = sample_of_step(chain, sample, t, s)
        generator = at_timesteps(generator, t)
        return _draw(chain, t, s, cond, grid, generator, guidance, tokens, sigma, return_dict)


def _draw(
    chain: Chain,
    t: int,
    s: int,
    x: Array,
    grid: Array | None,
    generator: GeneratorLike,
    guidance: Guidance | None,
    known: Array | None,
    remask: float,
    return_dict: bool,
) -> VQDiffusionSchedulerOutput | tuple[npt.NDArray[np.int64]]:
    """Draws and wraps the result; `grid` is None where the step does not read the sample."""
    prev_sample = np.empty((x.shape[0], x.shape[2]), np.int64)
    # The native module does not see the rows that are left over where it gets one after another.
    if grid is not None and grid.shape[:1] != prev_sample.shape[:1]:
        raise ValueError(f"sample must have shape {prev_sample.shape}, not {grid.shape}")

    def draw(rows: slice, source: Any) -> None:
        x_t = None if grid is None else grid[rows]
        tokens = None if known is None else known[rows]
        given = guidance
        if guidance is not None and guidance[0] is not None:
            given = guidance[0][rows], *guidance[1:]
        chain.step(t, s, x[rows], x_t, source, prev_sample[rows], given, tokens, remask)

    states: States = []
    put_back = starmap(setattr, states)
    try:
        if chain.is_gumbel:
            noise_shape = x.shape[0], chain.candidates(s), x.shape[2]
            draw_noise(generator, noise_shape, draw, states)
        else:
            u = draw_uniforms(generator, prev_sample.shape, states)
            chain.step(t, s, x, grid, u, prev_sample, guidance, known, remask)
        return VQDiffusionSchedulerOutput(prev_sample) if return_dict else (prev_sample,)
    except BaseException:
        list(put_back)
        raise
