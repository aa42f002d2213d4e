"""The stock VQ-Diffusion pipeline of diffusers beside ours: same seed, same images, and what each
step cost.

    pip install 'vqdiffusion[diffusers]'
    python examples/compare_with_diffusers.py
    python examples/compare_with_diffusers.py --published-size --steps 1
    python examples/compare_with_diffusers.py --model microsoft/vq-diffusion-ithq --prompt "a pool"

Without --model the pipeline is made on the spot: real models of diffusers and transformers with the
published model's codebook and grid (4096 classes, 32 x 32 pixels), but few and random weights: the
images show nothing, and nothing is downloaded. With --published-size the transformer has 36 layers
and is as wide as the published one; it takes 3 GB and half a minute a call. What is timed is the
scheduler, and what the pipeline does around it.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

    Stock = diffusers.VQDiffusionPipeline


def small_pipeline(classes, side, steps, layers=1, heads=2, head_width=8, text_width=16):
    """Random weights, the same ones at every call."""
    torch.manual_seed(0)
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(
            json.dumps({word: number for number, word in enumerate(words)})
        )
        Path(folder, "merges.txt").write_text("#version: 0.2\n")
        tokenizer = CLIPTokenizer(
            f"{folder}/vocab.json", f"{folder}/merges.txt", model_max_length=16
        )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=text_width,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformer = diffusers.Transformer2DModel(
        num_layers=layers,
        num_attention_heads=heads,
        attention_head_dim=head_width,
        cross_attention_dim=text_width,
        num_vector_embeds=classes + 1,
        num_embeds_ada_norm=steps,
        norm_num_groups=8,
        sample_size=side,
        activation_fn="geglu-approximate",
        norm_type="ada_norm",
        attention_bias=True,
    )
    vqvae = diffusers.VQModel(
        num_vq_embeddings=classes,
        vq_embed_dim=8,
        latent_channels=8,
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=2 * side,
    )
    with torch.no_grad():
        transformer.out.weight.mul_(4)
        vqvae.quantize.embedding.weight.mul_(classes)
    embeddings = sys.modules[Stock.__module__].LearnedClassifierFreeSamplingEmbeddings(
        True, text_width, 16
    )
    scheduler = diffusers.VQDiffusionScheduler(
        num_vec_classes=classes + 1, num_train_timesteps=steps
    )
    return Stock(
        vqvae=vqvae.eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
        scheduler=scheduler,
        learned_classifier_free_sampling_embeddings=embeddings,
    )


def measured(pipe, arguments, seed):
    """The images as an array, and seconds: of all, of the transformer, and of the scheduler's
    `step`.
    """
    pipe(**{**arguments, "num_inference_steps": 1})  # what only the first call costs
    seconds = {"transformer": 0.0, "step": 0.0}

    def timed(name, function):
        def call(*positional, **named):
            start = time.perf_counter()
            result = function(*positional, **named)
            seconds[name] += time.perf_counter() - start
            return result

        return call

    pipe.transformer.forward = timed(
        "transformer", type(pipe.transformer).forward.__get__(pipe.transformer)
    )
    pipe.scheduler.step = timed("step", type(pipe.scheduler).step.__get__(pipe.scheduler))
    start = time.perf_counter()
    images = pipe(**arguments, generator=torch.Generator(pipe.device).manual_seed(seed)).images
    seconds["all"] = time.perf_counter() - start
    del pipe.scheduler.step, pipe.transformer.forward
    return images, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", help="a folder, or a name on the model hub; by default a small random pipeline"
    )
    parser.add_argument("--prompt", default="a teddy bear")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--truncation", type=float, default=0.86)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--classes", type=int, default=4096, help="of the small pipeline, without the mask"
    )
    parser.add_argument("--side", type=int, default=32, help="of the small pipeline's grid")
    parser.add_argument(
        "--published-size", action="store_true", help="as many weights as the published model"
    )
    given = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # of diffusers, about its own code
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()

    if given.model is None:
        size = (36, 16, 64, 512) if given.published_size else ()
        pipe = small_pipeline(given.classes, given.side, max(given.steps, 2), *size)
        weights = sum(one.numel() for one in pipe.transformer.parameters())
        print(f"a transformer of {weights / 1e6:.1f} million random weights")
    else:
        loaded = VQDiffusionPipeline.from_pretrained(given.model)
        pipe = Stock(**loaded.components)
    pipe.set_progress_bar_config(disable=True)
    arguments = {
        "prompt": given.prompt,
        "num_inference_steps": given.steps,
        "guidance_scale": given.guidance,
        "truncation_rate": given.truncation,
        "num_images_per_prompt": given.images,
        "output_type": "np",
    }
    stock_images, stock = measured(pipe, arguments, given.seed)
    our_images, ours = measured(use_in(pipe), arguments, given.seed)

    print(
        f"{given.images} image(s), {given.steps} steps, guidance {given.guidance}, truncation "
        f"{given.truncation}, "
        f"torch {torch.__version__}, diffusers {diffusers.__version__}, {torch.get_num_threads()} "
        "threads"
    )
    print(f"{'milliseconds per step':34}{'diffusers':>12}{'vqdiffusion':>13}")
    rows = {
        "transformer (the same)": lambda s: s["transformer"],
        "scheduler.step": lambda s: s["step"],
        "guidance, truncation, all the rest": lambda s: s["all"] - s["step"] - s["transformer"],
        "together": lambda s: s["all"],
    }
    for name, of in rows.items():
        print(
            f"{name:34}"
            + "".join(
                f"{of(s) / given.steps * 1000:{width}.1f}" for s, width in ((stock, 12), (ours, 13))
            )
        )
    same = np.array_equal(stock_images, our_images)
    print("The images are identical." if same else "THE IMAGES DIFFER.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
