"""The scheduler for diffusers' pipelines: that of `vqdiffusion.torch` with diffusers' configuration
and output.
"""

from __future__ import annotations

import json
from typing import Any

from diffusers import ConfigMixin, SchedulerMixin

from ..constructor import checked_arguments, without_later_defaults
from ..torch.base import SchedulerBase
from .config import notes_defaults, without_false_defaults
from .output import VQDiffusionRevealOutput, VQDiffusionSchedulerOutput


class VQDiffusionScheduler(SchedulerBase, SchedulerMixin, ConfigMixin):
    """`vqdiffusion.torch.VQDiffusionScheduler` in the place of `diffusers.VQDiffusionScheduler`:
    the same arguments, the same configuration file and, with the same generator, the same samples.

    Keywords that begin with an underscore are kept in `config` and have no effect. Attributes that
    are not named below are those of `vqdiffusion.torch.VQDiffusionScheduler`.

    Parameters
    ----------
    num_vec_classes, num_train_timesteps, alpha_cum_start, alpha_cum_end, gamma_cum_start, \
gamma_cum_end, timestep_spacing, alphas_cumprod, gammas_cumprod
        As in `vqdiffusion.VQDiffusionScheduler`.
    sampling_method : {"gumbel", "inverse_cdf"}
        "gumbel" draws what diffusers' class does. "inverse_cdf" is exact for the rarest classes,
        and faster; it is written to the configuration file only where it is not "gumbel".

    Attributes
    ----------
    config : diffusers.configuration_utils.FrozenDict
        The arguments; "_use_default_values" names those that were not passed.

    Raises
    ------
    TypeError, ValueError
        As there.
    """

    # The name that pipelines write down and look the class up by, and pickles too.
    __module__ = "vqdiffusion.diffusers"

    _compatibles: list[str] = []
    _output = VQDiffusionSchedulerOutput
    _reveal_output = VQDiffusionRevealOutput
    _entries = "_internal_dict"

    @notes_defaults
    def __init__(
        self,
        num_vec_classes: int,
        num_train_timesteps: int = 100,
        alpha_cum_start: float = 0.99999,
        alpha_cum_end: float = 0.000009,
        gamma_cum_start: float = 0.000009,
        gamma_cum_end: float = 0.99999,
        *,
        sampling_method: str = "gumbel",
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
        # Integers stay integers, so that the file is the one that diffusers writes.
        whole = {name: value for name, value in ends.items() if type(value) is int}
        self.register_to_config(**{**entries, **whole})
        self._make_chain(entries)

    @classmethod
    def from_config(
        cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Any:
        """Make a scheduler from a configuration, such as that of diffusers' class; see
        `ConfigMixin.from_config`.
        """
        if isinstance(config, dict):
            config = without_false_defaults(config, VQDiffusionScheduler.__init__)
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def to_json_string(self) -> str:
        """The text of the configuration file, without `sampling_method` where it is "gumbel"."""
        entries = self._written()
        if self._chain.is_gumbel:
            del entries["sampling_method"]
        return _text(entries)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {_text(self._written())}"

    def _written(self) -> dict[str, Any]:
        """The entries of the configuration that are not defaults of arguments of ours."""
        return without_later_defaults(json.loads(super().to_json_string()))


def _text(entries: dict[str, Any]) -> str:
    return json.dumps(entries, indent=2, sort_keys=True) + "\n"
