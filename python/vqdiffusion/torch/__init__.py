"""VQ-Diffusion on torch tensors, without diffusers: the scheduler, guidance, truncation, scores and
sampling of timesteps.

from vqdiffusion.torch import VQDiffusionScheduler, guide, truncate
"""

from .guidance import guide, truncate
from .loss import VQDiffusionLossOutput
from .output import VQDiffusionSchedulerOutput
from .scheduler import VQDiffusionScheduler
from .scores import TokenScores, token_scores
from .timestep_sampler import TimestepSampler

__all__ = [
    "TimestepSampler",
    "TokenScores",
    "VQDiffusionLossOutput",
    "VQDiffusionScheduler",
    "VQDiffusionSchedulerOutput",
    "guide",
    "token_scores",
    "truncate",
]
