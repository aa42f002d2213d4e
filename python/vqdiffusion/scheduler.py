"""The VQ-Diffusion scheduler on NumPy arrays. Equation numbers are those of Gu et al. 2021, arXiv
2111.14822.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._chain import Chain, checked_arguments
from .arguments import as_int
from .config import Configurable, FrozenConfig
from .planned import PlannedSteps
from .read_only import ATTRIBUTES, check_assignable
from .steps import ReverseSteps


class VQDiffusionScheduler(ReverseSteps, PlannedSteps, Configurable):
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
        config = FrozenConfig(
            checked_arguments(
                num_vec_classes,
                num_train_timesteps,
                sampling_method,
                alpha_cum_start=alpha_cum_start,
                alpha_cum_end=alpha_cum_end,
                gamma_cum_start=gamma_cum_start,
                gamma_cum_end=gamma_cum_end,
            )
        )
        chain = Chain.of(config)
        # Attributes cannot be assigned.
        self.__dict__.update(
            {name: log.astype(np.float32) for name, log in chain.logs().items()},
            num_embed=config.num_vec_classes,
            mask_class=chain.num_classes,
            num_inference_steps=None,
            timesteps=_falling(chain.num_timesteps),
            _config=config,
            _chain=chain,
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

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_chain"]  # it follows from the configuration
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__["_chain"] = Chain.of(self._config)
        self._protect_arrays()

    def _protect_arrays(self) -> None:
        for array in map(self.__dict__.get, ATTRIBUTES):
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
        steps = as_int(num_inference_steps, "num_inference_steps", 1, self._chain.num_timesteps)
        if device not in (None, "cpu"):
            raise ValueError(f"device must be None or 'cpu', not {device!r}")
        self.__dict__.update(num_inference_steps=steps, timesteps=_falling(steps))
        self._protect_arrays()


def _falling(steps: int) -> npt.NDArray[np.int64]:
    return np.arange(steps, dtype=np.int64)[::-1].copy()
