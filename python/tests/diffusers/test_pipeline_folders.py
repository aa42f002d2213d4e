"""Pipelines saved to a folder and loaded from it, with either scheduler and either pipeline."""

import copy
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers_case import Ours, Reference, generator
from tiny_pipeline import STEPS, pipeline

from vqdiffusion.diffusers import VQDiffusionPipeline, use_in

STOCK, OURS = diffusers.VQDiffusionPipeline, VQDiffusionPipeline


def images(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        "the cat", num_inference_steps=STEPS, generator=generator(1), output_type="np"
    ).images


@pytest.fixture(scope="module")
def expected():
    return images(pipeline())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By the class of the scheduler: a folder with the pipeline."""
    made = {}
    for scheduler in (Reference, Ours):
        made[scheduler] = tmp_path_factory.mktemp("pipeline")
        pipeline(scheduler=scheduler).save_pretrained(made[scheduler])
    OURS.from_pretrained(made[Reference])  # diffusers since 0.25 loads none of these folders before
    return made


@pytest.mark.parametrize("cls", [STOCK, OURS, diffusers.DiffusionPipeline])
@pytest.mark.parametrize("scheduler", [Reference, Ours])
def test_save_and_load(folders, expected, cls, scheduler):
    loaded = cls.from_pretrained(folders[scheduler])
    assert type(loaded.scheduler) is scheduler
    assert type(loaded) is (STOCK if cls is diffusers.DiffusionPipeline else cls)
    assert np.array_equal(images(loaded), expected)


def test_the_folder_names_the_module_to_import(folders):
    index = json.loads(Path(folders[Ours], "model_index.json").read_text())
    assert index["scheduler"] == ["vqdiffusion.diffusers", "VQDiffusionScheduler"]
    files = [
        Path(folders[cls], "scheduler", "scheduler_config.json").read_bytes()
        for cls in (Reference, Ours)
    ]
    assert files[0] == files[1]


def in_another_process(folder, statements):
    """What a process prints that has run these statements on the folder."""
    program = (
        f"import sys, warnings; warnings.simplefilter('ignore'); folder = sys.argv[1]\n{statements}"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(folder)], check=True, capture_output=True, text=True
    ).stdout


def test_in_a_fresh_process(folders):
    """Our pipeline loads what was saved with either scheduler; for ours, its module has then been
    imported.
    """
    for scheduler in (Reference, Ours):
        output = in_another_process(
            folders[scheduler],
            "from vqdiffusion.diffusers import VQDiffusionPipeline\n"
            "pipe = VQDiffusionPipeline.from_pretrained(folder)\n"
            "print(type(pipe.scheduler).__module__, type(pipe).__module__)",
        )
        assert output.split() == [scheduler.__module__, "vqdiffusion.diffusers"]


@pytest.mark.parametrize("imported", [True, False])
def test_the_module_must_have_been_imported(tmp_path, imported):
    """Before diffusers loads our scheduler from a folder; older versions of it import the module
    themselves.
    """
    Ours(9).save_pretrained(tmp_path / "scheduler")
    index = {
        "_class_name": "Pipeline",
        "scheduler": ["vqdiffusion.diffusers", "VQDiffusionScheduler"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    output = in_another_process(
        tmp_path,
        "import diffusers\n"
        + "import vqdiffusion.diffusers\n" * imported
        + "class Pipeline(diffusers.DiffusionPipeline):\n"
        "    def __init__(self, scheduler):\n"
        "        super().__init__(); self.register_modules(scheduler=scheduler)\n"
        "try: print(type(Pipeline.from_pretrained(folder).scheduler).__module__)\n"
        "except ValueError as error: print('has not been imported' in str(error))",
    )
    newest = tuple(int(number) for number in diffusers.__version__.split(".")[:2]) >= (0, 42)
    assert output.split() == (["vqdiffusion.diffusers"] if imported or not newest else ["True"])


def test_the_published_layout(folders, expected, tmp_path):
    """As saved by diffusers 0.7: the embeddings are found in `vq_diffusion`."""
    shutil.copytree(folders[Reference], tmp_path, dirs_exist_ok=True)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["learned_classifier_free_sampling_embeddings"][0] = "vq_diffusion"
    index["_diffusers_version"] = "0.7.0.dev0"
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    scheduler = Ours.from_pretrained(tmp_path, subfolder="scheduler")
    loaded = OURS.from_pretrained(tmp_path, scheduler=scheduler)
    assert loaded.scheduler is scheduler and np.array_equal(images(loaded), expected)


@pytest.mark.parametrize("cls", [STOCK, OURS])
@pytest.mark.parametrize("source, target", [(Reference, Ours), (Ours, Reference)])
def test_a_scheduler_given_at_loading(folders, expected, cls, source, target):
    scheduler = target.from_pretrained(folders[source], subfolder="scheduler")
    loaded = cls.from_pretrained(folders[source], scheduler=scheduler)
    assert loaded.scheduler is scheduler
    assert np.array_equal(images(loaded), expected)


def test_our_pipeline_saved_is_a_stock_pipeline_to_others(tmp_path, expected):
    use_in(pipeline()).save_pretrained(tmp_path)
    loaded = STOCK.from_pretrained(tmp_path)
    assert type(loaded) is STOCK and type(loaded.scheduler) is Ours
    assert np.array_equal(images(loaded), expected)


def test_saved_again_after_use(folders, expected, tmp_path):
    loaded = OURS.from_pretrained(folders[Ours])
    images(loaded)
    loaded.save_pretrained(tmp_path)
    assert np.array_equal(images(OURS.from_pretrained(tmp_path)), expected)


def test_loading_in_another_precision(folders):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # newer versions of diffusers call it dtype
        loaded = OURS.from_pretrained(folders[Ours], torch_dtype=torch.float16)
    assert loaded.dtype == torch.float16 and np.isfinite(images(loaded)).all()


def test_components_and_from_pipe(expected):
    pipe = use_in(pipeline())
    again = OURS(**pipe.components)
    assert again.scheduler is pipe.scheduler and np.array_equal(images(again), expected)


def test_deepcopy(expected):
    assert np.array_equal(images(copy.deepcopy(use_in(pipeline()))), expected)
