"""Importing this first makes diffusers one that has no VQ-Diffusion: neither the names nor the modules."""

import sys
from importlib.abc import MetaPathFinder

import diffusers.pipelines.deprecated
import diffusers.schedulers

NAMES = ("VQDiffusionScheduler", "VQDiffusionPipeline", "scheduling_vq_diffusion", "vq_diffusion")


class Hidden(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith("diffusers.") and "vq_diffusion" in name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


for module in (
    diffusers,
    diffusers.schedulers,
    diffusers.pipelines,
    diffusers.pipelines.deprecated,
):
    for name in NAMES:
        for table in (module._class_to_module, getattr(module, "_objects", {})):
            table.pop(name, None)
        module._modules.discard(name)
sys.meta_path.insert(0, Hidden())
