"""All of a scheduler on torch tensors but its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._chain import Chain
from ..arguments import as_int
from .steps import ReverseSteps


class SchedulerBase(ReverseSteps):
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
        self, num_inference_steps: int, device: str | torch.device | None = None
    ) -> None:
        """Set `timesteps` to num_inference_steps - 1 … 0.

        With fewer steps than in training this is the end of the chain, which expects samples at
        that noise level; it is not a chain of longer strides. Nor is every fourth timestep,
        `timesteps[::4]`: `step` goes from t to t - 1, so that too few masks are removed, and some
        are left at the end.

        Parameters
        ----------
        num_inference_steps : int
            1 … T.
        device : str or torch.device, optional
            Where `timesteps` and the six tables are to be; None leaves the tables where they are.

        Raises
        ------
        TypeError
            If `num_inference_steps` is not an integer.
        ValueError
            If it is out of range.
        """
        steps = as_int(num_inference_steps, "num_inference_steps", 1, self._chain.num_timesteps)
        self.num_inference_steps = steps
        self.timesteps = torch.arange(steps - 1, -1, -1, device="cpu").to(device)
        self._look_again()
        if device is not None:
            self._move_tables(device)


# Attributes that look like inputs, and the arguments that they follow from.
_FIXED = {
    name: name
    for name in ("num_vec_classes", "num_train_timesteps", "alpha_cum_start", "alpha_cum_end")
    + ("gamma_cum_start", "gamma_cum_end", "sampling_method")
}
_FIXED |= {"num_embed": "num_vec_classes", "mask_class": "num_vec_classes"}
