"""Offloading, by accelerate: models wait in main memory and come to the device one at a time.

On a machine without accelerators the CPU is the device. With `enable_sequential_cpu_offload` the
weights that wait are then on the meta device; with `enable_model_cpu_offload` a spy tells which
model waits.
"""

import subprocess
import sys

import accelerate
import numpy as np
import pytest
import torch
from accelerate.hooks import CpuOffload
from diffusers_case import Ours, Reference
from tiny_pipeline import STEPS, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
MODELS = ("text_encoder", "transformer", "vqvae")
MAKERS = {
    "both ours": lambda: pipeline(VQDiffusionPipeline, Ours),
    "the stock scheduler": lambda: pipeline(VQDiffusionPipeline, Reference),
    "converted in place": lambda: use_in(pipeline()),
}


def images(pipe, device="cpu", **arguments):
    return pipe(
        ["the cat", "a dog"],
        num_inference_steps=STEPS,
        generator=torch.Generator(device).manual_seed(1),
        output_type="np",
        **arguments,
    ).images


@pytest.fixture(autouse=True)
def the_cpu_as_a_device(monkeypatch):
    """diffusers calls it cpu:0, which to accelerate is another device than cpu."""
    offload = accelerate.cpu_offload

    def by_type(model, device, **options):
        return offload(model, torch.device("cpu") if device.type == "cpu" else device, **options)

    monkeypatch.setattr(accelerate, "cpu_offload", by_type)


@pytest.fixture(scope="module")
def expected():
    """Of each device, whose generators draw other numbers."""
    return {device: images(pipeline().to(device), device) for device in DEVICES}


def assert_alike(device, pipe, expected):
    """On accelerators sums need not round alike in every run."""
    made = images(pipe, device)
    np.testing.assert_allclose(made, expected[device], atol=0 if device == "cpu" else 1e-2)


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def pipe(request):
    return request.param()


@pytest.mark.parametrize("device", DEVICES)
def test_sequential_offload(monkeypatch, pipe, expected, device):
    pipe.enable_sequential_cpu_offload(device=device)
    waiting = {
        name: {weight.device.type for weight in getattr(pipe, name).parameters()} for name in MODELS
    }
    assert waiting == dict.fromkeys(MODELS, {"meta"})
    # Of one of the models, any.
    monkeypatch.setattr(VQDiffusionPipeline, "device", torch.device("meta"))
    for _ in range(2):
        assert_alike(device, pipe, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_model_offload(pipe, expected, device):
    pipe.enable_model_cpu_offload(device=device)
    for _ in range(2):
        assert_alike(device, pipe, expected)
        weights = [weight for name in MODELS for weight in getattr(pipe, name).parameters()]
        assert all(weight.device.type == "cpu" for weight in weights)


def test_model_offload_brings_each_model_before_its_use(monkeypatch, pipe, expected):
    """In turns: each lets the one before go, and none comes twice."""
    pipe.enable_model_cpu_offload(device="cpu")
    models, turns = [getattr(pipe, name) for name in MODELS], []
    bring = CpuOffload.pre_forward

    def brought(hook, model, *args, **kwargs):
        turns.append(model)
        return bring(hook, model, *args, **kwargs)

    monkeypatch.setattr(CpuOffload, "pre_forward", brought)
    used = set()
    for model in models:
        for part in model.modules():
            if part is not model and list(part.parameters(recurse=False)):

                def check(part, inputs, model=model):
                    assert turns[-1:] == [model], f"{type(model).__name__} is used, but waits"
                    used.add(model)

                part.register_forward_pre_hook(check)
    for before, after in zip(models, models[1:]):
        assert after._hf_hook.prev_module_hook.model is before
    hooks = [model._hf_hook for model in models]
    assert np.array_equal(images(pipe), expected["cpu"])
    assert used == set(models)
    assert not any(model._hf_hook is hook for model, hook in zip(models, hooks))  # all wait anew
    assert [model for model, before in zip(turns, [None, *turns]) if model is not before] == models


def test_guidance_by_the_empty_prompt(expected):
    """Which the text encoder encodes after the prompt, and without the embeddings."""
    stock, sequential, whole = pipeline(), use_in(pipeline()), use_in(pipeline())
    sequential.enable_sequential_cpu_offload(device="cpu")
    whole.enable_model_cpu_offload(device="cpu")
    for pipe in (stock, sequential, whole):
        pipe.learned_classifier_free_sampling_embeddings.learnable = False
    made = [images(pipe) for pipe in (stock, sequential, whole)]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    assert not np.array_equal(made[0], expected["cpu"])


@pytest.mark.parametrize(
    "arguments", [{"guidance_scale": 1.0}, {"truncation_rate": 0.5}, {"latents": True}], ids=str
)
def test_other_arguments(monkeypatch, arguments):
    pipe = use_in(pipeline())
    if "latents" in arguments:
        arguments = {
            "latents": torch.zeros(2, pipe.transformer.num_latent_pixels, dtype=torch.int64)
        }
    expected = images(pipeline(), **arguments)
    pipe.enable_sequential_cpu_offload(device="cpu")
    monkeypatch.setattr(VQDiffusionPipeline, "device", torch.device("meta"))
    assert np.array_equal(images(pipe, **arguments), expected)


def test_from_one_to_the_other_and_back(pipe, expected):
    def without_hooks():
        for name in MODELS:
            accelerate.hooks.remove_hook_from_module(getattr(pipe, name), recurse=True)
        return pipe

    pipe.enable_sequential_cpu_offload(device="cpu")
    assert np.array_equal(images(pipe), expected["cpu"])
    without_hooks().enable_model_cpu_offload(device="cpu")
    assert np.array_equal(images(pipe), expected["cpu"])
    assert np.array_equal(images(without_hooks()), expected["cpu"])


@pytest.mark.parametrize("name", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_after_an_error(pipe, expected, name):
    getattr(pipe, name)(device="cpu")
    with pytest.raises(ZeroDivisionError):
        images(pipe, callback=lambda i, t, latents: 1 / (3 - i))
    assert np.array_equal(images(pipe), expected["cpu"])


@pytest.mark.parametrize("name", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_without_accelerate_the_message_is_diffusers(name):
    program = (
        "import sys, warnings; warnings.simplefilter('ignore'); sys.modules['accelerate'] = None\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        "hidden = lambda name, *rest: None if name == 'accelerate' else find(name, *rest)\n"
        "importlib.util.find_spec = hidden\n"
        "from vqdiffusion.diffusers import VQDiffusionPipeline\n"
        "pipe = VQDiffusionPipeline(*[None] * 6)\n"
        f"try: pipe.{name}(device='cpu')\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"`{name}` requires `accelerate v0." in done.stdout, done.stderr
