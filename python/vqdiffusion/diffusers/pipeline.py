"""The VQ-Diffusion pipeline with guidance, truncation and the reverse step computed natively."""

# The annotations are no strings: diffusers compares the components with those of `__init__`.

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin, Transformer2DModel, VQModel
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils import logging
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Generator, Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from ..arguments import as_int
from ..row_keys import RowKeys
from ..torch.arguments import as_grid, check_grid, check_known
from ..torch.base import SchedulerBase
from ..torch.composed import is_as_defined
from ..torch.guidance import guide, truncate
from ..unmask import Unmask, as_unmask
from .loading import lend_names, readable
from .rates import as_number, as_rate, truncate_each
from .scheduler import VQDiffusionScheduler
from .stock import LearnedClassifierFreeSamplingEmbeddings, StockPipeline

_FLOOR = -70.0  # of the log-probabilities that the scheduler gets

_log = logging.get_logger(
    f"diffusers.{__name__}"
)  # below diffusers' logger, whose verbosity counts


class VQDiffusionPipeline(StockPipeline or DiffusionPipeline):  # type: ignore[misc]
    """Text to image with VQ-Diffusion: the images of `diffusers.VQDiffusionPipeline` in less time.

    The components, the arguments and the saved form are those of diffusers' pipeline, of which this
    is a subclass where diffusers has it. On the CPU the native module computes classifier-free
    guidance, ℓ = log-softmax(u + g (c - u)), and truncation, which diffusers does by sorting every
    column; elsewhere the same formulas run in torch. The scheduler may be diffusers' or
    `VQDiffusionScheduler` of this package, which `use_in` puts in. Offloading needs accelerate, as
    for diffusers' pipelines.

    Parameters
    ----------
    vqvae : diffusers.VQModel
        Its codebook and decoder turn classes into images.
    text_encoder : transformers.CLIPTextModel
    tokenizer : transformers.CLIPTokenizer
    transformer : diffusers.Transformer2DModel
        Predicts log-probabilities of the classes of the clean grid.
    scheduler : diffusers.SchedulerMixin
    learned_classifier_free_sampling_embeddings : LearnedClassifierFreeSamplingEmbeddings
        What guidance takes in the place of an encoded prompt.
    """

    # The name that pickles look the class up by.
    __module__ = "vqdiffusion.diffusers"

    model_cpu_offload_seq = "text_encoder->transformer->vqvae"
    # Offloaded models come to the device before their `forward`, and this one has none.
    _exclude_from_cpu_offload = ["learned_classifier_free_sampling_embeddings"]

    def __init__(
        self,
        vqvae: VQModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        transformer: Transformer2DModel,
        scheduler: SchedulerMixin,
        learned_classifier_free_sampling_embeddings: LearnedClassifierFreeSamplingEmbeddings,
    ) -> None:
        DiffusionPipeline.__init__(self)
        self.register_modules(
            vqvae=vqvae,
            transformer=transformer,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            scheduler=scheduler,
            learned_classifier_free_sampling_embeddings=learned_classifier_free_sampling_embeddings,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Load a pipeline from a folder or a model hub; see `DiffusionPipeline.from_pretrained`.

        diffusers since 0.25 can load neither the published model nor a VQ-Diffusion pipeline that
        it has saved. This loads both. Once it has been called in a process, diffusers loads what it
        has saved, except from 0.28 to 0.34.
        """
        lend_names()
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """The content of a model_index.json, naming classes that can load the components.

        See `ConfigMixin.load_config`.
        """
        loaded = super().load_config(*args, **kwargs)
        return (readable(loaded[0]), *loaded[1:]) if isinstance(loaded, tuple) else readable(loaded)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_inference_steps: int = 100,
        guidance_scale: float = 5.0,
        truncation_rate: float | Tensor = 1.0,
        num_images_per_prompt: int = 1,
        generator: Generator | list[Generator] | RowKeys | None = None,
        latents: Tensor | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        callback: Callable[[int, Tensor, Tensor], None] | None = None,
        callback_steps: int = 1,
        *,
        known_latents: Tensor | None = None,
        unmask: Unmask | None = None,
        top_k: int | None = None,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Make images.

        Numbers may also be NumPy arrays and tensors of one element.

        Parameters
        ----------
        prompt : str or list of str
            What the images should show.
        num_inference_steps : int
            How many timesteps to run through. Fewer than in training are spread as the scheduler's
            `timestep_spacing` says; "reference", as in diffusers, leaves out the noisy beginning of
            the chain, and 25 of "trailing" give nearly the images of 100.
        guidance_scale : float
            g; there is no guidance at 1 and below.
        truncation_rate : float
            How much of the probability of each pixel the most probable classes must make up to be
            kept, the others being dropped. Above 1 all are kept, at 0 and below the most probable
            one. A tensor of several elements holds one rate for each pixel, in a shape that
            broadcasts to (images, classes, pixels).
        num_images_per_prompt : int
            Images for each prompt, next to each other in the result.
        generator : torch.Generator, list of them, RowKeys, or None
            The source of the noise. A list holds one for each image, which is then what it would be
            alone, and so do RowKeys.
        latents : integer tensor, shape (images, pixels), optional
            The classes to begin with; all masked by default.
        output_type : str, optional
            "pil" for PIL images, anything else for a NumPy array of shape (images, height, width,
            3).
        return_dict : bool
            Whether to return an object rather than a tuple.
        callback : callable, optional
            Called as `callback(i, t, latents)` after every `callback_steps`-th step.
        known_latents : integer tensor, shape (images, pixels) or (1, pixels), optional
            For inpainting: the classes of the pixels that are to stay, and -1 where a pixel is to
            be drawn.
        unmask : Unmask, optional
            How each step chooses the pixels to reveal, in place of the scheduler's own chain, for
            fewer calls of the model. The last step reveals all that is left, and the chain ends
            where nothing is. Needs the scheduler of this package.
        top_k : int, optional
            The most classes of each pixel to keep; `truncation_rate`, one number, is then a share
            of the probability of these.

        Returns
        -------
        diffusers.ImagePipelineOutput, or a tuple of its one field

        Raises
        ------
        TypeError
            If a number is none, or `latents` or `known_latents` not of an integer dtype.
        ValueError
            If an argument is not as described, and as in the scheduler's `step`.
        """
        if not isinstance(prompt, (str, list)):
            raise ValueError(f"prompt must be a str or a list of them, not {type(prompt).__name__}")
        if not isinstance(prompt, str) and not prompt:
            raise ValueError("prompt must hold at least one str, not an empty list")
        if not isinstance(callback_steps, int) or callback_steps < 1:
            raise ValueError(f"callback_steps must be a positive integer, not {callback_steps!r}")
        steps = as_int(num_inference_steps, "num_inference_steps", 1)
        images = as_int(num_images_per_prompt, "num_images_per_prompt", 1)
        scale = as_number(guidance_scale, "guidance_scale")
        if scale == math.inf:
            raise ValueError("guidance_scale must be finite, not inf")
        rate = as_rate(truncation_rate)
        # Not where someone's own `truncate` is to be called.
        truncates = (
            isinstance(rate, float)
            and getattr(self.truncate, "__func__", None) is VQDiffusionPipeline.truncate
        )
        most = None if top_k is None else as_int(top_k, "top_k", 1)
        if most is not None and not truncates:
            raise ValueError(
                "top_k must be None where truncation_rate holds one for each pixel, or truncate is "
                "overridden"
            )
        as_unmask(unmask, 0.0)
        if unmask is not None and not isinstance(self.scheduler, SchedulerBase):
            raise ValueError(
                "unmask must be None with a scheduler that is not of this package; use_in puts one "
                "in"
            )
        guided = scale > 1
        device = self._execution_device
        embeddings = self._encode_prompt(prompt, images, guided)
        images *= 1 if isinstance(prompt, str) else len(prompt)
        latents = self._first_latents(latents, images)
        known = None if known_latents is None else self._known(known_latents, images)
        if known is not None:
            latents = torch.where(known < 0, latents, known)

        self.scheduler.set_timesteps(steps, device=device)
        last = len(self.scheduler.timesteps) - 1
        for i, t in enumerate(self.progress_bar(self.scheduler.timesteps.to(device))):
            inputs = torch.cat((latents, latents)) if guided else latents
            log_p = self.transformer(inputs, encoder_hidden_states=embeddings, timestep=t).sample
            uncond, cond = log_p.chunk(2) if guided else (None, log_p)
            if unmask is not None and i == last:
                unmask = replace(
                    unmask, count=None, threshold=None, entropy_bound=None, positions=None
                )
            # Not where someone's own `step` is to be called.
            if (
                truncates
                and getattr(self.scheduler.step, "__func__", None) is VQDiffusionScheduler.step
            ):
                latents = self.scheduler.guided_step(
                    uncond,
                    cond,
                    timestep=t,
                    sample=latents,
                    generator=generator,
                    guidance_scale=scale if guided else 1.0,
                    truncation_rate=rate,
                    floor=_FLOOR,
                    top_k=most,
                    known=known,
                    unmask=unmask,
                ).prev_sample
            else:
                log_p = cond if uncond is None else guide(uncond, cond, scale)
                if most is None:
                    log_p = self.truncate(log_p, truncation_rate).clamp(_FLOOR)
                else:
                    log_p = truncate(log_p, rate, _FLOOR, most)
                given = {} if unmask is None else {"unmask": unmask}
                latents = self.scheduler.step(
                    log_p, timestep=t, sample=latents, generator=generator, **given
                ).prev_sample
                if known is not None:
                    latents = torch.where(known < 0, latents, known)
            if callback is not None and i % callback_steps == 0:
                callback(i, t, latents)
            if unmask is not None and not (latents == self.scheduler.mask_class).any():
                break

        pictures = self._decode(latents)
        if output_type == "pil":
            pictures = self.numpy_to_pil(pictures)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=pictures) if return_dict else (pictures,)

    def truncate(self, log_p_x_0: Tensor, truncation_rate: float | Tensor) -> Tensor:
        """Keep the most probable classes of each pixel, and set the others to -inf.

        Parameters
        ----------
        log_p_x_0 : torch.Tensor of float16, bfloat16, float32 or float64, shape (B, K, N)
            Log-probabilities.
        truncation_rate : float, or tensor that broadcasts to (B, K, N)
            As in `__call__`.

        Returns
        -------
        torch.Tensor, shape (B, K, N)

        Raises
        ------
        TypeError, ValueError
            As in `vqdiffusion.truncate`, and if a tensor of rates does not broadcast to the shape.
        """
        rate = as_rate(truncation_rate)
        return (
            truncate(log_p_x_0, rate) if isinstance(rate, float) else truncate_each(log_p_x_0, rate)
        )

    def _encode_prompt(
        self, prompt: str | list[str], num_images_per_prompt: int, do_classifier_free_guidance: bool
    ) -> Tensor:
        """What the transformer attends to, shape (images, tokens, features).

        With guidance what stands for no prompt comes before it, in the same shape.
        """
        limit = self.tokenizer.model_max_length
        # One by one, as a prompt that is too long and one that is not make no batch.
        rows = [
            self._tokenize([one], limit)
            for one in (prompt if isinstance(prompt, list) else [prompt])
        ]
        rest = [self.tokenizer.decode(row[0, limit:]) for row in rows if row.shape[1] > limit]
        if rest:
            _log.warning(f"A prompt may have {limit} tokens. This is left out: {rest}")
        tokens = torch.cat([row[:, :limit] for row in rows])
        embeddings = self._encode(tokens).repeat_interleave(num_images_per_prompt, dim=0)
        if not do_classifier_free_guidance:
            return embeddings
        learned = self.learned_classifier_free_sampling_embeddings
        if learned.learnable:
            empty = learned.embeddings.to(embeddings.device).expand(len(embeddings), -1, -1)
        else:
            empty = self._tokenize([""] * len(tokens), tokens.shape[1], truncation=True)
            empty = self._encode(empty).repeat_interleave(num_images_per_prompt, dim=0)
        return torch.cat((empty, embeddings))

    def _tokenize(self, prompts: list[str], length: int, **options: Any) -> Tensor:
        options = {"padding": "max_length", "max_length": length, "return_tensors": "pt", **options}
        return self.tokenizer(prompts, **options).input_ids

    def _encode(self, tokens: Tensor) -> Tensor:
        """The last hidden state of each token, of length 1, as VQ-Diffusion was trained with."""
        hidden = self.text_encoder(tokens.to(self._execution_device))[0]
        return hidden / hidden.norm(dim=-1, keepdim=True)

    def _first_latents(self, latents: Tensor | None, images: int) -> Tensor:
        shape, classes = (
            (images, self.transformer.num_latent_pixels),
            self.transformer.config.num_vector_embeds,
        )
        if latents is None:
            return torch.full(shape, classes - 1, dtype=torch.int64, device=self._execution_device)
        latents = as_grid(latents, "latents").to(torch.int64)
        if tuple(latents.shape) != shape:
            raise ValueError(f"latents must have shape {shape}, not {tuple(latents.shape)}")
        check_grid(latents, "latents", classes - 1)
        return latents.to(self._execution_device)

    def _known(self, known: Tensor, images: int) -> Tensor:
        known = as_grid(known, "known_latents")
        pixels = self.transformer.num_latent_pixels
        if known.shape not in ((images, pixels), (1, pixels)):
            raise ValueError(
                f"known_latents must have shape {(images, pixels)} or {(1, pixels)}, not "
                f"{tuple(known.shape)}"
            )
        classes = self.transformer.config.num_vector_embeds - 1
        check_known(known, "known_latents", classes)
        return known.to(self._execution_device, torch.int64).expand(images, pixels)

    def _decode(self, latents: Tensor) -> Any:
        shape = (
            len(latents),
            self.transformer.height,
            self.transformer.width,
            self.vqvae.config.vq_embed_dim,
        )
        embeddings = _codebook_entries(self.vqvae, latents, shape)
        pictures = self.vqvae.decode(embeddings, force_not_quantize=True).sample
        pictures = (pictures / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1)
        return (pictures.float() if pictures.dtype is torch.bfloat16 else pictures).numpy()


def use_in(pipe: Any) -> Any:
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
    if not isinstance(pipe, StockPipeline or VQDiffusionPipeline):
        raise TypeError(f"pipe must be a diffusers.VQDiffusionPipeline, not {type(pipe).__name__}")
    if is_as_defined(pipe.scheduler):
        scheduler = VQDiffusionScheduler.from_config(pipe.scheduler.config)
        scheduler._take_tables(pipe.scheduler)
        pipe.register_modules(scheduler=scheduler)
    if type(pipe) is StockPipeline:
        pipe.__class__ = VQDiffusionPipeline
    return pipe


@apply_forward_hook
def _codebook_entries(vqvae: Any, latents: Tensor, shape: tuple[int, ...]) -> Tensor:
    """By the decorator, offloaded models come to the device before this, as before `forward`."""
    return vqvae.quantize.get_codebook_entry(latents, shape=shape)
