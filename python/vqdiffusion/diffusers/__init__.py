"""VQ-Diffusion for diffusers' pipelines: a scheduler, and a pipeline, that take the place of
diffusers' own.

    from vqdiffusion.diffusers import VQDiffusionScheduler
    pipe.scheduler = VQDiffusionScheduler.from_config(pipe.scheduler.config)

A pipeline saved with this scheduler names this module in its model_index.json. diffusers loads such
a pipeline only where this module has been imported before.

Both also work with a diffusers that has no VQ-Diffusion of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# diffusers' loader looks up in this module which kind of component the scheduler is.
from diffusers import SchedulerMixin

from .output import VQDiffusionRevealOutput, VQDiffusionSchedulerOutput
from .scheduler import VQDiffusionScheduler

__all__ = [
    "SchedulerMixin",
    "VQDiffusionPipeline",
    "VQDiffusionRevealOutput",
    "VQDiffusionScheduler",
    "VQDiffusionSchedulerOutput",
    "use_in",
]

# The pipeline needs transformers, which takes seconds to import; the scheduler does not. diffusers'
# loader looks up the last two here.
_LATER = {
    "VQDiffusionPipeline": ".pipeline",
    "use_in": ".pipeline",
    "LearnedClassifierFreeSamplingEmbeddings": ".stock",
    "ModelMixin": ".stock",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
