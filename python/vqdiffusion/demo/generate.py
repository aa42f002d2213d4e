"""The model loop: denoiser, guidance, scheduler, once for every timestep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import VQDiffusionScheduler, guide
from .denoiser import DigitDenoiser

DEFAULT_GUIDANCE = 2.0


@dataclass
class Generated:
    """Digits, how they came about, and the time it took.

    Attributes
    ----------
    digits : numpy.ndarray of int64, shape (B, 64)
        Grey levels, 0 … 16.
    frames : list of arrays, each of shape (B, 64)
        The masks at the start, then the outcome of every step; 17 is the mask.
    denoiser_seconds, scheduler_seconds : float
        Time in the denoiser with its guidance, and in `VQDiffusionScheduler.step`.
    """

    digits: npt.NDArray[np.int64]
    frames: list[npt.NDArray[np.int64]]
    denoiser_seconds: float
    scheduler_seconds: float


def generate(
    digits: npt.ArrayLike,
    *,
    steps: int = 100,
    guidance: float = DEFAULT_GUIDANCE,
    generator: np.random.Generator | None = None,
    denoiser: DigitDenoiser | None = None,
    progress: Callable[[Iterable[np.int64]], Iterable[np.int64]] = iter,
) -> Generated:
    """Draw one 8×8 image for each digit asked for.

    Parameters
    ----------
    digits : integer array, shape (B,)
        0 … 9 each, or `DigitDenoiser.null_label` for any digit.
    steps : int
        Timesteps to visit: steps - 1 … 0. The noise schedule has 100; fewer are its end only, which
        expects partly drawn images but gets masks.
    guidance : float
        Scale of classifier-free guidance. Up to 1 the denoiser is asked once, for the digit; above,
        also for any digit.
    generator : numpy.random.Generator, optional
        By default one that is seeded unpredictably.
    denoiser : DigitDenoiser, optional
        By default the one with the weights of the package.
    progress : callable
        Wraps the timesteps, as `tqdm.tqdm` does.

    Raises
    ------
    ValueError
        If `digits` or `steps` is out of range.
    """
    denoiser = denoiser or DigitDenoiser()
    generator = generator or np.random.default_rng()
    scheduler = VQDiffusionScheduler(denoiser.num_classes + 1)
    scheduler.set_timesteps(steps)
    labels = np.asarray(digits)
    any_digit = np.full_like(labels, denoiser.null_label)
    x_t = np.full((len(labels), denoiser.num_pixels), scheduler.mask_class, np.int64)
    frames, denoiser_seconds, scheduler_seconds = [x_t], 0.0, 0.0
    for t in progress(scheduler.timesteps):
        start = time.perf_counter()
        if guidance > 1:
            both = denoiser(np.concatenate([x_t, x_t]), t, np.concatenate([labels, any_digit]))
            conditional, unconditional = both[: len(labels)], both[len(labels) :]
            log_p_x_0 = guide(unconditional, conditional, guidance)
        else:
            log_p_x_0 = denoiser(x_t, t, labels)
        denoised = time.perf_counter()
        x_t = scheduler.step(log_p_x_0, t, x_t, generator).prev_sample
        scheduler_seconds += time.perf_counter() - denoised
        denoiser_seconds += denoised - start
        frames.append(x_t)
    return Generated(x_t, frames, denoiser_seconds, scheduler_seconds)
