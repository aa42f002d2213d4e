"""Steps from a model's output with and without its condition, on torch tensors."""

from __future__ import annotations

from itertools import starmap
from typing import Any, SupportsFloat

import torch
from torch import Generator, Tensor

from ..arguments import as_float
from ..checks import warn_of_probabilities
from ..row_keys import RowKeys
from ..truncation import as_truncation
from ..unmask import Unmask, as_unmask
from .arguments import as_timesteps, leads_to, rows_of
from .guidance import guide, truncate
from .native_step import native_step
from .noise import States
from .revealing import native_reveal
from .steps import ReverseSteps
from .view import numpy_view, numpy_view_of


class GuidedSteps(ReverseSteps):
    """The method of a scheduler that guides, truncates and draws x_s."""

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
        unmask: Unmask | None = None,
        remask: SupportsFloat = 0.0,
        return_dict: bool = True,
    ) -> Any:
        """Draw x_s from a model's output with and without its condition, as
        `vqdiffusion.VQDiffusionScheduler.guided_step`: guidance, truncation and `step` in one.

        The sample is, class for class, that of:

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
        timestep, sample, generator, previous_timestep, known, unmask, remask, return_dict
            As in `step`.
        guidance_scale, truncation_rate, floor, top_k, temperature
            As `scale` in `guide`, and `rate`, `floor`, `top_k` and `temperature` in `truncate`.

        Returns
        -------
        VQDiffusionSchedulerOutput, or a tuple of its first field
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
                unmask,
                remask,
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
        unmask: Unmask | None,
        remask: SupportsFloat,
        return_dict: bool,
        states: States,
    ) -> Any:
        """`guided_step`; `states` receives what undoes its draws."""
        rows = rows_of(log_p_cond, timestep)
        t = as_timesteps(timestep, "timestep", 0, self._chain.num_timesteps - 1, rows)
        s = leads_to(self._chain, t, previous_timestep)
        unmask, sigma = as_unmask(unmask, remask)
        # Overrides of `step` need not know what is not used.
        given: dict[str, Any] = {}
        if previous_timestep is not None:
            given["previous_timestep"] = previous_timestep
        if known is not None:
            given["known"] = known
        if unmask is not None:
            given["unmask"] = unmask
        if sigma != 0:
            given["remask"] = sigma
        scale = as_float(guidance_scale, "guidance_scale")
        how = as_truncation(*truncation, "truncation_rate")

        def by_torch() -> Tensor:
            log_p = log_p_cond if log_p_uncond is None else guide(log_p_uncond, log_p_cond, scale)
            return truncate(log_p, how.rate, how.floor, how.top_k or None, how.temperature)

        if not (self._is_plain() if unmask is None else self._reveals_natively(unmask)):
            return self.step(by_torch(), timestep, sample, generator, return_dict, **given)
        cond = numpy_view(log_p_cond, "log_p_cond")
        if cond is not None:
            warn_of_probabilities(cond, "log_p_cond", 4)
        uncond = None if log_p_uncond is None else numpy_view(log_p_uncond, "log_p_uncond")
        reads = unmask is not None or self._reads(sample, t, s)
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
        if unmask is None:
            asked = t, s, sample, generator, states, None, sigma
            tokens = native_step(self, cond, shown, kept, numbers, by_torch, *asked)
            return self._wrapped(tokens, return_dict)
        assert shown is not None
        choice = t, s, sample, known, unmask, generator, states
        result = native_reveal(self, cond, shown, kept, numbers, by_torch, *choice)
        return self._wrapped(result, return_dict)
