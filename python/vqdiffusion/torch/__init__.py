"""VQ-Diffusion on torch tensors, without diffusers."""

from .guidance import guide, truncate

__all__ = ["guide", "truncate"]
