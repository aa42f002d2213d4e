"""The VQ-Diffusion scheduler on NumPy arrays. Equation numbers are those of Gu et al. 2021, arXiv
2111.14822.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from ._chain import Chain
from .arguments import as_int
from .bound import LikelihoodBound
from .config import Configurable, FrozenConfig
from .constructor import checked_arguments
from .planned import PlannedSteps
from .read_only import ATTRIBUTES, check_assignable
from .steps import ReverseSteps
from .training import TrainingLoss


class VQDiffusionScheduler(ReverseSteps, PlannedSteps, LikelihoodBound, TrainingLoss, Configurable):
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
        γ̄, the probability that a pixel is masked, at t = 0 and at t = T - 1. By default a millionth
        of the pixels at most is ever replaced by another class: the chain is nearly absorbing.
    sampling_method : {"inverse_cdf", "gumbel"}
        How `step` draws. "inverse_cdf" inverts the cumulative distribution at one 53-bit uniform
        per pixel: exact for the rarest classes, and it reads only the columns of the model output
        that the uniform makes necessary. "gumbel" takes the argmax after adding Gumbel noise from
        one 24-bit uniform per class and pixel, which is what diffusers does. Configuration files
        name it always; diffusers' own, which do not, load with the default.
    timestep_spacing : {"reference", "trailing", "linspace", "leading"}
        Where steps lead, see `set_timesteps`. "trailing" is for fewer calls of the model.
    alphas_cumprod, gammas_cumprod : array of T floats each
        ᾱ_t and γ̄_t of any schedule, such as those of `vqdiffusion.schedules`, instead of the four
        numbers above, which are then not looked at. `num_train_timesteps` becomes their length;
        given beside them it has to be that, but for its default, which counts as not given. They
        are written to configuration files as lists, and come back bit for bit.

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
        The timesteps that the chain visits, falling.
    num_inference_steps : int or None
        How many `set_timesteps` chose.

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
        timestep_spacing: str = "reference",
        alphas_cumprod: npt.ArrayLike | None = None,
        gammas_cumprod: npt.ArrayLike | None = None,
    ) -> None:
        config = FrozenConfig(
            checked_arguments(
                num_vec_classes,
                num_train_timesteps,
                alpha_cum_start=alpha_cum_start,
                alpha_cum_end=alpha_cum_end,
                gamma_cum_start=gamma_cum_start,
                gamma_cum_end=gamma_cum_end,
                sampling_method=sampling_method,
                timestep_spacing=timestep_spacing,
                alphas_cumprod=alphas_cumprod,
                gammas_cumprod=gammas_cumprod,
            )
        )
        chain = Chain.of(config)
        self.__dict__.update(
            {name: log.astype(np.float32) for name, log in chain.logs().items()},
            num_embed=config.num_vec_classes,
            mask_class=chain.num_classes,
            _config=config,
        )
        self._set_chain(chain, None)

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
        chain = Chain.of(self._config)
        if self.num_inference_steps is not None:
            chain = chain.visiting(None, self.timesteps)
        self._set_chain(chain, self.num_inference_steps)

    def _protect_arrays(self) -> None:
        for array in map(self.__dict__.get, ATTRIBUTES):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | None = None,
        *,
        timesteps: npt.ArrayLike | None = None,
    ) -> None:
        """Choose the `timesteps` of the chain: how many, or which.

        How many: `timestep_spacing` spreads them over 0 … T - 1, and `step` goes from each to the
        next. With "reference" they are num_inference_steps - 1 … 0 and `step` goes from t to t - 1,
        as in diffusers: with fewer steps than in training that is the end of the chain, which
        expects samples at that noise level, and starting it from masks spoils them.

        Parameters
        ----------
        num_inference_steps : int
            1 … T. For n steps of T = 100 and n = 10, "trailing" visits 99, 89 … 9, "linspace" 99,
            88 … 0, rounded, and "leading" 90, 80 … 0, which begins below the noise that a fully
            masked sample has.
        device : None or "cpu"
            For callers that also drive schedulers on other devices.
        timesteps : array of integers, instead
            Strictly falling within 0 … T - 1. With "reference" `step` still goes from t to t - 1.

        Raises
        ------
        TypeError
            If `num_inference_steps` is not an integer, or `timesteps` not of integers.
        ValueError
            If not one of the two is given or it is out of range, or `device` is another.
        """
        if device not in (None, "cpu"):
            raise ValueError(f"device must be None or 'cpu', not {device!r}")
        chain = self._chain.visiting(num_inference_steps, timesteps)
        self._set_chain(chain, len(chain.timesteps))

    def previous_timestep(self, timestep: SupportsIndex) -> int:
        """The timestep that `step` goes to from one of `timesteps`; -1 is clean data.

        Raises
        ------
        TypeError, ValueError
            If `timestep` is no integer, is outside the schedule or not visited.
        """
        chain = self._chain
        return chain.previous(as_int(timestep, "timestep", 0, chain.num_timesteps - 1))

    def _set_chain(self, chain: Chain, num_inference_steps: int | None) -> None:
        # Attributes cannot be assigned.
        self.__dict__.update(
            _chain=chain, timesteps=chain.timesteps, num_inference_steps=num_inference_steps
        )
        self._protect_arrays()
