"""Folders that older versions of diffusers have saved, as the published model's, and the model hub's copies of them."""

import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines import pipeline_utils
from diffusers_case import Ours, Reference, generator
from tiny_pipeline import STEPS, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline

WEIGHTS = "diffusion_pytorch_model"
EMBEDDINGS = "learned_classifier_free_sampling_embeddings"
MODELS = {"transformer": diffusers.Transformer2DModel, "vqvae": diffusers.VQModel}


def images(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        "the cat", num_inference_steps=STEPS, generator=generator(1), output_type="np"
    ).images


@pytest.fixture(scope="module")
def expected():
    return images(pipeline())


@pytest.fixture(params=[Reference, Ours], ids=["stock scheduler", "our scheduler"])
def folder(request, tmp_path):
    pipeline(scheduler=request.param).save_pretrained(tmp_path)
    return tmp_path


def edit(path, change):
    """Apply `change`, which works in place, to a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_transformer_without_norm_type(folder, expected):
    """As published: the key is younger than the model."""
    edit(folder / "transformer" / "config.json", lambda config: config.pop("norm_type"))
    pipe = VQDiffusionPipeline.from_pretrained(folder)
    assert (
        type(pipe.transformer) is diffusers.Transformer2DModel
        and pipe.transformer.config.norm_type == "ada_norm"
    )
    assert np.array_equal(images(pipe), expected)


def test_what_is_loaded_is_saved_as_ever(folder, expected):
    index = json.loads((folder / "model_index.json").read_text())
    edit(folder / "transformer" / "config.json", lambda config: config.pop("norm_type"))
    VQDiffusionPipeline.from_pretrained(folder).save_pretrained(folder)
    assert json.loads((folder / "model_index.json").read_text()) == {
        **index,
        "_name_or_path": str(folder),
    }
    assert (
        json.loads((folder / "transformer" / "config.json").read_text())["_class_name"]
        == "Transformer2DModel"
    )
    assert np.array_equal(images(VQDiffusionPipeline.from_pretrained(folder)), expected)


def test_configurations_of_nothing_but_what_must_be_told(folder, expected):
    """No version can lack more keys than that."""
    for name, cls in MODELS.items():
        defaults = {
            key: one.default for key, one in inspect.signature(cls.__init__).parameters.items()
        }

        def shorten(config):
            for key in [key for key in config if key in defaults and config[key] == defaults[key]]:
                del config[key]
            config.pop("norm_type", None)
            config.pop("_use_default_values", None)

        edit(folder / name / "config.json", shorten)
    assert np.array_equal(images(VQDiffusionPipeline.from_pretrained(folder)), expected)


def as_published(folder):
    """Rewrite a folder as diffusers 0.7 would have saved it."""

    def index(content):
        content["_diffusers_version"] = "0.7.0.dev0"
        content[EMBEDDINGS][0] = "vq_diffusion"

    edit(folder / "model_index.json", index)
    edit(folder / "transformer" / "config.json", lambda config: config.pop("norm_type"))
    for name, model in pipeline().components.items():
        if (folder / name / f"{WEIGHTS}.safetensors").exists():
            (folder / name / f"{WEIGHTS}.safetensors").unlink()
            weights = {old_name(key): value for key, value in model.state_dict().items()}
            torch.save(weights, folder / name / f"{WEIGHTS}.bin")
    return folder


def old_name(key):
    """Of a weight of the image decoder's attention."""
    if ".mid_block.attentions." in key:
        for new, old in {
            "to_q": "query",
            "to_k": "key",
            "to_v": "value",
            "to_out.0": "proj_attn",
        }.items():
            key = key.replace(f".{new}.", f".{old}.")
    return key


def test_the_published_layout_with_old_weights(folder, expected):
    as_published(folder)
    assert any(
        ".query." in key
        for key in torch.load(folder / "vqvae" / f"{WEIGHTS}.bin", weights_only=True)
    )
    assert np.array_equal(images(VQDiffusionPipeline.from_pretrained(folder)), expected)


@pytest.mark.parametrize("published", [True, False], ids=["as published", "as saved"])
def test_from_a_model_hub(monkeypatch, folder, expected, published):
    """Before it downloads, diffusers refuses components of libraries that it does not know."""
    if published:
        as_published(folder)
    files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    hub = {
        "model_info": lambda *args, **kwargs: SimpleNamespace(
            siblings=[SimpleNamespace(rfilename=f) for f in files]
        ),
        "hf_hub_download": lambda name, file, **kwargs: str(folder / file),
        "_resolve_revision": lambda *args, **kwargs: "main",
    }
    for name, function in hub.items():
        monkeypatch.setattr(pipeline_utils, name, function, raising=False)
    monkeypatch.setattr(pipeline_utils, "snapshot_download", None)  # all is there
    pipe = VQDiffusionPipeline.from_pretrained("someone/some-model")
    assert np.array_equal(images(pipe), expected)


def test_a_transformer_given_at_loading(folder, expected):
    edit(folder / "transformer" / "config.json", lambda config: config.pop("norm_type"))
    transformer = pipeline().transformer
    pipe = VQDiffusionPipeline.from_pretrained(folder, transformer=transformer)
    assert pipe.transformer is transformer and np.array_equal(images(pipe), expected)


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
def test_with_and_without_accelerate_s_loading(folder, expected, low_cpu_mem_usage):
    edit(folder / "transformer" / "config.json", lambda config: config.pop("norm_type"))
    pipe = VQDiffusionPipeline.from_pretrained(Path(folder), low_cpu_mem_usage=low_cpu_mem_usage)
    assert np.array_equal(images(pipe), expected)


def test_a_damaged_transformer_is_diffusers_error(folder):
    (folder / "transformer" / "config.json").write_text("{")
    with pytest.raises(OSError, match="JSON"):
        VQDiffusionPipeline.from_pretrained(folder)
