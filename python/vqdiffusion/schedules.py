"""Noise schedules: those of the field's papers, as tables of ᾱ and γ̄.

`linear`, `log_linear`, `cosine`, `polynomial`, `geometric` and `hybrid` return two arrays, ᾱ and γ̄
at t = 0 … T - 1: the probabilities that a pixel has not been replaced and that it is masked. What
is left, 1 - ᾱ - γ̄, is spread evenly over the K classes. The papers write schedules over a time
from 0 to 1, which is u = (t + 1)/T here.

Where a paper gives ᾱ alone, `mask_share` is the share m of the lost mass that goes to the mask:
γ̄ = m (1 - ᾱ). With m = 1 the chain is absorbing, with m = 0 it is uniform, and every m between is
a Markov chain too. Tables with m = 1 hold ᾱ = 1 - γ̄ as float64 rounds it, within 1e-15 of the
formula, so that what is left is at most 2**-53, which the schedulers take as 0. ᾱ + γ̄ is at most 1
in float64, except that `linear` may exceed it by a rounding error at ends that sum to 1.

`alpha_schedules` and `gamma_schedules` give the tables of `linear` with their single steps.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import _native
from .arguments import MOST_TIMESTEPS, as_float, as_int
from .linear_schedules import alpha_schedules, gamma_schedules

__all__ = [
    "alpha_schedules",
    "cosine",
    "gamma_schedules",
    "geometric",
    "hybrid",
    "linear",
    "log_linear",
    "polynomial",
]

_Table = npt.NDArray[np.float64]

_D3PM_OFFSET = 0.008  # s of Hoogeboom et al. 2021 and Nichol & Dhariwal 2021
_D3PM_LEAST_KEPT = 0.001  # of a single step, whose β is at most 0.999
_MDLM_EPS = 1e-3


def linear(
    num_train_timesteps: int,
    *,
    alpha_cum_start: float = 0.99999,
    alpha_cum_end: float = 0.000009,
    gamma_cum_start: float = 0.000009,
    gamma_cum_end: float = 0.99999,
) -> tuple[_Table, _Table]:
    """ᾱ falls and γ̄ rises linearly in t: the schedule of VQ-Diffusion, and the tables of
    `VQDiffusionScheduler` with the same numbers.

    Parameters
    ----------
    num_train_timesteps : int
        T, from 2 to 10**7.
    alpha_cum_start, alpha_cum_end : float
        ᾱ at t = 0 and at t = T - 1, each in [0, 1].
    gamma_cum_start, gamma_cum_end : float
        γ̄ at t = 0 and at t = T - 1, each in [0, 1].

    Returns
    -------
    alphas_cumprod, gammas_cumprod : numpy.ndarray of float64, shape (T,)
        ᾱ and γ̄.

    Raises
    ------
    TypeError
        If an argument is not of the stated type.
    ValueError
        If an argument is out of its range, or the schedule is no Markov chain: γ̄ must never fall,
        ᾱ / (1 - γ̄) never rise and ᾱ + γ̄ never exceed 1.

    References
    ----------
    Gu et al. 2021, VQ-Diffusion, arXiv 2111.14822, section 4.1.
    """
    steps = _as_steps(num_train_timesteps)
    alphas = alpha_schedules(steps, alpha_cum_start, alpha_cum_end)[1][:steps].copy()
    gammas = gamma_schedules(steps, gamma_cum_start, gamma_cum_end)[1][:steps].copy()
    _native.schedule_check(1, alphas, gammas)
    return alphas, gammas


def log_linear(
    num_train_timesteps: int,
    *,
    eps: float = 1e-3,
    mask_share: float = 1.0,
) -> tuple[_Table, _Table]:
    """ᾱ = 1 - (1 - eps) u, which ends at `eps`: the schedule of MDLM.

    Its name is that of the noise -log ᾱ. With `eps` = 0 it is ᾱ = 1 - u, the chain whose single
    steps mask with 1/T, 1/(T - 1) … 1: D3PM's for absorbing chains, which it derives from mutual
    information, and the one that LLaDA samples with.

    Parameters
    ----------
    num_train_timesteps : int
        T, from 2 to 10**7.
    eps : float
        ᾱ at t = T - 1, in [0, 1).
    mask_share : float
        m of γ̄ = m (1 - ᾱ), in [0, 1]: 1 is absorbing, as in these papers; 0 is uniform.

    Returns
    -------
    alphas_cumprod, gammas_cumprod : numpy.ndarray of float64, shape (T,)
        ᾱ and γ̄.

    Raises
    ------
    TypeError
        If an argument is not of the stated type.
    ValueError
        If an argument is out of its range.

    References
    ----------
    Sahoo et al. 2024, MDLM, arXiv 2406.07524. Austin et al. 2021, D3PM, arXiv 2107.03006. Nie et
    al. 2025, LLaDA, arXiv 2502.09992.
    """
    u, left = _times(num_train_timesteps)
    end = _as_probability(eps, "eps", below_one=True)
    share = _as_probability(mask_share, "mask_share")
    return _divided(left + end * u, (1 - end) * u, share)


def cosine(
    num_train_timesteps: int,
    *,
    variant: str = "mdlm",
    mask_share: float | None = None,
) -> tuple[_Table, _Table]:
    """One of the three schedules that papers call "cosine".

    ===========  ==========================================  =============
    `variant`    formula                                     1 - ᾱ, u = ½
    ===========  ==========================================  =============
    "mdlm"       ᾱ = ε + (1 - ε) cos(πu/2), ε = 1e-3         0.293
    "maskgit"    ᾱ = 1 - sin(πu/2)                           0.707
    "d3pm"       ᾱ = f(u)/f(0) with f(u) =                   0.297
                 cos(π/2 · (u + 0.008)/1.008), but every
                 single step keeps at least 0.001
    ===========  ==========================================  =============

    MaskGIT's masked share is cos(πr/2) after a share r of its steps, which is u = 1 - r. D3PM's f
    is the cosine itself; its square is for Gaussian diffusion. f(1) = 0, so that the last entry is
    0.001 times the one before it.

    Parameters
    ----------
    num_train_timesteps : int
        T, from 2 to 10**7.
    variant : {"mdlm", "maskgit", "d3pm"}
        Whose cosine.
    mask_share : float, optional
        m of γ̄ = m (1 - ᾱ), in [0, 1]: 1 is absorbing, 0 is uniform. Without it, that of the paper:
        1 for "mdlm" and "maskgit", 0 for "d3pm".

    Returns
    -------
    alphas_cumprod, gammas_cumprod : numpy.ndarray of float64, shape (T,)
        ᾱ and γ̄.

    Raises
    ------
    TypeError
        If an argument is not of the stated type.
    ValueError
        If an argument is out of its range.

    References
    ----------
    Sahoo et al. 2024, MDLM, arXiv 2406.07524. Chang et al. 2022, MaskGIT, arXiv 2202.04200. Austin
    et al. 2021, D3PM, arXiv 2107.03006. Hoogeboom et al. 2021, multinomial diffusion, arXiv
    2102.05379, has D3PM's but for the last step, which keeps √0.001.
    """
    u, left = _times(num_train_timesteps)
    if not isinstance(variant, str):
        raise TypeError(f"variant must be a string, not {type(variant).__name__} {variant!r}")
    if variant not in _COSINES:
        raise ValueError(f"variant must be one of {', '.join(_COSINES)}, not {variant!r}")
    formula, paper_share = _COSINES[variant]
    share = _as_probability(paper_share if mask_share is None else mask_share, "mask_share")
    return _divided(*formula(u, left), share)


def polynomial(
    num_train_timesteps: int,
    *,
    exponent: float = 2.0,
    mask_share: float = 1.0,
) -> tuple[_Table, _Table]:
    """ᾱ = 1 - u**exponent, so that the masked share of an absorbing chain is γ̄ = u**exponent.

    Exponents above 1 mask late, those below 1 early.

    Parameters
    ----------
    num_train_timesteps : int
        T, from 2 to 10**7.
    exponent : float
        Positive and finite. The paper tries several; 1 is `log_linear` with `eps` = 0.
    mask_share : float
        m of γ̄ = m (1 - ᾱ), in [0, 1]: 1 is absorbing, as in the paper; 0 is uniform.

    Returns
    -------
    alphas_cumprod, gammas_cumprod : numpy.ndarray of float64, shape (T,)
        ᾱ and γ̄.

    Raises
    ------
    TypeError
        If an argument is not of the stated type.
    ValueError
        If an argument is out of its range.

    References
    ----------
    Shi et al. 2024, MD4, arXiv 2406.04329.
    """
    u, _ = _times(num_train_timesteps)
    lost = u ** _as_positive(exponent, "exponent")
    return _divided(1 - lost, lost, _as_probability(mask_share, "mask_share"))


def geometric(
    num_train_timesteps: int,
    *,
    sigma_min: float = 1e-4,
    sigma_max: float = 20.0,
    mask_share: float = 0.0,
) -> tuple[_Table, _Table]:
    """ᾱ = exp(-σ) with the noise σ = sigma_min**(1 - u) · sigma_max**u: the schedule of SEDD's
    uniform chain.

    Parameters
    ----------
    num_train_timesteps : int
        T, from 2 to 10**7.
    sigma_min, sigma_max : float
        σ at u = 0, which lies one step before t = 0, and at t = T - 1. Positive and finite, the
        second above the first; the defaults are those of SEDD's code. `sigma_max` tells how much of
        the data is left at t = T - 1: 20 leaves ᾱ = 2e-9, and 1 leaves 0.37.
    mask_share : float
        m of γ̄ = m (1 - ᾱ), in [0, 1]: 1 is absorbing; 0 is uniform, as in the paper.

    Returns
    -------
    alphas_cumprod, gammas_cumprod : numpy.ndarray of float64, shape (T,)
        ᾱ and γ̄.

    Raises
    ------
    TypeError
        If an argument is not of the stated type.
    ValueError
        If an argument is out of its range.

    References
    ----------
    Lou et al. 2023, SEDD, arXiv 2310.16834.
    """
    u, left = _times(num_train_timesteps)
    low, high = _as_positive(sigma_min, "sigma_min"), _as_positive(sigma_max, "sigma_max")
    if high <= low:
        raise ValueError(f"sigma_max must be above sigma_min, {low}, not {high}")
    sigma = low**left * high**u
    return _divided(np.exp(-sigma), -np.expm1(-sigma), _as_probability(mask_share, "mask_share"))


def hybrid(num_train_timesteps: int, *, p_uniform: float = 0.1) -> tuple[_Table, _Table]:
    """Masks and, most in the middle, replaces: the schedule of GIDD.

    ᾱ = (1 - u)/C and γ̄ = u/C with C = 1 + c and c = 2 p/(1 - p) · √(u (1 - u)), p being
    `p_uniform`. The share of replaced pixels, c/C, is p at u = ½ and 0 at both ends: the last
    timestep is fully masked. This is GIDD's γ = 1. q(x_t | x_0) is GIDD's; its single steps are
    not, since its noise replaces masks too and here a mask stays.

    Parameters
    ----------
    num_train_timesteps : int
        T, from 2 to 10**7.
    p_uniform : float
        p, in [0, 1). The paper trains with 0, 0.1 and 0.2; 0 is `log_linear` with `eps` = 0.

    Returns
    -------
    alphas_cumprod, gammas_cumprod : numpy.ndarray of float64, shape (T,)
        ᾱ and γ̄.

    Raises
    ------
    TypeError
        If an argument is not of the stated type.
    ValueError
        If an argument is out of its range.

    References
    ----------
    von Rütte et al. 2025, GIDD, arXiv 2503.04482, section 4.
    """
    u, left = _times(num_train_timesteps)
    p = _as_probability(p_uniform, "p_uniform", below_one=True)
    scale = 1 + 2 * p / (1 - p) * np.sqrt(u * left)
    return left / scale, u / scale


def _as_steps(num_train_timesteps: int) -> int:
    return as_int(num_train_timesteps, "num_train_timesteps", 2, MOST_TIMESTEPS)


def _times(num_train_timesteps: int) -> tuple[_Table, _Table]:
    """u = (t + 1)/T and 1 - u for every timestep, each with its last digit right."""
    steps = _as_steps(num_train_timesteps)
    done = np.arange(1, steps + 1, dtype=np.float64)
    return done / steps, (steps - done) / steps


def _divided(kept: _Table, lost: _Table, share: float) -> tuple[_Table, _Table]:
    """ᾱ and γ̄, `share` of the lost mass going to the mask.

    `lost` is 1 - `kept`, but for small values both have all their digits.
    """
    gammas = share * lost
    rest = 1 - gammas
    return rest if share == 1 else np.minimum(kept, rest), gammas


def _mdlm_cosine(u: _Table, left: _Table) -> tuple[_Table, _Table]:
    kept = _MDLM_EPS + (1 - _MDLM_EPS) * np.sin(math.pi / 2 * left)
    return kept, (1 - _MDLM_EPS) * 2 * np.sin(math.pi / 4 * u) ** 2


def _maskgit_cosine(u: _Table, left: _Table) -> tuple[_Table, _Table]:
    return 2 * np.sin(math.pi / 4 * left) ** 2, np.sin(math.pi / 2 * u)


def _d3pm_cosine(u: _Table, left: _Table) -> tuple[_Table, _Table]:
    # f(u) = sin(angle (1 - u)), which is accurate where f is small. Before the last step f falls by
    # at most a half, so that the bound on single steps touches the last one only.
    angle = math.pi / 2 / (1 + _D3PM_OFFSET)
    kept = np.sin(angle * left) / math.sin(angle)
    lost = 2 * np.cos(angle * (1 - u / 2)) * np.sin(angle / 2 * u) / math.sin(angle)
    kept[-1] = _D3PM_LEAST_KEPT * kept[-2]
    lost[-1] = 1 - kept[-1]
    return kept, lost


# Formulas for what is kept and lost at u and 1 - u, and the mask's share in the paper.
_COSINES = {
    "mdlm": (_mdlm_cosine, 1.0),
    "maskgit": (_maskgit_cosine, 1.0),
    "d3pm": (_d3pm_cosine, 0.0),
}


def _as_probability(value: float, name: str, below_one: bool = False) -> float:
    number = as_float(value, name)
    if not 0 <= number <= 1 or (below_one and number == 1):
        interval = "[0, 1)" if below_one else "[0, 1]"
        raise ValueError(f"{name} must be a probability in {interval}, not {number}")
    return number


def _as_positive(value: float, name: str) -> float:
    number = as_float(value, name)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, not {number}")
    return number
