"""What the scheduler's `step` returns: diffusers' class, or one like it where it has none; and
more with `unmask`.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffusers.utils import BaseOutput
from torch import Tensor

try:
    from diffusers.schedulers.scheduling_vq_diffusion import VQDiffusionSchedulerOutput
except ImportError:

    @dataclass
    class VQDiffusionSchedulerOutput(BaseOutput):  # type: ignore[no-redef]
        """The result of `VQDiffusionScheduler.step`; a field is read by name or by index.

        Attributes
        ----------
        prev_sample : torch.Tensor of int64, shape (B, N)
            The classes one timestep earlier.
        """

        # The name that pickles look the class up by.
        __module__ = "vqdiffusion.diffusers"

        prev_sample: Tensor


@dataclass
class VQDiffusionRevealOutput(VQDiffusionSchedulerOutput):
    """The result of `VQDiffusionScheduler.step` with `unmask`.

    Attributes
    ----------
    prev_sample : torch.Tensor of int64, shape (B, N)
        The classes one timestep earlier.
    revealed : torch.Tensor of bool, shape (B, N)
        The pixels that the step has revealed.
    scores : torch.Tensor of float64, shape (B, N)
        The keys of its order, without noise; NaN at pixels that were not read.
    """

    __module__ = "vqdiffusion.diffusers"

    revealed: Tensor | None = None
    scores: Tensor | None = None


__all__ = ["VQDiffusionRevealOutput", "VQDiffusionSchedulerOutput"]
