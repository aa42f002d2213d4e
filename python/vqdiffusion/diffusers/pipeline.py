"""diffusers' VQ-Diffusion pipeline with guidance, truncation and the reverse step computed natively."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import diffusers
import torch
from diffusers import VQDiffusionPipeline as StockPipeline
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from torch import Generator, Tensor

from ..torch_guidance import guide, truncate
from .composed import is_as_defined
from .scheduler import VQDiffusionScheduler

_FLOOR = -70.0  # of the log-probabilities that the scheduler gets


class VQDiffusionPipeline(StockPipeline):
    """Text to image with VQ-Diffusion: `diffusers.VQDiffusionPipeline`, making the same images in less time.

    The components, the arguments and the saved form are those of diffusers' pipeline. What is computed otherwise on the
    CPU are classifier-free guidance, ℓ = log-softmax(u + g (c - u)), and truncation, which diffusers does by sorting
    every column; elsewhere the same formulas run in torch. The scheduler may be diffusers' or `VQDiffusionScheduler` of
    this package, which `use_in` puts in.
    """

    # The name that pickles look the class up by.
    __module__ = "vqdiffusion.diffusers"

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Load a pipeline from a folder or a model hub; see `DiffusionPipeline.from_pretrained`.

        diffusers since 0.25 cannot load a VQ-Diffusion pipeline itself, neither the published model nor what it has
        saved. This can, and once it has been called in a process, so can diffusers.
        """
        _make_loadable()
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_inference_steps: int = 100,
        guidance_scale: float = 5.0,
        truncation_rate: float = 1.0,
        num_images_per_prompt: int = 1,
        generator: Generator | list[Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        callback: Callable[[int, Tensor, Tensor], None] | None = None,
        callback_steps: int = 1,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Make images.

        Parameters
        ----------
        prompt : str or list of str
            What the images should show.
        num_inference_steps : int
            How many timesteps to run through; fewer than in training leave out the noisy beginning of the chain.
        guidance_scale : float
            g; there is no guidance at 1 and below.
        truncation_rate : float
            How much of the probability of each pixel the most probable classes must make up to be kept, the others
            being dropped.
        num_images_per_prompt : int
            Images for each prompt, next to each other in the result.
        generator : torch.Generator, list of them, or None
            The source of the noise. A list holds one for each image, which is then what it would be alone.
        latents : integer tensor, shape (images, pixels), optional
            The classes to begin with; all masked by default.
        output_type : str, optional
            "pil" for PIL images, anything else for a NumPy array of shape (images, height, width, 3).
        return_dict : bool
            Whether to return an object rather than a tuple.
        callback : callable, optional
            Called as `callback(i, t, latents)` after every `callback_steps`-th step.

        Returns
        -------
        diffusers.ImagePipelineOutput, or a tuple of its one field

        Raises
        ------
        ValueError
            If `prompt`, `latents` or `callback_steps` is not as described, and as in the scheduler's `step`.
        """
        if not isinstance(prompt, (str, list)):
            raise ValueError(f"prompt must be a str or a list of them, not {type(prompt).__name__}")
        if isinstance(callback_steps, bool) or not isinstance(callback_steps, int) or callback_steps < 1:
            raise ValueError(f"callback_steps must be a positive integer, not {callback_steps!r}")
        images = num_images_per_prompt * (1 if isinstance(prompt, str) else len(prompt))
        guided = guidance_scale > 1
        embeddings = self._encode_prompt(prompt, num_images_per_prompt, guided)
        latents = self._first_latents(latents, images)

        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        for i, t in enumerate(self.progress_bar(self.scheduler.timesteps)):
            inputs = torch.cat((latents, latents)) if guided else latents
            log_p = self.transformer(inputs, encoder_hidden_states=embeddings, timestep=t).sample
            uncond, cond = log_p.chunk(2) if guided else (None, log_p)
            # Not where someone's own `step` is to be called.
            if getattr(self.scheduler.step, "__func__", None) is VQDiffusionScheduler.step:
                latents = self.scheduler.guided_step(
                    uncond,
                    cond,
                    timestep=t,
                    sample=latents,
                    generator=generator,
                    guidance_scale=guidance_scale,
                    truncation_rate=truncation_rate,
                    floor=_FLOOR,
                ).prev_sample
            else:
                log_p = cond if uncond is None else guide(uncond, cond, guidance_scale)
                log_p = truncate(log_p, truncation_rate, _FLOOR)
                latents = self.scheduler.step(log_p, timestep=t, sample=latents, generator=generator).prev_sample
            if callback is not None and i % callback_steps == 0:
                callback(i, t, latents)

        pictures = self._decode(latents)
        if output_type == "pil":
            pictures = self.numpy_to_pil(pictures)
        return ImagePipelineOutput(images=pictures) if return_dict else (pictures,)

    def truncate(self, log_p_x_0: Tensor, truncation_rate: float) -> Tensor:
        """Keep the most probable classes of each pixel, and set the others to -inf; see `vqdiffusion.truncate`."""
        return truncate(log_p_x_0, truncation_rate)

    def _first_latents(self, latents: Tensor | None, images: int) -> Tensor:
        shape, classes = (images, self.transformer.num_latent_pixels), self.transformer.config.num_vector_embeds
        if latents is None:
            return torch.full(shape, classes - 1, dtype=torch.int64, device=self.device)
        if tuple(latents.shape) != shape:
            raise ValueError(f"latents must have shape {shape}, not {tuple(latents.shape)}")
        if latents.numel() and (latents.min() < 0 or latents.max() >= classes):
            raise ValueError(f"latents must hold classes from 0 to {classes - 1}")
        return latents.to(self.device)

    def _decode(self, latents: Tensor) -> Any:
        shape = len(latents), self.transformer.height, self.transformer.width, self.vqvae.config.vq_embed_dim
        embeddings = self.vqvae.quantize.get_codebook_entry(latents, shape=shape)
        pictures = self.vqvae.decode(embeddings, force_not_quantize=True).sample
        pictures = (pictures / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1)
        return (pictures.float() if pictures.dtype is torch.bfloat16 else pictures).numpy()


def use_in(pipe: StockPipeline) -> StockPipeline:
    """Convert a loaded pipeline in place, and return it.

    Its scheduler becomes the `VQDiffusionScheduler` of this package, of the same configuration and
    tables, and the pipeline a `VQDiffusionPipeline`. A pipeline of a subclass of the user's own
    stays of that class, so that nothing it overrides is lost, and only gets the scheduler. A
    scheduler whose functions are overridden stays as it is.

    Raises
    ------
    TypeError
        If `pipe` is not a VQ-Diffusion pipeline.
    """
    if not isinstance(pipe, StockPipeline):
        raise TypeError(f"pipe must be a diffusers.VQDiffusionPipeline, not {type(pipe).__name__}")
    if is_as_defined(pipe.scheduler):
        scheduler = VQDiffusionScheduler.from_config(pipe.scheduler.config)
        scheduler._take_tables(pipe.scheduler)
        pipe.register_modules(scheduler=scheduler)
    if type(pipe) is StockPipeline:
        pipe.__class__ = VQDiffusionPipeline
    return pipe


def _make_loadable() -> None:
    """Lends the class of the embeddings, which diffusers keeps in the module of the pipeline, the two names under which
    model_index.json refers to it: in `vq_diffusion` as published, in `diffusers` as saved by versions since 0.25. They
    stay, as loaders in other threads may be looking for them."""
    home = sys.modules[StockPipeline.__module__]
    name = "LearnedClassifierFreeSamplingEmbeddings"
    if not hasattr(diffusers, name):
        setattr(diffusers, name, getattr(home, name))
    if "vq_diffusion" not in sys.modules and find_spec("vq_diffusion") is None:
        sys.modules["vq_diffusion"] = home
