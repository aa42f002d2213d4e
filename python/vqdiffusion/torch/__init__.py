"""VQ-Diffusion on torch tensors, without diffusers: the scheduler, guidance and truncation.

from vqdiffusion.torch import VQDiffusionScheduler, guide, truncate
"""

from .guidance import guide, truncate
from .output import VQDiffusionSchedulerOutput
from .scheduler import VQDiffusionScheduler

__all__ = ["VQDiffusionScheduler", "VQDiffusionSchedulerOutput", "guide", "truncate"]
