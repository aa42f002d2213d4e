"""A VQ-Diffusion pipeline of diffusers' own models, with small random weights and a tokenizer made
on the spot.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import Transformer2DModel, VQDiffusionPipeline, VQDiffusionScheduler, VQModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

CLASSES, SIDE, STEPS, TOKENS = 24, 4, 12, 12

Embeddings = sys.modules[VQDiffusionPipeline.__module__].LearnedClassifierFreeSamplingEmbeddings


def tokenizer():
    """Byte-pair encoding over single letters, with one merged word."""
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)]
    words = [
        *letters,
        *(letter + "</w>" for letter in letters),
        "th",
        "the</w>",
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps({word: number for number, word in enumerate(words)}))
        merges.write_text("#version: 0.2\nt h\nth e</w>\n")
        return CLIPTokenizer(str(vocabulary), str(merges), model_max_length=TOKENS)


def components(learnable=True):
    torch.manual_seed(0)
    texts = tokenizer()
    vqvae = VQModel(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(16, 16),
        layers_per_block=1,
        latent_channels=3,
        sample_size=2 * SIDE,
        num_vq_embeddings=CLASSES,
        norm_num_groups=8,
        vq_embed_dim=3,
    )
    config = CLIPTextConfig(
        vocab_size=len(texts),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=texts.bos_token_id,
        eos_token_id=texts.eos_token_id,
        pad_token_id=texts.pad_token_id,
    )
    transformer = Transformer2DModel(
        attention_bias=True,
        cross_attention_dim=16,
        attention_head_dim=8,
        num_attention_heads=2,
        num_vector_embeds=CLASSES + 1,
        num_embeds_ada_norm=STEPS,
        norm_num_groups=8,
        sample_size=SIDE,
        activation_fn="geglu-approximate",
        norm_type="ada_norm",
    )
    with torch.no_grad():
        transformer.out.weight.mul_(
            4
        )  # random weights alone give distributions too flat for truncation to matter
        vqvae.quantize.embedding.weight.mul_(
            20
        )  # and codes too close for the images to tell them apart
    embeddings = Embeddings(
        learnable=learnable, **({"hidden_size": 16, "length": TOKENS} if learnable else {})
    )
    if learnable:
        torch.nn.init.normal_(embeddings.embeddings)
    return {
        "vqvae": vqvae.eval(),
        "text_encoder": CLIPTextModel(config).eval(),
        "tokenizer": texts,
        "transformer": transformer.eval(),
        "learned_classifier_free_sampling_embeddings": embeddings,
    }


def pipeline(cls=VQDiffusionPipeline, scheduler=VQDiffusionScheduler, learnable=True):
    """Always the same weights."""
    made = cls(
        **components(learnable),
        scheduler=scheduler(num_vec_classes=CLASSES + 1, num_train_timesteps=STEPS),
    )
    made.set_progress_bar_config(disable=True)
    return made
