"""The scheduler for torch tensors, with configuration files as the NumPy class writes them."""

from __future__ import annotations

from typing import Any

from ..constructor import checked_arguments
from ..config import Configurable, FrozenConfig
from .base import SchedulerBase
from .output import VQDiffusionSchedulerOutput


class VQDiffusionScheduler(SchedulerBase, Configurable):
    """`vqdiffusion.VQDiffusionScheduler` for torch tensors.

    Tensors on the CPU are computed on by the native module, in their own memory; on accelerators
    and under autograd, vmap and torch.compile torch formulas run in place.

    A subclass or an object may override `q_posterior`, or the two methods that it is made of,
    `log_Q_t_transitioning_to_known_class` and `apply_cumulative_transitions`: a step then draws
    from what `q_posterior` returns, in torch.

    Parameters
    ----------
    num_vec_classes, num_train_timesteps, alpha_cum_start, alpha_cum_end, gamma_cum_start, \
gamma_cum_end, sampling_method, timestep_spacing, alphas_cumprod, gammas_cumprod
        As in `vqdiffusion.VQDiffusionScheduler`, whose configuration files this class reads and
        writes. "gumbel" draws one uniform of torch's default dtype per class and pixel.

    Attributes
    ----------
    config, num_embed, mask_class, num_inference_steps
        As there.
    log_at, log_bt, log_ct : torch.Tensor of float32, shape (T,)
        log α_t, log β_t and log γ_t of the single step t-1 → t.
    log_cumprod_at, log_cumprod_bt, log_cumprod_ct : torch.Tensor of float32, shape (T + 1,)
        log ᾱ_t, log β̄_t and log γ̄_t; the last entries are those of clean data, t = -1: 0, -inf
        and -inf. The six tables may be replaced, or edited by functions of torch, for another
        schedule. Torch formulas then use them as they are; where log β̄_t is -inf unmasked pixels
        are carried over. torch.compile sees edits in place after the next call outside of it; those
        through `.data` or a NumPy view are seen by the next `set_timesteps`.
    timesteps : torch.Tensor of int64
        The timesteps that the chain visits, falling.

    Raises
    ------
    TypeError, ValueError
        As there.
    """

    # The name that pickles look the class up by.
    __module__ = "vqdiffusion.torch"

    _output = _reveal_output = VQDiffusionSchedulerOutput
    _entries = "_config"

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
        timestep_spacing: str = "reference",
        alphas_cumprod: Any = None,
        gammas_cumprod: Any = None,
    ) -> None:
        ends = {
            "alpha_cum_start": alpha_cum_start,
            "alpha_cum_end": alpha_cum_end,
            "gamma_cum_start": gamma_cum_start,
            "gamma_cum_end": gamma_cum_end,
        }
        entries = checked_arguments(
            num_vec_classes,
            num_train_timesteps,
            **ends,
            sampling_method=sampling_method,
            timestep_spacing=timestep_spacing,
            alphas_cumprod=alphas_cumprod,
            gammas_cumprod=gammas_cumprod,
        )
        vars(self)["_config"] = FrozenConfig(entries)
        self._make_chain(entries)
