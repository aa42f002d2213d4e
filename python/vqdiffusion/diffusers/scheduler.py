"""The scheduler for diffusers' pipelines: that of `vqdiffusion.torch` with diffusers' configuration
and output.
"""

from __future__ import annotations

import json
from typing import Any

from diffusers import ConfigMixin, SchedulerMixin

from ..torch.chain import ReverseChain, checked
from .config import notes_defaults, without_false_defaults
from .output import VQDiffusionSchedulerOutput


class VQDiffusionScheduler(ReverseChain, SchedulerMixin, ConfigMixin):
    """Turns a denoiser's prediction of the clean grid into a sample of the grid one timestep
    earlier, in the place of `diffusers.VQDiffusionScheduler`: the same arguments, the same
    configuration file and, with the same generator, the same samples.

    K is the number of classes without the mask, whose index is K; T is the number of training
    timesteps; B is the number of batch rows and N that of pixels in each. Tensors on the CPU are
    computed on by the native module, in their own memory; on accelerators and under autograd, vmap
    and torch.compile torch formulas run in place.

    A subclass or an object may override `q_posterior`, or the two functions that it is made of,
    `log_Q_t_transitioning_to_known_class` and `apply_cumulative_transitions`: a step then draws
    from what `q_posterior` returns, in torch.

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
    sampling_method : {"gumbel", "inverse_cdf"}
        How `step` draws. "gumbel" takes the argmax after adding Gumbel noise from one uniform per
        class and pixel, as diffusers does. "inverse_cdf" inverts the cumulative distribution at one
        53-bit uniform per pixel: exact for the rarest classes, and faster. It is written to the
        configuration file only where it is not "gumbel".

    Keywords that begin with an underscore are kept in `config` and have no effect.

    Attributes
    ----------
    config : diffusers.configuration_utils.FrozenDict
        The arguments; "_use_default_values" names those that were not passed.
    num_embed, mask_class : int
        `num_vec_classes`, and the index of the mask, K.
    log_at, log_bt, log_ct : torch.Tensor of float32, shape (T,)
        log α_t, log β_t and log γ_t of the single step t-1 → t.
    log_cumprod_at, log_cumprod_bt, log_cumprod_ct : torch.Tensor of float32, shape (T + 1,)
        log ᾱ_t, log β̄_t and log γ̄_t; the last entries are those of clean data, t = -1: 0, -inf
        and -inf. The six tables may be replaced, or edited by functions of torch, for another
        schedule. Torch formulas then use them as they are; where log β̄_t is -inf unmasked pixels
        are carried over. torch.compile sees edits in place after the next call outside of it; those
        through `.data` or a NumPy view are seen by the next `set_timesteps`.
    timesteps : torch.Tensor of int64
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

    # The name that pipelines write down and look the class up by, and pickles too.
    __module__ = "vqdiffusion.diffusers"

    _compatibles: list[str] = []
    _output = VQDiffusionSchedulerOutput
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
    ) -> None:
        ends = {
            "alpha_cum_start": alpha_cum_start,
            "alpha_cum_end": alpha_cum_end,
            "gamma_cum_start": gamma_cum_start,
            "gamma_cum_end": gamma_cum_end,
        }
        entries = checked(num_vec_classes, num_train_timesteps, sampling_method, **ends)
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
        text = super().to_json_string()
        if not self._gumbel:
            return text
        entries = json.loads(text)
        del entries["sampling_method"]
        return json.dumps(entries, indent=2, sort_keys=True) + "\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__} {super().to_json_string()}"
