"""The model loop: denoiser, guidance, scheduler, once for every timestep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import Unmask, VQDiffusionScheduler, guide
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
        The start, masks but for what is known, then the outcome of every step; 17 is the mask.
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
    timestep_spacing: str = "reference",
    guidance: float = DEFAULT_GUIDANCE,
    known: npt.ArrayLike | None = None,
    unmask: Unmask | None = None,
    generator: np.random.Generator | None = None,
    denoiser: DigitDenoiser | None = None,
    scheduler_class: type[VQDiffusionScheduler] = VQDiffusionScheduler,
    progress: Callable[[Iterable[np.int64]], Iterable[np.int64]] = iter,
) -> Generated:
    """Draw one 8×8 image for each digit asked for.

    Parameters
    ----------
    digits : integer array, shape (B,)
        0 … 9 each, or `DigitDenoiser.null_label` for any digit.
    steps : int
        Timesteps to visit, 1 … 100: the calls of the denoiser for each image, or twice as many with
        guidance.
    timestep_spacing : {"reference", "trailing", "linspace", "leading"}
        Which of the 100 timesteps fewer steps visit, as in the scheduler.
        "reference" takes the last ones, which expect partly drawn images but get masks.
    guidance : float
        Scale of classifier-free guidance. Up to 1 the denoiser is asked once, for the digit; above,
        also for any digit.
    known : integer array, shape (B, 64), optional
        Grey levels of the pixels that are given, and -1 where a pixel is to be drawn.
    unmask : Unmask, optional
        How each step chooses the pixels that it reveals; by default each pixel is revealed or not
        by itself.
    generator : numpy.random.Generator, optional
        By default one that is seeded unpredictably.
    denoiser : DigitDenoiser, optional
        By default the one with the weights of the package.
    scheduler_class : type
        The scheduler, or a subclass to compare it with.
    progress : callable
        Wraps the timesteps, as `tqdm.tqdm` does.

    Raises
    ------
    ValueError
        If `digits`, `steps`, `timestep_spacing` or `known` is out of range.
    """
    denoiser = denoiser or DigitDenoiser()
    generator = generator or np.random.default_rng()
    scheduler = scheduler_class(denoiser.num_classes + 1, timestep_spacing=timestep_spacing)
    scheduler.set_timesteps(steps)
    labels = np.asarray(digits)
    any_digit = np.full_like(labels, denoiser.null_label)
    x_t = np.full((len(labels), denoiser.num_pixels), scheduler.mask_class, np.int64)
    if known is not None:
        known = np.asarray(known)
        if known.shape != x_t.shape or known.dtype.kind not in "iu":
            raise ValueError(
                f"known must be integers of shape {x_t.shape}, got {known.dtype} of shape "
                f"{known.shape}"
            )
        x_t = np.where(known < 0, x_t, known)
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
        x_t = scheduler.step(log_p_x_0, t, x_t, generator, known=known, unmask=unmask).prev_sample
        scheduler_seconds += time.perf_counter() - denoised
        denoiser_seconds += denoised - start
        frames.append(x_t)
    return Generated(x_t, frames, denoiser_seconds, scheduler_seconds)
