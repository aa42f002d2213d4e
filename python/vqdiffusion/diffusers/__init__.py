"""VQ-Diffusion for diffusers' pipelines: a scheduler, and a pipeline, that take the place of diffusers' own.

    from vqdiffusion.diffusers import VQDiffusionScheduler
    pipe.scheduler = VQDiffusionScheduler.from_config(pipe.scheduler.config)

A pipeline saved with this scheduler names this module in its model_index.json. diffusers loads such a pipeline only
where this module has been imported before.
"""

from __future__ import annotations

from typing import Any

# diffusers' loader looks up in this module which kind of component the scheduler is.
from diffusers import SchedulerMixin

from .scheduler import VQDiffusionScheduler, VQDiffusionSchedulerOutput

__all__ = ["SchedulerMixin", "VQDiffusionPipeline", "VQDiffusionScheduler", "VQDiffusionSchedulerOutput", "use_in"]


def __getattr__(name: str) -> Any:
    # The pipeline needs transformers, which takes seconds to import; the scheduler does not.
    if name in ("VQDiffusionPipeline", "use_in"):
        from . import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
