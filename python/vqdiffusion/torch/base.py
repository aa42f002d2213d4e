"""All of a scheduler on torch tensors but its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._chain import Chain
from ..arguments import as_int
from .bound import LikelihoodBound
from .guided_steps import GuidedSteps
from .loss import TrainingLoss
from .planned import PlannedSteps


class SchedulerBase(GuidedSteps, PlannedSteps, LikelihoodBound, TrainingLoss):
    """What `vqdiffusion.torch` and `vqdiffusion.diffusers` make their schedulers of.

    A subclass keeps its arguments as its configuration and hands them to `_make_chain`, checked.
    """

    config_name = "scheduler_config.json"
    order = 1

    _entries: str  # the name of the attribute that keeps the configuration

    def _make_chain(self, config: Mapping[str, Any]) -> None:
        """Sets the attributes that follow from what `checked_arguments` returns."""
        self._chain = chain = Chain.of(config)
        vars(self).update(num_embed=chain.num_classes + 1, mask_class=chain.num_classes)
        self._make_tables()
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(chain.num_timesteps - 1, -1, -1, device="cpu")

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises AttributeError for another value of an argument of the constructor."""
        if name in _FIXED:
            entries = vars(self).get(self._entries, {})
            current = vars(self).get(name, entries.get(name, value))
            if not (value is current or isinstance(value, (int, float, str)) and value == current):
                raise AttributeError(
                    f"{name} is fixed by {_FIXED[name]} of the constructor, not to be assigned: "
                    f"make another scheduler with from_config(scheduler.config, {_FIXED[name]}=...)"
                )
        super().__setattr__(name, value)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        *,
        timesteps: Any = None,
    ) -> None:
        """Choose the `timesteps` of the chain: how many, or which; see
        `vqdiffusion.VQDiffusionScheduler.set_timesteps`.

        Parameters
        ----------
        num_inference_steps : int
            1 … T, spread as `timestep_spacing` says.
        device : str or torch.device, optional
            Where `timesteps` and the six tables are to be; None leaves the tables where they are.
        timesteps : integer tensor, array or list, instead
            Strictly falling within 0 … T - 1.

        Raises
        ------
        TypeError
            If `num_inference_steps` is not an integer, or `timesteps` not of integers.
        ValueError
            If not one of the two is given or it is out of range.
        """
        if isinstance(timesteps, torch.Tensor):
            timesteps = timesteps.detach().cpu().numpy()
        chain = self._chain.visiting(num_inference_steps, timesteps)
        self._chain = chain
        self.num_inference_steps = len(chain.timesteps)
        self.timesteps = torch.from_numpy(chain.timesteps.copy()).to(device)
        self._look_again()
        if device is not None:
            self._move_tables(device)
        self._law = self._law.with_strides(*chain.strides())

    def previous_timestep(self, timestep: int | torch.Tensor) -> int:
        """The timestep that `step` goes to from one of `timesteps`; -1 is clean data.

        Raises
        ------
        TypeError, ValueError
            If `timestep` is no integer, is outside the schedule or not visited.
        """
        chain = self._chain
        return chain.previous(as_int(timestep, "timestep", 0, chain.num_timesteps - 1))


# Attributes that look like inputs, and the arguments that they follow from.
_FIXED = {
    name: name
    for name in ("num_vec_classes", "num_train_timesteps", "alpha_cum_start", "alpha_cum_end")
    + ("gamma_cum_start", "gamma_cum_end", "sampling_method")
    + ("timestep_spacing", "alphas_cumprod", "gammas_cumprod")
}
_FIXED |= {"num_embed": "num_vec_classes", "mask_class": "num_vec_classes"}
