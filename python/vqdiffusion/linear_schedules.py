"""The linear tables of section 4.1 of arXiv 2111.14822, with their single steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import _native
from .arguments import MOST_TIMESTEPS, as_float, as_int


def alpha_schedules(
    num_diffusion_timesteps: int, alpha_cum_start: float = 0.99999, alpha_cum_end: float = 0.000009
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The probabilities that a pixel keeps its class: α for one step and ᾱ from clean data on, ᾱ
    falling linearly.

    Parameters
    ----------
    num_diffusion_timesteps : int
        T, from 2 to 10**7.
    alpha_cum_start, alpha_cum_end : float
        ᾱ at t = 0 and at t = T - 1, each in [0, 1].

    Returns
    -------
    alpha : numpy.ndarray of float64, shape (T,)
        α_t = ᾱ_t / ᾱ_{t-1}, with ᾱ_{-1} = 1.
    alpha_cumulative : numpy.ndarray of float64, shape (T + 1,)
        ᾱ_t; the last entry is ᾱ_{-1} = 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of its range.
    """
    steps = as_int(num_diffusion_timesteps, "num_diffusion_timesteps", 2, MOST_TIMESTEPS)
    start, end = (
        as_float(alpha_cum_start, "alpha_cum_start"),
        as_float(alpha_cum_end, "alpha_cum_end"),
    )
    alpha, alpha_cumulative = np.empty(steps), np.empty(steps + 1)
    _native.alpha_schedules(steps, start, end, alpha, alpha_cumulative)
    return alpha, alpha_cumulative


def gamma_schedules(
    num_diffusion_timesteps: int, gamma_cum_start: float = 0.000009, gamma_cum_end: float = 0.99999
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The probabilities that a pixel becomes masked: γ for one step and γ̄ from clean data on, γ̄
    rising linearly.

    Parameters
    ----------
    num_diffusion_timesteps : int
        T, from 2 to 10**7.
    gamma_cum_start, gamma_cum_end : float
        γ̄ at t = 0 and at t = T - 1, each in [0, 1].

    Returns
    -------
    gamma : numpy.ndarray of float64, shape (T,)
        `γ_t = 1 - (1 - γ̄_t) / (1 - γ̄_{t-1})`, with `γ̄_{-1} = 0`.
    gamma_cumulative : numpy.ndarray of float64, shape (T + 1,)
        `γ̄_t`; the last entry is `γ̄_{-1} = 0`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of its range.
    """
    steps = as_int(num_diffusion_timesteps, "num_diffusion_timesteps", 2, MOST_TIMESTEPS)
    start, end = (
        as_float(gamma_cum_start, "gamma_cum_start"),
        as_float(gamma_cum_end, "gamma_cum_end"),
    )
    gamma, gamma_cumulative = np.empty(steps), np.empty(steps + 1)
    _native.gamma_schedules(steps, start, end, gamma, gamma_cumulative)
    return gamma, gamma_cumulative
