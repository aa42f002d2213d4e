"""What `step` of the scheduler for torch tensors returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import output


@dataclass(eq=False)
class VQDiffusionSchedulerOutput(output.VQDiffusionSchedulerOutput):
    """The result of `VQDiffusionScheduler.step`, with its fields also as `out["prev_sample"]` and
    `out[0]`.

    Attributes
    ----------
    prev_sample : torch.Tensor of int64, shape (B, N)
        The classes of each pixel at the previous timestep, to be used as the next model input.
    revealed : torch.Tensor of bool, shape (B, N), or None
        With `unmask`: the pixels that the step has revealed.
    scores : torch.Tensor of float64, shape (B, N), or None
        With `unmask`: the keys of its order, without noise; NaN at pixels that were not read.
    """

    prev_sample: Tensor
    revealed: Tensor | None = None
    scores: Tensor | None = None
