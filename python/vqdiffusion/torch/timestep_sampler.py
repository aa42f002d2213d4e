"""Importance sampling of the timesteps that a model is trained on, with torch tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsIndex

import torch
from torch import Generator, Tensor

from .. import timestep_sampler
from ..arguments import as_int
from .view import copied


class TimestepSampler(timestep_sampler.TimestepSampler):
    """Draws the timesteps of training rows, those with large losses more often.

    It is `vqdiffusion.TimestepSampler` for torch tensors, with a `state_dict` of tensors:

        t, probability = sampler.sample(len(x_0), generator)
        x_t = scheduler.add_noise(x_0, t, generator)
        result = scheduler.loss(model(x_t, t), x_0, x_t, t, probability=probability)
        result.loss.backward()
        sampler.update(t, result.per_row)

    A sampler belongs to one process. For several that train one model, `all_gather` the timesteps
    and `per_row` after each step and have every process update its sampler with all: the samplers
    then stay equal. Draw from a generator of its own in each.
    """

    __module__ = "vqdiffusion.torch"

    def sample(
        self,
        n: SupportsIndex,
        generator: Generator | None = None,
        device: str | torch.device | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw timesteps, independent of each other.

        Parameters
        ----------
        n : int
            How many.
        generator : torch.Generator, optional
            None is torch's global one. n float64 uniforms are drawn, where the generator is; on
            devices without float64, float32 ones.
        device : str or torch.device, optional
            Where the results are to be; the generator's device if not given.

        Returns
        -------
        timesteps : torch.Tensor of int64, shape (n,)
        probability : torch.Tensor of float64, shape (n,)
            With which each of them was drawn; float32 on devices without float64.

        Raises
        ------
        TypeError, ValueError
            If `n` is not an integer or negative, or `generator` no torch.Generator.
        """
        number = as_int(n, "n", 0)
        if not (generator is None or isinstance(generator, Generator)):
            kind = type(generator)
            raise TypeError(
                f"generator must be None or a torch.Generator, not {kind.__module__}."
                f"{kind.__qualname__}"
            )
        source = torch.device("cpu") if generator is None else generator.device
        target = source if device is None else torch.device(device)
        uniforms = torch.rand(number, generator=generator, dtype=_real(source), device=source)
        timesteps, probability = self._of_uniforms(uniforms.cpu().double().numpy())
        return (
            torch.from_numpy(timesteps).to(target),
            torch.from_numpy(probability).to(_real(target)).to(target),
        )

    def update(self, timesteps: Any, per_row: Any) -> None:
        """Note the losses of some rows: history_t becomes 0.1 L_t² + 0.9 history_t. Of rows with
        the same t the last one decides.

        Parameters
        ----------
        timesteps : int, or integer tensor of shape (n,)
            t of each row.
        per_row : tensor of real numbers, shape (n,)
            L_t of each row, as `VQDiffusionScheduler.loss` returns them.

        Raises
        ------
        TypeError
            If the timesteps are no integers or the losses no real numbers.
        ValueError
            If shapes disagree, a timestep is out of range, or a loss is negative, NaN or infinite.
            Nothing is noted then.
        """
        super().update(copied(timesteps), copied(per_row))

    def state_dict(self) -> dict[str, Tensor]:
        """All that the sampler knows: copies of `history` and `counts` by these names."""
        return {name: torch.from_numpy(array) for name, array in super().state_dict().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of a sampler with the same T has returned.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, of another length, of no number or negative. The sampler is then
            as it was.
        """
        if isinstance(state_dict, Mapping):
            state_dict = {name: copied(value) for name, value in state_dict.items()}
        super().load_state_dict(state_dict)


def _real(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
